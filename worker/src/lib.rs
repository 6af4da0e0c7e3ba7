//! The process that ends what expired, sends what was scheduled, forgets what is
//! past its retention, and publishes and pushes what other systems add to their
//! streams.
//!
//! Any number of workers run at once: each step is one script, so they share
//! the work and never do it twice. What one has taken and does not finish,
//! another takes over.

use std::time::Duration;

use broker::Error;
use broker::annotation::ingest::Intake;
use broker::keys::Keys;
use broker::messages::Messages;
use broker::node::memory::Memory;
use broker::node::{Condition, Node};
use broker::quota::Quotas;
use broker::topology::Redis;
use broker::trace::Tracing;
use prometheus::Registry;
use tokio::time::sleep;

pub mod config;
mod ingest;
mod metrics;
mod partitions;
mod rounds;
mod release;
mod sweep;
mod trim;

pub use config::Config;
use metrics::Metrics;

/// How long to wait before asking again for a Redis that does not answer.
const REDIS_RETRY: Duration = Duration::from_millis(500);

/// Starts the worker's tasks on `node`; they end once it drains. Some of what they do
/// is recorded by `tracing`.
///
/// # Errors
/// If this version cannot serve the Redis that is configured.
///
/// # Panics
/// If `registry` already has metrics of a worker.
pub fn start(
    config: &Config,
    node: &Node,
    registry: &Registry,
    tracing: Tracing,
) -> Result<(), Error> {
    let redis = Redis::open(&config.settings.redis)?;
    redis
        .show(registry)
        .expect("a registry has the metrics of one worker");
    let draining = node.clone();
    let until_drain = async move { draining.draining().await };
    let (_, watching) = Memory::of_process(config.settings.memory)
        .watch(node, registry, until_drain)
        .expect("a registry has the metrics of one worker");
    node.spawn("memory", watching);
    let keys = config.settings.keys.clone();
    let metrics = Metrics::register(registry).expect("a registry has the metrics of one worker");
    let messages = Messages::new(redis.clone(), keys.clone(), config.limits.clone())
        .counting(metrics.crowded_out.clone())
        .within(Quotas::new(redis.clone(), keys.clone()));
    let mut tenants = config.settings.sites.tenants();
    tenants.extend(config.tenants.iter().cloned());
    let intake = Intake::new(
        redis.clone(),
        keys.clone(),
        messages.clone(),
        config.rules.clone(),
        node.name(),
        tenants,
    )
    .traced(tracing);
    let condition = node.condition("redis");

    let (config, own) = (config.clone(), node.clone());
    node.spawn("worker", async move {
        if !redis_is_ours(&redis, &keys, &condition, &own).await {
            return;
        }
        own.running();
        let sweep = sweep::run(&messages, &redis, &config, &metrics, &condition, &own);
        let release = release::run(&messages, &redis, &config, &metrics, &own);
        let trim = trim::run(&messages, &redis, &config, &metrics, &own);
        let ingest = ingest::run(intake, &config, &metrics, &own);
        tokio::join!(sweep, release, trim, ingest);
    });
    Ok(())
}

/// Waits for Redis to answer, and makes sure that it is laid out as expected.
/// If not, the node fails: sweeping another layout would do harm.
async fn redis_is_ours(redis: &Redis, keys: &Keys, condition: &Condition, node: &Node) -> bool {
    loop {
        match node.until_drain(redis.check_schema(keys)).await {
            None => return false,
            Some(Ok(())) => return true,
            Some(Err(error @ Error::Schema { .. })) => {
                node.fail(&error.to_string());
                return false;
            }
            Some(Err(error)) => condition.down(error.to_string()),
        }
        if node.until_drain(sleep(REDIS_RETRY)).await.is_none() {
            return false;
        }
    }
}
