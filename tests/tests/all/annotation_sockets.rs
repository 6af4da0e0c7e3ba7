//! Sockets of the Hypothesis protocol, from the handshake to the close.

use std::sync::Arc;

use broker::annotation::schema;
use broker::annotation::store::{Annotations, Links, Stored};
use broker::identity::{AccessTokens, Created, NewAccessToken, SignedIn};
use broker::people::{GroupDraft, GroupKind, People, Role};
use broker::sites::{Site, Sites};
use serde_json::{Value, json};
use tests::http::Http;
use tests::hypothesis::{page_filter, userid};
use tests::{Fleet, FleetBuilder, Lines, Process, Refusal, Socket, Upgrade, until};

/// How a socket closes whose token has ended.
const SIGNED_OUT: u16 = 4401;

/// A cluster, and its stores, by which these tests do what backends do.
pub(crate) struct Cluster {
    pub(crate) fleet: Fleet,
    pub(crate) site: Site,
    pub(crate) people: People,
    tokens: AccessTokens,
    annotations: Annotations,
}

pub(crate) async fn cluster(builder: FleetBuilder) -> Cluster {
    let fleet = builder.start().await;
    let sites: Sites = "*=acme/example.org".parse().unwrap();
    let (redis, keys) = (fleet.commands(), fleet.keys());
    let links = Links::new("http://127.0.0.1/", None);
    Cluster {
        site: sites.site(None).unwrap().clone(),
        people: People::new(redis.clone(), keys.clone()),
        tokens: AccessTokens::new(redis.clone(), keys.clone()),
        annotations: Annotations::new(redis, keys, links),
        fleet,
    }
}

impl Cluster {
    pub(crate) async fn token(&self, name: &str) -> Created {
        let new = NewAccessToken {
            tenant: self.site.tenant.clone(),
            userid: userid(name).into(),
            name: None,
            expires_at: None,
        };
        let created = self.tokens.create(&new).await.unwrap();
        self.fleet.secrets().keep(&created.token);
        created
    }

    /// A private group of this user's.
    pub(crate) async fn group(&self, id: &str, creator: &str) {
        let draft = GroupDraft {
            id: Some(id.to_owned()),
            name: id.to_owned(),
            kind: GroupKind::Private,
            pre_moderated: false,
            scopes: Vec::new(),
            enforce_scope: false,
            creator: userid(creator).into(),
        };
        self.people.create_group(&self.site, &draft).await.unwrap();
    }

    pub(crate) async fn annotate(&self, name: &str, group: &str, page: &str) -> Stored {
        let draft = json!({
            "uri": page, "group": group, "text": "a remark", "permissions": {"read": [format!("group:{group}")]},
        });
        let draft = schema::draft(draft.to_string().as_bytes()).unwrap();
        let userid: Arc<str> = userid(name).into();
        let tenant = &self.site.tenant;
        let by = SignedIn {
            tenant: tenant.clone(),
            memberships: self.people.memberships(tenant, &userid).await.unwrap(),
            vouched: Arc::default(),
            userid,
            token: "none".into(),
            expires_at: None,
        };
        let made = self
            .annotations
            .create(&self.site, draft, &by, Some("elsewhere"));
        made.await.unwrap()
    }
}

/// A plain request to a gateway.
async fn ask(
    gateway: &Process,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let http = Http::to(gateway.address());
    let answer = http.request(method, path, headers, b"").await.unwrap();
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, body)
}

async fn refused(gateway: &Process, query: &str, origin: Option<&str>) -> Refusal {
    let upgrade = Upgrade::to(&format!("ws://{}/ws{query}", gateway.address()));
    let upgrade = match origin {
        Some(origin) => upgrade.header("origin", origin),
        None => upgrade,
    };
    match upgrade.open().await {
        Ok(_) => panic!("it must not be let in"),
        Err(refusal) => refusal,
    }
}

async fn tells(socket: &mut Socket, made: &Stored) {
    let event = socket.json().await;
    assert_eq!(event["type"], "annotation-notification");
    assert_eq!(event["options"], json!({"action": "create"}));
    let shown = event["payload"].as_array().unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["id"], *made.notification.id);
}

