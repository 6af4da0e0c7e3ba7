//! Forgetting what is past its retention.

use broker::Error;
use broker::messages::Messages;
use broker::node::Node;
use broker::topology::Redis;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::partitions::each;

/// Trims all partitions at every interval, until the node drains.
pub(crate) async fn run(
    messages: &Messages,
    redis: &Redis,
    config: &Config,
    metrics: &Metrics,
    node: &Node,
) {
    let mut ticks = interval(config.trim_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while node.until_drain(ticks.tick()).await.is_some() {
        match node.until_drain(trim(messages, redis, metrics)).await {
            None => return,
            Some(Ok(())) => {
                if failing {
                    info!("trimming works again");
                }
                failing = false;
            }
            Some(Err(error)) => {
                metrics.trims_failed.inc();
                if !failing {
                    warn!(%error, "trimming failed and is tried again at every interval");
                }
                failing = true;
            }
        }
    }
}

async fn trim(messages: &Messages, redis: &Redis, metrics: &Metrics) -> Result<(), Error> {
    let (trimmed, failed) = each(redis, |partition| messages.trim(partition)).await;
    for trimmed in trimmed {
        metrics.trimmed_messages.inc_by(trimmed.messages);
        metrics.trimmed_globals.inc_by(trimmed.globals);
    }
    failed.map_or(Ok(()), Err)
}
