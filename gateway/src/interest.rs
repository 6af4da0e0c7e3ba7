//! What a session wants to hear of a topic: everything, or what bears one of
//! some keys.
//!
//! A key stands for a field and its value. It is a hash, so two values may share
//! one: keys say who may be concerned, and the dialect compares what they stand for.

pub use broker::key::{Key, KeySet};

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

/// Some keys, in sets that others may hold too. One, the usual number, costs no
/// allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Held);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    One(Key),
    Many(Box<[KeySet]>),
}

impl Keys {
    /// Those of all the sets, which are shared, and some of its own.
    pub fn union(
        sets: impl IntoIterator<Item = KeySet>,
        own: impl IntoIterator<Item = Key>,
    ) -> Self {
        let own: KeySet = own.into_iter().collect();
        let sets = sets.into_iter().chain([own]);
        let sets: Box<_> = sets.filter(|set| !set.as_slice().is_empty()).collect();
        Self(match &*sets {
            [only] if only.as_slice().len() == 1 => Held::One(only.as_slice()[0]),
            _ => Held::Many(sets),
        })
    }

    /// How many there are, counting those that several sets hold for each of them.
    #[expect(clippy::len_without_is_empty, reason = "it is for what they cost")]
    pub fn len(&self) -> usize {
        let many = self.sets().iter().map(|set| set.as_slice().len());
        usize::from(self.one().is_some()) + many.sum::<usize>()
    }

    /// The [halves](Key::short) of keys that are here and none of which is there,
    /// each once. Sets that are in both are not looked at.
    pub fn without(&self, other: &Self) -> Vec<u32> {
        let both = |set: &KeySet| other.sets().iter().any(|there| there.is_same(set));
        let sets = self.sets().iter().filter(|set| !both(set));
        let one = self.one().into_iter();
        let keys = one.chain(sets.flat_map(KeySet::as_slice).copied());
        let mut short: Vec<_> = keys.map(Key::short).collect();
        short.sort_unstable();
        short.dedup();
        short.retain(|short| {
            let sets = other.sets().iter();
            let held = other.one().is_some_and(|key| key.short() == *short);
            !held && !sets.into_iter().any(|set| set.contains_short(*short))
        });
        short
    }

    fn one(&self) -> Option<Key> {
        match &self.0 {
            Held::One(key) => Some(*key),
            Held::Many(_) => None,
        }
    }

    fn sets(&self) -> &[KeySet] {
        match &self.0 {
            Held::One(_) => &[],
            Held::Many(sets) => sets,
        }
    }

    /// All of them. Of several sets, one may hold what another does.
    pub fn iter(&self) -> impl Iterator<Item = Key> {
        let many = self.sets().iter().flat_map(KeySet::as_slice);
        self.one().into_iter().chain(many.copied())
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self(Held::Many(Box::default()))
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self::union([], keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(keys: &Keys) -> Vec<Key> {
        keys.iter().collect()
    }

    #[test]
    fn keys_of_one_set_are_held_once_and_in_order() {
        let one = Key::of(1, "a");
        let two = Key::of(2, "a");
        assert_ne!(one, two, "the same value of another field is another key");
        let keys: Keys = [two, one, two].into_iter().collect();
        assert_eq!(all(&keys), [one.min(two), one.max(two)]);
        let only: Keys = [one, one].into_iter().collect();
        assert_eq!(all(&only), [one]);
        assert_eq!(all(&Keys::default()), []);
        assert_eq!(size_of::<Keys>(), 16, "there is one for each socket");
    }

    #[test]
    fn a_set_is_shared_and_not_copied() {
        let (one, two, own) = (Key::of(0, "a"), Key::of(0, "b"), Key::of(0, "c"));
        let shared: KeySet = [one, two].into_iter().collect();
        let keys = Keys::union([shared.clone()], [own]);
        let at = |key: &Key| std::ptr::from_ref(key);
        let Held::Many(sets) = &keys.0 else {
            panic!("there are several: {keys:?}");
        };
        assert_eq!(at(&sets[0].as_slice()[0]), at(&shared.as_slice()[0]));
        assert_eq!(all(&keys).len(), 3);
        assert_eq!(all(&Keys::union([KeySet::default()], [own])), [own]);
        assert_eq!(all(&Keys::union([shared], [])).len(), 2);
    }
}
