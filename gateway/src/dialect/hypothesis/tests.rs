//! Conversations of the Hypothesis dialect.
//!
//! What happens stands at the margin, what the dialect answers is indented:
//!
//! * `open`, `subscribed annotations`, `subscribed user`, `resumed user`, `gap annotations`, `woken`, `time <ms>`
//! * `> <text>` from the client, `>> <bytes>` in a binary frame (`\xff` is no UTF-8)
//! * `create a1 by=ben uri=httpx://e.org …`: an event; see [`Conversation::notification`]
//! * `joined g1 member`, `left g1`, `role g1 moderator`; `signed-out t1`, `signed-out all`
//! * `identity g1=member …`, `identity nobody`: the answer to an errand
//! * `live <ms> create …`: an event that a ring keeps there; `missed`, `missed <ms> create …; <ms> …`:
//!   what a client missed; `missed-behind <ms> create …`: the same behind its point; `pinged <ms>`, `answered`, `flushed <ms>`
//!
//! The dialect's `tells <action> <id> as <class>` stands for a frame.

mod messages;
mod filters;
mod events;
mod users;
mod index;
mod missed;

use std::collections::BTreeMap;

use broker::annotation::{Audience, Change, Moderation, Readable};
use broker::event::{EntryId, Event};
use broker::message::MessageId;
use broker::people::{self, MembershipAction, Memberships, Role};
use broker::topic::Tenant;
use serde_json::{Value, json};

use super::*;
use crate::dialect::{Errand, Tag};

const ADA: &str = "acct:ada@example.org";

struct Conversation {
    dialect: Hypothesis,
    annotations: Topic,
    user: Topic,
    now: Timestamp,
    /// Whether the client may have been here before.
    back: bool,
}

fn acme() -> Tenant {
    "acme".parse().unwrap()
}

fn signed_in(groups: &str) -> SignedIn {
    let member = |entry: &str| {
        let (group, role) = entry.split_once('=').unwrap();
        (group.into(), role_of(role))
    };
    SignedIn {
        tenant: acme(),
        userid: ADA.into(),
        memberships: groups
            .split_whitespace()
            .map(member)
            .collect::<Memberships>(),
        vouched: Arc::default(),
        token: "t1".into(),
        expires_at: None,
    }
}

fn role_of(name: &str) -> Role {
    serde_json::from_value(json!(name)).unwrap()
}

fn conversation(viewer: Option<SignedIn>, strict: bool) -> Conversation {
    let annotations = broker::annotation::topic(&acme());
    Conversation {
        dialect: Hypothesis::new(annotations.clone(), viewer, strict),
        annotations,
        user: people::topic(&acme(), ADA),
        now: Timestamp::from_millis(1000),
        back: false,
    }
}

fn anonymous() -> Conversation {
    let mut conversation = conversation(None, false);
    check(&mut conversation, OPEN);
    conversation
}

/// An anonymous socket opens.
const OPEN: &str = r"
open
    + acme:channel:annotations
subscribed annotations
";

/// Ada, with these groups, on a socket whose topics are subscribed.
fn ada(groups: &str, strict: bool) -> Conversation {
    let mut conversation = conversation(Some(signed_in(groups)), strict);
    check(
        &mut conversation,
        &format!(
            "
open
    + acme:channel:annotations
    + acme:user:{ADA}
subscribed annotations
subscribed user
    ask identity
identity {groups}
> {EVERYTHING}
    want 1
"
        ),
    );
    conversation
}

/// A filter that all annotations of these tests match.
const EVERYTHING: &str = r#"{"filter":{"match_policy":"include_any","actions":{},"clauses":[{"field":"/uri","value":"http://e.org/"}]}}"#;

#[track_caller]
fn check(conversation: &mut Conversation, script: &str) {
    let mut answers: Vec<String> = Vec::new();
    let mut told = String::new();
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(expected) = line.strip_prefix("    ") {
            let answer = if answers.is_empty() {
                "nothing".into()
            } else {
                answers.remove(0)
            };
            assert_eq!(answer, expected, "after: {told}");
        } else {
            assert!(answers.is_empty(), "after: {told}, unexpected: {answers:?}");
            line.clone_into(&mut told);
            answers = conversation.tell(line);
        }
    }
    assert!(answers.is_empty(), "after: {told}, unexpected: {answers:?}");
}

