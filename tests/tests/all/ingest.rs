//! What annotation systems report, from outside: over HTTP, through Redis, and
//! what becomes of it.

#[path = "ingest/dead.rs"]
mod dead;
#[path = "ingest/examples.rs"]
mod examples;
#[path = "ingest/http.rs"]
mod http;
#[path = "ingest/push.rs"]
mod push;
#[path = "ingest/schema.rs"]
mod schema;
#[path = "ingest/schemas.rs"]
mod schemas;
#[path = "ingest/stream.rs"]
mod stream;

use broker::annotation;
use broker::event::Event;
use broker::topic::Tenant;
use futures_util::StreamExt as _;
use redis::cmd;
use serde_json::{Value, json};
use tests::Fleet;
use tests::hypothesis::{page_filter, userid};

const PAGE: &str = "https://example.org/article?utm_source=x";
/// What annotations here say; no log may.
const TEXT: &str = "what only readers are to see";

fn acme() -> Tenant {
    tests::fleet::TENANT.parse().unwrap()
}

/// A report of a public annotation on [`PAGE`], both called `id`.
pub(super) fn report(id: &str) -> Value {
    json!({
        "id": id,
        "action": "create",
        "shared": true,
        "annotation": {
            "id": id, "user": userid("ada"), "uri": PAGE, "group": "__world__", "text": TEXT,
        },
    })
}

/// Posts a body; the status and the answer.
async fn post(fleet: &Fleet, key: Option<&str>, body: &[u8]) -> (u16, Value) {
    fleet.secrets().keep(TEXT);
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("x-api-key", key)));
    let asked = fleet
        .http()
        .request("POST", "/ingest/annotations", &headers, body);
    let response = asked.await.expect("the api answers");
    let answer = serde_json::from_slice(&response.body);
    (response.status, answer.expect("it answers in JSON"))
}

/// Posts events with the fleet's key; what became of each.
async fn ingest(fleet: &Fleet, events: &[Value]) -> Vec<String> {
    let body = json!({ "events": events }).to_string();
    let (status, answer) = post(fleet, Some(fleet.access_key()), body.as_bytes()).await;
    assert_eq!(status, 200, "{answer}");
    outcomes(&answer)
}

