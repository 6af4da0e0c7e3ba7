//! `docs/misskey.md` is what an operator can do: its rights, settings and
//! snippets are used as they stand there, with other addresses.

use std::path::Path;
use std::process::Command;

use redis::cmd;
use serde_json::{Value, json};
use tests::front::{Front, Kind};
use tests::http::Http;
use tests::misskey::HOSTS;
use tests::{Fleet, Heard, Misskey, Socket, Upgrade, until};

/// The site of the page.
const SITE: &str = "social.example";
const PASSWORD: &str = "a-long-password";

/// What stands before a Misskey whose operator has not read the page.
const NGINX: &str = r#"
daemon off;
pid {folder}/pid;
error_log {folder}/error.log info;
events {}
http {
    access_log {folder}/access.log;
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    {http}
    server {
        listen {listen};
        server_name social.example;
        location / {
            proxy_pass http://{misskey};
            proxy_set_header Host $host;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
        {server}
    }
}
"#;
const CADDY: &str = r#"
{
    admin {admin}
    auto_https off
}
http://social.example:{port} {
    bind 127.0.0.1
    log {
        output file {folder}/access.log
    }
    {server}
    handle {
        reverse_proxy {misskey}
    }
}
"#;

/// The block of the page with this name.
fn block(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/misskey.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let (_, rest) = page
        .split_once(&format!("```{name}\n"))
        .unwrap_or_else(|| panic!("the page has a block {name}"));
    let (block, _) = rest.split_once("\n```").expect("it ends");
    block.to_owned()
}

/// A Misskey with gateways beside it that have the rights and settings of the
/// page.
struct Site {
    misskey: Misskey,
    fleet: Fleet,
    token: String,
}

impl Site {
    async fn open() -> Self {
        let misskey = Misskey::start();
        let mut token = String::new();
        misskey.change(|world| {
            token = world.user("u1");
            world.relate(
                "u1",
                "userFollowings",
                json!({ "f1": { "withReplies": false } }),
            );
        });
        let settings = block("env");
        let (name, hosts) = settings.split_once('=').expect("it is a setting");
        assert_eq!(name, HOSTS);
        let hosts = hosts
            .replace("10.0.0.3:6379", "{redis}")
            .replace("10.0.0.3:3000", &misskey.address().to_string());
        let fleet = Fleet::of(2, 0).env(HOSTS, &hosts);
        let fleet = fleet.on_one_server().start().await;
        misskey.cache_in(&fleet.redis().url(), SITE);
        fleet.hush(&misskey);
        fleet.secrets().keep(PASSWORD);
        let rights = block("acl");
        let mut words = rights.split_whitespace();
        let mut user = cmd(words.next().expect("it is a command"));
        for word in words {
            user.arg(word);
        }
        let made = fleet.commands().query::<String>(&user).await;
        made.expect("Redis understands the rights");
        for gateway in fleet.gateways() {
            until("the bus is heard", async || {
                let metrics = gateway.ask("/metrics").await.unwrap().text();
                let up = format!("carillon_gateway_misskey_bus_up{{host=\"{SITE}\"}} 1");
                metrics.lines().any(|line| line == up)
            })
            .await;
        }
        Self {
            misskey,
            fleet,
            token,
        }
    }

    /// The configuration of a proxy, with the page's snippets or without.
    fn proxy(&self, kind: Kind, snippets: bool) -> String {
        let (whole, http, server) = match kind {
            Kind::Nginx => (NGINX, block("nginx-http"), block("nginx-server")),
            Kind::Caddy => (CADDY, String::new(), block("caddy")),
            Kind::Haproxy => panic!("the page has nothing for it"),
        };
        let used = |snippet: &str| {
            let mut snippet = if snippets {
                snippet.to_owned()
            } else {
                String::new()
            };
            for (n, gateway) in self.fleet.gateways().iter().enumerate() {
                let address = gateway.address().to_string();
                snippet = snippet.replace(&format!("10.0.0.{}:8080", n + 5), &address);
            }
            snippet
        };
        whole
            .replace("{http}", &used(&http))
            .replace("{server}", &used(&server))
            .replace("{misskey}", &self.misskey.address().to_string())
    }

    async fn publish(&self, stream: &str, message: &Value) {
        let frame = json!({ "channel": stream, "message": message });
        self.fleet.publish(SITE, &frame.to_string()).await;
    }

    async fn key(&self, command: &str, name: &str, more: &[&str]) -> bool {
        let mut asked = cmd(command);
        asked.arg(format!("{SITE}:{name}")).arg(more);
        let done = self.fleet.commands().query::<redis::Value>(&asked).await;
        done.expect("Redis is there") != redis::Value::Int(0)
    }
}

