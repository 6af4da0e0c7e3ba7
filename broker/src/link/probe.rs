//! Whether a quiet connection is alive: it must bring back what we publish ourselves.

use std::time::{Duration, Instant};

/// What to do about a connection that says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Wait,
    Probe(u64),
    GiveUp,
}

/// Proof of life: a quiet connection must bring back what we publish ourselves.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) heard_at: Instant,
    sent: Option<(u64, Instant)>,
    nonce: u64,
}

impl Probe {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            sent: None,
            nonce: 0,
        }
    }

    pub(crate) fn tick(&mut self, now: Instant, interval: Duration) -> Beat {
        let quiet = now.saturating_duration_since(self.heard_at);
        match self.sent {
            Some((_, at)) if at <= self.heard_at => {
                self.sent = None;
                Beat::Wait
            }
            Some((_, at)) if interval * 3 / 4 <= now.saturating_duration_since(at) => Beat::GiveUp,
            None if interval <= quiet => {
                self.nonce += 1;
                self.sent = Some((self.nonce, now));
                Beat::Probe(self.nonce)
            }
            _ => Beat::Wait,
        }
    }

    /// How long the probe took, if this is its answer.
    pub(crate) fn answered(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        let (nonce, at) = self.sent?;
        let ours = std::str::from_utf8(payload).ok()?.parse() == Ok(nonce);
        ours.then(|| {
            self.sent = None;
            now.saturating_duration_since(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_is_given_up_within_two_intervals() {
        let interval = Duration::from_secs(4);
        let start = Instant::now();
        let at = |quarters: u32| start + interval / 4 * quarters;
        let mut probe = Probe::new(start);
        for quarter in 0..4 {
            assert_eq!(probe.tick(at(quarter), interval), Beat::Wait);
        }
        assert_eq!(probe.tick(at(4), interval), Beat::Probe(1));
        for quarter in 5..7 {
            assert_eq!(probe.tick(at(quarter), interval), Beat::Wait);
        }
        assert_eq!(probe.tick(at(7), interval), Beat::GiveUp);
    }

    #[test]
    fn a_connection_that_answers_its_probe_is_kept() {
        let interval = Duration::from_secs(4);
        let start = Instant::now();
        let mut probe = Probe::new(start);
        assert_eq!(probe.tick(start + interval, interval), Beat::Probe(1));
        let back = start + interval + Duration::from_millis(3);
        assert_eq!(probe.answered(b"7", back), None);
        assert_eq!(probe.answered(b"1", back), Some(Duration::from_millis(3)));
        probe.heard_at = back;
        assert_eq!(probe.tick(start + interval * 3 / 2, interval), Beat::Wait);
    }

    #[test]
    fn anything_heard_proves_life_even_if_the_probe_is_late() {
        let interval = Duration::from_secs(4);
        let start = Instant::now();
        let mut probe = Probe::new(start);
        assert_eq!(probe.tick(start + interval, interval), Beat::Probe(1));
        probe.heard_at = start + interval * 3 / 2;
        assert_eq!(probe.tick(start + interval * 7 / 4, interval), Beat::Wait);
        assert_eq!(probe.tick(start + interval * 2, interval), Beat::Wait);
    }
}
