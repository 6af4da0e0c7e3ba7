//! How many connections may still be let in this second.

use std::time::Instant;

/// A bucket that fills at a rate and holds one second's worth.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: f64,
    left: f64,
    filled_at: Instant,
}

impl Allowance {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second,
            filled_at: Instant::now(),
        }
    }

    pub(super) fn take(&mut self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.filled_at).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.per_second);
        self.filled_at = now;
        let allowed = 1.0 <= self.left;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_s_worth_may_come_at_once_and_then_at_the_rate() {
        let mut allowance = Allowance::new(10);
        let now = Instant::now();
        assert_eq!((0..20).filter(|_| allowance.take_at(now)).count(), 10);
        let later = now + Duration::from_millis(350);
        assert_eq!((0..20).filter(|_| allowance.take_at(later)).count(), 3);
    }
}
