//! Processes whose memory runs out: they refuse, part from those that hold most, and
//! go on serving the others.

use std::time::Duration;

use serde_json::json;
use tests::{Fleet, Process, Upgrade, until, until_some, within};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::hostile::{bare, closed_with};

#[path = "memory/group.rs"]
mod group;

const MIB: usize = 1 << 20;
const UNFINISHED: &str = "carillon_gateway_unfinished_bytes";
const HEADROOM: &str = "carillon_gateway_headroom";
const USED: &str = "carillon_memory_used_bytes";
const OVERLOADED: &str = "carillon_gateway_closes_total{reason=\"overloaded\"}";

/// Begins a binary message of so many bytes.
fn announce(length: usize) -> Vec<u8> {
    let mut head = vec![0x82, 0xff];
    head.extend((length as u64).to_be_bytes());
    head.extend([0; 4]);
    head
}

/// Says most of a message and stops. `false`: the gateway did not want to hear it.
async fn say_most(stream: &mut TcpStream, length: usize) -> bool {
    let said = stream.write_all(&announce(2 * length)).await;
    said.is_ok() && stream.write_all(&vec![0; length]).await.is_ok()
}

async fn status(process: &Process) -> u16 {
    process.ready().await.expect("it answers").0
}

#[tokio::test]
async fn clients_that_hold_most_are_closed_before_memory_runs_out_and_others_are_served() {
    let limit = 256 * MIB;
    let fleet = Fleet::of(1, 1)
        .env("CARILLON_MEMORY_LIMIT", "256MiB")
        .env("CARILLON_GATEWAY_MAX_FRAME", "16MiB")
        .env("CARILLON_GATEWAY_MAX_HELD", "1GiB")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    let mut quiet = fleet.connect("quiet").await;
    let mut hoarders = Vec::new();
    for _ in 0..40 {
        hoarders.push(bare(&fleet, "hoarder").await);
    }
    let mut most = 0.0_f64;
    for hoarder in &mut hoarders {
        say_most(hoarder, 8 * MIB).await;
        most = most.max(gateway.metric(USED).await);
    }
    // 320 MiB were sent to a process that may have 256.
    within(Duration::from_secs(20), "some are closed", async || {
        most = most.max(gateway.metric(USED).await);
        1.0 <= gateway.metric(OVERLOADED).await
    })
    .await;
    println!("at most {:.0} MiB of 256 were used", most / MIB as f64);
    assert!(most < limit as f64, "{most} bytes were used at once");
    fleet.push("quiet", "still served").await;
    assert_eq!(quiet.text().await, "still served");

    let mut told = 0;
    for mut hoarder in hoarders {
        drop(hoarder.shutdown().await);
        told += usize::from(closed_with(&mut hoarder).await == Some(1013));
    }
    assert!(1 <= told, "nobody was told why");
    within(
        Duration::from_secs(20),
        "memory is there again",
        async || status(gateway).await == 200 && gateway.metric(UNFINISHED).await < 0.5,
    )
    .await;
    // What was seen of memory may be older than the last of what they said.
    let late = fleet.register("late").await;
    let let_in = async || fleet.upgrade(0, &late).open().await.ok();
    let mut late = until_some("there is room", let_in).await;
    fleet.push("late", "let in").await;
    assert_eq!(late.text().await, "let in");
}

/// A filter of nearly as many bytes as one may have, which nobody else asks for.
fn greed(n: usize) -> String {
    let values: Vec<_> = (0..250).map(|at| format!("{n:0240}{at:0240}")).collect();
    let clause = json!({ "field": "/id", "operator": "equals", "value": values });
    let filter = json!({ "match_policy": "include_any", "actions": {}, "clauses": [clause] });
    json!({ "filter": filter }).to_string()
}

#[tokio::test]
async fn clients_that_ask_for_most_are_closed_before_memory_runs_out() {
    let limit = 96 * MIB;
    let fleet = Fleet::of(1, 1)
        .env("CARILLON_MEMORY_LIMIT", "96MiB")
        .env("CARILLON_GATEWAY_MAX_FRAME", "256KiB")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    let mut quiet = fleet.connect("quiet").await;
    let url = format!("ws://{}/ws", gateway.address());
    let mut greedy = Vec::new();
    for _ in 0..800 {
        let socket = Upgrade::to(&url).open().await;
        greedy.push(socket.expect("there is memory for it"));
    }
    let mut most = 0.0_f64;
    for (n, socket) in greedy.iter_mut().enumerate() {
        socket.say(&greed(n)).await;
        if n % 20 == 0 {
            most = most.max(gateway.metric(USED).await);
        }
    }
    // More than 100 MiB were asked for, beside what the process needs.
    within(Duration::from_secs(20), "some are closed", async || {
        most = most.max(gateway.metric(USED).await);
        1.0 <= gateway.metric(OVERLOADED).await
    })
    .await;
    println!("at most {:.0} MiB of 96 were used", most / MIB as f64);
    assert!(most < limit as f64, "{most} bytes were used at once");
    fleet.push("quiet", "still served").await;
    assert_eq!(quiet.text().await, "still served");
}

