//! When a shard must look at a session though nothing happened to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::hub::SessionKey;

/// Room kept for timers however few there are.
const FEW: usize = 1024;

/// What a session is to be looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Its heartbeat.
    Beat,
    /// Its dialect asked to be woken.
    Wake,
    /// The client had its time to answer our close frame.
    Closed,
    /// It is as old as a connection may be.
    Aged,
}

/// Times to come, soonest first. A timer is not taken back when whoever it is
/// for leaves, which would mean searching for it; see [`tidy`](Self::tidy).
#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    heap: BinaryHeap<Reverse<(u64, Due, u32, u32)>>,
    /// So many timers are too many to keep those of who has left.
    many: usize,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            start: now,
            heap: BinaryHeap::new(),
            many: FEW,
        }
    }

    pub(super) fn add(&mut self, at: Instant, due: Due, session: SessionKey) {
        // Rounded up, so that it is never too early when it comes.
        let at = self.millis(at) + 1;
        self.heap
            .push(Reverse((at, due, session.slot, session.turn)));
    }

    /// How long until the next.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let Reverse((at, ..)) = self.heap.peek()?;
        Some(Duration::from_millis(at.saturating_sub(self.millis(now))))
    }

    /// Takes the next, if its time has come.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Due, SessionKey)> {
        let now = self.millis(now);
        let Reverse((at, due, slot, turn)) = *self.heap.peek()?;
        if now < at {
            return None;
        }
        self.heap.pop();
        Some((due, SessionKey { slot, turn }))
    }

    /// To be called now and then: forgets timers of who is not there any more
    /// when there are twice as many as after the last time, and gives back memory
    /// that a storm took.
    pub(super) fn tidy(&mut self, is_there: impl Fn(SessionKey) -> bool) {
        if self.many <= self.heap.len() {
            self.heap
                .retain(|&Reverse((_, _, slot, turn))| is_there(SessionKey { slot, turn }));
            self.many = FEW.max(self.heap.len() * 2);
        }
        if FEW.max(self.heap.len() * 4) < self.heap.capacity() {
            self.many = FEW.max(self.heap.len() * 2);
            self.heap.shrink_to(self.many);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_never_early() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        let key = |slot| SessionKey { slot, turn: 0 };
        timers.add(start + Duration::from_millis(20), Due::Beat, key(2));
        timers.add(start + Duration::from_micros(10_500), Due::Wake, key(1));
        assert_eq!(timers.next(start + Duration::from_millis(10)), None);
        let later = start + Duration::from_millis(30);
        assert_eq!(timers.next(later), Some((Due::Wake, key(1))));
        assert_eq!(timers.next(later), Some((Due::Beat, key(2))));
        assert_eq!(timers.wait(later), None);
    }

    #[test]
    fn sockets_that_have_left_leave_no_timers_behind() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        for turn in 0..100_000 {
            let at = start + Duration::from_secs(3600);
            timers.add(at, Due::Wake, SessionKey { slot: 0, turn });
            timers.tidy(|key| key.turn == turn);
        }
        assert!(timers.heap.len() <= FEW, "{}", timers.heap.len());
    }

    #[test]
    fn a_storm_that_is_over_takes_no_memory() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        for turn in 0..100_000 {
            timers.add(start, Due::Beat, SessionKey { slot: turn, turn });
            timers.tidy(|_| true);
        }
        assert_eq!(timers.heap.len(), 100_000, "all are there");
        let later = start + Duration::from_secs(1);
        while timers.next(later).is_some() {
            timers.tidy(|_| true);
        }
        assert!(timers.heap.capacity() <= FEW, "{}", timers.heap.capacity());
    }
}
