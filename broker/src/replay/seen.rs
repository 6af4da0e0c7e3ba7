//! Events that were handed over, by their ids and what they said.
//!
//! Ids alone would not do: who may publish on one topic of a ring can write any id in
//! front, also those that events of others will have.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use crate::event::EntryId;
use crate::key::Seeded;
use crate::topic::Topic;

/// How many are kept: twice what a ring holds, so that all that may be read again
/// is known.
const MOST: usize = 4096;
/// How long they are kept behind what is proved, in milliseconds. By far longer
/// than clocks of servers differ.
const KEPT: u64 = 60_000;

/// One event of a ring. Nobody outside can make two look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) id: EntryId,
    said: u64,
}

impl Mark {
    /// The event of this id, with its topic and its JSON.
    pub(super) fn of(id: EntryId, topic: &Topic, json: &str) -> Self {
        let said = Seeded.hash_one((topic.as_str(), json));
        Self { id, said }
    }
}

/// The newest, ascending.
#[derive(Debug, Default)]
pub(super) struct Seen {
    marks: VecDeque<Mark>,
    /// The newest there was, if it should still be in the ring.
    newest: Option<EntryId>,
}

impl Seen {
    /// Whether it was handed over.
    pub(super) fn has(&self, mark: Mark) -> bool {
        // What comes is nearly always newer than all.
        self.marks.back().is_some_and(|last| mark <= *last)
            && self.marks.binary_search(&mark).is_ok()
    }

    /// Notes one; false if it was noted before.
    pub(super) fn add(&mut self, mark: Mark) -> bool {
        if self.marks.back().is_none_or(|last| *last < mark) {
            self.marks.push_back(mark);
        } else {
            match self.marks.binary_search(&mark) {
                Ok(_) => return false,
                Err(place) => self.marks.insert(place, mark),
            }
        }
        if MOST < self.marks.len() {
            self.marks.pop_front();
        }
        self.reach(Some(mark.id));
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
        let is_stale = |mark: &&Mark| mark.id.millis < oldest;
        let stale = self.marks.iter().take_while(is_stale).count();
        self.marks.drain(..stale);
        if self.marks.is_empty() {
            self.marks.shrink_to_fit();
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

    fn mark(millis: u64) -> Mark {
        Mark {
            id: id(millis),
            said: 0,
        }
    }

    #[test]
    fn ids_are_known_whatever_order_they_came_in() {
        let mut seen = Seen::default();
        for millis in [5, 3, 9, 4] {
            assert!(!seen.has(mark(millis)));
            assert!(seen.add(mark(millis)));
            assert!(!seen.add(mark(millis)));
        }
        assert!([3, 4, 5, 9].map(|millis| seen.has(mark(millis))) == [true; 4]);
        assert!(!seen.has(mark(6)));
        assert_eq!(seen.newest(), Some(id(9)));
    }

    #[test]
    fn neither_many_nor_old_ones_are_kept() {
        let mut seen = Seen::default();
        for millis in 1..=2 * MOST as u64 {
            seen.add(mark(millis));
        }
        assert_eq!(seen.marks.len(), MOST);
        assert!(seen.has(mark(MOST as u64 + 1)) && !seen.has(mark(MOST as u64)));
        seen.forget_before(KEPT + 2 * MOST as u64);
        assert_eq!(seen.marks.len(), 1);
        seen.forget_before(KEPT + 2 * MOST as u64 + 1);
        assert_eq!(seen.marks.capacity(), 0);
        assert_eq!(seen.newest(), Some(id(2 * MOST as u64)));
    }
}
