//! TLS that gateways and the api speak themselves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion};
use serde_json::json;
use tests::authority::Authority;
use tests::hypothesis::page_filter;
use tests::socket::Heard;
use tests::trust::{Shown, shake_hands, shown};
use tests::{Fleet, FleetBuilder, Process, Upgrade, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::annotation_sockets::cluster;

/// Certificates in a folder of their own, gone at the end.
struct Certificates {
    authority: Authority,
    folder: PathBuf,
}

impl Certificates {
    fn new() -> Self {
        let folder = tests::fleet::folder();
        let authority = Authority::new(&folder);
        authority.certify("server", 30);
        Self { authority, folder }
    }

    /// Has gateways and the api show the certificate.
    fn shown_by(&self, builder: FleetBuilder, role: &str) -> FleetBuilder {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let files = [
            ("CERT", path(self.authority.certificate("server"))),
            ("KEY", path(self.authority.key("server"))),
        ];
        files.iter().fold(builder, |builder, (which, file)| {
            builder.env(&format!("CARILLON_{role}_TLS_{which}_FILE"), file)
        })
    }

    /// Clients that believe the authority, and speak every version.
    fn believed(&self) -> Arc<ClientConfig> {
        self.authority.believed(&[&TLS13, &TLS12])
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Connections that came to nothing for want of a handshake.
async fn failed(process: &Process) -> f64 {
    let series = "carillon_gateway_unopened_total{cause=\"tls\"}";
    process.metric(series).await
}

#[tokio::test]
async fn recipients_are_pushed_to_and_acknowledge_over_every_version_of_tls() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 1), "GATEWAY");
    let fleet = fleet.start().await;
    let who = fleet.register("ann").await;
    for version in [&TLS12, &TLS13] {
        let config = certificates.authority.believed(&[version]);
        let upgrade = fleet.upgrade(0, &who).over_tls(&config).acknowledging();
        let mut socket = upgrade.open().await.unwrap();
        let long = "x".repeat(60_000);
        for text in ["short", &long] {
            let message = fleet.push("ann", text).await;
            assert_eq!(socket.json().await["message"], text);
            socket.acknowledge(&[message["id"].as_str().unwrap()]).await;
            fleet.settled(&message["id"], "DELIVERED").await;
        }
        socket.ping().await;
        assert_eq!(socket.heard().await, Heard::Pong);
        socket.ask_to_close().await;
        assert_eq!(socket.end().await, Heard::Closed(1000, String::new()));
        assert_eq!(socket.end().await, Heard::Gone);
    }
    assert_eq!(failed(fleet.gateway(0)).await, 0.0);
}

#[tokio::test]
async fn clients_that_annotate_are_told_over_tls() {
    let certificates = Certificates::new();
    let cluster = cluster(certificates.shown_by(Fleet::of(1, 0), "GATEWAY")).await;
    let gateway = cluster.fleet.gateway(0).address();
    let upgrade = Upgrade::to(&format!("ws://{gateway}/ws")).over_tls(&certificates.believed());
    let mut socket = upgrade.open().await.unwrap();
    let page = "https://e.org/page";
    socket.settle(&page_filter(&[page])).await;
    let made = cluster.annotate("ada", "__world__", page).await;
    let event = socket.json().await;
    assert_eq!(event["payload"][0]["id"], *made.notification.id);
}

#[tokio::test]
async fn frames_that_come_with_the_request_are_heard() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 0), "GATEWAY");
    let fleet = fleet.start().await;
    let who = fleet.register("ann").await;
    let gateway = fleet.gateway(0).address();
    let request = format!(
        "GET /?token={} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        who.token
    );
    let ping = |n: u8| [0x89, 0x81, 0, 0, 0, 0, n];
    // In one record, and in one for each, which come together.
    for apart in [false, true] {
        let mut stream = shake_hands(gateway, &certificates.believed())
            .await
            .unwrap();
        let mut parts = vec![request.clone().into_bytes()];
        parts.extend((0..50).map(|n| ping(n).to_vec()));
        if !apart {
            parts = vec![parts.concat()];
        }
        let mut sealed = Vec::new();
        let (tcp, tls) = stream.get_mut();
        for part in &parts {
            std::io::Write::write_all(&mut tls.writer(), part).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut sealed).unwrap();
            }
        }
        tcp.write_all(&sealed).await.unwrap();
        let mut heard = Vec::new();
        let pongs: Vec<u8> = (0..50).flat_map(|n| [0x8a, 1, n]).collect();
        while !heard.ends_with(&pongs) {
            let some = stream.read_buf(&mut heard).await.unwrap();
            assert!(0 < some, "{}", String::from_utf8_lossy(&heard));
        }
        assert!(heard.starts_with(b"HTTP/1.1 101 "));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_only_what_it_got_is_delivered() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 0), "GATEWAY");
    let fleet = fleet
        .env("CARILLON_GATEWAY_MAX_QUEUE", "128KiB")
        .start()
        .await;
    let who = fleet.register("slow").await;
    let config = certificates.believed();
    let slow = fleet.upgrade(0, &who).over_tls(&config);
    let mut slow = slow.receive_buffer(4096).open().await.unwrap();
    let quick = fleet.register("quick").await;
    let quick = fleet.upgrade(0, &quick).over_tls(&config);
    let mut quick = quick.open().await.unwrap();
    let gateway = fleet.gateway(0);
    let closed = "carillon_gateway_slow_closed_total";
    let mut pushed = Vec::new();
    while gateway.metric(closed).await == 0.0 {
        let text = format!("{}:{}", pushed.len(), "x".repeat(40_000));
        let message = fleet.push("slow", &text).await;
        pushed.push((text, message["id"].clone()));
        fleet.push("quick", "undisturbed").await;
        assert_eq!(quick.text().await, "undisturbed");
        assert!(pushed.len() < 1000, "the gateway keeps everything");
    }
    let mut got = BTreeSet::new();
    loop {
        match slow.heard().await {
            Heard::Text(text) => drop(got.insert(text)),
            Heard::Closed(code, _) => assert_eq!(code, 1013),
            Heard::Gone => break,
            _ => {}
        }
    }
    until("nothing is kept for it", async || {
        gateway.metric("carillon_gateway_queue_bytes").await == 0.0
    })
    .await;
    for (text, id) in &pushed {
        if got.contains(text) {
            fleet.settled(id, "DELIVERED").await;
        } else {
            assert_eq!(fleet.message(id).await["status"], "PENDING");
        }
    }
    // What it did not take is still there for it.
    let mut again = fleet.upgrade(0, &who).over_tls(&config).open().await;
    let again = again.as_mut().unwrap();
    for (text, _) in pushed.iter().filter(|(text, _)| !got.contains(text)) {
        assert_eq!(again.text().await, *text);
    }
}

