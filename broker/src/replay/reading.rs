//! Which rings are read when, and what comes of what was in them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rings::{Behind, Held};
use super::verdict::{Oldest, Verdict, verdict};
use super::{Recovered, Replay, merge};
use crate::event::EntryId;
use crate::ring::Ring;

/// Rings that are read at the same time.
pub const READS: usize = 16;
/// A ring that could not be read is read again after this,
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// and given up if it could not be read for this long.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A topic on which events came that no ring keeps may have had others while
/// nothing was heard, for this long after the last.
pub(super) const RAW: Duration = Duration::from_secs(600);

/// A ring to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub ring: Ring,
    /// The oldest entry of interest.
    pub from: EntryId,
    /// Tells this reading from others of the ring.
    ticket: u64,
}

/// What a ring held at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Redis' clock then, in Unix milliseconds.
    pub time: u64,
    /// The oldest entry; `None` if there is no ring.
    pub oldest: Option<Oldest>,
    /// The newest entry.
    pub newest: Option<EntryId>,
    /// All entries from the asked one on, oldest first.
    pub entries: Vec<Entry>,
}

/// An event in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub id: EntryId,
    /// Its topic, `<kind>:<id>`.
    pub topic: Box<str>,
    /// The event, JSON.
    pub json: Box<str>,
}

impl<L> Replay<L> {
    /// All that was listened to when the link was lost is listened to again.
    pub fn resume(&mut self, now: Instant) {
        let mut queue = VecDeque::new();
        for (tenant, annotations, state) in self.rings.every() {
            let behind = state.behind.as_ref();
            if behind.is_some_and(|behind| behind.reading.is_none()) {
                queue.push_back((now, state.ring(tenant, annotations)));
            }
        }
        self.queue = queue;
    }

    /// A ring to read now, if there is one and not enough are read already.
    pub fn next_read(&mut self, now: Instant) -> Option<Read> {
        if READS <= self.reading {
            return None;
        }
        loop {
            let due = self.queue.iter().position(|(at, _)| *at <= now)?;
            let (_, ring) = self.queue.remove(due)?;
            let ticket = self.tickets + 1;
            // Nobody may listen there any more.
            if let Some(behind) = self.rings.behind(&ring)
                && behind.reading.is_none()
            {
                behind.reading = Some(ticket);
                let from = behind.position.from();
                self.tickets = ticket;
                self.reading += 1;
                return Some(Read { ring, from, ticket });
            }
        }
    }

    /// This was in a ring. Nothing comes of it if it is not of interest any more.
    pub fn page(&mut self, read: &Read, page: &Page, now: Instant) -> Option<Recovered<L>> {
        self.clocks.read(read.ring.partition, page.time, now);
        let back = self.clocks.back(read.ring.partition, page.time, now);
        let behind = self.being_read(read)?;
        let verdict = verdict(&behind.position, page, back);
        self.recover(&read.ring, verdict, page, now)
    }

    /// A ring could not be read. If that has been so for long, it is given up.
    pub fn failed(&mut self, read: &Read, now: Instant) -> Option<Recovered<L>> {
        let behind = self.being_read(read)?;
        let since = *behind.failing_since.get_or_insert(now);
        if PATIENCE <= now.saturating_duration_since(since) {
            return self.recover(&read.ring, Verdict::Unread, &Page::default(), now);
        }
        behind.reading = None;
        self.reading -= 1;
        self.queue.push_back((now + RETRY, read.ring.clone()));
        None
    }

    /// Whether nothing is to be read any more.
    pub fn settled(&self) -> bool {
        self.queue.is_empty() && self.reading == 0
    }

    fn being_read(&mut self, read: &Read) -> Option<&mut Behind<L>> {
        let behind = self.rings.behind(&read.ring)?;
        (behind.reading == Some(read.ticket)).then_some(behind)
    }

    /// Ends being behind.
    pub(super) fn recover(
        &mut self,
        ring: &Ring,
        verdict: Verdict,
        page: &Page,
        now: Instant,
    ) -> Option<Recovered<L>> {
        let (epoch, second) = (self.epoch, self.clocks.second(now));
        let raw_since = second.saturating_sub(RAW.as_secs() as u32);
        let back = self.clocks.back(ring.partition, page.time, now);
        let behind = self.rings.get(ring)?.behind.take()?;
        self.reading -= usize::from(behind.reading.is_some());
        self.parked -= behind.cost;
        let state = self.rings.get(ring)?;
        // Who listens since later has missed nothing.
        let missed = |held: &Held| {
            let raw = held.epoch < behind.raw && 0 < held.raw && raw_since <= held.raw;
            raw || held.epoch < epoch && verdict != Verdict::Whole
        };
        let gaps = state.topics.iter().filter(|(_, held)| missed(held));
        let mut gaps: Vec<_> = gaps.map(|(topic, _)| topic.clone()).collect();
        if verdict != Verdict::Whole {
            // What stood there is not what stands there now.
            state.seen.forget_newest();
        }
        if !matches!(
            verdict,
            Verdict::Whole | Verdict::Trimmed | Verdict::Overflow
        ) {
            // Ids may begin anew.
            let held = state.topics.values_mut();
            held.for_each(|held| held.newest = EntryId::NOWHERE);
        }
        let merged = merge::merge(
            &ring.tenant,
            state,
            page,
            back,
            &behind.position,
            behind.parked,
        );
        let (holes, events) = merged;
        if verdict == Verdict::Whole {
            gaps.extend(holes);
        }
        state.read = state.read.max(page.time);
        state.seen.reach(page.newest);
        Some(Recovered {
            verdict,
            gaps,
            events,
        })
    }
}
