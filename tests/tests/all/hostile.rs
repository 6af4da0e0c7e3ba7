//! Clients that mean harm, or are badly broken: the gateway ends them, stays
//! small, and others do not notice.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use broker::Timestamp;
use broker::token::{Keyring, RecipientToken};
use futures_util::stream::{self, StreamExt as _};
use tests::until::PATIENCE;
use tests::{Fleet, FleetBuilder, Process, Upgrade, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

const CONNECTIONS: &str = "carillon_gateway_connections";
const HANDSHAKES: &str = "carillon_gateway_handshakes";
/// Bytes in a mebibyte.
const MIB: u64 = 1 << 20;

/// A gateway that takes what comes at the pace of a test.
fn patient() -> FleetBuilder {
    Fleet::of(1, 0).env("CARILLON_GATEWAY_ACCEPT_RATE", "1000000")
}

/// Bytes of memory that a process holds now.
fn resident(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.pid());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// As many of `wanted` sockets as this process may have beside those of other tests.
fn affordable(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.unwrap().split_whitespace().next().unwrap();
    let soft = soft.parse().unwrap_or(usize::MAX);
    wanted.min(soft / 2)
}

/// One of our own addresses.
fn address(n: usize) -> SocketAddr {
    let [.., high, low] = n.to_be_bytes();
    (Ipv4Addr::new(127, 1, high, low), 0).into()
}

async fn connect(to: SocketAddr, from: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from)?;
    socket.connect(to).await
}

/// The request that a browser would send, with the empty line left to the caller.
fn request(gateway: SocketAddr, query: &str) -> String {
    format!(
        "GET /?{query} HTTP/1.1\r\nHost: {gateway}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
}

/// All that comes back until the end, which must come.
async fn answer(gateway: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    // A server that has heard enough may end the connection before all is sent.
    drop(stream.write_all(sent).await);
    let mut heard = Vec::new();
    let end = timeout(Duration::from_secs(15), stream.read_to_end(&mut heard)).await;
    match end.expect("the gateway ends the connection") {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&heard).into_owned(),
    }
}

/// A socket of `recipient`, upgraded, and nothing between its bytes and the test.
pub(crate) async fn bare(fleet: &Fleet, recipient: &str) -> TcpStream {
    let token = fleet.register(recipient).await.token;
    let gateway = fleet.gateway(0).address();
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let head = request(gateway, &format!("token={token}")) + "\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(stream.read_u8().await.unwrap());
    }
    assert!(heard.starts_with(b"HTTP/1.1 101"));
    stream
}

/// A client's frame of at most 125 bytes, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The code with which the gateway closes a connection on which nothing else comes.
pub(crate) async fn closed_with(stream: &mut TcpStream) -> Option<u16> {
    let mut heard = Vec::new();
    let end = timeout(Duration::from_secs(15), stream.read_to_end(&mut heard)).await;
    drop(end.expect("the gateway ends the connection"));
    let at = heard.windows(2).position(|two| two[0] == 0x88)?;
    let code = heard.get(at + 2..at + 4)?;
    Some(u16::from_be_bytes([code[0], code[1]]))
}

