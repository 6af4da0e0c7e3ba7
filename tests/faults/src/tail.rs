//! What a master takes with it that no replica has: messages for recipients who
//! are away, accepted while it was cut off from its replicas, before it was lost.

use std::sync::Arc;
use std::time::Duration;

use ::tests::fleet::TENANT;
use broker::message::MessageId;
use broker::messages::{Limits, Messages};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::crowd::Crowd;
use crate::strike;
use crate::ways;

/// How long the master is cut off before it is killed.
const CUT_OFF: Duration = Duration::from_millis(500);
/// Pushes under way that wait for a replica.
const REPLICATED: usize = 20;
/// How long a backend waits before it repeats a push.
const AGAIN: Duration = Duration::from_millis(100);

/// What became of pushes to those who are away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tail {
    /// Accepted, and lost, of those that were answered when they were stored.
    pub(crate) stored: (usize, usize),
    /// The same of those that were answered when a replica had them.
    pub(crate) replicated: (usize, usize),
}

/// Cuts the master off from its replicas, kills it after a while, and says what
/// became of what it accepted meanwhile, and when another had taken its place.
pub(crate) async fn cut_off_and_kill(crowd: &Arc<Crowd>) -> (Tail, Duration) {
    let redis = crowd.fleet.redis();
    redis.replicates().await;
    let master = redis.master_of("");
    let replicas = || {
        let others = redis.servers().iter();
        others.filter(|server| server.address() != master.address())
    };
    // They hold what has come, and cannot connect again.
    replicas().for_each(|replica| replica.process().freeze());
    let kill = ["CLIENT", "KILL", "TYPE", "REPLICA"];
    let cut: u64 = master.ask(&kill).expect("it is there");
    assert_ne!(cut, 0, "nobody replicates");

    let mut waiting = JoinSet::new();
    for n in 0..REPLICATED {
        let crowd = Arc::clone(crowd);
        waiting.spawn(async move {
            loop {
                let key = format!("replicated-{n}");
                match ways::push_away(&crowd.fleet, &key, "REPLICATED").await {
                    Some(id) => return id,
                    None => sleep(AGAIN).await,
                }
            }
        });
    }
    let mut stored = Vec::new();
    let killed_at = Instant::now() + CUT_OFF;
    while Instant::now() < killed_at {
        let key = format!("stored-{}", stored.len());
        stored.extend(ways::push_away(&crowd.fleet, &key, "STORED").await);
    }
    master.process().kill();
    replicas().for_each(|replica| replica.process().thaw());
    strike::replaced(crowd, master).await;
    let replaced_at = crowd.clock.now();
    redis.restart().await;
    let replicated = waiting.join_all().await;
    let tail = Tail {
        stored: (stored.len(), lost(crowd, &stored).await),
        replicated: (replicated.len(), lost(crowd, &replicated).await),
    };
    (tail, replaced_at)
}

/// How many of these messages there are no more.
async fn lost(crowd: &Crowd, ids: &[MessageId]) -> usize {
    let tenant = TENANT.parse().expect("the tenant is valid");
    let keys = crowd.fleet.keys();
    let messages = Messages::new(crowd.commands.clone(), keys, Limits::default());
    let mut lost = 0;
    for &id in ids {
        let found = messages.message(&tenant, id).await;
        lost += usize::from(found.expect("Redis is there").is_none());
    }
    lost
}
