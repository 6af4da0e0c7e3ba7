//! Gateways that leave: clients are let in until load balancers have noticed, refused
//! from then on, and nobody is forgotten who comes in between.

use std::time::{Duration, Instant};

use broker::bus::Bus;
use futures_util::future::join_all;
use serde_json::json;
use tests::misskey::{Weather, World};
use tests::{Fleet, Heard, Misskey, Refusal, Socket, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const DELAY: &str = "CARILLON_SHUTDOWN_DELAY";
const WINDOW: &str = "CARILLON_DRAIN_WINDOW";

#[tokio::test]
async fn a_client_that_comes_until_load_balancers_have_noticed_is_served() {
    let fleet = Fleet::of(2, 1).env(DELAY, "60s").start().await;
    let mut early = fleet.connect_at(0, "early").await;
    let leaving = fleet.gateway(0);
    leaving.signal("TERM");
    until("it is not ready", async || {
        leaving
            .ready()
            .await
            .is_some_and(|(status, _)| status == 503)
    })
    .await;
    until("no autoscaler reckons with it", async || {
        leaving.metric("carillon_gateway_headroom").await == 0.0
    })
    .await;
    let mut late = fleet.connect_at(0, "late").await;
    for (recipient, socket) in [("early", &mut early), ("late", &mut late)] {
        fleet.push(recipient, "still served").await;
        assert_eq!(socket.text().await, "still served");
    }
    // A second signal hurries.
    leaving.signal("TERM");
    assert_eq!(early.close_code().await, 1012);
    assert_eq!(late.close_code().await, 1012);
    assert!(leaving.ended().await.success());
    fleet.push("late", "while you were away").await;
    let mut back = fleet.connect_at(1, "late").await;
    assert_eq!(back.text().await, "while you were away");
}

#[tokio::test]
async fn sockets_of_a_gateway_that_leaves_count_until_they_are_closed() {
    let fleet = Fleet::of(1, 0).env(DELAY, "60s").start().await;
    let mut socket = fleet.connect("ann").await;
    let leaving = fleet.gateway(0);
    let counts = async |sockets: u64| {
        // Gateways have 300 ms to answer, which may not be enough here.
        until(&format!("{sockets} are counted"), async || {
            let query = r#"{ recipientStatus(recipient: "ann") { connections } }"#;
            let data = fleet.data(query, json!({})).await;
            data["recipientStatus"]["connections"] == sockets
        })
        .await;
    };
    counts(1).await;
    leaving.signal("TERM");
    let bus = Bus::new(fleet.commands(), fleet.keys());
    until("others are told", async || {
        !bus.another_hears("another").await.unwrap()
    })
    .await;
    counts(1).await;
    leaving.signal("TERM");
    assert_eq!(socket.close_code().await, 1012);
    assert!(leaving.ended().await.success());
    counts(0).await;
}

/// Lets clients come one after the other, until one is refused; those that were let in.
async fn come(fleet: &Fleet, who: usize) -> (Vec<(String, Socket)>, Refusal) {
    let mut let_in = Vec::new();
    loop {
        let recipient = format!("r{who}-{}", let_in.len());
        let registration = fleet.register(&recipient).await;
        match fleet.upgrade(0, &registration).open().await {
            Ok(socket) => {
                fleet.push(&recipient, "Hello").await;
                let_in.push((recipient, socket));
            }
            Err(refusal) => return (let_in, refusal),
        }
    }
}

#[tokio::test]
async fn nobody_is_forgotten_who_comes_while_a_gateway_leaves() {
    let fleet = Fleet::of(2, 1).env(DELAY, "2s").env(WINDOW, "1s");
    let fleet = fleet.start().await;
    let told = Instant::now();
    fleet.gateway(0).signal("TERM");
    let coming = async |who| {
        let (let_in, refusal) = come(&fleet, who).await;
        (let_in, refusal, told.elapsed())
    };
    let clients = join_all((0..4).map(coming)).await;
    for (let_in, refusal, after) in clients {
        assert!(
            Duration::from_secs(2) <= after,
            "{refusal:?} after {after:?}"
        );
        if let Refusal::Http(status, _) = refusal {
            assert_eq!(status, 503);
            assert!(refusal.header("retry-after").is_some());
        }
        for (recipient, mut socket) in let_in {
            let mut heard = socket.heard().await;
            let served = heard == Heard::Text("Hello".into());
            if served {
                heard = socket.heard().await;
            }
            assert!(matches!(heard, Heard::Closed(1012, _)), "{heard:?}");
            if !served {
                let mut back = fleet.connect_at(1, &recipient).await;
                assert_eq!(back.text().await, "Hello");
            }
        }
    }
    assert!(fleet.gateway(0).ended().await.success());
}

#[tokio::test]
async fn a_client_that_asks_after_that_is_told_to_come_back() {
    let fleet = Fleet::of(1, 0)
        .env(DELAY, "0s")
        .env(WINDOW, "60s")
        .env("CARILLON_GATEWAY_HANDSHAKE_TIMEOUT", "60s")
        .start()
        .await;
    let leaving = fleet.gateway(0);
    let registration = fleet.register("ann").await;
    let mut socket = fleet.upgrade(0, &registration).open().await.unwrap();
    let slow = async || TcpStream::connect(leaving.address()).await.unwrap();
    let asking = [
        (slow().await, format!("/?token={}", registration.token)),
        (slow().await, "/ws".to_owned()),
    ];
    until("they are there", async || {
        leaving.metric("carillon_gateway_handshakes").await == 2.0
    })
    .await;
    leaving.signal("TERM");
    until("sockets are being closed", async || {
        leaving.metric("carillon_gateway_drain_remaining").await == 1.0
    })
    .await;
    for (mut slow, what) in asking {
        let request = format!(
            "GET {what} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        slow.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: "), "{answer}");
    }
    leaving.signal("TERM");
    assert_eq!(socket.close_code().await, 1012);
    assert!(leaving.ended().await.success());
}

#[tokio::test]
async fn a_client_whose_token_is_being_checked_when_the_delay_ends_is_sent_elsewhere() {
    let mut world = World::default();
    let token = world.user("ada");
    let misskey = Misskey::of(world);
    let fleet = Fleet::of(1, 0).misskey(&misskey).env(WINDOW, "10s");
    let fleet = fleet.start().await;
    misskey.set_weather(Weather::Slow(Duration::from_secs(1)));
    let leaving = async {
        until("its token is being checked", async || {
            misskey.asked("i") == 1
        })
        .await;
        assert!(fleet.gateway(0).terminate().await.success());
    };
    let coming = async {
        let mut socket = fleet.streaming_socket(0, Some(&token)).await.unwrap();
        assert_eq!(socket.close_code().await, 1012);
    };
    tokio::join!(leaving, coming);
}
