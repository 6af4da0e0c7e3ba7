//! Cancelling what has expired.

use std::time::{Duration, Instant};

use broker::keys::Partition;
use broker::messages::Messages;
use broker::node::{Condition, Node};
use broker::topology::Redis;
use broker::{Error, Timestamp};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::partitions::each;

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
    let mut ticks = interval(config.sweep_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while node.until_drain(ticks.tick()).await.is_some() {
        let started = Instant::now();
        // Dropped when the node drains: scripts are atomic, so nothing is half done.
        match node
            .until_drain(async {
                note_skew(redis, metrics).await?;
                sweep(messages, redis, config.sweep_grace, metrics).await
            })
            .await
        {
            None => return,
            Some(Ok(lag)) => {
                metrics.sweep_lag.set(lag.as_secs_f64());
                metrics
                    .sweep_seconds
                    .observe(started.elapsed().as_secs_f64());
                condition.up();
            }
            Some(Err(error)) => {
                metrics.sweeps_failed.inc();
                condition.down(error.to_string());
            }
        }
    }
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
