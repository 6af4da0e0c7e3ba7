//! Commands in a real Cluster whose slots move and whose nodes fail.

use std::time::{Duration, Instant};

use redis::{Script, cmd, pipe};

use crate::fixture::{self, Cluster};
use crate::keys::{Keys, Partition, slot};
use crate::topology::Redis;
use crate::topology::connector::RESPONSE_TIMEOUT;

fn start() -> (Cluster, Redis) {
    let cluster = Cluster::start();
    let redis = fixture::open_url(&cluster.url());
    (cluster, redis)
}

#[tokio::test]
async fn a_node_of_a_cluster_is_not_taken_for_a_server_of_its_own() {
    let cluster = Cluster::start();
    let keys = Keys::new("test");
    for at in 0..3 {
        let node = fixture::open(cluster.node(at).address());
        let refused = node.check_schema(&keys).await.unwrap_err().to_string();
        assert!(refused.contains("redis+cluster"), "{refused}");
    }
}

/// Resolves once commands for the slot work again, and says how long that took.
async fn back(redis: &Redis, key: &str) -> Duration {
    let began = Instant::now();
    while let Err(error) = redis.query::<()>(cmd("SET").arg(key).arg(1)).await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
    }
    began.elapsed()
}

#[tokio::test]
async fn what_is_said_to_a_cluster_gets_where_it_belongs() {
    let (_cluster, redis) = start();
    let keys = Keys::new("test");
    redis.check_schema(&keys).await.unwrap();
    let of = |partition| keys.expiring(partition);
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let mut all = pipe();
    for partition in Partition::every() {
        let key = of(partition);
        let one: u64 = redis
            .invoke(script.prepare_invoke().key(&key))
            .await
            .unwrap();
        assert_eq!(one, 1, "{key}");
        all.get(&key).incr(&key, 1);
    }
    let answers: Vec<u64> = redis.pipeline(&all).await.unwrap();
    assert_eq!(answers, [1, 2].repeat(64));
    let names: Vec<_> = Partition::every().map(of).collect();
    let values = redis.values(&names).await.unwrap();
    assert_eq!(values, vec![Some(b"2".to_vec()); 64]);
    let mut both = pipe();
    both.atomic().incr(&names[0], 1).incr(&names[0], 1);
    assert_eq!(redis.pipeline::<(u64, u64)>(&both).await.unwrap(), (3, 4));
}

