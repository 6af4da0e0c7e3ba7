//! The topics of a world, what is published on them, and what has become of it.

use broker::annotation::{self, ANNOTATION};
use broker::event::message_payload;
use broker::message::Draft;
use broker::topic::{Tenant, Topic, TopicKind};

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
    /// All recipients.
    All,
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
    /// Only members of the club may hear of it.
    pub(super) private: bool,
    /// Redis has forgotten it, as a primary took it along.
    pub(super) lost: bool,
}

pub(super) const NOTES: usize = 3;
pub(super) const GAMES: usize = 2;
pub(super) const RECIPIENTS: usize = 3;
/// Users who may be in the club.
pub(super) const USERS: usize = 2;
/// A group that not all are in.
pub(super) const CLUB: &str = "club";

pub(super) fn tenant() -> Tenant {
    "acme".parse().expect("it is one")
}

/// What a user is called.
pub(super) fn userid(user: usize) -> String {
    format!("acct:u{user}@example.org")
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
    all.push(subject(Topic::all(&tenant), "all".into(), Of::All));
    all
}

impl Subject {
    /// The JSON of an event with this number.
    pub(super) fn json(&self, number: usize) -> String {
        let mark = mark(number);
        // Written out, as worlds spend their time on what they try.
        match self.of {
            Of::Annotations => annotation(&mark, "__world__", "world"),
            Of::Broadcast | Of::Game => {
                format!(r#"{{"v":1,"type":"moved","body":{{"to":"{mark}"}}}}"#)
            }
            Of::Note => format!(
                r#"{{"v":1,"type":"reacted","body":{{"userId":"u2","visibility":"public","body":{{"reaction":"{mark}"}}}}}}"#
            ),
            Of::Recipient | Of::All => message_payload(&Draft {
                text: mark.into(),
                label: None,
                expires_at: None,
                deliver_at: None,
            }),
        }
    }
}

/// An annotation of which only members of the club may hear.
pub(super) fn private(number: usize) -> String {
    annotation(&mark(number), CLUB, "members")
}

fn annotation(id: &str, group: &str, readers: &str) -> String {
    format!(
        r#"{{"v":1,"type":"{ANNOTATION}","body":{{"action":"create","id":"{id}","author":"acct:ben@example.org","annotation":{{"id":"{id}","group":"{group}"}},"group":{{"id":"{group}","readableBy":"{readers}"}},"shared":true}}}}"#
    )
}

/// What stands for a number in whatever is said of it.
pub(super) fn mark(number: usize) -> String {
    format!("~{number}~")
}

/// The number that a text is marked with, if it is.
pub(super) fn marked(text: &str) -> Option<usize> {
    text.split('~').nth(1)?.parse().ok()
}
