//! Behind a real HAProxy that passes connections on as they are, and says by the PROXY
//! protocol whose they are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::json;
use tests::front::{Front, Kind};
use tests::{Fleet, Registration, Upgrade, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Where the proxy connects from. Everybody else comes from other addresses.
const PROXY: &str = "127.0.0.7";

const VERSIONS: [&str; 2] = ["send-proxy", "send-proxy-v2"];

/// A HAProxy that understands nothing of what it passes on to this server.
pub(crate) async fn before(server: SocketAddr, version: &str) -> Front {
    let configuration = format!(
        "defaults
            mode tcp
            timeout connect 5s
            timeout client 60s
            timeout server 60s
        listen all
            bind {{listen}}
            server one {server} {version} source {PROXY}
"
    );
    Front::start(Kind::Haproxy, &configuration).await
}

fn local(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, n))
}

async fn proxied() -> Fleet {
    Fleet::of(1, 1)
        .env("CARILLON_GATEWAY_PROXY_PROTOCOL", PROXY_NET)
        .env("CARILLON_API_PROXY_PROTOCOL", PROXY_NET)
        .env("CARILLON_GATEWAY_TRUSTED_PROXIES", "127.0.0.9/32")
        .start()
        .await
}

const PROXY_NET: &str = "127.0.0.7/32";

/// The status that a client at `from` is refused with, or none if it is let in.
async fn asks(fleet: &Fleet, who: &Registration, at: SocketAddr, from: u8) -> Option<u16> {
    answered(fleet.upgrade(0, who).at(at).from(local(from))).await
}

async fn answered(upgrade: Upgrade) -> Option<u16> {
    let refused = upgrade.open().await.err();
    refused.map(|refusal| refusal.status())
}

#[tokio::test]
async fn a_token_for_one_address_opens_only_from_there_through_a_proxy_too() {
    let fleet = proxied().await;
    let only = json!({ "recipient": "ann", "sourceIp": "127.0.0.5" });
    let only = fleet.register_with(only).await;
    let beyond = json!({ "recipient": "ann", "sourceIp": "203.0.113.7" });
    let beyond = fleet.register_with(beyond).await;
    for version in VERSIONS {
        let front = before(fleet.gateway(0).address(), version).await;
        let at = front.address();
        assert_eq!(asks(&fleet, &only, at, 5).await, None, "{version}");
        assert_eq!(asks(&fleet, &only, at, 6).await, Some(403), "{version}");

        // Who is believed about others is judged by the address in the header.
        let tells = |from| {
            let upgrade = fleet.upgrade(0, &beyond).at(at).from(local(from));
            upgrade.header("x-forwarded-for", "203.0.113.7")
        };
        assert_eq!(answered(tells(9)).await, None, "{version}");
        assert_eq!(answered(tells(8)).await, Some(403), "{version}");

        let mut socket = fleet.upgrade(0, &only).at(at).from(local(5));
        socket = socket.acknowledging();
        let mut socket = socket.open().await.expect("it may");
        let message = fleet.push("ann", "through").await;
        assert_eq!(socket.json().await["message"], "through");
        let id = message["id"].as_str().expect("it has one");
        socket.acknowledge(&[id]).await;
        fleet.settled(&message["id"], "DELIVERED").await;
    }
}

#[tokio::test]
async fn a_connection_that_does_not_come_from_the_proxy_is_taken_as_it_is() {
    let fleet = proxied().await;
    let only = json!({ "recipient": "ann", "sourceIp": "127.0.0.5" });
    let only = fleet.register_with(only).await;
    let gateway = fleet.gateway(0).address();
    assert_eq!(asks(&fleet, &only, gateway, 5).await, None);
    assert_eq!(asks(&fleet, &only, gateway, 6).await, Some(403));
    // Who may not speak for others and does speaks no HTTP.
    let forged = b"PROXY TCP4 127.0.0.5 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\n\r\n";
    let answer = said(gateway, 6, forged).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_proxy_that_does_not_say_whose_connection_it_is_is_refused_and_counted() {
    let fleet = proxied().await;
    let (gateway, api) = (fleet.gateway(0), fleet.api());
    for (process, metric) in [
        (
            gateway,
            "carillon_gateway_unopened_total{cause=\"proxy_header\"}",
        ),
        (api, "carillon_api_unopened_total{cause=\"proxy_header\"}"),
    ] {
        let counted = async || process.metric(metric).await;
        for begins in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01",
            b"PROXY TCP4 127.0.0.5",
        ] {
            let before = counted().await;
            let answer = said(process.address(), 7, begins).await;
            assert_eq!(answer, "");
            until("it is counted", async || before < counted().await).await;
        }
    }
    // The proxy's own connection, to see whether somebody is there.
    let own = b"PROXY UNKNOWN\r\nGET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for process in [gateway, api] {
        let answer = said(process.address(), 7, own).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}

#[tokio::test]
async fn callers_reach_the_api_through_such_a_proxy() {
    let fleet = proxied().await;
    for version in VERSIONS {
        let front = before(fleet.api().address(), version).await;
        let api = tests::http::Http::to(front.address());
        let key = [("x-api-key", fleet.access_key())];
        let headers = [&key[..], &[("content-type", "application/json")]].concat();
        let asked = br#"{"query":"{ version }"}"#;
        let answer = api.request("POST", "/graphql", &headers, asked).await;
        let answer = answer.expect("the api answers").text();
        assert!(answer.contains("\"version\""), "{version}: {answer}");
    }
}

/// All that a server says to a client that sends this from 127.0.0.`from`.
async fn said(server: SocketAddr, from: u8, bytes: &[u8]) -> String {
    let mut stream = connect(server, from).await;
    stream.write_all(bytes).await.expect("it is there");
    let mut said = Vec::new();
    // It may have left before it read everything, which is told as an error.
    drop(stream.read_to_end(&mut said).await);
    String::from_utf8_lossy(&said).into_owned()
}

async fn connect(server: SocketAddr, from: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("sockets can be had");
    let own = SocketAddr::new(local(from), 0);
    socket.bind(own).expect("it is free");
    socket.connect(server).await.expect("it listens")
}
