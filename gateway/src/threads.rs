//! The threads of the shards, and what becomes of one that hangs.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use broker::link::{Batch, Outlet, Wants};
use broker::node::Node;
use broker::trace::Tracing;
use prometheus::IntCounter;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tracing::error;

use crate::config::Config;
use crate::dialect::Protocol;
use crate::errands::Errands;
use crate::metrics::ShardMetrics;
use crate::session::SessionLimits;
use crate::shard::inbox::{Inbox, Mail};
use crate::shard::{Berth, Held, ShardSettings};

/// How often shards are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The most shards of one node: a link tells no more listeners apart than 64, and
/// users of Misskey hosts are one.
const MAX_SHARDS: usize = 63;
/// A shard that has done nothing since so many looks has hung. Looks count, not
/// time: a process that was stopped for a minute comes back to shards that had
/// none of it.
const LOOKS: u32 = 2;

/// Shards that have no threads yet: as many as settings say, or one per core.
pub(crate) fn berths(
    config: &Config,
    held: &Held,
    wants: &Wants,
    errands: &Errands,
    tracing: &Tracing,
    metrics: &ShardMetrics,
) -> io::Result<Vec<Berth>> {
    let limits = |protocol| SessionLimits {
        frames_per_second: match protocol {
            Protocol::Push | Protocol::Hypothesis => config.frames_per_second,
            Protocol::Misskey => config.misskey_frames_per_second,
        },
        heartbeat: config.heartbeat,
    };
    let count = match config.shards {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let count = count.min(MAX_SHARDS);
    let settings = ShardSettings {
        session: Protocol::EVERY.map(limits),
        max_frame: config.max_frame,
        max_queue: config.max_queue,
        drain_window: config.drain_window,
        // Other nodes let as many in.
        missed_rate: f64::from(config.accept_rate) / count as f64,
        max_age: config.max_age,
    };
    let berth = |number| {
        Berth::new(
            number,
            settings,
            held.clone(),
            wants.clone(),
            errands.clone(),
            metrics.clone(),
        )
        .map(|berth| berth.traced(tracing.clone()))
    };
    (0..count).map(berth).collect()
}

/// Gives each shard its thread; each receiver resolves when its shard has ended.
pub(crate) fn start(node: &Node, berths: Vec<Berth>) -> io::Result<Vec<oneshot::Receiver<()>>> {
    let mut ended = Vec::new();
    for (number, berth) in berths.into_iter().enumerate() {
        let (end, ending) = oneshot::channel();
        let (watch, node) = (node.watch("shard"), node.clone());
        thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || {
                let _watch = watch;
                if let Err(error) = berth.run() {
                    error!(%error, "a shard's poll failed");
                    node.fail("a shard has ended");
                }
                let _ = end.send(());
            })?;
        ended.push(ending);
    }
    Ok(ended)
}

/// The shards as the link and [`watch`] see them.
pub(crate) fn outlets(
    node: &Node,
    inboxes: &[Arc<Inbox>],
    metrics: &ShardMetrics,
) -> Vec<ShardOutlet> {
    let outlet = |(number, inbox): (usize, &Arc<Inbox>)| ShardOutlet {
        number,
        inbox: Arc::clone(inbox),
        node: node.clone(),
        hung: metrics.hung.clone(),
        given_up: Arc::default(),
    };
    inboxes.iter().enumerate().map(outlet).collect()
}

/// Where the link leaves what it has for one shard. Clones are the same place.
#[derive(Clone)]
pub(crate) struct ShardOutlet {
    number: usize,
    inbox: Arc<Inbox>,
    node: Node,
    hung: IntCounter,
    given_up: Arc<AtomicBool>,
}

impl Outlet for ShardOutlet {
    fn leave(&self, batch: Batch) {
        self.inbox.send(Mail::Batch(batch));
    }

    /// A thread cannot be ended from outside, only its process can.
    fn given_up(&self) {
        if !self.given_up.swap(true, Ordering::Relaxed) {
            self.hung.inc();
            self.node.fail(&format!("shard {} has hung", self.number));
        }
    }
}

/// Gives up shards that do nothing though they are woken, until the node drains.
pub(crate) async fn watch(node: Node, shards: Vec<ShardOutlet>) {
    let mut watched: Vec<_> = shards.into_iter().map(Watched::new).collect();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking = async {
        loop {
            ticks.tick().await;
            watched.iter_mut().for_each(Watched::look);
        }
    };
    let _: Option<Infallible> = node.until_drain(looking).await;
}

/// A shard, and what was last seen of it.
struct Watched {
    shard: ShardOutlet,
    progress: Option<u64>,
    looks_without: u32,
}

impl Watched {
    fn new(shard: ShardOutlet) -> Self {
        Self {
            shard,
            progress: None,
            looks_without: 0,
        }
    }

    fn look(&mut self) {
        let progress = Some(self.shard.inbox.progress());
        if self.progress == progress {
            self.looks_without += 1;
        } else {
            self.progress = progress;
            self.looks_without = 0;
        }
        if self.looks_without == LOOKS {
            self.shard.given_up();
        }
        self.shard.inbox.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use mio::{Poll, Token, Waker};
    use prometheus::Registry;

    use super::*;
    use crate::metrics::Metrics;

    fn inbox() -> (Arc<Inbox>, Poll) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        (Arc::new(Inbox::new(waker)), poll)
    }

    fn node() -> Node {
        let node = Node::new("gateway", "g1".to_owned());
        node.running();
        node
    }

    fn metrics() -> ShardMetrics {
        Metrics::register(&Registry::new()).unwrap().shard
    }

    #[test]
    fn a_shard_that_hangs_fails_the_node_and_is_counted_once() {
        let (inbox, _poll) = inbox();
        let (node, metrics) = (node(), metrics());
        let outlets = outlets(&node, &[inbox], &metrics);
        assert!(node.is_ready());
        let mut watched = Watched::new(outlets[0].clone());
        for _ in 0..LOOKS {
            watched.look();
            assert!(node.is_ready());
        }
        watched.look();
        assert!(!node.is_ready());
        assert_eq!(node.exit_code(), ExitCode::FAILURE);
        outlets[0].given_up();
        assert_eq!(metrics.hung.get(), 1);
    }

    #[test]
    fn a_shard_with_nothing_to_do_is_not_taken_for_one_that_hangs() {
        let (node, metrics) = (node(), metrics());
        let limits = SessionLimits {
            frames_per_second: 1,
            heartbeat: Duration::from_secs(25),
        };
        let settings = ShardSettings {
            session: [limits; Protocol::EVERY.len()],
            max_frame: 1,
            max_queue: 1,
            drain_window: Duration::ZERO,
            missed_rate: 0.0,
            max_age: Duration::ZERO,
        };
        let errands = Errands::default();
        let berth = Berth::new(
            0,
            settings,
            Held::new(1),
            Wants::default(),
            errands,
            metrics.clone(),
        )
        .unwrap();
        let inbox = berth.inbox();
        let mut watched = Watched::new(outlets(&node, &[berth.inbox()], &metrics).remove(0));
        let shard = thread::spawn(move || berth.run());
        for _ in 0..=2 * LOOKS {
            let before = inbox.progress();
            watched.look();
            while inbox.progress() == before {
                thread::yield_now();
            }
        }
        assert!(node.is_ready());
        inbox.send(Mail::End);
        shard.join().unwrap().unwrap();
    }
}
