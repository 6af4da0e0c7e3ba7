//! Whether a quiet connection is alive: asked, it must say something.

use std::time::{Duration, Instant};

/// What to do about a connection that says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Wait,
    Ask,
    GiveUp,
}

/// How long nothing was heard.
pub(super) struct Silence {
    pub(super) heard_at: Instant,
    asked: Option<Instant>,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            asked: None,
        }
    }

    /// Time has passed. A silent connection is given up within two intervals.
    pub(super) fn tick(&mut self, now: Instant, interval: Duration) -> Beat {
        let quiet = now.saturating_duration_since(self.heard_at);
        match self.asked {
            Some(at) if at <= self.heard_at => {
                self.asked = None;
                Beat::Wait
            }
            Some(at) if interval * 3 / 4 <= now.saturating_duration_since(at) => Beat::GiveUp,
            None if interval <= quiet => {
                self.asked = Some(now);
                Beat::Ask
            }
            _ => Beat::Wait,
        }
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
        let mut silence = Silence::new(start);
        for quarter in 0..4 {
            assert_eq!(silence.tick(at(quarter), interval), Beat::Wait);
        }
        assert_eq!(silence.tick(at(4), interval), Beat::Ask);
        for quarter in 5..7 {
            assert_eq!(silence.tick(at(quarter), interval), Beat::Wait);
        }
        assert_eq!(silence.tick(at(7), interval), Beat::GiveUp);
    }

    #[test]
    fn anything_heard_proves_life() {
        let interval = Duration::from_secs(4);
        let start = Instant::now();
        let mut silence = Silence::new(start);
        assert_eq!(silence.tick(start + interval, interval), Beat::Ask);
        silence.heard_at = start + interval * 3 / 2;
        assert_eq!(silence.tick(start + interval * 7 / 4, interval), Beat::Wait);
        assert_eq!(silence.tick(start + interval * 2, interval), Beat::Wait);
    }
}
