//! How many connections may still be let in this second.

use std::time::{Duration, Instant};

/// A bucket that fills at a rate and holds one second's worth.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: f64,
    left: f64,
    filled_at: Instant,
}

impl Allowance {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second,
            filled_at: now,
        }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let allowed = 1.0 <= self.left;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }

    /// When there is one again, as far as can be said.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        self.fill(now);
        let seconds = (1.0 - self.left).max(0.0) / self.per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn fill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.filled_at).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.per_second);
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_may_come_at_once_and_then_at_the_rate() {
        let now = Instant::now();
        let mut allowance = Allowance::new(10, now);
        assert_eq!((0..20).filter(|_| allowance.take(now)).count(), 10);
        let later = now + Duration::from_millis(350);
        assert_eq!((0..20).filter(|_| allowance.take(later)).count(), 3);
        let next = allowance.next(later).as_secs_f64();
        assert!((0.049..0.051).contains(&next), "{next}");
    }
}
