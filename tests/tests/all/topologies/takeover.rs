//! A server that is killed under load: a replica takes over, the dead one comes back
//! as a replica, and only what had no copy may be lost.

use std::collections::HashSet;

use tests::Fleet;
use tests::redis::PrivateRedis;
use tests::until;
use tokio::time::Instant;

use super::backend::{Accepted, Backend, kept};
use super::{RESUMES_WITHIN, replaced};

/// Kills the server of what is kept at `place`, of which there are so many copies,
/// while the backend pushes. What is kept of all that it pushed until all is well again.
pub(super) async fn survive(
    fleet: &Fleet,
    backend: Backend,
    place: &str,
    copies: u32,
) -> Vec<Accepted> {
    let redis = fleet.redis();
    backend.gets_on(50).await;

    let copied_at = Instant::now();
    copied(redis, place, copies).await;
    backend.gets_on(20).await;
    let master = redis.master_of(place);
    master.process().kill();
    let killed_at = Instant::now();
    let replaced_at = replaced(redis, place, master.address()).await;
    backend.gets_on(100).await;
    let resumed_at = backend.resumed_after(killed_at).expect("it got on");
    let after = resumed_at.saturating_duration_since(replaced_at);
    assert!(after < RESUMES_WITHIN, "resumed after {after:?}");

    // The old one comes back as a replica, which nobody mistakes for a master.
    let back_at = Instant::now();
    redis.restart().await;
    redis.replicates().await;
    backend.gets_on(100).await;
    assert_eq!(backend.refused_since(back_at), Vec::<String>::new());

    let accepted = backend.stop().await;
    let kept = kept(fleet, &accepted).await;
    let kept: HashSet<_> = kept.into_iter().map(|push| push.id.clone()).collect();
    let is_kept = |push: &Accepted| kept.contains(&push.id);
    let (kept, lost): (Vec<_>, Vec<_>) = accepted.into_iter().partition(is_kept);
    for push in &lost {
        let may_be_lost = copied_at <= push.answered_at && push.asked_at <= killed_at;
        assert!(may_be_lost, "{} is lost", push.text);
    }
    println!("{} kept, {} lost with the server", kept.len(), lost.len());
    kept
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
