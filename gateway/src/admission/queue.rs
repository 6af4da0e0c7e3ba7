//! Who may be upgraded now, who has to wait, and whose turn comes next.
//!
//! Clients that are refused come back at once, all of them and again and again;
//! clients that wait cost next to nothing. So who comes too fast is held here for
//! a while. Turns come at a steady rate and by lot: in order of arrival, who comes
//! late to a long queue would wait in vain, again and again.

use std::time::{Duration, Instant};

use super::allowance::Allowance;

/// How long somebody waits at most. Clients are known to give up after four
/// seconds, and what follows the wait takes time too.
pub(super) const PATIENCE: Duration = Duration::from_millis(3500);

/// Those who wait, each with what tells them.
#[derive(Debug)]
pub(super) struct Queue<T> {
    allowance: Allowance,
    most: usize,
    waiting: Vec<Waiting<T>>,
    numbers: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    since: Instant,
    tell: T,
}

/// What a moment brings.
#[derive(Debug)]
pub(super) struct Moment<T> {
    /// Whose turn it is.
    pub released: Vec<T>,
    /// Who has waited for too long.
    pub expired: Vec<T>,
    /// When to look again; `None` if nobody waits.
    pub next: Option<Duration>,
}

impl<T> Queue<T> {
    /// So many turns per second, and room for so many who wait.
    pub(super) fn new(per_second: u32, most: usize, now: Instant) -> Self {
        Self {
            allowance: Allowance::new(per_second, now),
            most,
            waiting: Vec::new(),
            numbers: 0,
        }
    }

    /// Whether somebody who has just come has a turn at once. Nobody overtakes
    /// those who wait.
    pub(super) fn passes(&mut self, now: Instant) -> bool {
        self.waiting.is_empty() && self.allowance.take(now)
    }

    /// Has somebody wait, and gives the number to [`leave`](Self::leave) by.
    /// `None` if there is no room.
    pub(super) fn park(&mut self, tell: T, now: Instant) -> Option<u64> {
        if self.most <= self.waiting.len() {
            return None;
        }
        self.numbers += 1;
        self.waiting.push(Waiting {
            number: self.numbers,
            since: now,
            tell,
        });
        Some(self.numbers)
    }

    /// Somebody waits no longer.
    pub(super) fn leave(&mut self, number: u64) {
        let place = self.waiting.iter().position(|w| w.number == number);
        if let Some(place) = place {
            self.waiting.swap_remove(place);
        }
    }

    /// Gives turns to as many as may have one by now. `lot` draws a number below the
    /// one it is given.
    pub(super) fn turn(&mut self, now: Instant, mut lot: impl FnMut(usize) -> usize) -> Moment<T> {
        let late = |w: &mut Waiting<T>| PATIENCE <= now.saturating_duration_since(w.since);
        let expired = self.waiting.extract_if(.., late).map(|w| w.tell).collect();
        let mut released = Vec::new();
        while !self.waiting.is_empty() && self.allowance.take(now) {
            let drawn = lot(self.waiting.len());
            released.push(self.waiting.swap_remove(drawn).tell);
        }
        let oldest = self.waiting.iter().map(|w| w.since).min();
        let next = oldest.map(|since| {
            let patience = (since + PATIENCE).saturating_duration_since(now);
            patience.min(self.allowance.next(now))
        });
        Moment {
            released,
            expired,
            next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue, and its clock, which only [`until`](Self::until) moves.
    struct Simulated {
        queue: Queue<usize>,
        start: Instant,
        passed: Vec<usize>,
        refused: Vec<usize>,
        /// Who was released when, in milliseconds.
        released: Vec<(u64, usize)>,
        expired: Vec<(u64, usize)>,
    }

    impl Simulated {
        fn new(per_second: u32, most: usize) -> Self {
            let start = Instant::now();
            Self {
                queue: Queue::new(per_second, most, start),
                start,
                passed: Vec::new(),
                refused: Vec::new(),
                released: Vec::new(),
                expired: Vec::new(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn come(&mut self, who: impl IntoIterator<Item = usize>, millis: u64) {
            let now = self.at(millis);
            for who in who {
                if self.queue.passes(now) {
                    self.passed.push(who);
                } else if self.queue.park(who, now).is_none() {
                    self.refused.push(who);
                }
            }
        }

        /// Lets time pass as whoever drives the queue does: from one moment to the next.
        fn until(&mut self, from: u64, to: u64, lot: impl Fn(usize) -> usize) {
            let mut now = self.at(from);
            while now <= self.at(to) {
                let moment = self.queue.turn(now, &lot);
                let millis = now.duration_since(self.start).as_millis() as u64;
                let at = |who| (millis, who);
                self.released.extend(moment.released.into_iter().map(at));
                self.expired.extend(moment.expired.into_iter().map(at));
                let Some(next) = moment.next else { return };
                now += next.max(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn who_comes_too_fast_waits_and_is_released_at_the_rate() {
        let mut simulated = Simulated::new(10, 20);
        simulated.come(0..40, 0);
        assert_eq!(simulated.passed, Vec::from_iter(0..10));
        assert_eq!(
            simulated.refused,
            Vec::from_iter(30..40),
            "there is no room"
        );
        simulated.until(0, 5000, |_| 0);
        let within = |from, to| {
            let released = simulated.released.iter();
            released.filter(|(at, _)| (from..to).contains(at)).count()
        };
        assert_eq!((within(0, 1000), within(1000, 2000)), (9, 10));
        assert_eq!(within(0, 2010), 20);
        assert!(simulated.expired.is_empty());
    }

    #[test]
    fn nobody_waits_longer_than_clients_do() {
        let mut simulated = Simulated::new(4, 100);
        simulated.come(0..24, 0);
        simulated.until(0, 10_000, |waiting| waiting - 1);
        assert_eq!(simulated.released.len(), 13);
        assert_eq!(simulated.expired.len(), 24 - 4 - 13);
        assert!(simulated.expired.iter().all(|&(at, _)| at == 3500));
    }

    #[test]
    fn turns_come_by_lot() {
        let order = |lot: fn(usize) -> usize| {
            let mut simulated = Simulated::new(1, 10);
            simulated.come(0..4, 0);
            simulated.until(0, 3400, lot);
            Vec::from_iter(simulated.released.into_iter().map(|(_, who)| who))
        };
        assert_eq!(order(|waiting| waiting - 1), [3, 2, 1]);
        assert_eq!(order(|waiting| waiting / 2), [2, 3, 1]);
    }

    #[test]
    fn nobody_overtakes_those_who_wait() {
        let mut simulated = Simulated::new(1, 10);
        simulated.come(0..2, 0);
        simulated.come([2], 1500);
        assert_eq!(simulated.passed, [0]);
        assert_eq!(simulated.queue.waiting.len(), 2);
    }

    #[test]
    fn who_leaves_makes_room() {
        let mut queue = Queue::new(0, 1, Instant::now());
        let number = queue.park((), Instant::now());
        assert!(queue.park((), Instant::now()).is_none());
        queue.leave(number.unwrap());
        assert!(queue.park((), Instant::now()).is_some());
    }
}
