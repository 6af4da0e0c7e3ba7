//! How a gateway leaves: its load balancer first, then its clients, evenly.

use std::sync::Arc;
use std::time::Duration;

use broker::node::Node;
use tokio::sync::oneshot;
use tracing::error;

use crate::metrics::Metrics;
use crate::shard::inbox::{Inbox, Mail};

/// How often the sockets that are left are counted.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);
/// How long shards have to end after the window: twice what clients have to
/// answer a close frame. The sockets of one that has hung end with the process.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(10);

/// Waits, unless the node is told to hurry.
pub(crate) async fn pause(node: &Node, delay: Duration) {
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = node.hurrying() => {}
    }
}

/// Has all sockets closed over the window, or at once if the node hurries. A
/// shard that has not ended `last_call` after that is not waited for.
pub(crate) async fn drain(
    node: &Node,
    inboxes: &[Arc<Inbox>],
    window: Duration,
    last_call: Duration,
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
        () = tokio::time::sleep(window) => {}
    }
    if tokio::time::timeout(last_call, all_ended).await.is_err() {
        error!("not all shards have ended; their sockets end with the process");
    }
}

/// Shows how many sockets are left while they are being closed.
pub(crate) async fn watch_remaining(draining: impl Future<Output = ()>, metrics: &Metrics) {
    let mut draining = std::pin::pin!(draining);
    let mut ticks = tokio::time::interval(COUNT_INTERVAL);
    loop {
        metrics.drain_remaining.set(metrics.shard.connections());
        tokio::select! {
            () = &mut draining => break,
            _ = ticks.tick() => {}
        }
    }
    metrics.drain_remaining.set(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn a_shard_that_has_hung_holds_up_no_drain() {
        let node = Node::new("gateway", "g1".to_owned());
        let (_hung, ending) = oneshot::channel();
        let draining = drain(&node, &[], MOMENT, MOMENT, vec![ending]);
        let waited = tokio::time::timeout(Duration::from_secs(10), draining).await;
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn a_node_that_hurries_does_not_wait_for_the_window() {
        let node = Node::new("gateway", "g1".to_owned());
        let (_hung, ending) = oneshot::channel();
        node.hurry();
        let draining = drain(&node, &[], Duration::from_secs(3600), MOMENT, vec![ending]);
        let waited = tokio::time::timeout(Duration::from_secs(10), draining).await;
        assert!(waited.is_ok());
    }
}
