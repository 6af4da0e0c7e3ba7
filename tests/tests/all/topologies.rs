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

use std::time::Duration;

use tests::redis::PrivateRedis;
use tests::{until, until_some};
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

/// Waits until replicas have all that was written until now at the server of `key`.
async fn copied(redis: &PrivateRedis, key: &str, copies: u32) {
    let count = copies.to_string();
    until("replicas have it all", async || {
        let had: u32 = redis.ask(key, &["WAIT", &count, "1000"]).unwrap_or(0);
        copies <= had
    })
    .await;
}