#[tokio::test]
async fn an_annotation_reaches_the_sockets_whose_filters_it_matches_on_every_gateway() {
    let cluster = cluster(Fleet::of(2, 0)).await;
    let page = "https://e.org/page";
    let (mut here, mut there, mut elsewhere) = (
        cluster.fleet.hypothesis_socket(0, None).await,
        cluster.fleet.hypothesis_socket(1, None).await,
        cluster.fleet.hypothesis_socket(0, None).await,
    );
    here.settle(&page_filter(&[page])).await;
    there
        .settle(&page_filter(&["HTTP://E.org/page/#top"]))
        .await;
    elsewhere
        .settle(&page_filter(&["https://e.org/other"]))
        .await;

    let made = cluster.annotate("ada", "__world__", page).await;
    tells(&mut here, &made).await;
    tells(&mut there, &made).await;
    // What it is told of next is what came next.
    let other = cluster
        .annotate("ada", "__world__", "https://e.org/other")
        .await;
    tells(&mut elsewhere, &other).await;
    here.settle(&json!({})).await;
}

#[tokio::test]
async fn a_user_s_groups_are_followed_while_the_socket_is_open() {
    let cluster = cluster(Fleet::of(1, 0)).await;
    let page = "https://e.org/page";
    cluster.group("circle", "ada").await;
    let token = cluster.token("ben").await;
    let mut ben = cluster.fleet.hypothesis_socket(0, Some(&token.token)).await;
    ben.settle(&page_filter(&[page])).await;
    cluster.annotate("ada", "circle", page).await;
    let withheld = async || {
        let series = "carillon_gateway_suppressed_total{reason=\"permission\"}";
        cluster.fleet.gateway(0).metric(series).await as u64
    };
    until("it is withheld", async || withheld().await == 1).await;

    let (site, who) = (&cluster.site, userid("ben"));
    cluster
        .people
        .join(site, "circle", &who, Role::Member)
        .await
        .unwrap();
    let joined = ben.json().await;
    assert_eq!(joined["type"], "session-change");
    assert_eq!(joined["action"], "group-join");
    assert_eq!(joined["model"]["userid"], who);
    let made = cluster.annotate("ada", "circle", page).await;
    tells(&mut ben, &made).await;

    cluster.people.leave(site, "circle", &who).await.unwrap();
    assert_eq!(ben.json().await["action"], "group-leave");
    cluster.annotate("ada", "circle", page).await;
    let made = cluster.annotate("ada", "__world__", page).await;
    tells(&mut ben, &made).await;
    assert_eq!(withheld().await, 2);
}

