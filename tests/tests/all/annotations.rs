//! What clients that annotate ask over HTTP, of an api and its Redis.

#[path = "annotations/examples.rs"]
mod examples;
#[path = "annotations/finding.rs"]
mod finding;
#[path = "annotations/groups.rs"]
mod groups;
#[path = "annotations/hostile.rs"]
mod hostile;
#[path = "annotations/leading.rs"]
mod leading;
#[path = "annotations/moderation.rs"]
mod moderation;
#[path = "annotations/writing.rs"]
mod writing;

use serde_json::{Value, json};
use tests::Fleet;

/// What is told of everything that is not there, or not for who asks.
const ABSENT: &str = "Either the resource you requested doesn't exist, or you are not currently authorized to see it.";

/// An api and its Redis, without gateways.
async fn api() -> Fleet {
    Fleet::of(0, 0).start().await
}

/// Asks, and reads the answer: its status, and its JSON, null if there is none.
async fn ask(
    fleet: &Fleet,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    let answer = fleet.annotation_api(method, path, token, body).await;
    let json = match answer.body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&answer.body).expect("what is said is JSON"),
    };
    (answer.status, json)
}

async fn get(fleet: &Fleet, path: &str, token: Option<&str>) -> (u16, Value) {
    ask(fleet, "GET", path, token, None).await
}

/// An answer that says why not.
fn failure(status: u16, reason: &str) -> (u16, Value) {
    (status, json!({ "status": "failure", "reason": reason }))
}

/// An annotation of everybody's on this page.
fn shared(uri: &str, text: &str) -> Value {
    json!({ "uri": uri, "text": text, "permissions": { "read": ["group:__world__"] } })
}

/// A reply to an annotation of everybody's.
fn reply(to: &Value, text: &str) -> Value {
    let mut reply = shared("https://a.example/", text);
    reply["references"] = json!([to["id"]]);
    reply
}

fn path_of(annotation: &Value) -> String {
    let id = annotation["id"].as_str().expect("an id is text");
    format!("/api/annotations/{id}")
}