#[tokio::test]
async fn a_client_that_reads_a_little_at_a_time_gets_everything_in_order() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 0), "GATEWAY");
    let fleet = fleet.start().await;
    let who = fleet.register("ann").await;
    let upgrade = fleet.upgrade(0, &who).over_tls(&certificates.believed());
    let mut socket = upgrade.receive_buffer(4096).open().await.unwrap();
    let texts: Vec<_> = (0..20)
        .map(|n| format!("{n}:{}", "y".repeat(n * 3000)))
        .collect();
    for text in &texts {
        fleet.push("ann", text).await;
    }
    for text in &texts {
        assert_eq!(socket.text().await, *text);
    }
}

/// What a client saw that connects now.
async fn sees(server: SocketAddr, config: &Arc<ClientConfig>) -> Shown {
    let mut stream = shake_hands(server, config).await.expect("it is believed");
    // Tickets come after the handshake, with whatever is read first.
    let asks = b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(asks).await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(answer.starts_with(b"HTTP/1.1 404 "));
    shown(&stream)
}

#[tokio::test]
async fn who_comes_back_is_known_by_its_ticket() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 0), "GATEWAY");
    let fleet = fleet.start().await;
    let gateway = fleet.gateway(0).address();
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = certificates.authority.believed(&[version]);
        let (first, second) = (sees(gateway, &config).await, sees(gateway, &config).await);
        assert_eq!((first.version, second.version), (spoken, spoken));
        assert!(!first.resumed && second.resumed, "{spoken:?}");
        assert_eq!(first.protocol.as_deref(), Some(&b"http/1.1"[..]));
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_ended_in_time_and_counted() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 0), "GATEWAY");
    let fleet = fleet
        .env("CARILLON_GATEWAY_HANDSHAKE_TIMEOUT", "300ms")
        .env("CARILLON_GATEWAY_MAX_HANDSHAKES", "4")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    let connect = async || TcpStream::connect(gateway.address()).await.unwrap();
    let hello = hello(&certificates).await;

    // Whoever only looks whether somebody is there is no failure.
    drop(connect().await);
    let plain = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut counted = 0.0;
    for (begins, leaves) in [
        (&plain[..], false),
        (&hello[..100], false),
        (&hello[..100], true),
        (b"", false),
    ] {
        let mut stream = connect().await;
        stream.write_all(begins).await.unwrap();
        if leaves {
            stream.shutdown().await.unwrap();
        }
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said).await);
        // An alert at most: nothing that HTTP knows.
        assert!(said.len() < 20 && !said.starts_with(b"HTTP"), "{said:?}");
        counted += 1.0;
        until("it is counted", async || failed(gateway).await == counted).await;
    }
    // Those that do not finish theirs make room.
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = connect().await;
        stream.write_all(&hello[..100]).await.unwrap();
        held.push(stream);
    }
    let who = fleet.register("ann").await;
    let upgrade = fleet.upgrade(0, &who).over_tls(&certificates.believed());
    assert!(upgrade.open().await.is_ok());
    // A client that trusts somebody else goes, and that is told apart from nothing.
    let before = failed(gateway).await;
    let stranger = Certificates::new().believed();
    assert!(shake_hands(gateway.address(), &stranger).await.is_err());
    until("it is counted", async || before < failed(gateway).await).await;
}