fn outcomes(answer: &Value) -> Vec<String> {
    let outcomes = answer["outcomes"].as_array().expect("there are outcomes");
    let names = outcomes
        .iter()
        .map(|event| event["outcome"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

/// Adds a report to the stream of the fleet's tenant.
pub(super) async fn add(fleet: &Fleet, kind: &str, data: &[u8]) {
    let mut add = cmd("XADD");
    add.arg(fleet.keys().intake(&acme())).arg("*");
    add.arg("type").arg(kind).arg("data").arg(data);
    fleet.commands().query::<String>(&add).await.unwrap();
}

/// Hears what gateways are told of a tenant's annotations.
struct Ear {
    told: redis::aio::PubSub,
    channel: String,
    /// Kept where it is published.
    place: String,
}

impl Ear {
    async fn on(fleet: &Fleet, tenant: &Tenant) -> Self {
        let topic = annotation::topic(tenant);
        let channel = fleet.keys().channel(&topic);
        let place = format!("{{{}}}", topic.partition().tag());
        let mut told = fleet.redis().ear(&place).await;
        told.subscribe(&channel).await.unwrap();
        Self {
            told,
            channel,
            place,
        }
    }

    /// The ids of the annotations told of since the last call.
    async fn heard(&mut self, fleet: &Fleet) -> Vec<String> {
        let mark = ["PUBLISH", &self.channel, r#"{"v":1,"type":"mark"}"#];
        let _: u64 = fleet.redis().ask(&self.place, &mark).unwrap();
        let mut ids = Vec::new();
        let mut frames = self.told.on_message();
        loop {
            let frame = frames.next().await.expect("Redis goes on");
            let event = Event::parse(frame.get_payload_bytes()).unwrap();
            if &*event.kind == "mark" {
                return ids;
            }
            ids.push(event.annotation().expect("it is one").id.to_string());
        }
    }
}

/// The id of the annotation that a client is told of, with what happened to it.
fn notified(frame: &Value) -> (&str, &str) {
    assert_eq!(frame["type"], "annotation-notification", "{frame}");
    let id = frame["payload"][0]["id"].as_str().unwrap();
    (frame["options"]["action"].as_str().unwrap(), id)
}

#[tokio::test]
async fn an_event_reaches_whoever_looks_at_its_page_by_either_way() {
    let fleet = Fleet::start().await;
    let mut socket = fleet.hypothesis_socket(0, None).await;
    socket
        .settle(&page_filter(&["http://example.org/article"]))
        .await;

    assert_eq!(ingest(&fleet, &[report("a1")]).await, ["published"]);
    let frame = socket.json().await;
    assert_eq!(notified(&frame), ("create", "a1"));
    assert_eq!(frame["payload"][0]["text"], TEXT);

    add(&fleet, "annotation", report("a1").to_string().as_bytes()).await;
    let mut deleted = report("a2");
    deleted["action"] = json!("delete");
    add(&fleet, "annotation", deleted.to_string().as_bytes()).await;
    let frame = socket.json().await;
    assert_eq!(notified(&frame), ("delete", "a2"), "a1 is not told again");
    assert_eq!(frame["payload"], json!([{"id": "a2"}]));

    let mut elsewhere = report("a3");
    elsewhere["annotation"]["uri"] = json!("https://elsewhere.example/");
    let mut same = report("a4");
    same["annotation"]["uri"] = json!("https://m.example.org/article");
    same["equivalentUris"] = json!(["https://example.org/article"]);
    assert_eq!(ingest(&fleet, &[elsewhere, same]).await, ["published"; 2]);
    assert_eq!(notified(&socket.json().await), ("create", "a4"));
}

#[tokio::test]
async fn who_joined_by_a_report_is_told_what_the_group_reads() {
    let fleet = Fleet::start().await;
    let ben = fleet.person("ben").await;
    let mut socket = fleet.hypothesis_socket(0, Some(&ben)).await;
    socket.settle(&page_filter(&[PAGE])).await;
    let of_group = |id: &str| {
        let mut report = report(id);
        report["annotation"]["group"] = json!("g1");
        report["group"] = json!({"readableBy": "members"});
        report
    };
    let session = json!({"userid": userid("ben"), "groups": [], "features": {}, "preferences": {}});
    let joined = json!({
        "id": "m1", "type": "membership", "userid": userid("ben"), "group": "g1",
        "action": "group-join", "role": "member", "session": session,
    });
    assert_eq!(ingest(&fleet, &[of_group("a1")]).await, ["published"]);
    let told = ingest(&fleet, std::slice::from_ref(&joined)).await;
    assert_eq!(told, ["published"]);
    let change = json!({"type": "session-change", "action": "group-join", "model": session});
    assert_eq!(socket.json().await, change);
    assert_eq!(ingest(&fleet, &[of_group("a2")]).await, ["published"]);
    assert_eq!(notified(&socket.json().await), ("create", "a2"));

    let mut left = joined;
    left["id"] = json!("m2");
    left["action"] = json!("group-leave");
    left["role"] = Value::Null;
    add(&fleet, "membership", left.to_string().as_bytes()).await;
    assert_eq!(socket.json().await["action"], "group-leave");
    let after = [of_group("a3"), report("a4")];
    assert_eq!(ingest(&fleet, &after).await, ["published"; 2]);
    assert_eq!(notified(&socket.json().await), ("create", "a4"));
}

#[tokio::test]
async fn shadow_banned_and_hidden_annotations_are_told_to_nobody_else() {
    let fleet = Fleet::start().await;
    let ada = fleet.person("ada").await;
    let mut others = fleet.hypothesis_socket(0, None).await;
    let mut own = fleet.hypothesis_socket(0, Some(&ada)).await;
    for socket in [&mut others, &mut own] {
        socket.settle(&page_filter(&[PAGE])).await;
    }
    let with = |id: &str, name: &str, value: Value| {
        let mut report = report(id);
        report[name] = value;
        report
    };
    let events = [
        with("a1", "authorBanned", json!(true)),
        with("a2", "moderation", json!("SPAM")),
        with("a3", "shared", json!(false)),
        report("a4"),
    ];
    assert_eq!(ingest(&fleet, &events).await, ["published"; 4]);
    assert_eq!(notified(&others.json().await), ("create", "a4"));
    for id in ["a1", "a2", "a3", "a4"] {
        assert_eq!(notified(&own.json().await), ("create", id));
    }
}
