//! The socket of a recipient: who is let in, how it is kept, how it ends.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tests::socket::{Heard, Upgrade};
use tests::{Fleet, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn refused(upgrade: Upgrade) -> tests::Refusal {
    match upgrade.open().await {
        Ok(_) => panic!("the gateway let it in"),
        Err(refusal) => refusal,
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_before_the_upgrade() {
    let fleet = Fleet::start().await;
    let good = fleet.register("ann").await;
    let gateway = fleet.gateway(0).address();
    let (head, tail) = good.token.split_at(good.token.len() - 1);
    let other = if tail == "A" { "B" } else { "A" };
    let tampered = format!("token={head}{other}");
    let cut = format!("token={head}");
    for query in ["", "token=", "token=nonsense", &tampered, &cut, "other=1"] {
        let upgrade = Upgrade::to(&format!("ws://{gateway}/?{query}"));
        assert_eq!(refused(upgrade).await.status(), 401);
    }
    let elsewhere = Upgrade::to(&format!("ws://{gateway}/elsewhere?token={}", good.token));
    assert_eq!(refused(elsewhere).await.status(), 404);
    let beside = Upgrade::to(&format!(
        "ws://{gateway}/?theme=dark&token={}&x=1",
        good.token
    ));
    assert!(
        beside.open().await.is_ok(),
        "other parameters do not matter"
    );
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_API_TOKEN_LIFE", "1ms")
        .start()
        .await;
    let registration = fleet.register("ann").await;
    until("the token has expired", async || {
        match fleet.upgrade(0, &registration).open().await {
            Ok(_) => false,
            Err(refusal) => refusal.status() == 401,
        }
    })
    .await;
}

#[tokio::test]
async fn a_plain_request_is_told_to_upgrade() {
    let fleet = Fleet::start().await;
    let registration = fleet.register("ann").await;
    let gateway = tests::http::Http::to(fleet.gateway(0).address());
    let answer = gateway
        .get(&format!("/?token={}", registration.token))
        .await
        .unwrap();
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
}

#[tokio::test]
async fn a_token_for_one_origin_opens_only_from_there() {
    let fleet = Fleet::start().await;
    let input = json!({ "recipient": "ann", "origin": "https://Example.org:443" });
    let registration = fleet.register_with(input).await;
    let from = |origin: &str| fleet.upgrade(0, &registration).header("origin", origin);
    assert!(from("https://example.org").open().await.is_ok());
    for origin in [
        "http://example.org",
        "https://example.org:8443",
        "https://a.org",
        "null",
    ] {
        assert_eq!(refused(from(origin)).await.status(), 403, "{origin}");
    }
    assert_eq!(refused(fleet.upgrade(0, &registration)).await.status(), 403);
}

#[tokio::test]
async fn a_token_for_one_address_opens_only_from_there() {
    let fleet = Fleet::start().await;
    let local = |n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n));
    let one = fleet
        .register_with(json!({ "recipient": "a", "sourceIp": "127.0.0.5" }))
        .await;
    assert!(fleet.upgrade(0, &one).from(local(5)).open().await.is_ok());
    assert_eq!(
        refused(fleet.upgrade(0, &one).from(local(6)))
            .await
            .status(),
        403
    );
    let net = fleet
        .register_with(json!({ "recipient": "a", "sourceIp": "127.0.0.4/30" }))
        .await;
    assert!(fleet.upgrade(0, &net).from(local(6)).open().await.is_ok());
    assert_eq!(
        refused(fleet.upgrade(0, &net).from(local(9)))
            .await
            .status(),
        403
    );
    // Nobody is trusted to say where a client is unless configured.
    let forged = fleet
        .upgrade(0, &one)
        .from(local(6))
        .header("x-forwarded-for", "127.0.0.5");
    assert_eq!(refused(forged).await.status(), 403);
}

#[tokio::test]
async fn a_trusted_proxy_says_where_the_client_is() {
    let fleet = Fleet::of(1, 0)
        .env(
            "CARILLON_GATEWAY_TRUSTED_PROXIES",
            "127.0.0.1/32,10.0.0.0/8",
        )
        .start()
        .await;
    let only = json!({ "recipient": "a", "sourceIp": "203.0.113.7" });
    let registration = fleet.register_with(only).await;
    let through = |forwarded: &str| {
        fleet
            .upgrade(0, &registration)
            .header("x-forwarded-for", forwarded)
    };
    assert!(through("203.0.113.7, 10.1.1.1").open().await.is_ok());
    assert!(through("8.8.8.8, 203.0.113.7").open().await.is_ok());
    assert_eq!(refused(through("203.0.113.7, 8.8.8.8")).await.status(), 403);
}

#[tokio::test]
async fn a_full_node_refuses_with_a_wait() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_MAX_CONNECTIONS", "1")
        .start()
        .await;
    let registration = fleet.register("ann").await;
    let first = fleet.upgrade(0, &registration).open().await.unwrap();
    let refusal = refused(fleet.upgrade(0, &registration)).await;
    assert_eq!(refusal.status(), 503);
    let wait: u32 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait));
    first.close().await;
    until("the place is free again", async || {
        fleet.upgrade(0, &registration).open().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn one_address_may_be_kept_from_taking_all_places() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "1")
        .start()
        .await;
    let registration = fleet.register("ann").await;
    let _first = fleet.upgrade(0, &registration).open().await.unwrap();
    assert_eq!(refused(fleet.upgrade(0, &registration)).await.status(), 503);
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    assert!(
        fleet
            .upgrade(0, &registration)
            .from(other)
            .open()
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn connections_that_come_too_fast_wait_and_too_many_are_refused_with_a_hint() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_ACCEPT_RATE", "1")
        .env("CARILLON_GATEWAY_MAX_HANDSHAKES", "16")
        .start()
        .await;
    let registration = fleet.register("ann").await;
    let _first = fleet.upgrade(0, &registration).open().await.unwrap();
    let storm = (0..12).map(|_| fleet.upgrade(0, &registration).open());
    let (opened, refused): (Vec<_>, Vec<_>) =
        join_all(storm).await.into_iter().partition(Result::is_ok);
    assert!(!opened.is_empty(), "who waited was let in");
    assert!(!refused.is_empty(), "not everybody can wait");
    for refusal in refused.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.status(), 503);
        assert!(refusal.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_frees_its_place() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_ACCEPT_RATE", "0")
        .start()
        .await;
    let registration = fleet.register("ann").await;
    let parked = async |count: f64| {
        until("so many wait", async || {
            fleet.gateway(0).metric("carillon_gateway_parked").await == count
        })
        .await;
    };
    let both = (0..2).map(|_| fleet.upgrade(0, &registration).open());
    tokio::select! {
        _ = join_all(both) => panic!("nobody is let in"),
        () = parked(2.0) => {}
    }
    parked(0.0).await;
    let soon = r#"carillon_gateway_parked_seconds_bucket{le="3"}"#;
    assert_eq!(fleet.gateway(0).metric(soon).await, 2.0);
}

#[tokio::test]
async fn a_quiet_client_is_pinged_and_a_silent_one_cut() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_HEARTBEAT", "200ms")
        .start()
        .await;
    let mut socket = fleet.connect("ann").await;
    // Reading answers pings, so this client stays for as long as it reads.
    for _ in 0..5 {
        assert_eq!(socket.heard().await, Heard::Ping);
    }
    // Now it does not read, and so does not answer.
    until("the silent client is cut", async || {
        let closes = r#"carillon_gateway_closes_total{reason="silent"}"#;
        fleet.gateway(0).metric(closes).await == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_client_s_goodbye_is_answered() {
    let fleet = Fleet::start().await;
    fleet.connect("ann").await.close().await;
    until("the goodbye is counted", async || {
        let closes = r#"carillon_gateway_closes_total{reason="client_left"}"#;
        fleet.gateway(0).metric(closes).await == 1.0
    })
    .await;
    let open = r#"carillon_gateway_connections{dialect="push"}"#;
    until("no connection is left", async || {
        fleet.gateway(0).metric(open).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn what_a_raw_client_says_is_ignored_up_to_a_point() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_MAX_FRAME", "1KiB")
        .start()
        .await;
    let mut socket = fleet.connect("ann").await;
    socket.say("hello?").await;
    fleet.push("ann", "still here").await;
    assert_eq!(socket.text().await, "still here");
    socket.say(&"x".repeat(2000)).await;
    assert_eq!(socket.close_code().await, 1009);

    let mut flood = fleet.connect("bob").await;
    for _ in 0..400 {
        flood.say("hello?").await;
    }
    assert_eq!(flood.close_code().await, 1008);
}

#[tokio::test]
async fn an_acknowledging_client_that_talks_nonsense_is_told_so() {
    let fleet = Fleet::start().await;
    let registration = fleet.register("ann").await;
    let mut socket = fleet
        .upgrade(0, &registration)
        .acknowledging()
        .open()
        .await
        .unwrap();
    assert_eq!(socket.subprotocol(), Some("push.v1.json"));
    socket.say("yes, got it").await;
    assert_eq!(socket.close_code().await, 1008);
}

#[tokio::test]
async fn what_a_client_acknowledges_before_it_hears_that_it_was_closed_counts() {
    let fleet = Fleet::of(1, 0).start().await;
    let gateway = fleet.gateway(0);
    let registration = fleet.register("ann").await;
    let upgrade = fleet.upgrade(0, &registration).acknowledging();
    let mut socket = upgrade.open().await.unwrap();
    let message = fleet.push("ann", "got it").await;
    assert_eq!(socket.json().await["id"], message["id"]);
    gateway.signal("TERM");
    until("it is closed", async || {
        let closed = r#"carillon_gateway_closes_total{reason="draining"}"#;
        1.0 <= gateway.metric(closed).await
    })
    .await;
    let ack = json!({ "ack": [message["id"]] });
    socket.say(&ack.to_string()).await;
    fleet.settled(&message["id"], "DELIVERED").await;
    assert_eq!(socket.close_code().await, 1012);
}

#[tokio::test]
async fn an_unknown_subprotocol_is_not_chosen() {
    let fleet = Fleet::start().await;
    let registration = fleet.register("ann").await;
    let upgrade = fleet
        .upgrade(0, &registration)
        .header("sec-websocket-protocol", "chat");
    // Clients must hang up if a subprotocol they asked for is missing; the
    // gateway answers without one, which is for the client to judge.
    match upgrade.open().await {
        Ok(socket) => assert_eq!(socket.subprotocol(), None),
        Err(refusal) => assert!(matches!(refusal, tests::Refusal::Broken(_)), "{refusal:?}"),
    }
}

#[tokio::test]
async fn garbage_instead_of_frames_ends_only_that_connection() {
    let fleet = Fleet::start().await;
    let mut bystander = fleet.connect("ann").await;
    let registration = fleet.register("bob").await;
    let gateway = fleet.gateway(0).address();
    let head = format!(
        "GET /?token={} HTTP/1.1\r\nHost: {gateway}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        registration.token
    );
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 300],
        &[0x81, 0x05, b'h', b'e', b'l', b'l', b'o'],
        &[0x8f, 0x80, 0, 0, 0, 0],
        &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        // The garbage comes with the request, so it is there before the upgrade.
        stream
            .write_all(&[head.as_bytes(), bytes].concat())
            .await
            .unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
        // The key and answer of RFC 6455, section 1.3.
        assert!(heard.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{heard}");
    }
    fleet.push("ann", "undisturbed").await;
    assert_eq!(bystander.text().await, "undisturbed");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_disturbs_nobody() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_MAX_QUEUE", "128KiB")
        .start()
        .await;
    let registration = fleet.register("slow").await;
    let mut slow = fleet
        .upgrade(0, &registration)
        .receive_buffer(4096)
        .open()
        .await
        .unwrap();
    let mut quick = fleet.connect("quick").await;
    let big = "x".repeat(60_000);
    let closed = "carillon_gateway_slow_closed_total";
    let mut pushed = 0;
    while fleet.gateway(0).metric(closed).await == 0.0 {
        fleet.push("slow", &big).await;
        fleet.push("quick", "undisturbed").await;
        assert_eq!(quick.text().await, "undisturbed");
        pushed += 1;
        assert!(pushed < 1000, "the gateway keeps everything");
    }
    // Whatever the kernel had taken comes first, then the end.
    assert!(matches!(
        slow.end().await,
        Heard::Closed(1013, _) | Heard::Gone
    ));
    until("nothing is kept for it", async || {
        fleet
            .gateway(0)
            .metric("carillon_gateway_queue_bytes")
            .await
            == 0.0
    })
    .await;
    // What it did not take is still there for it.
    let mut again = fleet.upgrade(0, &registration).open().await.unwrap();
    assert_eq!(again.text().await.len(), big.len());
}

#[tokio::test]
async fn a_drain_sends_every_client_elsewhere_and_loses_nothing() {
    let fleet = Fleet::of(2, 1)
        .env("CARILLON_DRAIN_WINDOW", "500ms")
        .start()
        .await;
    let mut sockets = Vec::new();
    for n in 0..20 {
        sockets.push(fleet.connect_at(0, &format!("r{n}")).await);
    }
    let leaving = async {
        let status = fleet.gateway(0).terminate().await;
        assert!(status.success(), "{status}");
    };
    let told = async {
        for socket in &mut sockets {
            assert_eq!(socket.close_code().await, 1012);
        }
    };
    tokio::join!(leaving, told);
    for n in 0..20 {
        fleet.push(&format!("r{n}"), "while you were away").await;
        let mut back = fleet.connect_at(1, &format!("r{n}")).await;
        assert_eq!(back.text().await, "while you were away");
    }
}

#[tokio::test]
async fn handshakes_that_never_finish_hold_up_nobody() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_HANDSHAKE_TIMEOUT", "500ms")
        .env("CARILLON_GATEWAY_MAX_HANDSHAKES", "64")
        .start()
        .await;
    let gateway = fleet.gateway(0).address();
    let registration = fleet.register("ann").await;
    let mut stalled = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        if n % 2 == 0 {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
                .await
                .unwrap();
        }
        stalled.push(stream);
    }
    // More wait than may; all are gone after their time, and then it is our turn.
    assert!(fleet.upgrade(0, &registration).open().await.is_ok());
    for mut stream in stalled {
        let mut heard = Vec::new();
        drop(tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut heard)).await);
    }
    until("no handshake is left", async || {
        fleet.gateway(0).metric("carillon_gateway_handshakes").await == 0.0
    })
    .await;
}
