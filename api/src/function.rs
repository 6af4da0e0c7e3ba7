//! Keeps the function there by which trusted producers publish.

use std::time::Duration;

use broker::function::{FUNCTION, LIBRARY, Standing, ensure};
use broker::node::Node;
use broker::topology::Redis;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// How often it is looked for: a server that joins a Cluster may come without it.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks for it, and loads it where it is missing, until the node drains. Nothing
/// of ours depends on it, so what goes wrong is told and tried again.
pub(crate) async fn keep(redis: Redis, metrics: Metrics, node: Node) {
    let mut told = Vec::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while node.until_drain(ticks.tick()).await.is_some() {
        let problems = match ensure(&redis).await {
            Ok(standing) => {
                let count = |which| standing.iter().filter(|one| **one == which).count();
                let loaded = count(Standing::Loaded);
                if 0 < loaded {
                    info!(
                        function = FUNCTION,
                        servers = loaded,
                        "loaded for producers"
                    );
                    metrics.functions_loaded.inc_by(loaded as u64);
                }
                let wrong = |(which, why)| (0 < count(which)).then_some(why);
                let all = [
                    (Standing::Foreign, "another library has its name"),
                    (Standing::Unsupported, "Redis 7.0 or later is needed"),
                ];
                all.into_iter()
                    .filter_map(wrong)
                    .map(str::to_owned)
                    .collect()
            }
            Err(error) => vec![error.to_string()],
        };
        metrics
            .function_missing
            .set(i64::from(!problems.is_empty()));
        if problems != told {
            for why in &problems {
                warn!(library = LIBRARY, why, "producers cannot use the function");
            }
            told = problems;
        }
    }
}
