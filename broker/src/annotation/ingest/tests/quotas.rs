//! Pushes through a stream keep to the quotas of their tenant.

use std::time::{Duration, Instant};

use redis::cmd;

use super::intake::{World, push};
use crate::annotation::ingest::{Intake, PUSH};
use crate::messages::MessagesFilter;
use crate::quota::{Kind, Quotas};
use crate::topic::Tenant;

async fn set(world: &World, quotas: &[(Kind, Option<u32>)]) {
    let store = Quotas::new(world.redis.clone(), world.keys.clone());
    store.set(&world.tenant, quotas).await.unwrap();
}

/// Takes and handles until so many are pushed: how often, and what is dead by then.
async fn until_pushed(worker: &mut Intake, count: u64) -> (u32, Vec<&'static str>) {
    let (mut rounds, mut pushed, mut dead) = (0, 0, Vec::new());
    let patience = Instant::now() + Duration::from_secs(20);
    while pushed < count {
        assert!(Instant::now() < patience, "{pushed} of {count} are pushed");
        let entries = match worker.next().await {
            Ok(entries) => entries,
            Err(error) => panic!("{error}"),
        };
        let handled = worker.handle(&entries).await;
        pushed += handled.pushed;
        dead.extend(handled.dead);
        rounds += u32::from(!entries.is_empty());
        // As a worker does now and then: what waits is not taken for left.
        assert!(
            worker
                .left(Duration::from_secs(1))
                .await
                .unwrap()
                .is_empty()
        );
    }
    (rounds, dead)
}

#[tokio::test]
async fn what_is_more_than_a_tenant_may_push_waits_in_its_order() {
    let world = World::new().await;
    set(&world, &[(Kind::Pushes, Some(3))]).await;
    for n in 0..8 {
        world.add(PUSH, &push(&["ada"], &format!("a{n}"))).await;
    }
    let mut worker = world.worker("one");
    let began = Instant::now();
    let (rounds, dead) = until_pushed(&mut worker, 8).await;
    assert!(dead.is_empty(), "{dead:?}");
    assert!(2 < rounds, "they were not let through at once");
    // A second's worth at once, and five at three per second.
    assert!(Duration::from_millis(1600) < began.elapsed());
    let wanted: Vec<_> = (0..8).map(|n| format!("a{n}")).collect();
    assert_eq!(world.pushed("ada").await, wanted);
    let waiting = cmd("XLEN").arg(world.keys.intake(&world.tenant)).clone();
    assert_eq!(world.redis.query::<u32>(&waiting).await.unwrap(), 0);
}

#[tokio::test]
async fn a_push_that_no_quota_ever_allows_is_a_dead_letter() {
    let world = World::new().await;
    let quotas = [(Kind::Pushes, Some(2)), (Kind::Payload, Some(5))];
    set(&world, &quotas).await;
    world.add(PUSH, &push(&["a", "b", "c"], "many")).await;
    world.add(PUSH, &push(&["a"], "longer")).await;
    world.add(PUSH, &push(&["a", "b"], "fits")).await;
    let mut worker = world.worker("one");
    let (_, mut dead) = until_pushed(&mut worker, 1).await;
    dead.sort_unstable();
    assert_eq!(dead, ["invalid", "quota"]);
    assert_eq!(world.pushed("b").await, ["fits"]);
}

#[tokio::test]
async fn nobody_waits_for_a_tenant_that_has_to() {
    let world = World::new().await;
    set(&world, &[(Kind::Pushes, Some(1))]).await;
    for _ in 0..4 {
        world.add(PUSH, &push(&["ada"], "slow")).await;
    }
    let other: Tenant = "other".parse().unwrap();
    let mut worker = world.worker_of("one", [world.tenant.clone(), other.clone()]);
    until_pushed(&mut worker, 1).await;
    // The first tenant has to wait by now.
    let mut add = cmd("XADD");
    add.arg(world.keys.intake(&other)).arg("*");
    add.arg("type")
        .arg(PUSH)
        .arg("data")
        .arg(push(&["ben"], "fast"));
    world.redis.query::<String>(&add).await.unwrap();
    let of_other = async || {
        let filter = MessagesFilter::default();
        let listed = world.messages().list(&other, &filter, None, 9).await;
        listed.unwrap().items.len()
    };
    while of_other().await == 0 {
        until_pushed(&mut worker, 1).await;
    }
    let slow = world.pushed("ada").await.len();
    assert!(slow < 4, "the other tenant waited for all of them");
}

#[tokio::test]
async fn a_tenant_whose_quota_nobody_can_read_stops_nobody_else() {
    let world = World::new().await;
    let other: Tenant = "other".parse().unwrap();
    let mut spoil = cmd("HSET");
    spoil
        .arg(world.keys.quota(&other))
        .arg("pushes")
        .arg("many");
    world.redis.query::<()>(&spoil).await.unwrap();
    let mut add = cmd("XADD");
    add.arg(world.keys.intake(&other)).arg("*");
    add.arg("type")
        .arg(PUSH)
        .arg("data")
        .arg(push(&["ben"], "theirs"));
    world.redis.query::<String>(&add).await.unwrap();
    let mut worker = world.worker_of("one", [world.tenant.clone(), other.clone()]);
    let failed = loop {
        let entries = worker.next().await.unwrap();
        if let Some(failed) = worker.handle(&entries).await.failed {
            break failed.to_string();
        }
    };
    assert!(failed.contains("a stored quota cannot be read"), "{failed}");
    world.add(PUSH, &push(&["ada"], "ours")).await;
    until_pushed(&mut worker, 1).await;
    assert_eq!(world.pushed("ada").await, ["ours"]);
    assert!(worker.is_failing());

    let end = cmd("DEL").arg(world.keys.quota(&other)).clone();
    world.redis.query::<()>(&end).await.unwrap();
    // As by whoever sets one.
    let mut again = world.worker_of("two", [other.clone()]);
    let left = again.left(Duration::ZERO).await.unwrap();
    let entry = again
        .claim(&left[0], Duration::ZERO)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.handle(&[entry]).await.pushed, 1);
}
