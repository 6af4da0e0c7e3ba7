//! What Redis' clocks have said, and up to when that proves everything to be heard.

use std::time::Instant;

use super::OVERLAP;
use crate::keys::{PARTITIONS, Partition};

/// The same in milliseconds.
pub(super) const OVERLAP_MILLIS: u64 = OVERLAP.as_millis() as u64;

/// The clocks by which events are dated, of each partition's server. Our own runs
/// as they do from a start on.
#[derive(Debug)]
pub(super) struct Clocks {
    proofs: [Proof; PARTITIONS as usize],
    /// How far ahead of the time since the start Redis' clock was at most, in
    /// milliseconds.
    ahead: [u64; PARTITIONS as usize],
    start: Instant,
}

/// Redis was heard to say that it is this late.
#[derive(Clone, Copy, Debug, Default)]
struct Proof {
    millis: u64,
    /// On this connection, and not in doubt since.
    sure: bool,
}

impl Clocks {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            proofs: [Proof::default(); PARTITIONS as usize],
            ahead: [0; PARTITIONS as usize],
            start: now,
        }
    }

    /// Whether anything is known of all of them.
    pub(super) fn have_begun(&self) -> bool {
        self.proofs.iter().all(|proof| 0 < proof.millis)
    }

    /// By the clock of one server it is this late, and nothing was heard so far.
    pub(super) fn begin(&mut self, millis: u64, now: Instant) {
        let ahead = millis.saturating_sub(self.passed(now));
        self.ahead = [ahead; PARTITIONS as usize];
        self.proofs = [Proof {
            millis: millis.saturating_sub(OVERLAP_MILLIS),
            sure: true,
        }; PARTITIONS as usize];
    }

    /// All that the partition published before it was this late has been heard.
    pub(super) fn prove(&mut self, partition: Partition, millis: u64, now: Instant) {
        self.read(partition, millis, now);
        self.proofs[usize::from(partition.index())] = Proof { millis, sure: true };
    }

    /// It is this late there, whatever may have been heard.
    pub(super) fn read(&mut self, partition: Partition, millis: u64, now: Instant) {
        let ahead = millis.saturating_sub(self.passed(now));
        let was = &mut self.ahead[usize::from(partition.index())];
        *was = ahead.max(*was);
    }

    /// Since the last proof, something may not have been heard.
    pub(super) fn doubt(&mut self, partition: Partition) {
        self.proofs[usize::from(partition.index())].sure = false;
    }

    /// The time of the last proof, in Unix milliseconds.
    pub(super) fn proved(&self, partition: Partition) -> u64 {
        self.proofs[usize::from(partition.index())].millis
    }

    /// The same of all partitions, unless one is in doubt.
    pub(super) fn all_proved(&self) -> Option<u64> {
        let sure = self.proofs.iter().all(|proof| proof.sure);
        let proofs = self.proofs.iter().map(|proof| proof.millis);
        proofs.min().filter(|_| sure)
    }

    /// Not later than it is there now, in Unix milliseconds, unless that clock goes
    /// back; see [`back`](Self::back).
    pub(super) fn at(&self, partition: Partition, now: Instant) -> u64 {
        self.ahead[usize::from(partition.index())] + self.passed(now)
    }

    /// How far Redis' clock may be behind what it was: another has taken its place,
    /// or its answer was long on its way. Not more than what is read before a position.
    pub(super) fn back(&self, partition: Partition, millis: u64, now: Instant) -> u64 {
        let ahead = millis.saturating_sub(self.passed(now));
        let was = self.ahead[usize::from(partition.index())];
        was.saturating_sub(ahead).min(OVERLAP_MILLIS)
    }

    /// Seconds since the start, from 1 on.
    pub(super) fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.start).as_secs() + 1;
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    /// Milliseconds since the start.
    fn passed(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX)
    }
}
