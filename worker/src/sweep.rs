//! Cancelling what has expired.

use std::time::{Duration, Instant};

use broker::keys::Partition;
use broker::messages::Messages;
use broker::node::{Condition, Node};
use broker::topology::Redis;
use broker::{Error, Timestamp};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::partitions::each;
use crate::rounds::rounds;

/// Messages per script: about a millisecond of Redis' time.
const BATCH: usize = 200;

/// Sweeps all partitions at every interval, until the node drains. While it
/// fails, `condition` is down, which logs the first failure and the recovery.
pub(crate) async fn run(
    messages: &Messages,
    redis: &Redis,
    config: &Config,
    metrics: &Metrics,
    condition: &Condition,
    node: &Node,
) {
    let round = || async {
        let started = Instant::now();
        note_skew(redis, metrics).await?;
        let lag = sweep(messages, redis, config.sweep_grace, metrics).await?;
        let took = started.elapsed();
        metrics.sweep_lag.set(lag.as_secs_f64());
        metrics.sweep_seconds.observe(took.as_secs_f64());
        Ok(())
    };
    let outcome = |done: Result<(), Error>| match done {
        Ok(()) => condition.up(),
        Err(error) => {
            metrics.sweeps_failed.inc();
            condition.down(error.to_string());
        }
    };
    rounds(config.sweep_interval, node, round, outcome).await;
}

/// Compares the clocks of Redis and this machine: ours at the middle of asking.
async fn note_skew(redis: &Redis, metrics: &Metrics) -> Result<(), Error> {
    let asked = Timestamp::now().millis();
    let theirs = redis.time().await?.millis();
    let twice = asked + Timestamp::now().millis() - 2 * theirs;
    metrics.clock_skew.set(twice as f64 / 2000.0);
    Ok(())
}

/// Cancels all that is due and says how late the most overdue of it was.
async fn sweep(
    messages: &Messages,
    redis: &Redis,
    grace: Duration,
    metrics: &Metrics,
) -> Result<Duration, Error> {
    let sweep = |partition| sweep_in(partition, messages, grace, metrics);
    let (lags, failed) = each(redis, sweep).await;
    failed.map_or(Ok(lags.into_iter().max().unwrap_or_default()), Err)
}

async fn sweep_in(
    partition: Partition,
    messages: &Messages,
    grace: Duration,
    metrics: &Metrics,
) -> Result<Duration, Error> {
    let mut lag = Duration::ZERO;
    loop {
        let swept = messages.sweep(partition, grace, BATCH).await?;
        metrics.cancelled.inc_by(swept.cancelled);
        metrics.gone.inc_by(swept.seen - swept.cancelled);
        if let Some(due) = swept.oldest_due {
            lag = lag.max(Timestamp::now().since(due + grace));
        }
        if swept.seen < BATCH as u64 {
            return Ok(lag);
        }
    }
}
