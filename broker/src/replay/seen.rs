//! Ids of events that were handed over.

use std::collections::VecDeque;

use crate::event::EntryId;

/// How many are kept: twice what a ring holds, so that all that may be read again
/// is known.
const MOST: usize = 4096;
/// How long they are kept behind what is proved, in milliseconds. By far longer
/// than clocks of servers differ.
const KEPT: u64 = 60_000;

/// The newest ids, ascending.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: VecDeque<EntryId>,
    /// The newest there was, if it should still be in the ring.
    newest: Option<EntryId>,
}

impl Seen {
    /// Whether it was handed over.
    pub(super) fn has(&self, id: EntryId) -> bool {
        // What comes is nearly always newer than all.
        self.ids.back().is_some_and(|last| id <= *last) && self.ids.binary_search(&id).is_ok()
    }

    /// Notes one; false if it was noted before.
    pub(super) fn add(&mut self, id: EntryId) -> bool {
        if self.ids.back().is_none_or(|last| *last < id) {
            self.ids.push_back(id);
        } else {
            match self.ids.binary_search(&id) {
                Ok(_) => return false,
                Err(place) => self.ids.insert(place, id),
            }
        }
        if MOST < self.ids.len() {
            self.ids.pop_front();
        }
        self.reach(Some(id));
        true
    }

    /// The newest event that is known of the ring.
    pub(super) fn newest(&self) -> Option<EntryId> {
        self.newest
    }

    /// An event of this id is known.
    pub(super) fn reach(&mut self, id: Option<EntryId>) {
        self.newest = self.newest.max(id);
    }

    /// The ring does not hold what it did.
    pub(super) fn forget_newest(&mut self) {
        self.newest = None;
    }

    /// Drops what nobody will read again, as all up to this time is known.
    pub(super) fn forget_before(&mut self, millis: u64) {
        let oldest = millis.saturating_sub(KEPT);
        let stale = self.ids.iter().take_while(|id| id.millis < oldest).count();
        self.ids.drain(..stale);
        if self.ids.is_empty() {
            self.ids.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(millis: u64) -> EntryId {
        EntryId {
            millis,
            sequence: 0,
        }
    }

    #[test]
    fn ids_are_known_whatever_order_they_came_in() {
        let mut seen = Seen::default();
        for millis in [5, 3, 9, 4] {
            assert!(!seen.has(id(millis)));
            assert!(seen.add(id(millis)));
            assert!(!seen.add(id(millis)));
        }
        assert!([3, 4, 5, 9].map(|millis| seen.has(id(millis))) == [true; 4]);
        assert!(!seen.has(id(6)));
        assert_eq!(seen.newest(), Some(id(9)));
    }

    #[test]
    fn neither_many_nor_old_ones_are_kept() {
        let mut seen = Seen::default();
        for millis in 1..=2 * MOST as u64 {
            seen.add(id(millis));
        }
        assert_eq!(seen.ids.len(), MOST);
        assert!(seen.has(id(MOST as u64 + 1)) && !seen.has(id(MOST as u64)));
        seen.forget_before(KEPT + 2 * MOST as u64);
        assert_eq!(seen.ids.len(), 1);
        seen.forget_before(KEPT + 2 * MOST as u64 + 1);
        assert_eq!(seen.ids.capacity(), 0);
        assert_eq!(seen.newest(), Some(id(2 * MOST as u64)));
    }
}
