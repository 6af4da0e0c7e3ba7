//! A value that may be replaced while others use it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A value that all clones share, and see replaced. Who uses it takes it as it is
/// now, and goes on with that.
pub struct Current<T> {
    /// Never held for longer than a count takes.
    value: Arc<RwLock<Arc<T>>>,
}

impl<T> Current<T> {
    /// For now, this.
    pub fn new(value: T) -> Self {
        Self {
            value: Arc::new(RwLock::new(Arc::new(value))),
        }
    }

    /// As it is now.
    pub fn get(&self) -> Arc<T> {
        let value = self.value.read();
        Arc::clone(&value.unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, this, for all who share it.
    pub fn set(&self, value: T) {
        let mut place = self.value.write().unwrap_or_else(PoisonError::into_inner);
        *place = Arc::new(value);
    }

    /// From now on, what `other` has now, for all who share this.
    pub fn set_as(&self, other: &Self) {
        let value = other.get();
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
        }
    }
}

impl<T: Default> Default for Current<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Two are equal whose values are now.
impl<T: PartialEq> PartialEq for Current<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for Current<T> {}

impl<T: fmt::Debug> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_share_a_value_see_it_replaced() {
        let one = Current::new("old");
        let (shared, own) = (one.clone(), Current::new("old"));
        let held = one.get();
        shared.set("new");
        assert_eq!(*one.get(), "new");
        assert_eq!(*held, "old", "who has taken it goes on with it");
        assert_ne!(one, own);
    }
}
