//! How busy shards are.
//!
//! Each is a thread, so one that is full is late with all its sockets, however much
//! CPU the others and the process have left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::metrics::ShardMetrics;
use crate::shard::inbox::Inbox;

/// How often it is looked at, which is also the time that the share is of.
const LOOK: Duration = Duration::from_secs(5);

/// Shows it until `stop` resolves.
pub(crate) async fn watch(
    inboxes: Vec<Arc<Inbox>>,
    metrics: ShardMetrics,
    stop: impl Future<Output = ()>,
) {
    let worked = || inboxes.iter().map(|inbox| inbox.worked()).collect();
    let mut busy = Busy::new(worked(), Instant::now());
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking = async {
        loop {
            ticks.tick().await;
            let (all, busiest) = busy.look(worked(), Instant::now());
            metrics.busy_seconds.inc_by(all.as_secs_f64());
            metrics.busiest.set(busiest);
        }
    };
    tokio::select! {
        () = looking => {}
        () = stop => {}
    }
}

/// What each shard had done at the last look.
struct Busy {
    worked: Vec<Duration>,
    at: Instant,
}

impl Busy {
    fn new(worked: Vec<Duration>, at: Instant) -> Self {
        Self { worked, at }
    }

    /// What all have done since, and the share of that time that the busiest did.
    fn look(&mut self, worked: Vec<Duration>, now: Instant) -> (Duration, f64) {
        let since = worked.iter().zip(&self.worked);
        let since = since.map(|(now, then)| now.saturating_sub(*then));
        let all = since.clone().sum();
        let most = since.max().unwrap_or_default();
        let passed = now.saturating_duration_since(self.at);
        *self = Self::new(worked, now);
        // A turn counts as a whole when it ends, also if it began before.
        let share = most.as_secs_f64() / passed.as_secs_f64().max(f64::MIN_POSITIVE);
        (all, share.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_full_shard_shows_however_little_the_others_do() {
        let start = Instant::now();
        let millis = |each: [u64; 3]| each.map(Duration::from_millis).into();
        let mut busy = Busy::new(millis([0, 0, 0]), start);
        let now = start + Duration::from_secs(4);
        let (all, busiest) = busy.look(millis([100, 3800, 100]), now);
        assert_eq!(all, Duration::from_secs(4));
        assert!((0.949..0.951).contains(&busiest), "{busiest}");
        let now = now + Duration::from_secs(4);
        let (all, busiest) = busy.look(millis([100, 3800, 2100]), now);
        assert_eq!(all, Duration::from_secs(2));
        assert!((0.499..0.501).contains(&busiest), "{busiest}");
    }

    #[test]
    fn a_turn_that_began_before_the_last_look_makes_no_more_than_all_of_the_time() {
        let start = Instant::now();
        let mut busy = Busy::new(vec![Duration::ZERO], start);
        let worked = vec![Duration::from_secs(9)];
        let (_, busiest) = busy.look(worked, start + Duration::from_secs(5));
        assert!(busiest <= 1.0);
    }
}