impl Conversation {
    fn tell(&mut self, line: &str) -> Vec<String> {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let now = self.now;
        let topic = match rest {
            "user" => self.user.clone(),
            _ => self.annotations.clone(),
        };
        let effects = match what {
            "open" => self.dialect.open(now),
            ">" => self.dialect.receive(rest, now),
            ">>" => {
                let bytes = rest.replace("\\xff", "\u{1}").into_bytes();
                let bytes: Vec<_> = bytes
                    .iter()
                    .map(|b| if *b == 1 { 0xff } else { *b })
                    .collect();
                self.dialect.receive_binary(&bytes, now)
            }
            "subscribed" => self.dialect.notice(Notice::Subscribed(&topic), now),
            "resumed" => self.dialect.notice(Notice::Resumed(&topic), now),
            "gap" => self.dialect.notice(Notice::Gap(&topic), now),
            "woken" => self.dialect.notice(Notice::Woken, now),
            "time" => {
                self.now = Timestamp::from_millis(rest.parse().unwrap());
                Vec::new()
            }
            "create" | "update" | "delete" => {
                let notification = notification(what, rest);
                self.publish("annotation", &serde_json::to_value(notification).unwrap())
            }
            "joined" | "left" | "role" => self.publish("membership", &membership(what, rest)),
            "signed-out" => {
                let token = (rest != "all").then_some(rest);
                self.publish("signed-out", &json!({ "token": token }))
            }
            "forged" => {
                let body = membership("joined", rest);
                let frame = json!({"v": 1, "type": "membership", "body": body});
                let mut effects = self.frame(&frame.to_string());
                effects.extend(self.frame(&format!("5-1 {frame}")));
                effects
            }
            "identity" => {
                let identity = (rest != "nobody").then(|| signed_in(rest));
                self.dialect.answer(Answer::Identity(identity), now)
            }
            "live" => {
                let (id, event) = kept(rest);
                let frame = Rc::new(Delivery::new(event));
                assert_eq!(frame.event.entry, Some(id));
                self.dialect.deliver(&self.annotations, &frame, now)
            }
            "missed" => {
                let missed =
                    (!rest.is_empty()).then(|| Missed::of(rest.split("; ").map(kept).collect()));
                self.dialect.answer(Answer::Missed(missed), now)
            }
            "missed-behind" => {
                let missed = Missed::of(rest.split("; ").map(kept).collect());
                let next = missed.entries.len();
                let behind = Missed { next, ..missed };
                self.dialect.answer(Answer::Missed(Some(behind)), now)
            }
            "pinged" => {
                let until = rest.parse().unwrap();
                self.dialect.notice(Notice::Pinged(until), now)
            }
            "answered" => self.dialect.notice(Notice::Answered, now),
            "flushed" => {
                let id = MessageId {
                    millis: rest.parse().unwrap(),
                    sequence: 0,
                    partition: self.annotations.partition(),
                };
                self.dialect.notice(Notice::Flushed(&Tag::Message(id)), now)
            }
            _ => panic!("unknown: {line}"),
        };
        let effects = match self.back {
            true => effects,
            false => self.for_the_first_time(effects),
        };
        effects.iter().filter_map(show).collect()
    }

    /// Nobody here knows the client.
    fn for_the_first_time(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let missed = |effect: &Effect| matches!(effect, Effect::Ask(Errand::Missed { .. }));
        if effects.iter().any(missed) {
            effects.retain(|effect| !missed(effect));
            effects.extend(self.dialect.answer(Answer::Missed(None), self.now));
        }
        effects
    }

    fn publish(&mut self, kind: &str, body: &Value) -> Vec<Effect> {
        self.frame(&format!(
            "0-0 {}",
            json!({"v": 1, "type": kind, "body": body})
        ))
    }

    fn frame(&mut self, frame: &str) -> Vec<Effect> {
        let delivery = Rc::new(Delivery::new(event(frame)));
        self.dialect.deliver(&self.annotations, &delivery, self.now)
    }
}

/// `<ms> create …`, as a ring keeps it.
fn kept(words: &str) -> (EntryId, Arc<Event>) {
    let (millis, words) = words.split_once(' ').unwrap();
    let (what, rest) = words.split_once(' ').unwrap();
    let body = notification(what, rest);
    let json = json!({"v": 1, "type": "annotation", "body": body});
    let event = event(&format!("{millis}-0 {json}"));
    (event.entry.unwrap(), event)
}

fn event(frame: &str) -> Arc<Event> {
    Arc::new(Event::parse(frame.as_bytes()).unwrap())
}

fn membership(what: &str, rest: &str) -> Value {
    let (group, role) = rest.split_once(' ').unwrap_or((rest, ""));
    let action = match what {
        "joined" => Some(MembershipAction::GroupJoin),
        "left" => Some(MembershipAction::GroupLeave),
        _ => None,
    };
    let role = (what != "left").then(|| role_of(role));
    json!({"action": action, "group": group, "role": role, "session": {"userid": ADA}})
}

