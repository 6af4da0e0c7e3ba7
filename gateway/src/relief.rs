//! What a gateway does as memory runs out: it lets nobody in, and bounds what its
//! sockets hold by what is left, before the kernel ends all of them.
//!
//! What sockets hold is counted at once, what the process uses is seen late: what
//! sockets let go of is given back to the system after a second or more. So what the
//! process would use if they held nothing is worked out from a stretch of time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::node::memory::{Pressure, Reading};
use tokio::sync::watch;
use tracing::warn;

use crate::admission::Admission;
use crate::metrics::ShardMetrics;
use crate::shard::Held;
use crate::shard::inbox::{Inbox, Mail};

/// What sockets hold is not to bring a process above this share of its memory.
const EASED: f64 = 0.92;
/// From this share on, sockets that hold nothing are closed too: it is not their
/// fault, but all of them would end with the process.
const LAST: f64 = 0.97;
/// How long it takes at most until what was let go of shows: the allocator gives pages
/// back after a second, and the kernel its buffers when the socket is closed.
const SETTLING: Duration = Duration::from_secs(3);
/// The share of its sockets that a node closes per [`SETTLING`] though they hold
/// nothing, one in so many.
const ONE_IN: usize = 50;

/// Acts on the pressure for as long as somebody tells of it. Whether anybody is let in
/// follows from it at once, also if this has not been polled yet.
pub(crate) fn give(
    mut told: watch::Receiver<Pressure>,
    admission: Arc<Admission>,
    inboxes: Vec<Arc<Inbox>>,
    held: Held,
    metrics: ShardMetrics,
) -> impl Future<Output = ()> {
    admission.overloaded(told.borrow().scarce);
    let mut relieving = Relieving::default();
    async move {
        while told.changed().await.is_ok() {
            let Pressure { reading, scarce } = *told.borrow_and_update();
            admission.overloaded(scarce);
            let Some(reading) = reading else {
                held.bound(usize::MAX);
                continue;
            };
            let now = Instant::now();
            let bytes = held.bytes();
            let bound = relieving.bound(reading, bytes, now);
            held.bound(bound);
            if bound < bytes {
                // They must not wait for something to happen to them.
                inboxes.iter().for_each(|inbox| inbox.wake());
            }
            if relieving.is_last(reading, now) {
                let sockets = usize::try_from(metrics.connections()).unwrap_or(0);
                let sockets = sockets.div_ceil(ONE_IN);
                let Reading { used, limit } = reading;
                warn!(used, limit, sockets, "memory runs out: sockets are closed");
                let each = sockets.div_ceil(inboxes.len());
                inboxes
                    .iter()
                    .for_each(|inbox| inbox.send(Mail::Relieve(each)));
            }
        }
    }
}

/// What was seen within [`SETTLING`], and what was done about it.
#[derive(Debug, Default)]
struct Relieving {
    held: VecDeque<(Instant, usize)>,
    /// What was used beside that.
    others: VecDeque<(Instant, i128)>,
    closed_at: Option<Instant>,
}

impl Relieving {
    /// How much sockets may hold, that hold `held` bytes now.
    fn bound(&mut self, reading: Reading, held: usize, now: Instant) -> usize {
        let most_held = most(&mut self.held, held, now) as i128;
        // What is not seen to be given back yet counts as held.
        let others = i128::from(reading.used) - most_held;
        let others = most(&mut self.others, others, now);
        let eased = (reading.limit as f64 * EASED) as i128;
        usize::try_from((eased - others).max(0)).unwrap_or(usize::MAX)
    }

    /// Whether it is time to close some that hold nothing.
    fn is_last(&mut self, reading: Reading, now: Instant) -> bool {
        let settled = |at| SETTLING <= now.saturating_duration_since(at);
        let is_last = LAST <= reading.share() && self.closed_at.is_none_or(settled);
        if is_last {
            self.closed_at = Some(now);
        }
        is_last
    }
}

/// The most of what was seen within [`SETTLING`], and now.
fn most<T: Copy + Ord>(seen: &mut VecDeque<(Instant, T)>, value: T, now: Instant) -> T {
    let old = |at| SETTLING < now.saturating_duration_since(at);
    while seen.front().is_some_and(|&(at, _)| old(at)) {
        seen.pop_front();
    }
    // What is less than what came later will never be the most.
    while seen.back().is_some_and(|&(_, earlier)| earlier <= value) {
        seen.pop_back();
    }
    seen.push_back((now, value));
    seen.front().map_or(value, |&(_, most)| most)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use prometheus::Registry;

    use super::*;
    use crate::admission::{Capacity, Denial};
    use crate::metrics::Metrics;

    fn reading(used: u64) -> Reading {
        Reading { used, limit: 1000 }
    }

    /// Looks ten times a second at what is used and held.
    struct Looks {
        relieving: Relieving,
        start: Instant,
        looks: u32,
    }

    impl Looks {
        fn new() -> Self {
            Self {
                relieving: Relieving::default(),
                start: Instant::now(),
                looks: 0,
            }
        }

        fn look(&mut self, used: u64, held: usize) -> usize {
            self.looks += 1;
            let now = self.start + self.looks * Duration::from_millis(100);
            self.relieving.bound(reading(used), held, now)
        }
    }

    #[tokio::test]
    async fn nobody_is_let_in_who_is_faster_than_the_second_look_at_memory() {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let capacity = Capacity {
            connections: 10,
            per_address: 0,
            accept_rate: 1000,
            waiting: 0,
        };
        let admission = Admission::new(capacity, metrics.admission);
        let scarce = Pressure {
            reading: Some(reading(900)),
            scarce: true,
        };
        let (_tell, told) = watch::channel(scarce);
        let held = Held::new(usize::MAX);
        let giving = give(told, Arc::clone(&admission), vec![], held, metrics.shard);
        let refused = admission.permit(IpAddr::V4(Ipv4Addr::LOCALHOST)).await;
        assert_eq!(refused.unwrap_err(), Denial::Overloaded);
        drop(giving);
    }

    #[test]
    fn sockets_may_hold_what_is_left_beside_everything_else() {
        let mut looks = Looks::new();
        assert_eq!(looks.look(200, 0), 720);
        assert_eq!(looks.look(600, 400), 720, "they hold what was added");
        assert_eq!(looks.look(700, 400), 620, "others took it");
        assert_eq!(looks.look(1400, 400), 0, "and all of it");
    }

    #[test]
    fn what_was_let_go_of_is_not_asked_for_again_and_not_given_away_twice() {
        let mut looks = Looks::new();
        assert_eq!(looks.look(900, 700), 720);
        // Let go of, and not seen to be given back for a second.
        for _ in 0..10 {
            assert_eq!(looks.look(900, 300), 720);
        }
        // Given back, while what was held before still counts.
        for _ in 0..60 {
            assert_eq!(looks.look(500, 300), 720);
        }
    }

    #[test]
    fn sockets_that_hold_nothing_go_last_and_a_few_at_a_time() {
        let mut relieving = Relieving::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!relieving.is_last(reading(969), at(0)));
        assert!(relieving.is_last(reading(970), at(0)));
        assert!(!relieving.is_last(reading(990), at(2999)));
        assert!(relieving.is_last(reading(990), at(3000)));
    }
}
