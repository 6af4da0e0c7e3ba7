//! The threads of the shards.

use std::io;
use std::sync::Arc;
use std::thread;

use broker::link::{Batch, Outlet, Wants};
use broker::node::Node;
use prometheus::IntCounter;
use tokio::sync::oneshot;
use tracing::error;

use crate::config::Config;
use crate::errands::Errands;
use crate::metrics::ShardMetrics;
use crate::session::SessionLimits;
use crate::shard::inbox::{Inbox, Mail};
use crate::shard::{Berth, ShardSettings};

/// Shards that have no threads yet: as many as settings say, or one per core.
pub(crate) fn berths(
    config: &Config,
    wants: &Wants,
    errands: &Errands,
    metrics: &ShardMetrics,
) -> io::Result<Vec<Berth>> {
    let settings = ShardSettings {
        session: SessionLimits {
            frames_per_second: config.frames_per_second,
            heartbeat: config.heartbeat,
        },
        max_frame: config.max_frame,
        max_queue: config.max_queue,
    };
    let count = match config.shards {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let berth = |number| {
        Berth::new(
            number,
            settings,
            wants.clone(),
            errands.clone(),
            metrics.clone(),
        )
    };
    (0..count.min(64)).map(berth).collect()
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

/// Where the link leaves what it has for each shard.
pub(crate) fn outlets(
    node: &Node,
    inboxes: &[Arc<Inbox>],
    metrics: &ShardMetrics,
) -> Vec<Box<dyn Outlet>> {
    let slot = |(number, inbox): (usize, &Arc<Inbox>)| {
        Box::new(Slot {
            number,
            inbox: Arc::clone(inbox),
            node: node.clone(),
            hung: metrics.hung.clone(),
        }) as Box<dyn Outlet>
    };
    inboxes.iter().enumerate().map(slot).collect()
}

struct Slot {
    number: usize,
    inbox: Arc<Inbox>,
    node: Node,
    hung: IntCounter,
}

impl Outlet for Slot {
    fn leave(&self, batch: Batch) {
        self.inbox.send(Mail::Batch(batch));
    }

    /// A thread cannot be ended from outside, only its process can.
    fn given_up(&self) {
        self.hung.inc();
        self.node.fail(&format!("shard {} has hung", self.number));
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use mio::{Poll, Token, Waker};
    use prometheus::Registry;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_shard_that_hangs_is_counted_and_fails_the_node() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let node = Node::new("gateway", "g1".to_owned());
        node.running();
        let metrics = Metrics::register(&Registry::new()).unwrap().shard;
        let outlets = outlets(&node, &[Arc::new(Inbox::new(waker))], &metrics);
        assert!(node.is_ready());
        outlets[0].given_up();
        assert!(!node.is_ready());
        assert_eq!(node.exit_code(), ExitCode::FAILURE);
        assert_eq!(metrics.hung.get(), 1);
    }
}