#[tokio::test]
async fn every_primary_is_asked_and_says_whose_keys_it_has() {
    let (cluster, redis) = start();
    let mut question = pipe();
    question.cmd("TIME").cmd("DBSIZE");
    let all = redis
        .on_every_primary::<((u64, u64), u64)>(&question)
        .await
        .unwrap();
    let mut partitions = Vec::new();
    for one in all {
        assert!(one.answer.is_ok(), "{one:?}");
        let owner = Cluster::owner(one.partitions[0].slot());
        assert_eq!(*one.server, *cluster.node(owner).address().to_string());
        partitions.extend(one.partitions);
    }
    partitions.sort();
    assert!(partitions.into_iter().eq(Partition::every()));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_follow_a_slot_that_moves_and_run_once() {
    let (cluster, redis) = start();
    let key = "{moving}:count";
    let from = Cluster::owner(slot(key.as_bytes()));
    let others: Vec<String> = (0..300).map(|n| format!("{{moving}}:{n}")).collect();
    let mut fill = pipe();
    for other in &others {
        fill.set(other, "x".repeat(1000)).ignore();
    }
    redis.pipeline::<()>(&fill).await.unwrap();
    let counting = {
        let redis = redis.clone();
        let script = Script::new("return redis.call('INCR', KEYS[1])");
        tokio::spawn(async move {
            let mut count: u64 = 0;
            while count < 3000 {
                let mut two = pipe();
                two.incr(key, 1).incr(key, 1);
                let (_, second): (u64, u64) = redis.pipeline(&two).await.unwrap();
                count = redis
                    .invoke(script.prepare_invoke().key(key))
                    .await
                    .unwrap();
                assert_eq!(count, second + 1);
            }
            count
        })
    };
    let moving = std::thread::spawn(move || {
        let mut at = from;
        for _ in 0..4 {
            let to = (at + 1) % 3;
            cluster.move_slot(slot(key.as_bytes()), at, to);
            at = to;
        }
        cluster
    });
    assert_eq!(counting.await.unwrap() % 3, 0);
    let _cluster = moving.join().unwrap();
    let values = redis.values(&others).await.unwrap();
    assert!(values.iter().all(Option::is_some));
}

#[tokio::test]
async fn a_connection_of_one_s_own_leads_to_the_key_wherever_it_is() {
    let (cluster, redis) = start();
    let key = "{in}:acme";
    let from = Cluster::owner(slot(key.as_bytes()));
    let patience = Duration::from_secs(2);
    let mut own = redis.own_connection_of(key, patience).await.unwrap();
    let () = own.query(cmd("SET").arg(key).arg("here")).await.unwrap();
    cluster.move_slot(slot(key.as_bytes()), from, (from + 1) % 3);
    assert!(own.query::<String>(cmd("GET").arg(key)).await.is_err());
    assert!(!own.is_usable());
    let found = loop {
        let mut own = redis.own_connection_of(key, patience).await.unwrap();
        if let Ok(found) = own.query::<String>(cmd("GET").arg(key)).await {
            break found;
        }
    };
    assert_eq!(found, "here");
}

#[tokio::test]
async fn a_primary_that_hangs_holds_up_nobody_else_s_commands() {
    let (cluster, redis) = start();
    let (hung, sound) = ("{a}", "{b}");
    let at = Cluster::owner(slot(hung.as_bytes()));
    assert_ne!(at, Cluster::owner(slot(sound.as_bytes())));
    for key in [hung, sound] {
        redis.query::<()>(cmd("SET").arg(key).arg(1)).await.unwrap();
    }
    cluster.freeze(at);
    let stuck = {
        let redis = redis.clone();
        tokio::spawn(async move { redis.query::<()>(cmd("SET").arg(hung).arg(2)).await })
    };
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(4) {
        let each = Instant::now();
        redis.query::<()>(cmd("INCR").arg(sound)).await.unwrap();
        redis.time().await.unwrap();
        slowest = slowest.max(each.elapsed());
        rounds += 1;
    }
    // The one that hangs would hold them up until it is given up, and again.
    assert!(slowest < RESPONSE_TIMEOUT, "{slowest:?} of {rounds}");
    assert!(10 < rounds, "{rounds}");
    // Whether it was heard nobody knows, so it was not said again.
    assert!(stuck.await.unwrap().is_err());
    let away = back(&redis, hung).await;
    assert!(away < Duration::from_secs(10), "{away:?}");
    // It does not know yet that it was replaced, and would lose what it is told.
    cluster.thaw(at);
    redis
        .query::<()>(cmd("SET").arg(hung).arg(0))
        .await
        .unwrap();
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(2) {
        count += 1;
        redis
            .on_every_primary::<(u64,)>(pipe().cmd("DBSIZE"))
            .await
            .unwrap();
        let now: u64 = redis.query(cmd("INCR").arg(hung)).await.unwrap();
        assert_eq!(now, count);
    }
}

#[tokio::test]
async fn a_shard_whose_primary_is_killed_is_back_with_its_replica() {
    let (mut cluster, redis) = start();
    let (lost, sound) = ("{a}", "{b}");
    for key in [lost, sound] {
        redis.query::<()>(cmd("SET").arg(key).arg(1)).await.unwrap();
    }
    let at = Cluster::owner(slot(lost.as_bytes()));
    cluster.kill(at);
    redis
        .query::<()>(cmd("SET").arg(sound).arg(2))
        .await
        .unwrap();
    let away = back(&redis, lost).await;
    assert!(away < Duration::from_secs(20), "{away:?}");
    let servers = redis
        .on_every_primary::<(u64,)>(pipe().cmd("DBSIZE"))
        .await
        .unwrap();
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|one| one.answer.is_ok()), "{servers:?}");
}
