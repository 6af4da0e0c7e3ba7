//! A ring without a Redis: what `ring.lua` adds and lets go, and what `read.lua`
//! finds. Tests hold it to the scripts, and simulated worlds are made of it.

use std::collections::VecDeque;
use std::rc::Rc;

/// Where an entry stands: its milliseconds by Redis' clock, and its number among
/// those of the same.
pub(super) type Id = (u64, u64);

/// How much a ring holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: u64,
}

/// Recent events of a tenant in a partition.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Oldest first.
    pub(super) entries: VecDeque<Entry>,
    /// What made room for others, which a replica may have still.
    pub(super) gone: Vec<Entry>,
    /// The newest there was.
    pub(super) last: Id,
}

/// An event in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Id,
    /// Without its tenant.
    pub(super) topic: Rc<str>,
    pub(super) json: Rc<str>,
    /// How many there have been since the ring was made, with this one.
    pub(super) ordinal: u64,
    /// How many bytes those had.
    pub(super) bytes: u64,
    /// When it was added, by whoever uses this.
    pub(super) at: u64,
}

impl Ring {
    /// Adds an event at this time by Redis' clock, and lets go what that is too much with.
    pub(super) fn append(
        &mut self,
        topic: &str,
        json: &str,
        clock: u64,
        limits: Limits,
        at: u64,
    ) -> Id {
        self.last = if self.last.0 < clock {
            (clock, 0)
        } else {
            (self.last.0, self.last.1 + 1)
        };
        let before = self.entries.back();
        let ordinal = before.map_or(0, |entry| entry.ordinal) + 1;
        let bytes = before.map_or(0, |entry| entry.bytes) + json.len() as u64;
        self.entries.push_back(Entry {
            id: self.last,
            topic: topic.into(),
            json: json.into(),
            ordinal,
            bytes,
            at,
        });
        while self.is_over(limits) {
            self.gone.extend(self.entries.pop_front());
        }
        self.last
    }

    /// The entries from this one on, oldest first.
    pub(super) fn since(&self, id: Id) -> impl Iterator<Item = &Entry> {
        let first = self.entries.partition_point(|entry| entry.id < id);
        self.entries.range(first..)
    }

    /// Whether it holds too much. The newest stays, however large it is.
    fn is_over(&self, limits: Limits) -> bool {
        let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) else {
            return false;
        };
        let held = last.bytes - first.bytes + first.json.len() as u64;
        let many = limits.entries < self.entries.len();
        many || 1 < self.entries.len() && limits.bytes < held
    }
}