#[tokio::test]
async fn a_withdrawn_token_ends_its_sockets_wherever_they_are() {
    let cluster = cluster(Fleet::of(2, 0)).await;
    let (gone, kept) = (cluster.token("ada").await, cluster.token("ada").await);
    let mut first = cluster.fleet.hypothesis_socket(0, Some(&gone.token)).await;
    let mut second = cluster.fleet.hypothesis_socket(1, Some(&gone.token)).await;
    let mut other = cluster.fleet.hypothesis_socket(1, Some(&kept.token)).await;
    for socket in [&mut first, &mut second, &mut other] {
        socket.settle(&json!({})).await;
    }
    cluster
        .tokens
        .revoke(&cluster.site.tenant, &gone.id)
        .await
        .unwrap();
    assert_eq!(first.close_code().await, SIGNED_OUT);
    assert_eq!(second.close_code().await, SIGNED_OUT);
    other.settle(&json!({})).await;

    // Who comes back with it is nobody.
    let mut back = cluster.fleet.hypothesis_socket(0, Some(&gone.token)).await;
    back.say(r#"{"type":"whoami","id":1}"#).await;
    assert_eq!(back.json().await["userid"], Value::Null);
}

#[tokio::test]
async fn a_token_withdrawn_while_the_gateway_heard_nothing_ends_its_sockets_too() {
    let builder = Fleet::of(1, 0)
        .behind_proxy(&["gateway"])
        .env("CARILLON_GATEWAY_PROBE_INTERVAL", "500ms");
    let cluster = cluster(builder).await;
    let token = cluster.token("ada").await;
    let mut socket = cluster.fleet.hypothesis_socket(0, Some(&token.token)).await;
    socket.settle(&json!({})).await;
    cluster.fleet.proxy().freeze(Lines::Subscriptions);
    until("the link is given up", async || {
        let up = cluster
            .fleet
            .gateway(0)
            .metric("carillon_gateway_broker_link_up");
        up.await < 0.5
    })
    .await;
    cluster
        .tokens
        .revoke(&cluster.site.tenant, &token.id)
        .await
        .unwrap();
    cluster.fleet.proxy().heal();
    assert_eq!(socket.close_code().await, SIGNED_OUT);
}

#[tokio::test]
async fn whoever_cannot_be_told_from_a_stranger_is_asked_to_come_back() {
    let cluster = cluster(Fleet::of(1, 0).behind_proxy(&["gateway"])).await;
    let token = cluster.token("ada").await;
    cluster.fleet.proxy().freeze(Lines::All);
    let gateway = cluster.fleet.gateway(0);
    let refusal = refused(gateway, &format!("?access_token={}", token.token), None).await;
    assert_eq!(refusal.status(), 503);
    assert!(refusal.header("retry-after").is_some());
    cluster.fleet.proxy().heal();
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_in_json() {
    let fleet = Fleet::of(1, 0).start().await;
    let gateway = fleet.gateway(0);
    for (method, path, status, error) in [
        ("GET", "/ws", 400, "bad_handshake"),
        ("POST", "/ws", 400, "bad_handshake"),
        ("GET", "/ws/", 404, "not_found"),
        ("GET", "/elsewhere", 404, "not_found"),
    ] {
        let (found, body) = ask(gateway, method, path, &[]).await;
        assert_eq!(found, status, "{method} {path}");
        assert_eq!(
            (&body["ok"], &body["error"]),
            (&json!(false), &json!(error)),
            "{path}"
        );
        assert!(body["reason"].is_string(), "{path}");
    }
    let ok = (200, json!({"status": "okay"}));
    assert_eq!(ask(gateway, "GET", "/_status", &[]).await, ok);
    // The push protocol answers as before.
    assert_eq!(ask(gateway, "GET", "/", &[]).await.0, 426);
}

#[tokio::test]
async fn a_host_that_leads_to_no_tenant_shows_no_annotations() {
    let builder = Fleet::of(1, 0).env("CARILLON_SITES", "notes.example=acme/example.org");
    let fleet = builder.start().await;
    let gateway = fleet.gateway(0);
    assert_eq!(refused(gateway, "", None).await.status(), 404);
    for path in ["/_status", "/elsewhere"] {
        assert_eq!(ask(gateway, "GET", path, &[]).await, (404, Value::Null));
    }
    let mut push = fleet.connect("ada").await;
    fleet.push("ada", "for a recipient").await;
    assert_eq!(push.text().await, "for a recipient");
}

#[tokio::test]
async fn pages_of_other_origins_may_be_kept_out() {
    let builder = Fleet::of(1, 0).env("CARILLON_GATEWAY_ORIGINS", "https://a.example");
    let fleet = builder.start().await;
    let gateway = fleet.gateway(0);
    for origin in [None, Some("null"), Some("https://b.example")] {
        let refusal = refused(gateway, "", origin).await;
        assert_eq!(refusal.status(), 403, "{origin:?}");
    }
    let allowed = Upgrade::to(&format!("ws://{}/ws", gateway.address()));
    let mut socket = allowed
        .header("origin", "https://A.example:443")
        .open()
        .await
        .unwrap();
    socket.settle(&json!({})).await;
}

#[tokio::test]
async fn a_gateway_that_leaves_tells_clients_to_come_back() {
    let builder = Fleet::of(1, 0).env("CARILLON_SHUTDOWN_DELAY", "60s");
    let fleet = builder.start().await;
    let gateway = fleet.gateway(0);
    let mut early = fleet.hypothesis_socket(0, None).await;
    early.settle(&json!({})).await;
    gateway.signal("TERM");
    until("the gateway drains", async || {
        gateway.metric("carillon_node_phase").await > 1.5
    })
    .await;
    let mut late = fleet.hypothesis_socket(0, None).await;
    late.settle(&json!({})).await;
    gateway.signal("TERM");
    assert_eq!(early.close_code().await, 1012);
    assert_eq!(late.close_code().await, 1012);
}