/// What a client says first.
async fn hello(certificates: &Certificates) -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = certificates.believed();
    let client = tokio::spawn(async move { shake_hands(address, &config).await.is_ok() });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut said = vec![0; 4096];
    let length = stream.read(&mut said).await.unwrap();
    said.truncate(length);
    drop(stream);
    assert!(!client.await.unwrap());
    said
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_clients_and_a_bad_one_to_none() {
    let certificates = Certificates::new();
    let fleet = Fleet::of(1, 0);
    let fleet = certificates.shown_by(certificates.shown_by(fleet, "GATEWAY"), "API");
    let fleet = fleet.api_over_tls(&certificates.believed()).start().await;
    let who = fleet.register("ann").await;
    let config = certificates.believed();
    let mut open = fleet.upgrade(0, &who).over_tls(&config).open().await;
    let open = open.as_mut().unwrap();
    for (process, role) in [(fleet.gateway(0), "gateway"), (fleet.api(), "api")] {
        let see = async || sees(process.address(), &certificates.believed()).await;
        let ends = async || process.metric("carillon_tls_not_after_seconds").await;
        let reloads = async |outcome: &str| {
            let labels = format!("secret=\"{role}_tls_cert\",outcome=\"{outcome}\"");
            let series = format!("carillon_secret_reloads_total{{{labels}}}");
            process.metric(&series).await
        };
        let (first, first_ends) = (see().await.certificate, ends().await);
        let (ok, bad) = (reloads("ok").await, reloads("bad").await);

        certificates.authority.certify("server", 60);
        process.signal("HUP");
        until("it is renewed", async || ok < reloads("ok").await).await;
        let second = see().await.certificate;
        assert_ne!(first, second);
        let later = ends().await - first_ends;
        assert!((later - 30.0 * 86_400.0).abs() < 600.0, "{later}");

        // A key that is another's.
        certificates.authority.certify("other", 60);
        let key = certificates.authority.key("server");
        std::fs::copy(certificates.authority.key("other"), &key).unwrap();
        process.signal("HUP");
        until("it is refused", async || bad < reloads("bad").await).await;
        assert_eq!(see().await.certificate, second);
        certificates.authority.certify("server", 30);
        process.signal("HUP");
        until("it is renewed", async || ok + 1.0 < reloads("ok").await).await;
    }
    // Who was there before notices nothing.
    fleet.push("ann", "still").await;
    assert_eq!(open.text().await, "still");
}

/// Runs a program of others, and returns what it printed.
fn run(program: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let all = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn programs_of_others_speak_tls_with_gateway_and_api() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 0), "GATEWAY");
    let fleet = certificates.shown_by(fleet, "API");
    let fleet = fleet.api_over_tls(&certificates.believed()).start().await;
    let authority = certificates.authority.certificate("ca");
    let authority = authority.to_str().unwrap();
    for process in [fleet.gateway(0), fleet.api()] {
        let url = format!("https://{}/nothing", process.address());
        let args = [
            "-sS",
            "--cacert",
            authority,
            "-w",
            "%{http_version} %{http_code}",
            &url,
        ];
        let said = run("curl", &args, "");
        assert!(said.ends_with("1.1 404"), "{said}");
        let refused = run("curl", &["-sS", &url], "");
        assert!(refused.contains("certificate"), "{refused}");
        let address = process.address().to_string();
        for version in ["-tls1_2", "-tls1_3"] {
            let args = [
                "s_client", "-connect", &address, "-CAfile", authority, version,
            ];
            let said = run(
                "openssl",
                &[&args[..], &["-servername", "localhost"]].concat(),
                "Q\n",
            );
            assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        }
        let old = [
            "s_client",
            "-connect",
            &address,
            "-tls1_1",
            "-cipher",
            "ALL:@SECLEVEL=0",
        ];
        let said = run("openssl", &old, "Q\n");
        assert!(!said.contains("BEGIN CERTIFICATE"), "{said}");
    }
}

#[tokio::test]
async fn through_a_proxy_that_cannot_look_inside_it_is_still_known_whose_a_connection_is() {
    let certificates = Certificates::new();
    let fleet = certificates.shown_by(Fleet::of(1, 1), "GATEWAY");
    let fleet = fleet
        .env("CARILLON_GATEWAY_PROXY_PROTOCOL", "127.0.0.7/32")
        .start()
        .await;
    let config = certificates.believed();
    let only = json!({ "recipient": "ann", "sourceIp": "127.0.0.5" });
    let only = fleet.register_with(only).await;
    let front = crate::proxied::before(fleet.gateway(0).address(), "send-proxy-v2").await;
    let upgrade = |from: &str| {
        let upgrade = fleet.upgrade(0, &only).at(front.address());
        upgrade.from(from.parse().unwrap()).over_tls(&config)
    };
    let mut socket = upgrade("127.0.0.5").open().await.unwrap();
    let refused = upgrade("127.0.0.6").open().await.err().unwrap();
    assert_eq!(refused.status(), 403);
    fleet.push("ann", "through").await;
    assert_eq!(socket.text().await, "through");
    assert!(socket.heard_within(Duration::ZERO).await.is_none());
}
