//! Sending what was scheduled, once it is due.

use std::time::Duration;

use broker::keys::Partition;
use broker::messages::Messages;
use broker::node::Node;
use broker::topology::Redis;
use broker::{Error, Timestamp};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::partitions::each;
use crate::rounds::{Failures, rounds};

/// Messages per script: a few milliseconds of Redis' time, as each is published.
const BATCH: usize = 100;

/// Releases at every interval, until the node drains.
pub(crate) async fn run(
    messages: &Messages,
    redis: &Redis,
    config: &Config,
    metrics: &Metrics,
    node: &Node,
) {
    let mut failures = Failures::new(
        &metrics.releases_failed,
        "releasing scheduled messages failed and is tried again",
        "scheduled messages are released again",
    );
    let round = || async {
        let lag = release(messages, redis, metrics).await?;
        metrics.release_lag.set(lag.as_secs_f64());
        Ok(())
    };
    let outcome = |done| failures.note(&done);
    rounds(config.release_interval, node, round, outcome).await;
}

/// Releases all that is due and says how late the most overdue of it was.
async fn release(messages: &Messages, redis: &Redis, metrics: &Metrics) -> Result<Duration, Error> {
    let now = redis.time().await?;
    let release = |partition| release_in(partition, now, messages, metrics);
    let (lags, failed) = each(redis, release).await;
    failed.map_or(Ok(lags.into_iter().max().unwrap_or_default()), Err)
}

async fn release_in(
    partition: Partition,
    now: Timestamp,
    messages: &Messages,
    metrics: &Metrics,
) -> Result<Duration, Error> {
    let mut lag = Duration::ZERO;
    loop {
        let released = messages.release(partition, BATCH).await?;
        metrics.released.inc_by(released.released);
        metrics.unreleased.inc_by(released.seen - released.released);
        if let Some(due) = released.oldest_due {
            lag = lag.max(now.since(due));
        }
        if released.seen < BATCH as u64 {
            return Ok(lag);
        }
    }
}
