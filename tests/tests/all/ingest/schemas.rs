//! What the schemas of `docs/schema` say of pushes, of events for topics and of
//! frames is what the code does.

use std::time::Duration;

use broker::Timestamp;
use broker::lint::{Kind, check};
use broker::message::rules::Rules;
use serde_json::{Value, json};

use super::schema::{accepted_by, variations};

const PUSH: &str = include_str!("../../../../docs/schema/push.json");
const PUSH_GLOBAL: &str = include_str!("../../../../docs/schema/push-global.json");
const OWN_EVENT: &str = include_str!("../../../../docs/schema/own-event.json");
const FRAME: &str = include_str!("../../../../docs/schema/frame.json");

/// The rules where nothing else is set.
fn rules() -> Rules {
    Rules {
        text: 64 * 1024,
        recipients: 1000,
        retention: Duration::from_secs(30 * 24 * 3600),
    }
}

fn accepted_by_the_code(kind: Kind, event: &Value) -> bool {
    let json = event.to_string();
    let now = "2026-03-01T08:00:00Z".parse::<Timestamp>().unwrap();
    check(json.as_bytes(), kind, None, &rules(), now).is_ok()
}

/// Times that are none, and that do not fit each other, are beyond the schemas.
fn beyond_the_schema(event: &Value) -> bool {
    ["expiresAt", "deliverAt"].iter().any(|name| {
        let at = event[name].as_str();
        at.is_some_and(|at| !at.starts_with("2026-03-"))
    })
}

#[test]
fn schemas_and_code_accept_the_same_pushes_events_and_frames() {
    let push = json!({
        "id": "p", "recipients": ["ada", "grün"], "message": "Hi",
        "topic": "news", "expiresAt": "2026-03-03T08:00:00", "deliverAt": "2026-03-02T08:00:00Z",
    });
    let mut all = push.clone();
    all.as_object_mut().unwrap().remove("recipients");
    let own = json!({"id": "e", "type": "note", "body": {"id": "n"}});
    let frame = json!({"v": 1, "type": "note", "body": [], "x": 5, "ts": null});
    for (schema, kind, event, further) in [
        (PUSH, Kind::Push, push, &["type", "body", "x"][..]),
        (PUSH_GLOBAL, Kind::PushGlobal, all, &["type", "recipients"]),
        (OWN_EVENT, Kind::Own, own, &["v", "topic", "x"]),
        (FRAME, Kind::Frame, frame, &["id", "more"]),
    ] {
        assert!(accepted_by(schema, &event), "{event}");
        let mut alike = [0, 0];
        let mut varied = variations(&event, further);
        for name in event.as_object().unwrap().keys() {
            let mut without = event.clone();
            without.as_object_mut().unwrap().remove(name);
            varied.push(without);
        }
        for kind in ["push", "push-global"] {
            let mut named = event.clone();
            named["type"] = json!(kind);
            varied.push(named);
        }
        let mut control = event.clone();
        control["id"] = json!("a\u{85}b");
        varied.push(control);
        for varied in varied {
            if beyond_the_schema(&varied) {
                continue;
            }
            let code = accepted_by_the_code(kind, &varied);
            assert_eq!(accepted_by(schema, &varied), code, "{kind:?} {varied}");
            alike[usize::from(code)] += 1;
        }
        assert!(alike.iter().all(|count| 15 < *count), "{kind:?} {alike:?}");
    }
}

#[test]
fn the_page_tells_every_member_of_the_schemas() {
    for schema in [PUSH, PUSH_GLOBAL, OWN_EVENT, FRAME] {
        let schema: Value = serde_json::from_str(schema).unwrap();
        for name in schema["properties"].as_object().unwrap().keys() {
            let told = super::examples::PAGE.contains(&format!("| `{name}` |"));
            assert!(told, "{name}");
        }
    }
}
