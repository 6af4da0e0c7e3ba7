//! Events whose sender names the topic: a user's, a note's, or a channel's other
//! than that of annotations. Nobody takes them for a membership, which a ring keeps
//! none of, or for an annotation, which has a channel of its own.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::{Invalid, MAX_REPORT, MAX_REPORT_ID, Report, What};
use crate::annotation;
use crate::event::event_json;
use crate::misskey::wire::{MAX_DEPTH, is_too_deep};
use crate::topic::{Tenant, Topic, TopicKind};

/// The longest id of a topic, in characters.
const MAX_TOPIC: usize = 256;
/// The longest type of an event, in characters.
const MAX_KIND: usize = 128;

/// Reads an event for that topic, which is called `name` if it does not say what
/// it is called.
pub(super) fn read(
    tenant: &Tenant,
    topic: &[u8],
    json: &[u8],
    name: &str,
) -> Result<Report, Invalid> {
    let topic = self::topic(tenant, topic)?;
    if MAX_REPORT < json.len() {
        return Err(Invalid::Size);
    }
    let text = std::str::from_utf8(json).map_err(|_| Invalid::Json("JSON in UTF-8"))?;
    if is_too_deep(text) {
        const { assert!(MAX_DEPTH == 128) };
        return Err(Invalid::Json(
            "arrays and objects at most 128 deep in each other",
        ));
    }
    let members: HashMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(text).map_err(|_| Invalid::Json("an object"))?;
    let known = |name: &Cow<'_, str>| matches!(&**name, "id" | "type" | "body");
    if !members.keys().all(known) {
        return Err(bad("event", "no other members than id, type, body"));
    }
    let kind = members
        .get("type")
        .and_then(|value| self::text(value, MAX_KIND));
    let kind = kind.ok_or_else(|| bad("type", "a string of 1 to 128 characters"))?;
    let id = match members.get("id").filter(|value| value.get() != "null") {
        Some(value) => self::text(value, MAX_REPORT_ID)
            .ok_or_else(|| bad("id", "a string of 1 to 128 characters"))?,
        None => name.to_owned(),
    };
    let event = event_json(&kind, members.get("body"), None);
    Ok(Report {
        id: id.into(),
        what: What::Told { topic, event },
    })
}

fn topic(tenant: &Tenant, name: &[u8]) -> Result<Topic, Invalid> {
    let read = || {
        let (kind, id) = std::str::from_utf8(name).ok()?.split_once(':')?;
        let kind = match kind {
            "user" => TopicKind::User,
            "note" => TopicKind::Note,
            "channel" => TopicKind::Channel,
            _ => return None,
        };
        if id.is_empty() || id.chars().nth(MAX_TOPIC).is_some() {
            return None;
        }
        let topic = Topic::new(tenant, kind, id);
        (topic != annotation::topic(tenant)).then_some(topic)
    };
    read().ok_or_else(|| {
        let expected = "user:, note: or channel: and 1 to 256 characters, not channel:annotations";
        bad("topic", expected)
    })
}

/// A text of 1 to `max` characters.
fn text(value: &RawValue, max: usize) -> Option<String> {
    let text: String = serde_json::from_str(value.get()).ok()?;
    (!text.is_empty() && text.chars().nth(max).is_none()).then_some(text)
}

fn bad(path: &str, expected: &str) -> Invalid {
    Invalid::Member {
        path: path.to_owned(),
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(topic: &str, json: &str) -> Result<(String, String, String), String> {
        let acme = "acme".parse().unwrap();
        let read = super::read(&acme, topic.as_bytes(), json.as_bytes(), "7-0");
        let report = read.map_err(|why| why.to_string())?;
        let What::Told { topic, event } = report.what else {
            panic!("{:?}", report.what);
        };
        Ok((report.id.to_string(), topic.to_string(), event))
    }

    #[test]
    fn an_event_keeps_its_body_to_the_letter() {
        let json = r#"{"type":"notification","body":{"b": 1.0,"a":"\ud83d"}}"#;
        let event = r#"{"v":1,"type":"notification","body":{"b": 1.0,"a":"\ud83d"}}"#;
        let told = |id: &str, topic: &str| Ok((id.into(), topic.into(), event.to_owned()));
        assert_eq!(read("user:u1", json), told("7-0", "acme:user:u1"));
        let named = json.replacen('{', r#"{"id":"e1","#, 1);
        assert_eq!(read("note:n 1", &named), told("e1", "acme:note:n%201"));
        let stream = "channel:driveStream:u1";
        assert_eq!(
            read(stream, &named),
            told("e1", "acme:channel:driveStream:u1")
        );
        let bare = Ok((
            "7-0".into(),
            "acme:user:u".into(),
            r#"{"v":1,"type":"x"}"#.into(),
        ));
        assert_eq!(read("user:u", r#"{"id":null,"type":"x"}"#), bare);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_never_repeated() {
        let topic = "topic: expected user:, note: or channel: and 1 to 256 characters, \
                     not channel:annotations";
        let event = r#"{"type":"x"}"#;
        let long = format!("user:{}", "x".repeat(257));
        let topics = [
            "hush",
            "user:",
            "recipient:hush",
            "all:",
            "channel:annotations",
            &long,
        ];
        for name in topics {
            assert_eq!(read(name, event).unwrap_err(), topic, "{name}");
        }
        let deep = format!(
            r#"{{"type":"x","body":{}{}}}"#,
            "[".repeat(999),
            "]".repeat(999)
        );
        let large = format!(r#"{{"type":"x","body":"{}"}}"#, "x".repeat(MAX_REPORT));
        for (json, why) in [
            ("hush", "expected an object"),
            (r#"["hush"]"#, "expected an object"),
            (r#"{"type":"x""#, "expected an object"),
            ("{}", "type: expected a string of 1 to 128 characters"),
            (
                r#"{"type":""}"#,
                "type: expected a string of 1 to 128 characters",
            ),
            (
                r#"{"type":["hush"]}"#,
                "type: expected a string of 1 to 128 characters",
            ),
            (
                r#"{"type":"x","id":5}"#,
                "id: expected a string of 1 to 128 characters",
            ),
            (
                r#"{"type":"x","hush":5}"#,
                "event: expected no other members than id, type, body",
            ),
            (
                &deep,
                "expected arrays and objects at most 128 deep in each other",
            ),
            (&large, "expected at most 262144 bytes"),
        ] {
            let told = read("user:u1", json).unwrap_err();
            assert_eq!(told, why, "{}", &json[..json.len().min(80)]);
        }
    }
}