/// Opens a socket through the proxy.
async fn open(front: &Front, query: &str) -> Socket {
    let uri = format!("ws://{SITE}/streaming{query}");
    let opened = Upgrade::to_host(&uri, front.address()).open().await;
    opened.expect("the proxy leads to somebody")
}

async fn the_page_holds_with(kind: Kind) {
    let site = Site::open().await;
    let configuration = site.proxy(kind, true);
    let front = Front::start(kind, &configuration).await;
    let web = Http::to(front.address());
    let client = web.get_as(SITE, "/").await.unwrap();
    assert!(client.text().contains("The web client"));
    assert_eq!(web.get_as(SITE, "/streaming").await.unwrap().status, 503);

    let query = format!("?i={}&_t=1", site.token);
    let mut socket = open(&front, &query).await;
    everything_is_served(&site, &mut socket).await;
    assert_eq!(
        site.misskey.asked("streaming"),
        1,
        "only the relay went there"
    );

    site.fleet.gateway(0).kill();
    for _ in 0..2 {
        let mut socket = open(&front, &query).await;
        socket.connect("main", "1", json!({})).await;
    }
    let mut left = open(&front, &query).await;
    left.connect("main", "1", json!({})).await;
    let told = site.fleet.secrets().told_in(&front.written()).len();
    assert_eq!(told, 0, "{}", front.written());

    front.reload(&site.proxy(kind, false));
    let before = site.misskey.asked("streaming");
    until("new sockets go to Misskey", async || {
        let mut socket = open(&front, "").await;
        socket.connect("localTimeline", "1", json!({})).await;
        before < site.misskey.asked("streaming")
    })
    .await;
    let gateway = site.fleet.gateway(1);
    assert!(gateway.terminate().await.success());
    match (kind, left.end().await) {
        (Kind::Nginx, Heard::Closed(1012, _)) | (Kind::Caddy, _) => {}
        (_, end) => panic!("{end:?}"),
    }
}

/// What the page says is covered, as far as it needs rights or a relay.
async fn everything_is_served(site: &Site, socket: &mut Socket) {
    socket
        .connect("homeTimeline", "1", json!({ "withRenotes": true }))
        .await;
    socket.connect("main", "2", json!({})).await;
    site.publish("notesStream", &tests::misskey::note("n1", "f1", json!({})))
        .await;
    let note = socket.json().await;
    assert_eq!(
        (&note["body"]["id"], &note["body"]["body"]["id"]),
        (&json!("1"), &json!("n1"))
    );

    site.key(
        "XADD",
        "notificationTimeline:u1",
        &["1767225600000-0", "data", "{}"],
    )
    .await;
    socket.say(r#"{"type":"readNotification"}"#).await;
    assert_eq!(socket.json().await["body"]["type"], "readAllNotifications");
    assert!(site.key("EXISTS", "latestReadNotification:u1", &[]).await);

    let unread = "newUserChatMessageExists:u1:f1";
    site.key("SET", unread, &["1"]).await;
    site.key("SADD", "newChatMessagesExists:u1", &["user:f1"])
        .await;
    socket
        .connect("chatUser", "3", json!({ "otherId": "f1" }))
        .await;
    socket
        .say(r#"{"type":"ch","body":{"id":"3","type":"read","body":{}}}"#)
        .await;
    until("the chat is marked read", async || {
        !site.key("EXISTS", unread, &[]).await
            && !site.key("EXISTS", "newChatMessagesExists:u1", &[]).await
    })
    .await;

    socket.connect("serverStats", "4", json!({})).await;
    socket
        .say(r#"{"type":"ch","body":{"id":"4","type":"requestLog","body":{"id":"1","length":1}}}"#)
        .await;
    let log = socket.json().await;
    assert_eq!(log["body"]["body"], json!([{ "cpu": 0.125 }]), "{log}");
}

#[tokio::test]
async fn the_page_holds_with_nginx() {
    Box::pin(the_page_holds_with(Kind::Nginx)).await;
}

#[tokio::test]
async fn the_page_holds_with_caddy() {
    Box::pin(the_page_holds_with(Kind::Caddy)).await;
}

#[tokio::test]
async fn whoever_asks_a_gateway_as_the_page_says_sees_that_it_serves_the_site() {
    let site = Site::open().await;
    let address = site.fleet.gateway(0).address().to_string();
    let ask = block("sh").replace("10.0.0.5:8080", &address);
    let asked = Command::new("sh").args(["-c", &ask]).output();
    let answer = asked.expect("there is a shell").stdout;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
}
