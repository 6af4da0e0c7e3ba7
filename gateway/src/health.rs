//! Whether this node is fit for new sockets, and who it tells that it is there.

use std::time::Duration;

use broker::bus::{ANNOUNCE_INTERVAL, Bus};
use broker::link::LinkState;
use broker::node::{Condition, Node};
use broker::topology::Redis;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tracing::{info, warn};

/// How often Redis is asked whether it answers.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the conditions `redis` and `link` of the node true, until it has drained.
///
/// A link may be down for `grace` before the node asks for no new sockets, and for
/// longer while `better` does not say that another node hears: if all nodes lose
/// theirs at once, the load balancer must not be left empty.
pub async fn watch(
    node: Node,
    redis: Redis,
    mut link: watch::Receiver<LinkState>,
    better: watch::Receiver<bool>,
    grace: Duration,
) {
    let conditions = Conditions {
        redis: node.condition("redis"),
        link: node.condition("link"),
    };
    let redis_answers = watch::Sender::new(true);
    // A Redis that is silent holds up its own answer, not what is said of the link.
    let ask = async {
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            let answered = *redis_answers.borrow();
            redis_answers.send_replace(conditions.ask(&redis, answered).await);
        }
    };
    let show = async {
        let mut ticks = ticks();
        let mut was_up = false;
        let mut down_since = Instant::now();
        loop {
            let state = link.borrow_and_update().clone();
            if let LinkState::Up = state {
                was_up = true;
                down_since = Instant::now();
            }
            let elsewhere = *redis_answers.borrow() && *better.borrow();
            let at_fault = grace <= down_since.elapsed() && elsewhere;
            conditions.show_link(&state, was_up, at_fault);
            tokio::select! {
                _ = ticks.tick() => {}
                // The sender lives as long as the link, which outlives the drain.
                _ = link.changed() => {}
            }
        }
    };
    let both = async { tokio::join!(ask, show) };
    let _ = node.until_drain(both).await;
}

fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

struct Conditions {
    redis: Condition,
    link: Condition,
}

impl Conditions {
    /// Redis being away is not this node's fault: it keeps its sockets, refuses
    /// new ones with a wait, and stays ready, as the other nodes are no better.
    /// `answered` says whether Redis did last time: only a change is news.
    async fn ask(&self, redis: &Redis, answered: bool) -> bool {
        let answer = redis.ping().await;
        match &answer {
            Ok(()) => {
                if !answered {
                    info!("redis answers again");
                }
                self.redis.up();
            }
            Err(error) => {
                if answered {
                    warn!(%error, "redis does not answer");
                }
                self.redis.degraded("redis does not answer commands");
            }
        }
        answer.is_ok()
    }

    fn show_link(&self, state: &LinkState, was_up: bool, at_fault: bool) {
        match state {
            LinkState::Up => self.link.up(),
            LinkState::Down(reason) if at_fault || !was_up => self.link.down(*reason),
            LinkState::Down(reason) => self.link.degraded(*reason),
        }
    }
}

/// Tells the cluster that this gateway is there and whether it hears what is
/// published, until `end`: while it leaves it still has sockets, of which it is asked. And
/// tells `better` whether another one hears while this does not.
pub async fn announce(
    node: Node,
    bus: Bus,
    mut link: watch::Receiver<LinkState>,
    better: watch::Sender<bool>,
    end: impl Future<Output = ()>,
) {
    let mut ticks = tokio::time::interval(ANNOUNCE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        let mut hears = false;
        let mut leaving = false;
        let mut failing = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // The sender lives as long as the link, which outlives the drain.
                _ = link.wait_for(|state| (*state == LinkState::Up) != hears) => {}
                () = node.draining(), if !leaving => leaving = true,
            }
            hears = *link.borrow() == LinkState::Up;
            // For the sake of one that leaves nobody is to turn clients away.
            let announced = bus.announce(node.name(), hears && !leaving).await;
            // Only a change is news.
            if let (Err(error), false) = (&announced, failing) {
                warn!(%error, "this gateway cannot announce itself");
            }
            failing = announced.is_err();
            let another = !hears && bus.another_hears(node.name()).await.unwrap_or(false);
            better.send_replace(another);
        }
    };
    tokio::select! {
        () = work => {}
        () = end => {}
    }
    if let Err(error) = bus.depart(node.name()).await {
        warn!(%error, "this gateway could not take its leave");
    }
}
