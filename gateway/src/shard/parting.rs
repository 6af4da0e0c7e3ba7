//! Who is to be closed for what it missed, and at which pace.
//!
//! What many missed together must not bring them all back together: they go in
//! random order, no faster than nodes let clients in, but within the window of a
//! drain however many they are.

use std::time::{Duration, Instant};

use super::DRAIN_STEP;
use crate::hub::SessionKey;

/// Sessions that wait to be closed.
#[derive(Debug)]
pub(super) struct Parting {
    waiting: Vec<SessionKey>,
    /// How many may go in a second while few wait,
    rate: f64,
    /// and how many do now.
    pace: f64,
    window: Duration,
    /// How many may go, counted until then. While nobody waits not more than one: who
    /// missed something alone goes at once.
    due: f64,
    counted: Instant,
}

impl Parting {
    /// `rate` a second, or as many as it takes for nobody to wait longer than about
    /// `window`.
    pub(super) fn new(rate: f64, window: Duration, now: Instant) -> Self {
        Self {
            waiting: Vec::new(),
            rate,
            pace: rate,
            window,
            due: 1.0,
            counted: now,
        }
    }

    /// One more is to go. To be said once of each.
    pub(super) fn add(&mut self, key: SessionKey, now: Instant) {
        if self.waiting.is_empty() {
            self.count(now);
            self.due = self.due.min(1.0);
            self.pace = self.rate;
        }
        self.waiting.push(key);
        let needed = self.waiting.len() as f64 / self.window.as_secs_f64();
        self.pace = self.pace.max(needed);
    }

    /// One who goes now, if there is one. `random` gives a number below that which it
    /// gets.
    pub(super) fn next(
        &mut self,
        now: Instant,
        random: impl FnOnce(usize) -> usize,
    ) -> Option<SessionKey> {
        if self.waiting.is_empty() {
            return None;
        }
        self.count(now);
        if self.due < 1.0 {
            return None;
        }
        self.due -= 1.0;
        let chosen = random(self.waiting.len());
        let key = self.waiting.swap_remove(chosen);
        if self.waiting.is_empty() {
            // A storm's worth of room is not kept.
            self.waiting = Vec::new();
        }
        Some(key)
    }

    /// How long until somebody goes, if somebody waits.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        let gone = now.saturating_duration_since(self.counted);
        let seconds = (1.0 - self.due).max(0.0) / self.pace;
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Some(wait.saturating_sub(gone).max(DRAIN_STEP))
    }

    fn count(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.counted = now;
        match self.window.is_zero() {
            true => self.due = f64::INFINITY,
            false => self.due += passed * self.pace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn key(slot: u32) -> SessionKey {
        SessionKey { slot, turn: 0 }
    }

    fn of(rate: f64, window: Duration) -> (Parting, Instant) {
        let now = Instant::now();
        (Parting::new(rate, window, now), now)
    }

    /// Those that go, each when, if so many missed something together.
    fn all(rate: f64, window: Duration, count: u32) -> Vec<(SessionKey, Duration)> {
        let (mut parting, start) = of(rate, window);
        (0..count).for_each(|slot| parting.add(key(slot), start));
        let (mut now, mut gone) = (start, Vec::new());
        loop {
            while let Some(key) = parting.next(now, |among| among / 2) {
                gone.push((key, now - start));
            }
            let Some(wait) = parting.wait(now) else {
                return gone;
            };
            now += wait;
        }
    }

    /// How long it takes until so many have gone.
    fn seconds(rate: f64, count: u32) -> f64 {
        let gone = all(rate, WINDOW, count);
        assert_eq!(gone.len(), count as usize);
        gone.last().unwrap().1.as_secs_f64()
    }

    #[test]
    fn they_go_at_the_rate_or_faster_if_there_are_too_many_for_the_window() {
        assert_eq!(seconds(2000.0, 1), 0.0);
        let expected = [(600, 0.3), (100_000, 50.0), (200_000, 60.0)];
        for (count, expected) in expected {
            let took = seconds(2000.0, count);
            assert!((took - expected).abs() <= 0.05, "{count}: {took}");
        }
        // Nobody is let in: then the window counts alone.
        assert!((seconds(0.0, 60) - 59.0).abs() <= 0.1);
        let at_once = all(2000.0, Duration::ZERO, 1000);
        assert!(at_once.iter().all(|(_, at)| at.is_zero()) && at_once.len() == 1000);
    }

    #[test]
    fn they_go_evenly_and_not_in_the_order_in_which_they_were_told() {
        let gone = all(2000.0, WINDOW, 2000);
        let most = DRAIN_STEP.as_secs_f64() * 2000.0 + 1.0;
        for turn in gone.chunk_by(|one, next| one.1 == next.1) {
            assert!(turn.len() as f64 <= most, "{}", turn.len());
        }
        let first = &gone[..100];
        assert!(first.iter().any(|(key, _)| 1000 <= key.slot));
        let mut slots: Vec<_> = gone.iter().map(|(key, _)| key.slot).collect();
        slots.sort_unstable();
        assert!(slots.into_iter().eq(0..2000), "each once");
    }

    #[test]
    fn some_now_and_then_are_no_faster_than_many_together() {
        let (mut parting, start) = of(10.0, WINDOW);
        let (mut now, mut gone) = (start, 0);
        for slot in 0..1000 {
            now += Duration::from_millis(10);
            parting.add(key(slot), now);
            gone += usize::from(parting.next(now, |_| 0).is_some());
        }
        // Ten seconds of up to 1,000 that wait, over a minute.
        assert!((100..200).contains(&gone), "{gone}");
        let (mut parting, start) = of(10.0, WINDOW);
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            parting.add(key(0), now);
            assert_eq!(parting.next(now, |_| 0), Some(key(0)), "at once");
            assert_eq!(parting.wait(now), None);
        }
    }
}
