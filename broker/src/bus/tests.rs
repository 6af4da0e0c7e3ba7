//! Probes on a real Cluster.

use super::*;
use crate::fixture::{self, Cluster};

/// What the primaries call themselves, in the order of their partitions.
async fn names(bus: &Bus, home: &str) -> Vec<Box<str>> {
    let mut published = bus.probe("node", 1, home).await.unwrap();
    assert!(published.iter().all(|one| one.done), "{published:?}");
    published.sort_by_key(|one| one.partitions.first().map(|first| first.slot()));
    published.into_iter().map(|one| one.server).collect()
}

#[tokio::test]
async fn a_connection_between_nodes_that_was_cut_is_told_from_the_one_before() {
    let cluster = Cluster::start();
    let redis = Redis::open(&cluster.url().parse().unwrap()).unwrap();
    let bus = Bus::new(redis, Keys::new("carillon"));
    let id = |at: usize| {
        cluster
            .node(at)
            .ask::<String>(&["CLUSTER", "MYID"])
            .unwrap()
    };
    let home = id(1);
    let before = names(&bus, &home).await;
    for (at, name) in before.iter().enumerate() {
        let alone = name.split_once('@').map_or(&**name, |(alone, _)| alone);
        assert_eq!(alone, id(at));
        assert_eq!(name.contains('@'), at != 1, "{name}");
    }
    assert_eq!(names(&bus, &home).await, before);

    let kill = ["DEBUG", "CLUSTERLINK", "KILL", "TO", &home];
    cluster.node(0).ask::<String>(&kill).unwrap();
    let again = loop {
        let names = names(&bus, &home).await;
        if !names[0].ends_with("@none") {
            break names;
        }
    };
    assert_ne!(again[0], before[0]);
    assert_eq!(again[1..], before[1..]);
    // Whoever cannot say where it listens hears the names alone.
    assert_eq!(names(&bus, "").await, [id(0), id(1), id(2)].map(Box::from));
}

#[tokio::test]
async fn it_is_known_whether_another_gateway_hears() {
    let (redis, keys) = fixture::redis();
    let bus = Bus::new(redis, keys);
    bus.announce("a", false).await.unwrap();
    assert!(!bus.another_hears("a").await.unwrap());
    bus.announce("b", true).await.unwrap();
    assert!(bus.another_hears("a").await.unwrap());
    assert!(!bus.another_hears("b").await.unwrap());
    bus.announce("b", false).await.unwrap();
    assert!(!bus.another_hears("a").await.unwrap());
    assert_eq!(bus.gateways().await.unwrap(), 2);
    bus.announce("b", true).await.unwrap();
    assert!(bus.another_hears("a").await.unwrap());
    for node in ["a", "b"] {
        bus.depart(node).await.unwrap();
    }
    assert_eq!(bus.gateways().await.unwrap(), 0);
    assert!(!bus.another_hears("a").await.unwrap());
}
