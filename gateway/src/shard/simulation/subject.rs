//! The topics of a world, what is published on them, and what has become of it.

use std::sync::Arc;

use broker::annotation::{self, ANNOTATION};
use broker::event::message_payload;
use broker::message::Draft;
use broker::topic::{Tenant, Topic, TopicKind};
use serde_json::json;

use super::redis::Time;

/// A topic, and all that was accepted on it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) topic: Topic,
    pub(super) name: String,
    pub(super) of: Of,
    /// Numbers of its events, in the order in which they were accepted.
    pub(super) accepted: Vec<usize>,
}

/// Who cares for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Annotations,
    Broadcast,
    Note,
    Game,
    Recipient,
}

/// An event by its number in the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) subject: usize,
    pub(super) place: usize,
    /// No ring has it.
    pub(super) raw: bool,
    /// When it was accepted.
    pub(super) at: Time,
    /// Redis has forgotten it, as a primary took it along.
    pub(super) lost: bool,
}

pub(super) const NOTES: usize = 3;
pub(super) const GAMES: usize = 2;
pub(super) const RECIPIENTS: usize = 3;

pub(super) fn tenant() -> Tenant {
    "acme".parse().expect("it is one")
}

/// All there are, always in the same order.
pub(super) fn every() -> Vec<Subject> {
    let tenant = tenant();
    let subject = |topic: Topic, name: String, of| Subject {
        topic,
        name,
        of,
        accepted: Vec::new(),
    };
    let channel = |name: &str| Topic::new(&tenant, TopicKind::Channel, name);
    let mut all = vec![
        subject(
            annotation::topic(&tenant),
            "annotations".into(),
            Of::Annotations,
        ),
        subject(channel("broadcast"), "broadcast".into(), Of::Broadcast),
    ];
    for n in 0..NOTES {
        let name = format!("n{n}");
        all.push(subject(
            Topic::new(&tenant, TopicKind::Note, &name),
            name,
            Of::Note,
        ));
    }
    for n in 0..GAMES {
        let topic = channel(&format!("reversiGameStream:g{n}"));
        all.push(subject(topic, format!("g{n}"), Of::Game));
    }
    for n in 0..RECIPIENTS {
        let name = format!("r{n}");
        all.push(subject(
            Topic::recipient(&tenant, &name),
            name,
            Of::Recipient,
        ));
    }
    all
}

impl Subject {
    /// The JSON of an event with this number.
    pub(super) fn json(&self, number: usize) -> String {
        let mark = mark(number);
        let (kind, body) = match self.of {
            Of::Annotations => {
                let body = json!({
                    "action": "create", "id": mark, "author": "acct:ben@example.org",
                    "annotation": { "id": mark, "group": "__world__" },
                    "group": { "id": "__world__", "readableBy": "world" }, "shared": true,
                });
                (ANNOTATION, body)
            }
            Of::Broadcast | Of::Game => ("moved", json!({ "to": mark })),
            Of::Note => {
                let body = json!({ "reaction": mark });
                (
                    "reacted",
                    json!({ "userId": "u2", "visibility": "public", "body": body }),
                )
            }
            Of::Recipient => {
                let text = Arc::from(mark.as_str());
                let draft = Draft {
                    text,
                    label: None,
                    expires_at: None,
                    deliver_at: None,
                };
                return message_payload(&draft);
            }
        };
        format!(r#"{{"v":1,"type":"{kind}","body":{body}}}"#)
    }
}

/// What stands for a number in whatever is said of it.
pub(super) fn mark(number: usize) -> String {
    format!("~{number}~")
}

/// The number that a text is marked with, if it is.
pub(super) fn marked(text: &str) -> Option<usize> {
    text.split('~').nth(1)?.parse().ok()
}