async fn nobody_is_left(fleet: &Fleet) {
    let gateway = fleet.gateway(0);
    until("nobody is left", async || {
        gateway.metric(CONNECTIONS).await < 0.5 && gateway.metric(HANDSHAKES).await < 0.5
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_half_open_handshakes_keep_nobody_out() {
    let fleet = patient()
        .env("CARILLON_GATEWAY_HANDSHAKE_TIMEOUT", "10s")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    let ann = fleet.register("ann").await;
    let before = resident(gateway);
    let head = request(gateway.address(), "token=x");
    let attack = stream::iter(0..affordable(10_000)).map(|n| {
        let head = &head;
        async move {
            let mut stream = connect(gateway.address(), address(n % 50)).await?;
            if n % 2 == 0 {
                stream.write_all(head.as_bytes()).await?;
            }
            Ok::<_, std::io::Error>(stream)
        }
    });
    let attack = async { attack.buffer_unordered(500).collect::<Vec<_>>().await };
    let visit = async {
        until("the gateway has no place left", async || {
            gateway.metric(HANDSHAKES).await >= 4000.0
        })
        .await;
        let mut longest = Duration::ZERO;
        for _ in 0..5 {
            let asked = Instant::now();
            fleet.upgrade(0, &ann).open().await.unwrap().close().await;
            longest = longest.max(asked.elapsed());
        }
        longest
    };
    let (half_open, longest) = tokio::join!(attack, visit);
    let reached = half_open.iter().filter(|stream| stream.is_ok()).count();
    assert_eq!(
        reached,
        half_open.len(),
        "the attack is as large as it should be"
    );
    assert!(longest < Duration::from_secs(8), "let in after {longest:?}");
    let mut socket = fleet.upgrade(0, &ann).open().await.unwrap();
    let during = resident(gateway);
    assert!(
        during < before + 200 * MIB,
        "{} MiB before, {} MiB with half-open handshakes",
        before / MIB,
        during / MIB
    );
    fleet.push("ann", "undisturbed").await;
    assert_eq!(socket.text().await, "undisturbed");
    socket.close().await;
    nobody_is_left(&fleet).await;
    drop(half_open);
    let after = resident(gateway);
    assert!(
        after < before + 100 * MIB,
        "{} MiB before, {} MiB after",
        before / MIB,
        after / MIB
    );
}

#[tokio::test]
async fn a_place_for_a_handshake_is_kept_by_asking_for_nothing_else() {
    let fleet = patient()
        .env("CARILLON_GATEWAY_HANDSHAKE_TIMEOUT", "5s")
        .start()
        .await;
    let gateway = fleet.gateway(0).address();
    let plain = format!("GET / HTTP/1.1\r\nHost: {gateway}\r\n\r\n");
    // The connection ends with the answer, though the client would go on.
    let asked = Instant::now();
    assert!(
        answer(gateway, plain.as_bytes())
            .await
            .starts_with("HTTP/1.1 426")
    );
    assert!(asked.elapsed() < Duration::from_secs(4));
    // A body that never comes is not waited for.
    let token = fleet.register("ann").await.token;
    let head = request(gateway, &format!("token={token}"));
    for body in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let sent = format!("{head}{body}\r\n\r\n");
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        until("it is no handshake any more", async || {
            fleet.gateway(0).metric(HANDSHAKES).await < 0.5
        })
        .await;
    }
    for method in ["POST", "PUT"] {
        let sent = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
        assert!(
            answer(gateway, sent.as_bytes())
                .await
                .starts_with("HTTP/1.1 4")
        );
    }
    nobody_is_left(&fleet).await;
}

#[tokio::test]
async fn forged_tokens_do_not_use_up_what_real_ones_are_allowed() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_GATEWAY_ACCEPT_RATE", "2")
        .start()
        .await;
    let ann = fleet.register("ann").await;
    let gateway = fleet.gateway(0).address();
    let forged = request(gateway, "token=forged") + "\r\n";
    for _ in 0..20 {
        let answer = answer(gateway, forged.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert!(fleet.upgrade(0, &ann).open().await.is_ok());
}

#[tokio::test]
async fn requests_that_no_browser_sends_get_an_answer_or_an_end() {
    let fleet = patient()
        .env("CARILLON_GATEWAY_HANDSHAKE_TIMEOUT", "2s")
        .start()
        .await;
    let gateway = fleet.gateway(0).address();
    let token = fleet.register("ann").await.token;
    let good = request(gateway, &format!("token={token}"));
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or("none").to_owned();

    let long = "x".repeat(30_000);
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let cases = [
        (format!("{good}X-Long: {long}\r\n\r\n"), "431"),
        (format!("{good}{many}\r\n"), "431"),
        (request(gateway, &format!("token={long}")) + "\r\n", "431"),
        (
            request(gateway, &format!("token={}", &long[..8000])) + "\r\n",
            "401",
        ),
        (
            request(gateway, &format!("token=&token={token}")) + "\r\n",
            "401",
        ),
        (good.replace("HTTP/1.1", "HTTP/1.0") + "\r\n", "505"),
        (good.replace("HTTP/1.1", "HTTP/9.9") + "\r\n", "400"),
        (good.replace("GET", "FETCH") + "\r\n", "405"),
        (good.replace("/?", "/../?") + "\r\n", "404"),
        (
            good.clone() + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "400",
        ),
        ("\0\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
        (format!("{long}{long}"), "431"),
        ("GET /\u{7f}\u{0} HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "none"),
    ];
    for (n, (sent, expected)) in cases.iter().enumerate() {
        let answer = answer(gateway, sent.as_bytes()).await;
        let found = status(&answer);
        // Ended without a word is well, too, unless there is something to say.
        assert!(
            found == *expected || (*expected == "400" || *expected == "none") && found == "none",
            "case {n}: {answer}"
        );
        assert!(!answer.contains(&token), "case {n}");
    }
    // What follows an upgrade is frames, and a second request is none.
    let twice = format!("{good}\r\n{good}\r\n");
    let heard = answer(gateway, twice.as_bytes()).await;
    assert_eq!(status(&heard), "101");
    assert_eq!(heard.matches("HTTP/1.1").count(), 1, "{heard}");
    nobody_is_left(&fleet).await;
}

#[tokio::test]
async fn floods_of_frames_end_whoever_sends_them() {
    let fleet = patient().start().await;
    let mut bystander = fleet.connect("bystander").await;
    // Each sends one frame to begin with, and then another for ever.
    let floods: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("pings", vec![], frame(0x89, b"12345")),
        ("pongs", vec![], frame(0x8a, b"")),
        ("texts", vec![], frame(0x81, b"hello")),
        ("binaries", vec![], frame(0x82, b"")),
        ("empty fragments", frame(0x01, b""), frame(0x00, b"")),
        ("fragments of a byte", frame(0x02, b"x"), frame(0x00, b"x")),
    ];
    for (what, first, then) in floods {
        let stream = bare(&fleet, "ann").await;
        let (mut from, mut to) = stream.into_split();
        to.write_all(&first).await.unwrap();
        let burst = then.repeat(100);
        let began = Instant::now();
        let flood = async {
            let mut frames = 0;
            while to.write_all(&burst).await.is_ok() {
                frames += 100;
                assert!(began.elapsed() < PATIENCE, "{what}: {frames} frames");
                tokio::task::yield_now().await;
            }
        };
        let mut heard = Vec::new();
        let listen = async { drop(from.read_to_end(&mut heard).await) };
        tokio::join!(flood, listen);
        let close = [0x88, 2 + b"too many frames".len() as u8, 0x03, 0xf0];
        let told = heard.windows(4).any(|bytes| bytes == close);
        // A reset by what was still on its way may take the close frame with it.
        assert!(told || !heard.contains(&0x88), "{what}: {heard:?}");
    }
    let texts = fleet
        .gateway(0)
        .metric("carillon_gateway_closes_total{reason=\"too_much\"}");
    assert!(texts.await >= 6.0);
    fleet.push("bystander", "undisturbed").await;
    assert_eq!(bystander.text().await, "undisturbed");
}

#[tokio::test]
async fn who_only_sends_costs_no_memory() {
    let fleet = patient().start().await;
    let gateway = fleet.gateway(0);
    let before = resident(gateway);
    let mut senders = Vec::new();
    for _ in 0..20 {
        let mut stream = bare(&fleet, "ann").await;
        // Never reads a byte; pings ask for answers as long as they are.
        let ping = frame(0x89, &[b'x'; 125]);
        for _ in 0..60 {
            drop(stream.write_all(&ping.repeat(20)).await);
        }
        senders.push(stream);
    }
    nobody_is_left(&fleet).await;
    let after = resident(gateway);
    assert!(
        after < before + 40 * MIB,
        "{} MiB, then {}",
        before / MIB,
        after / MIB
    );
}

#[tokio::test]
async fn who_goes_half_way_is_gone_in_time() {
    let fleet = patient().start().await;
    // Says goodbye and keeps its end open.
    let mut polite = bare(&fleet, "ann").await;
    polite.write_all(&frame(0x88, &[0x03, 0xe8])).await.unwrap();
    // Ends its own direction only.
    let mut half_closed = bare(&fleet, "ann").await;
    half_closed.shutdown().await.unwrap();
    // Is told to go, and neither answers nor ends anything.
    let mut stubborn = bare(&fleet, "ann").await;
    stubborn.write_all(&frame(0xff, b"")).await.unwrap();
    // The same, and goes on talking.
    let mut talking = bare(&fleet, "ann").await;
    talking.write_all(&frame(0xff, b"")).await.unwrap();
    for _ in 0..100 {
        drop(talking.write_all(&frame(0x81, b"still here")).await);
    }
    // Announces more than it ever sends.
    let mut promising = bare(&fleet, "ann").await;
    promising
        .write_all(&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0, 1])
        .await
        .unwrap();
    promising.shutdown().await.unwrap();
    nobody_is_left(&fleet).await;
    assert_eq!(closed_with(&mut polite).await, Some(1000));
    assert_eq!(closed_with(&mut stubborn).await, Some(1002));
    drop((half_closed, talking, promising));
}

#[tokio::test]
async fn sockets_that_come_and_go_by_the_thousand_leave_no_memory_behind() {
    let fleet = patient().start().await;
    let gateway = fleet.gateway(0);
    let sockets = affordable(2000);
    let keyring: Keyring = tests::fleet::TOKEN_KEYS.parse().unwrap();
    let now = Timestamp::now();
    let token = |n: usize| {
        keyring.sign(&RecipientToken {
            tenant: tests::fleet::TENANT.parse().unwrap(),
            recipient: format!("recipient {n}").into(),
            label: None,
            origin: None,
            source: None,
            issued_at: now,
            expires_at: now + Duration::from_secs(3600),
            nonce: [7; 12],
        })
    };
    let uris: Vec<_> = (0..sockets)
        .map(|n| format!("ws://{}/?token={}", gateway.address(), token(n)))
        .collect();
    let mut sizes = Vec::new();
    for _ in 0..5 {
        // One address of ours alone has not enough ports for all that have ended.
        let open = stream::iter(uris.iter().enumerate());
        let open = open.map(|(n, uri)| Upgrade::to(uri).from(address(n % 50).ip()).open());
        let open: Vec<_> = open.buffer_unordered(100).collect().await;
        let refused: Vec<_> = open.iter().filter_map(|open| open.as_ref().err()).collect();
        assert!(refused.is_empty(), "{refused:?}");
        until("all are there", async || {
            gateway.metric(CONNECTIONS).await >= sockets as f64
        })
        .await;
        sizes.push(resident(gateway));
        drop(open);
        nobody_is_left(&fleet).await;
    }
    let (first, last) = (sizes[0], sizes[4]);
    assert!(
        last < first + first / 10 + 8 * MIB,
        "resident with {sockets} sockets, each time: {sizes:?}"
    );
}
