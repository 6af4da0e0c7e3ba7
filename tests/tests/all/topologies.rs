//! What becomes of pushes while servers of Redis fail, are replaced, and hand
//! over to each other; and that locked servers let our processes do all they
//! need.

#[path = "topologies/backend.rs"]
mod backend;
#[path = "topologies/cluster.rs"]
mod cluster;
#[path = "topologies/locked.rs"]
mod locked;
#[path = "topologies/sentinel.rs"]
mod sentinel;
#[path = "topologies/takeover.rs"]
mod takeover;

use std::time::Duration;

use tests::redis::PrivateRedis;
use tests::until_some;
use tokio::time::Instant;

/// How soon after Redis answers again pushes are accepted, by a busy machine.
const RESUMES_WITHIN: Duration = Duration::from_secs(8);

/// Waits until another server than `dead` serves `key`, and says since when.
async fn replaced(redis: &PrivateRedis, key: &str, dead: std::net::SocketAddr) -> Instant {
    until_some("another serves", async || {
        let heir = redis.find_master_of(key)?;
        (heir.address() != dead).then(Instant::now)
    })
    .await
}