/// By default ben made it, in the world group, shared, at `http://e.org/`.
/// `by=`, `group=` (`g1:members`), `private`, `status=PENDING`, `banned`,
/// `references=a,b`, `uri=`, `client=`, `flagged` (by ada) change that.
fn notification(action: &str, rest: &str) -> Notification {
    let mut words = rest.split_whitespace();
    let id = words.next().unwrap();
    let words: BTreeMap<_, _> = words
        .map(|w| w.split_once('=').unwrap_or((w, "")))
        .collect();
    let word = |name: &str| words.get(name).copied();
    let user = |name: &str| -> Arc<str> { format!("acct:{name}@example.org").into() };
    let (group, readable) = word("group").map_or(("__world__", "world"), |group| {
        group.split_once(':').unwrap_or((group, "world"))
    });
    let list = |name: &str, default: &'static str| -> Vec<Arc<str>> {
        let text = word(name).unwrap_or(default);
        text.split(',')
            .filter(|t| !t.is_empty())
            .map(Into::into)
            .collect()
    };
    let author = user(word("by").unwrap_or("ben"));
    let action: Change = serde_json::from_value(json!(action)).unwrap();
    let annotation = match action {
        Change::Delete => json!({ "id": id }),
        _ => json!({
            "id": id, "user": author, "uri": "http://e.org/", "group": group,
            "text": "a text", "tags": ["t"], "hidden": false, "flagged": false, "actions": [],
        }),
    };
    Notification {
        action,
        id: id.into(),
        annotation: RawValue::from_string(annotation.to_string()).unwrap(),
        author,
        author_banned: word("banned").is_some(),
        group: Audience {
            id: group.into(),
            readable_by: serde_json::from_value::<Readable>(json!(readable)).unwrap(),
        },
        shared: word("private").is_none(),
        moderation: word("status")
            .map(|status| serde_json::from_value::<Moderation>(json!(status)).unwrap()),
        references: list("references", ""),
        scope_keys: list("uri", "httpx://e.org"),
        source_client_id: word("client").map(Into::into),
        flaggers: words
            .contains_key("flagged")
            .then(|| user("ada"))
            .into_iter()
            .collect(),
    }
}

fn text_of(frame: &Frame) -> &str {
    let head = match frame.parts()[0][1] {
        ..126 => 2,
        126 => 4,
        _ => 10,
    };
    str::from_utf8(&frame.parts()[0][head..]).unwrap()
}

/// What the client or the gateway sees of an effect; counts of messages are not shown.
fn show(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Send(outgoing) => {
            assert_eq!(outgoing.expires_at, None);
            let shown = show_frame(text_of(&outgoing.frame));
            match &outgoing.tag {
                Some(tag) => format!("{shown} #{}", tag.id().millis),
                None => shown,
            }
        }
        Effect::Subscribe(topic, _) => format!("+ {topic}"),
        Effect::Unsubscribe(topic) => format!("- {topic}"),
        Effect::Want(_, Interest::Keys(keys)) => format!("want {}", keys.iter().count()),
        Effect::Want(_, Interest::All) => "want all".into(),
        Effect::Ask(Errand::Identity(known)) => {
            assert_eq!((&*known.userid, &*known.token), (ADA, "t1"));
            "ask identity".into()
        }
        Effect::Ask(Errand::Missed { .. }) => "ask missed".into(),
        Effect::Ask(Errand::Reached { until, .. }) => format!("reached {until}"),
        Effect::Ask(errand) => format!("ask {errand:?}"),
        Effect::Forward(_, message) => format!("forward {message}"),
        Effect::WakeAt(at) => format!("wake at {}", at.millis()),
        Effect::Count(Tally::Heard(..) | Tally::Said(..) | Tally::Withheld(_)) => return None,
        Effect::Count(Tally::Suppressed(reason)) => format!("suppressed {reason:?}"),
        Effect::Close(reason) => format!("close {reason:?}"),
    })
}

fn show_frame(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    if value["type"] != "annotation-notification" {
        return format!("< {text}");
    }
    let [shown] = &value["payload"].as_array().unwrap()[..] else {
        panic!("one annotation each: {text}");
    };
    let action = value["options"]["action"].as_str().unwrap();
    let id = shown["id"].as_str().unwrap();
    if action == "delete" {
        assert_eq!(
            *shown,
            json!({ "id": id }),
            "of what is gone only the id is told"
        );
        return format!("tells delete {id}");
    }
    let class = if shown["user"] == ADA {
        "author"
    } else if shown["actions"] == json!(["moderate"]) {
        "moderator"
    } else {
        "reader"
    };
    let flagged = if shown["flagged"] == true {
        ", flagged"
    } else {
        ""
    };
    format!("tells {action} {id} as {class}{flagged}")
}
