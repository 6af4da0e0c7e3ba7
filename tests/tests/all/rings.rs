//! What is published while a gateway does not hear: it comes to sockets once and in
//! order, or they are closed so that clients come back.

use redis::cmd;
use serde_json::json;
use tests::hypothesis::page_filter;
use tests::misskey::{HOST, HOSTS, Misskey};
use tests::{Fleet, FleetBuilder, Lines, Socket, until};

use super::annotation_sockets::{Cluster, cluster};

const PAGE: &str = "https://e.org/page";
/// The tenant of all fleets.
const TENANT: &str = "acme";
const UP: &str = "carillon_gateway_broker_link_up";

/// A fleet whose gateway reaches Redis through a network that can fail.
fn shaky(workers: usize) -> FleetBuilder {
    Fleet::of(1, workers)
        .behind_proxy(&["gateway"])
        .env("CARILLON_GATEWAY_PROBE_INTERVAL", "500ms")
}

async fn link_is(up: bool, fleet: &Fleet) {
    until(&format!("link up: {up}"), async || {
        (fleet.gateway(0).metric(UP).await > 0.5) == up
    })
    .await;
}

async fn count(fleet: &Fleet, what: &str) -> u64 {
    let name = format!("carillon_gateway_{what}");
    fleet.gateway(0).metric(&name).await as u64
}

/// A socket that asks for what is annotated on the page.
async fn reader(cluster: &Cluster) -> Socket {
    let mut socket = cluster.fleet.hypothesis_socket(0, None).await;
    socket.settle(&page_filter(&[PAGE])).await;
    socket
}

/// Annotates the page and returns the annotation's id.
async fn remark(cluster: &Cluster) -> String {
    let made = cluster.annotate("ada", "__world__", PAGE).await;
    made.notification.id.to_string()
}

async fn hears(socket: &mut Socket, remarks: &[String]) {
    for remark in remarks {
        assert_eq!(socket.json().await["payload"][0]["id"], **remark);
    }
}

#[tokio::test]
async fn annotations_that_were_missed_come_once_and_in_order() {
    let cluster = cluster(shaky(0)).await;
    let (fleet, mut socket) = (&cluster.fleet, reader(&cluster).await);
    let mut remarks = vec![remark(&cluster).await];
    hears(&mut socket, &remarks).await;

    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, fleet).await;
    remarks = vec![remark(&cluster).await, remark(&cluster).await];
    fleet.proxy().heal();
    link_is(true, fleet).await;
    remarks.push(remark(&cluster).await);
    hears(&mut socket, &remarks).await;

    // Nothing passes, and nobody is told.
    fleet.proxy().freeze(Lines::Subscriptions);
    remarks = vec![remark(&cluster).await, remark(&cluster).await];
    link_is(false, fleet).await;
    remarks.push(remark(&cluster).await);
    fleet.proxy().heal();
    hears(&mut socket, &remarks).await;
    remarks = vec![remark(&cluster).await];
    hears(&mut socket, &remarks).await;

    assert!(4 <= count(fleet, "replayed_total").await);
    assert_eq!(count(fleet, "topics_missed_total").await, 0);
}

#[tokio::test]
async fn annotations_that_redis_kept_through_a_restart_come_too() {
    let cluster = cluster(shaky(0).on_one_server()).await;
    let (fleet, mut socket) = (&cluster.fleet, reader(&cluster).await);
    let first = remark(&cluster).await;
    hears(&mut socket, &[first]).await;
    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, fleet).await;
    let missed = remark(&cluster).await;
    fleet.redis().restart().await;
    fleet.proxy().heal();
    hears(&mut socket, &[missed]).await;
    assert_eq!(count(fleet, "topics_missed_total").await, 0);
}

#[tokio::test]
async fn annotations_that_redis_forgot_are_announced() {
    let cluster = cluster(shaky(0).on_one_server()).await;
    let (fleet, mut socket) = (&cluster.fleet, reader(&cluster).await);
    let first = remark(&cluster).await;
    hears(&mut socket, &[first]).await;
    // Who asked for nothing has missed nothing.
    let mut idle = fleet.hypothesis_socket(0, None).await;
    idle.settle(&json!({})).await;
    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, fleet).await;
    remark(&cluster).await;
    let _: Vec<()> = fleet.redis().each(&["FLUSHALL"]);
    fleet.proxy().heal();
    assert_eq!(socket.close_code().await, 1012);
    idle.settle(&json!({})).await;
    assert_eq!(count(fleet, "topics_missed_total").await, 1);
}

/// Adds an event for a user to the ingest stream.
async fn tell(fleet: &Fleet, user: &str, n: u32) {
    let tenant = TENANT.parse().unwrap();
    let mut add = cmd("XADD");
    add.arg(fleet.keys().intake(&tenant)).arg("*");
    add.arg("topic").arg(format!("user:{user}"));
    add.arg("data")
        .arg(json!({"type": "followed", "body": {"id": n}}).to_string());
    fleet.commands().query::<String>(&add).await.unwrap();
}

#[tokio::test]
async fn events_of_producers_that_were_missed_come_too_and_plain_ones_may_be_lost() {
    let misskey = Misskey::start();
    let mut token = String::new();
    misskey.change(|world| token = world.user("u1"));
    // Without a bus of its own.
    let host = format!("{HOST}={TENANT} prefix={HOST} api={}", misskey.url());
    let fleet = shaky(1)
        .env(HOSTS, &host)
        .env("CARILLON_DRAIN_WINDOW", "1s");
    let fleet = fleet.start().await;
    let mut socket = fleet.streaming_socket(0, Some(&token)).await.unwrap();
    socket.connect("main", "main", json!({})).await;
    let heard = async |socket: &mut Socket, n: u32| {
        assert_eq!(socket.json().await["body"]["body"]["id"], n);
    };
    tell(&fleet, "u1", 1).await;
    heard(&mut socket, 1).await;
    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, &fleet).await;
    for n in 2..5 {
        tell(&fleet, "u1", n).await;
    }
    let intake = cmd("XLEN")
        .arg(fleet.keys().intake(&TENANT.parse().unwrap()))
        .clone();
    until("they are published", async || {
        fleet.commands().query::<u64>(&intake).await.unwrap() == 0
    })
    .await;
    fleet.proxy().heal();
    for n in 2..5 {
        heard(&mut socket, n).await;
    }
    tell(&fleet, "u1", 5).await;
    heard(&mut socket, 5).await;

    fleet
        .produce("user:u1", "followed", &json!({"id": 6}))
        .await;
    heard(&mut socket, 6).await;
    fleet.proxy().cut(Lines::Subscriptions).await;
    assert_eq!(socket.close_code().await, 1012);
}
