//! What stands for a value where only equality matters: a hash that nobody
//! outside can aim at.
//!
//! Two values may share a key, once in 2^64 pairs; no choice of values makes it
//! likelier, as each process hashes with a seed of its own.

use std::hash::{BuildHasher, DefaultHasher, RandomState};
use std::sync::{Arc, LazyLock};

static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Hashes with that seed, for tables of what clients choose: whoever can work out
/// where something stands can have thousands stand in one place, which takes all of
/// them to be looked at each time. As small as nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seeded;

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        SEED.build_hasher()
    }
}

/// What stands for one value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The key of a value.
    pub fn of(field: u8, value: &str) -> Self {
        Self(SEED.hash_one((field, value)))
    }

    /// Half of it, where a place is looked for that others may share.
    pub fn short(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Some keys, each once, in order. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet(Arc<[Key]>);

impl KeySet {
    /// Whether it holds the key.
    pub fn contains(&self, key: Key) -> bool {
        self.0.binary_search(&key).is_ok()
    }

    /// Whether it holds a key with this [half](Key::short).
    pub fn contains_short(&self, short: u32) -> bool {
        // The half that counts most in their order.
        let at = self.0.partition_point(|key| key.short() < short);
        self.0.get(at).is_some_and(|key| key.short() == short)
    }

    /// Whether both are one and the same, and not only alike.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All of them, in order.
    pub fn as_slice(&self) -> &[Key] {
        &self.0
    }

    /// The same with one more.
    #[must_use]
    pub fn with(&self, key: Key) -> Self {
        self.0.iter().copied().chain([key]).collect()
    }

    /// The same without that one.
    #[must_use]
    pub fn without(&self, key: Key) -> Self {
        self.0.iter().copied().filter(|k| *k != key).collect()
    }
}

impl Default for KeySet {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl FromIterator<Key> for KeySet {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_each_key_once() {
        let (one, two) = (Key::of(1, "a"), Key::of(2, "a"));
        assert_ne!(one, two, "the same value of another field is another key");
        let set: KeySet = [two, one, two].into_iter().collect();
        assert_eq!(set.as_slice(), [one.min(two), one.max(two)]);
        assert!(set.contains(one) && set.contains(two));
        assert!(!set.without(one).contains(one));
        assert_eq!(set.without(one).with(one), set);
        assert_eq!(set.with(one), set);
        assert!(set.contains_short(one.short()) && set.contains_short(two.short()));
        assert!(!set.without(one).contains_short(one.short()));
        assert!(set.is_same(&set.clone()) && !set.is_same(&set.with(one)));
    }
}
