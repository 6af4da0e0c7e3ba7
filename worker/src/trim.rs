//! Forgetting what is past its retention.

use broker::Error;
use broker::messages::Messages;
use broker::node::Node;
use broker::topology::Redis;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::partitions::each;
use crate::rounds::{Failures, rounds};

/// Trims all partitions at every interval, until the node drains.
pub(crate) async fn run(
    messages: &Messages,
    redis: &Redis,
    config: &Config,
    metrics: &Metrics,
    node: &Node,
) {
    let mut failures = Failures::new(
        &metrics.trims_failed,
        "trimming failed and is tried again at every interval",
        "trimming works again",
    );
    let round = || trim(messages, redis, metrics);
    let outcome = |done| failures.note(&done);
    rounds(config.trim_interval, node, round, outcome).await;
}

async fn trim(messages: &Messages, redis: &Redis, metrics: &Metrics) -> Result<(), Error> {
    let (trimmed, failed) = each(redis, |partition| messages.trim(partition)).await;
    for trimmed in trimmed {
        metrics.trimmed_messages.inc_by(trimmed.messages);
        metrics.trimmed_globals.inc_by(trimmed.globals);
    }
    failed.map_or(Ok(()), Err)
}