#[tokio::test]
async fn a_gateway_short_of_memory_lets_nobody_in_whatever_they_speak() {
    let misskey = "social.example=social";
    let fleet = Fleet::of(1, 0).env("CARILLON_MISSKEY_HOSTS", misskey);
    let fleet = fleet.start().await;
    let gateway = fleet.gateway(0);
    let registration = fleet.register("ann").await;
    assert!(gateway.terminate().await.success());
    // Less than any process needs.
    gateway.set("CARILLON_MEMORY_LIMIT", "1MiB");
    gateway.listen().await;
    let address = gateway.address();
    let dialects = [
        fleet.upgrade(0, &registration),
        Upgrade::to(&format!("ws://{address}/ws")),
        Upgrade::to_host("ws://social.example/streaming", address),
    ];
    // From the first moment on: they wait until somebody answers.
    for upgrade in dialects {
        let refusal = upgrade.open().await.err().expect("there is no memory");
        assert_eq!(refusal.status(), 503);
        let wait: u32 = refusal.header("retry-after").unwrap().parse().unwrap();
        assert!((5..=15).contains(&wait), "{wait}");
    }
    let (status, why) = gateway.ready().await.expect("it answers");
    assert_eq!(status, 503);
    assert!(why.contains("memory is scarce"), "{why}");
    let headroom = gateway.metric(HEADROOM).await;
    assert!(headroom < 0.5, "{headroom}");
}

#[tokio::test]
async fn headroom_falls_as_sockets_come_and_there_is_none_in_a_drain() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_MAX_CONNECTIONS", "20")
        .env("CARILLON_DRAIN_WINDOW", "20s")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    let is = async |wanted: f64| {
        until(&format!("there is room for {wanted}"), async || {
            (gateway.metric(HEADROOM).await - wanted).abs() < 0.5
        })
        .await;
    };
    is(20.0).await;
    let mut sockets = Vec::new();
    for n in 0..5 {
        sockets.push(fleet.connect(&format!("user{n}")).await);
        is(19.0 - f64::from(n)).await;
    }
    drop(sockets.pop());
    is(16.0).await;
    gateway.signal("TERM");
    is(0.0).await;
    gateway.signal("TERM");
}

#[tokio::test]
async fn headroom_is_what_fits_into_memory_and_follows_what_is_used() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_MEMORY_LIMIT", "96MiB")
        .env("CARILLON_GATEWAY_MAX_FRAME", "16MiB")
        .env("CARILLON_GATEWAY_MAX_HELD", "1GiB")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    until("it takes clients", async || {
        1.0 <= gateway.metric(HEADROOM).await
    })
    .await;
    let empty = gateway.metric(HEADROOM).await;
    let limit = gateway.metric("carillon_gateway_connections_limit").await;
    assert!(empty < limit, "{empty} of {limit}");
    // No socket costs less than 4 KB by what is documented, and none 10.
    let left = 0.85 * 96.0 * MIB as f64 - gateway.metric(USED).await;
    assert!((left / 10e3..left / 4e3).contains(&empty), "{empty}");

    let mut hoarders = Vec::new();
    for _ in 0..3 {
        hoarders.push(bare(&fleet, "hoarder").await);
    }
    for hoarder in &mut hoarders {
        assert!(say_most(hoarder, 8 * MIB).await);
    }
    let less = empty - 20.0 * MIB as f64 / 10e3;
    within(Duration::from_secs(30), "less fits", async || {
        gateway.metric(HEADROOM).await < less
    })
    .await;
}

#[tokio::test]
async fn what_all_clients_together_have_not_said_to_its_end_is_bounded() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_MAX_FRAME", "4MiB")
        .env("CARILLON_GATEWAY_MAX_HELD", "10MiB")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    let mut hoarders = Vec::new();
    for n in 0..10 {
        let mut hoarder = bare(&fleet, "hoarder").await;
        say_most(&mut hoarder, MIB + n * 16 * 1024).await;
        hoarders.push(hoarder);
    }
    let bound = (10 * MIB) as f64;
    within(Duration::from_secs(10), "some are closed", async || {
        1.0 <= gateway.metric(OVERLOADED).await && gateway.metric(UNFINISHED).await <= bound
    })
    .await;
    let held = gateway.metric(UNFINISHED).await;
    assert!((4 * MIB) as f64 <= held, "{held}: too many were closed");
    assert_eq!(status(gateway).await, 200, "there is memory enough");
}

#[tokio::test]
async fn an_api_short_of_memory_refuses_with_a_wait_and_says_so() {
    // Less than any process needs.
    let fleet = Fleet::of(1, 1).start().await;
    let api = fleet.api();
    api.set("CARILLON_MEMORY_LIMIT", "1MiB");
    api.terminate().await;
    api.listen().await;
    let answer = fleet.http().request("POST", "/graphql", &[], b"{}");
    let answer = answer.await.expect("it answers");
    assert_eq!(answer.status, 503);
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert!(answer.text().contains("UNAVAILABLE"), "{}", answer.text());
    let (status, why) = api.ready().await.expect("it answers");
    assert_eq!(status, 503);
    assert!(why.contains("memory is scarce"), "{why}");
}
