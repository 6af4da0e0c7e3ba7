//! How a gateway leaves: its load balancer first, then its clients, evenly.

use std::sync::Arc;
use std::time::Duration;

use broker::node::Node;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::shard::inbox::{Inbox, Mail};

/// How often the sockets that are left are counted.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);

/// Waits, unless the node is told to hurry.
pub(crate) async fn pause(node: &Node, delay: Duration) {
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = node.hurrying() => {}
    }
}

/// Has all sockets closed over the window, or at once if the node hurries.
pub(crate) async fn drain(
    node: &Node,
    inboxes: &[Arc<Inbox>],
    window: Duration,
    ended: Vec<oneshot::Receiver<()>>,
) {
    let begin = |window| {
        inboxes
            .iter()
            .for_each(|inbox| inbox.send(Mail::Drain(window)));
    };
    begin(window);
    let all_ended = async {
        for end in ended {
            // A shard whose thread is gone has ended too.
            let _ = end.await;
        }
    };
    let mut all_ended = std::pin::pin!(all_ended);
    tokio::select! {
        () = &mut all_ended => return,
        () = node.hurrying() => begin(Duration::ZERO),
    }
    all_ended.await;
}

/// Shows how many sockets are left while they are being closed.
pub(crate) async fn watch_remaining(draining: impl Future<Output = ()>, metrics: &Metrics) {
    let mut draining = std::pin::pin!(draining);
    let mut ticks = tokio::time::interval(COUNT_INTERVAL);
    loop {
        metrics.drain_remaining.set(metrics.shard.connections.get());
        tokio::select! {
            () = &mut draining => break,
            _ = ticks.tick() => {}
        }
    }
    metrics.drain_remaining.set(0);
}
