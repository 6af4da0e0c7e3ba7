//! How a gateway leaves: its load balancer first, then its clients, evenly.

use std::sync::Arc;
use std::time::Duration;

use broker::node::Node;
use tokio::sync::oneshot;
use tracing::error;

use crate::admission::Admission;
use crate::metrics::Metrics;
use crate::shard::inbox::{Inbox, Mail};

/// How often the sockets that are left are counted.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);
/// How long shards have to end after the window: twice what clients have to
/// answer a close frame. The sockets of one that has hung end with the process.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(10);

/// Lets clients in for as long as load balancers take to notice that the node is not
/// ready, which is `delay`, and nobody from then on. One that hurries does not wait, and
/// one that has failed waits, and lets nobody in who might be forgotten there.
pub(crate) async fn until_noticed(node: &Node, admission: &Admission, delay: Duration) {
    let noticed = async {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = node.hurrying() => {}
        }
    };
    let mut noticed = std::pin::pin!(noticed);
    tokio::select! {
        biased;
        () = node.failing() => {
            admission.close();
            noticed.await;
        }
        () = &mut noticed => admission.close(),
    }
}

/// Has all sockets closed over the window, or at once if the node hurries, also of
/// clients that admission, closed by now, has let in and that are still on their way to
/// one. A shard that has not ended `last_call` after that is not waited for.
pub(crate) async fn drain(
    node: &Node,
    admission: &Admission,
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
        admission.emptied().await;
        inboxes.iter().for_each(|inbox| inbox.send(Mail::End));
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
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use prometheus::Registry;

    use super::*;
    use crate::admission::{Capacity, Denial};

    const MOMENT: Duration = Duration::from_millis(10);
    const HOUR: Duration = Duration::from_secs(3600);
    const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn node() -> Node {
        Node::new("gateway", "g1".to_owned())
    }

    fn admission() -> Arc<Admission> {
        let capacity = Capacity {
            connections: 10,
            per_address: 0,
            accept_rate: 1000,
            waiting: 0,
        };
        let metrics = Metrics::register(&Registry::new()).unwrap();
        Admission::new(capacity, metrics.admission)
    }

    fn waits<F: Future>(future: Pin<&mut F>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        future.poll(&mut context).is_pending()
    }

    #[tokio::test]
    async fn clients_are_let_in_until_load_balancers_have_noticed() {
        let (node, admission) = (node(), admission());
        let mut noticing = pin!(until_noticed(&node, &admission, HOUR));
        assert!(waits(noticing.as_mut()));
        assert!(admission.permit(SOMEBODY).await.is_ok());
        node.hurry();
        noticing.await;
        let refused = admission.permit(SOMEBODY).await;
        assert_eq!(refused.unwrap_err(), Denial::Draining);
    }

    #[tokio::test]
    async fn a_node_that_has_failed_lets_nobody_in_and_waits_all_the_same() {
        let (node, admission) = (node(), admission());
        let mut noticing = pin!(until_noticed(&node, &admission, HOUR));
        assert!(waits(noticing.as_mut()));
        node.fail("a shard has hung");
        assert!(waits(noticing.as_mut()));
        let refused = admission.permit(SOMEBODY).await;
        assert_eq!(refused.unwrap_err(), Denial::Draining);
    }

    #[tokio::test]
    async fn a_shard_that_has_hung_holds_up_no_drain() {
        let (_hung, ending) = oneshot::channel();
        let (node, admission) = (node(), admission());
        let draining = drain(&node, &admission, &[], MOMENT, MOMENT, vec![ending]);
        let waited = tokio::time::timeout(Duration::from_secs(10), draining).await;
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn a_node_that_hurries_does_not_wait_for_the_window() {
        let (_hung, ending) = oneshot::channel();
        let (node, admission) = (node(), admission());
        node.hurry();
        let draining = drain(&node, &admission, &[], HOUR, MOMENT, vec![ending]);
        let waited = tokio::time::timeout(Duration::from_secs(10), draining).await;
        assert!(waited.is_ok());
    }
}
