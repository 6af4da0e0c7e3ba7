//! `docs/schema/annotation-event.json` says of events what the code does.
//!
//! The schema is read by a small implementation of our own, which knows no more
//! of JSON Schema than this one uses, and refuses the rest.

use broker::annotation::ingest::Report;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{examples, report};

const SCHEMA: &str = include_str!("../../../../docs/schema/annotation-event.json");

/// Whether `value` is as `schema` says; `root` is what references lead into.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let schema = schema.as_object().expect("a schema is an object");
    schema
        .iter()
        .all(|(word, said)| says(root, schema, word, said, value))
}

/// Whether `value` is as one keyword of a schema says.
fn says(
    root: &Value,
    schema: &Map<String, Value>,
    word: &str,
    said: &Value,
    value: &Value,
) -> bool {
    let all_of = |schemas: &Value| schemas.as_array().unwrap().clone();
    let number = || said.as_u64().unwrap();
    let length = || value.as_str().map(|text| text.chars().count() as u64);
    match word {
        "$schema" | "$defs" | "title" | "description" | "format" => true,
        "$ref" => {
            let place = said
                .as_str()
                .and_then(|place| place.strip_prefix('#'))
                .unwrap();
            fits(
                root,
                root.pointer(place).expect("a reference leads somewhere"),
                value,
            )
        }
        "type" => match said {
            Value::Array(kinds) => kinds.iter().any(|kind| is(kind, value)),
            kind => is(kind, value),
        },
        "const" => said == value,
        "enum" => all_of(said).contains(value),
        "pattern" => {
            let pattern = Regex::new(said.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "minLength" => length().is_none_or(|length| number() <= length),
        "maxLength" => length().is_none_or(|length| length <= number()),
        "minimum" => value.as_f64().is_none_or(|it| number() as f64 <= it),
        "maximum" => value.as_f64().is_none_or(|it| it <= number() as f64),
        "minItems" => value
            .as_array()
            .is_none_or(|items| number() <= items.len() as u64),
        "maxItems" => value
            .as_array()
            .is_none_or(|items| items.len() as u64 <= number()),
        "items" => {
            let items = value.as_array();
            items.is_none_or(|items| items.iter().all(|item| fits(root, said, item)))
        }
        "required" => value.as_object().is_none_or(|members| {
            let names = said.as_array().unwrap();
            names
                .iter()
                .all(|name| members.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|members| {
            let known = said.as_object().unwrap();
            let known = known
                .iter()
                .filter_map(|(name, schema)| Some((schema, members.get(name)?)));
            known
                .into_iter()
                .all(|(schema, member)| fits(root, schema, member))
        }),
        "additionalProperties" => {
            assert_eq!(*said, json!(false));
            let known = schema["properties"].as_object().unwrap();
            let members = value.as_object();
            members.is_none_or(|members| members.keys().all(|name| known.contains_key(name)))
        }
        "allOf" => all_of(said).iter().all(|schema| fits(root, schema, value)),
        "anyOf" => all_of(said).iter().any(|schema| fits(root, schema, value)),
        "oneOf" => {
            all_of(said)
                .iter()
                .filter(|schema| fits(root, schema, value))
                .count()
                == 1
        }
        "not" => !fits(root, said, value),
        _ => panic!("{word} is a keyword that this reader does not know"),
    }
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("{kind} is no type that this reader knows"),
    }
}

fn accepted_by_the_schema(event: &Value) -> bool {
    accepted_by(SCHEMA, event)
}

/// Whether an event is as a schema says.
pub(super) fn accepted_by(schema: &str, event: &Value) -> bool {
    let schema: Value = serde_json::from_str(schema).unwrap();
    fits(&schema, &schema, event)
}

fn accepted_by_the_code(event: &Value) -> bool {
    Report::read(event.to_string().as_bytes(), None).is_ok()
}

/// What members may be replaced with.
fn values() -> Vec<Value> {
    let text = |length: usize| Value::from("x".repeat(length));
    vec![
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(7),
        json!(1.5),
        json!(4_294_967_296_u64),
        json!(""),
        json!(" "),
        text(64),
        text(65),
        text(128),
        text(129),
        text(255),
        text(256),
        text(8192),
        text(8193),
        json!("__world__"),
        json!("acct:ben@example.org"),
        json!("acct:ben"),
        json!("create"),
        json!("annotation"),
        json!("membership"),
        json!("group-join"),
        json!("group-leave"),
        json!("owner"),
        json!("PENDING"),
        json!([]),
        json!(["x"]),
        json!([""]),
        json!([1]),
        json!([{}]),
        json!(vec!["x"; 257]),
        json!(vec!["x"; 1001]),
        json!({}),
        json!({"read": []}),
        json!({"read": ["group:__world__"]}),
        json!({"read": "x"}),
        json!({"readableBy": "members"}),
        json!({"readableBy": "x"}),
        json!({"readableBy": "world", "more": 1}),
    ]
}

/// Each of these events, with each of its members and of those of its objects,
/// and with one that it does not have, replaced by each of [`values`].
pub(super) fn variations(event: &Value, further: &[&str]) -> Vec<Value> {
    let mut places: Vec<Vec<String>> = further
        .iter()
        .map(|name| vec![(*name).to_owned()])
        .collect();
    for (name, member) in event.as_object().unwrap() {
        places.push(vec![name.clone()]);
        if let Value::Object(members) = member {
            places.extend(
                members
                    .keys()
                    .map(|inner| vec![name.clone(), inner.clone()]),
            );
        }
    }
    let vary = |place: &Vec<String>| {
        values()
            .into_iter()
            .map(|value| {
                let mut varied = event.clone();
                let mut at = &mut varied;
                for name in place {
                    at = &mut at[name];
                }
                *at = value;
                varied
            })
            .collect::<Vec<_>>()
    };
    places.iter().flat_map(vary).collect()
}

/// What the schema leaves to its description: references within an event.
fn beyond_the_schema(event: &Value) -> bool {
    let group = &event["group"]["id"];
    let session = &event["session"]["userid"];
    (!group.is_null() && *group != event["annotation"]["group"])
        || (!session.is_null() && *session != event["userid"])
}

#[test]
fn schema_and_code_accept_the_same_events() {
    let mut events = examples::events();
    events.push(report("a1"));
    let mut alike = [0, 0];
    for event in &events {
        assert!(accepted_by_the_schema(event), "{event}");
        let members = event["annotation"].as_object();
        let further: &[&str] = match members {
            Some(_) => &[
                "shared",
                "moderation",
                "version",
                "flaggers",
                "group",
                "session",
                "x",
            ],
            None => &["annotation", "shared", "x"],
        };
        for varied in variations(event, further) {
            let (schema, code) = (
                accepted_by_the_schema(&varied),
                accepted_by_the_code(&varied),
            );
            if beyond_the_schema(&varied) {
                assert!(!code, "{varied}");
                continue;
            }
            assert_eq!(schema, code, "schema: {schema}, code: {code}: {varied}");
            alike[usize::from(code)] += 1;
        }
    }
    assert!(alike.iter().all(|count| 300 < *count), "{alike:?}");
}

#[test]
fn the_page_tells_every_member_of_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for kind in ["annotationEvent", "membershipEvent"] {
        let members = schema["$defs"][kind]["properties"].as_object().unwrap();
        for name in members.keys() {
            assert!(examples::PAGE.contains(&format!("`{name}`")), "{name}");
        }
    }
}
