//! Commands to a master that real sentinels replace.

use std::time::{Duration, Instant};

use redis::cmd;

use crate::error::Error;
use crate::fixture::{self, Watched};
use crate::topology::Redis;

fn start() -> (Watched, Redis) {
    let watched = Watched::start();
    let redis = fixture::open_url(&watched.url());
    (watched, redis)
}

async fn count(redis: &Redis) -> Result<u64, Error> {
    redis.query(cmd("INCR").arg("count")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_steps_down_is_left_for_the_other_within_the_command() {
    let (watched, redis) = start();
    for n in 1..=10 {
        assert_eq!(count(&redis).await.unwrap(), n);
    }
    let going_on = {
        let redis = redis.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let mut failed = Vec::new();
            while began.elapsed() < Duration::from_secs(6) {
                failed.extend(count(&redis).await.err());
            }
            failed
        })
    };
    let watched = tokio::task::block_in_place(|| {
        watched.fail_over();
        watched
    });
    // What was under way when the master closed its connections may have failed.
    let failed = going_on.await.unwrap();
    assert!(failed.len() <= 2, "{failed:?}");
    assert!(
        failed
            .iter()
            .all(|error| !error.to_string().contains("READONLY"))
    );
    let server = redis.server(None).await.unwrap();
    assert_eq!(server.address.port, watched.master());
}

#[tokio::test]
async fn a_master_that_is_killed_is_replaced_by_what_the_sentinels_say() {
    let (mut watched, redis) = start();
    count(&redis).await.unwrap();
    watched.kill_master();
    let began = Instant::now();
    while let Err(error) = count(&redis).await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
    }
    assert!(redis.server(None).await.is_ok());
}

#[tokio::test]
async fn without_a_sentinel_that_knows_the_master_commands_fail_in_time() {
    let (watched, _) = start();
    let redis = fixture::open_url(&watched.url().replace("/main", "/other"));
    let began = Instant::now();
    let error = redis.ping().await.unwrap_err().to_string();
    assert!(error.contains("knows no such master"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
}
