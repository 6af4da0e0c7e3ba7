//! What a session wants to hear of a topic: everything, or what bears one of
//! some keys.
//!
//! A key stands for a field and its value. It is a hash, so two values may share
//! one: keys say who may be concerned, and the dialect compares what they stand for.

pub use broker::key::Key;

/// What of a topic a session wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// All events.
    All,
    /// Events that bear one of these keys; none of them, if there is none.
    Keys(Keys),
}

impl Interest {
    /// Nothing, for now.
    pub fn none() -> Self {
        Self::Keys(Keys::default())
    }
}

/// Some keys, each once, in order. One, the usual number, costs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Held);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    One(Key),
    Many(Box<[Key]>),
}

impl Keys {
    /// All of them.
    pub fn as_slice(&self) -> &[Key] {
        match &self.0 {
            Held::One(key) => std::slice::from_ref(key),
            Held::Many(keys) => keys,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self(Held::Many(Box::default()))
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self(match keys[..] {
            [only] => Held::One(only),
            _ => Held::Many(keys.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_held_once_and_in_order() {
        let one = Key::of(1, "a");
        let two = Key::of(2, "a");
        assert_ne!(one, two, "the same value of another field is another key");
        let keys: Keys = [two, one, two].into_iter().collect();
        assert_eq!(keys.as_slice(), [one.min(two), one.max(two)]);
        let only: Keys = [one, one].into_iter().collect();
        assert_eq!(only.as_slice(), [one]);
        assert_eq!(size_of::<Keys>(), 16, "there is one for each socket");
    }
}
