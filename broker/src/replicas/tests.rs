//! A server of the test's own, with replicas or without.

use std::process::Command;
use std::time::Duration;

use redis::cmd;

use super::*;
use crate::fixture::Own;
use crate::message::Draft;
use crate::messages::{Limits, Messages};

/// Time for a replica that is there, on a machine with much else to do.
const WITHIN: Duration = Duration::from_millis(1500);

struct World {
    server: Own,
    redis: Redis,
    keys: Keys,
    acme: Tenant,
}

impl World {
    fn new() -> Self {
        let (redis, server) = Own::start();
        Self {
            server,
            redis,
            keys: Keys::new("test"),
            acme: "acme".parse().unwrap(),
        }
    }

    fn replicas(&self, within: Duration) -> Replicas {
        Replicas::new(self.redis.clone(), self.keys.clone(), within)
    }

    fn messages(&self) -> Messages {
        Messages::new(self.redis.clone(), self.keys.clone(), Limits::default())
    }

    /// Messages to so many recipients.
    async fn push(&self, recipients: usize) -> Vec<MessageId> {
        let names: Vec<Arc<str>> = (0..recipients).map(|n| format!("r{n}").into()).collect();
        let (messages, hello) = (self.messages(), hello());
        let pushed = messages.push(&self.acme, &names, &hello, None).await;
        pushed.into_iter().map(|m| m.unwrap().id).collect()
    }

    async fn push_global(&self) -> MessageId {
        let (messages, hello) = (self.messages(), hello());
        let pushed = messages.push_global(&self.acme, &hello, None).await;
        pushed.unwrap().id
    }

    /// A server that follows this one, and its process.
    async fn replica(&self) -> (Own, u32) {
        let (redis, own) = Own::start();
        // Else it leaves a file where other tests' servers would find it.
        let load = ["SET", "repl-diskless-load", "swapdb"];
        redis.query::<()>(cmd("CONFIG").arg(&load)).await.unwrap();
        let follow = cmd("REPLICAOF")
            .arg("127.0.0.1")
            .arg(self.server.address().port())
            .clone();
        redis.query::<()>(&follow).await.unwrap();
        let info: String = redis.query(cmd("INFO").arg("server")).await.unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"));
        (own, line.unwrap().trim().parse().unwrap())
    }
}

fn hello() -> Draft {
    Draft {
        text: "hello".into(),
        label: None,
        expires_at: None,
        deliver_at: None,
    }
}

/// A process that does nothing until this is dropped.
struct Frozen(u32);

impl Frozen {
    fn new(process: u32) -> Self {
        signal("-STOP", process);
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("-CONT", self.0);
    }
}

fn signal(name: &str, process: u32) {
    let mut kill = Command::new("kill");
    let status = kill.arg(name).arg(process.to_string()).status();
    assert!(status.expect("there is kill").success());
}

#[tokio::test]
async fn a_replica_that_is_there_has_what_was_pushed_and_one_that_hangs_has_not() {
    let world = World::new();
    let replicas = world.replicas(WITHIN);
    let alone = world.push(3).await;
    let began = Instant::now();
    let unknown = vec![Err(Unconfirmed::NotInTime); 3];
    assert_eq!(replicas.have(&world.acme, &alone).await, unknown);
    assert!(WITHIN <= began.elapsed());
    assert_eq!(replicas.have(&world.acme, &[]).await, []);

    let (_replica, process) = world.replica().await;
    // It has to come up to date first.
    while replicas.have(&world.acme, &alone).await != [Ok(()); 3] {}
    let pushed = world.push(300).await;
    assert_eq!(replicas.have(&world.acme, &pushed).await, vec![Ok(()); 300]);
    let global = world.push_global().await;
    assert_eq!(replicas.have_global(&world.acme, global).await, Ok(()));

    let frozen = Frozen::new(process);
    let pushed = world.push(2).await;
    let unknown = vec![Err(Unconfirmed::NotInTime); 2];
    assert_eq!(replicas.have(&world.acme, &pushed).await, unknown);
    let global = replicas.have_global(&world.acme, global).await;
    assert_eq!(global, Err(Unconfirmed::NotInTime));
    drop(frozen);
    assert_eq!(replicas.have(&world.acme, &pushed).await, [Ok(()); 2]);
}

#[tokio::test]
async fn what_the_server_has_not_got_no_replica_vouches_for() {
    let mut world = World::new();
    let replicas = world.replicas(WITHIN);
    let before = world.push(1).await;
    let (_replica, _) = world.replica().await;
    while replicas.have(&world.acme, &before).await != [Ok(())] {}
    world.server.restart();
    // Its replica comes back to it, and lacks the message as well.
    let lost = Err(Unconfirmed::Lost);
    while replicas.have(&world.acme, &before).await != [lost] {}
    let after = world.push(1).await;
    let both = [before[0], after[0]];
    while replicas.have(&world.acme, &both).await != [lost, Ok(())] {}
}

#[tokio::test]
async fn who_asks_at_the_same_time_waits_together() {
    let world = World::new();
    let replicas = world.replicas(WITHIN);
    let (_replica, process) = world.replica().await;
    let pushed = world.push(500).await;
    while replicas.have(&world.acme, &pushed).await != vec![Ok(()); 500] {}
    let frozen = Frozen::new(process);
    let began = Instant::now();
    let all = pushed.chunks(1).map(|one| replicas.have(&world.acme, one));
    let all = join_all(all).await;
    assert!(
        all.into_iter()
            .all(|one| one == [Err(Unconfirmed::NotInTime)])
    );
    // One after the other, they would wait for minutes.
    assert!(began.elapsed() < 10 * WITHIN);
    drop(frozen);
    let all = pushed.chunks(1).map(|one| replicas.have(&world.acme, one));
    assert!(join_all(all).await.into_iter().all(|one| one == [Ok(())]));
    // What nobody waits for any more is forgotten.
    assert!(replicas.groups[0].waiting().is_empty());
}

#[tokio::test]
async fn a_redis_that_is_away_is_noticed_in_time() {
    let (redis, line) = crate::fixture::cuttable().await;
    let world = World::new();
    let replicas = Replicas::new(redis, world.keys.clone(), WITHIN);
    let pushed = world.push(1).await;
    line.abort();
    let unknown = [Err(Unconfirmed::NotInTime)];
    assert_eq!(replicas.have(&world.acme, &pushed).await, unknown);
}
