//! Conversations of the Misskey dialect.
//!
//! What happens:
//!
//! * `> <text>` from the client, `>> <text>` in a binary frame (`\xff` is no UTF-8)
//! * `@ <topic> <event>`: `@ note:n1 {"type":"deleted","body":{…}}`
//! * `confirmed <topic>`, `resumed <topic>`, `gap <topic>`, `woken`, `time <ms>`
//! * `allowed`, `refused`, `members u1 u2`, `note <id> <json>`: answers to questions
//! * `viewer <words>`, the answer or (`news <topic> viewer …`) news; see [`viewer`]
//! * `relay`, `relayed <text>`, `relay-ended`: what comes of asking for a relay
//! * `news <topic> <what>`: `signed-out [token]`, `role-closed`, `antenna-gone`
//!
//! What the dialect does in turn: `< <frame>`, `+ <topic> [none|<keys>]`,
//! `- <topic>`, `want <topic> none|<keys>`, `? <question>`, `^ <text>` to the host,
//! `wake <ms>`, `close <reason>`. What it counts is compared only where it stands: `! <kind> <outcome>`.

mod messages;
mod channels;
mod captures;
mod checks;
mod notes;
mod relays;
mod walk;

use broker::key::KeySet;
use broker::misskey::Field;
use broker::misskey::caller::{Grant, Token};
use broker::misskey::hosts::Host;
use broker::misskey::viewer::{Me, Policies, Visitors};

use super::*;

struct Conversation {
    dialect: Misskey,
    /// Topics are confirmed as soon as they are asked for.
    quick: bool,
    now: Timestamp,
    counted: Vec<String>,
}

fn host() -> Host {
    Host {
        name: "misskey.example".into(),
        tenant: "acme".parse().unwrap(),
        bus: None,
        bus_redis: None,
        cache_redis: None,
        prefix: "misskey.example".into(),
        api: None,
        relay: None,
        old_bus: false,
    }
}

fn user(id: &str) -> broker::key::Key {
    Field::User.key(id)
}

/// Of u1, or of a visitor (`nobody`). `follows=u2,u3`, `mutes=…`, `blocked=…`,
/// `channels=…`, `servers=…`, `version=…`, `-local`, `-global`, `visitors=local|none`.
fn viewer(words: &str) -> Viewer {
    let mut viewer = Viewer {
        me: Some(Me {
            id: "u1".into(),
            key: user("u1"),
        }),
        ..Viewer::default()
    };
    for word in words.split_whitespace() {
        let (name, values) = word.split_once('=').unwrap_or((word, ""));
        let keys = |field: Field| -> KeySet { values.split(',').map(|v| field.key(v)).collect() };
        match name {
            "nobody" => viewer.me = None,
            "version" => viewer.version = values.parse().unwrap(),
            "follows" => viewer.following = keys(Field::User),
            "mutes" => viewer.muting = keys(Field::User),
            "blocked" => viewer.blocked_by = keys(Field::User),
            "channels" => viewer.followed_channels = keys(Field::Channel),
            "servers" => viewer.muted_servers = keys(Field::Server),
            "-local" => {
                viewer.policies = Policies {
                    local: false,
                    global: true,
                }
            }
            "-global" => {
                viewer.policies = Policies {
                    local: true,
                    global: false,
                }
            }
            "visitors" if values == "local" => viewer.visitors = Visitors::Local,
            "visitors" if values == "none" => viewer.visitors = Visitors::None,
            _ => panic!("unknown: {word}"),
        }
    }
    viewer
}

fn conversation(host: Host, grant: Option<Grant>, words: &str) -> Conversation {
    let account = grant.map(|grant| Account {
        user: "u1".into(),
        key: user("u1"),
        grant,
        token: Token::new("t1"),
    });
    let words = if account.is_none() {
        format!("nobody {words}")
    } else {
        words.into()
    };
    let caller = Caller {
        host: host.into(),
        account,
    };
    Conversation {
        dialect: Misskey::new(caller.into(), viewer(&words).into()),
        quick: true,
        now: Timestamp::from_millis(1_000_000),
        counted: Vec::new(),
    }
}

/// u1, who follows f1 and f2 and mutes m1, on a socket that is open.
fn misskey() -> Conversation {
    signed_in(Grant::Native)
}

/// The same through an app.
fn app() -> Conversation {
    signed_in(Grant::App)
}

fn signed_in(grant: Grant) -> Conversation {
    opened(conversation(host(), Some(grant), "follows=f1,f2 mutes=m1"))
}

/// A visitor.
fn anonymous() -> Conversation {
    opened(conversation(host(), None, ""))
}

fn opened(mut conversation: Conversation) -> Conversation {
    let now = conversation.now;
    let effects = conversation.dialect.open(now);
    conversation.show_all(&effects);
    conversation
}

#[track_caller]
fn check(mut conversation: Conversation, script: &str) {
    go_on(&mut conversation, script);
}

#[track_caller]
fn go_on(conversation: &mut Conversation, script: &str) {
    let mut done: Vec<String> = Vec::new();
    let mut told = String::from("the start");
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "<" | "+" | "-" | "want" | "?" | "^" | "wake" | "close" => {
                let first = if done.is_empty() {
                    "nothing".into()
                } else {
                    done.remove(0)
                };
                assert_eq!(first, line, "after: {told}");
            }
            "!" => {
                let counted = conversation.counted.pop();
                assert_eq!(counted.as_deref(), Some(rest), "after: {told}");
            }
            _ => {
                assert!(done.is_empty(), "after: {told}, unexpected: {done:?}");
                line.clone_into(&mut told);
                let effects = conversation.tell(what, rest);
                done = conversation.show_all(&effects);
            }
        }
    }
    assert!(done.is_empty(), "after: {told}, unexpected: {done:?}");
}

fn topic(name: &str) -> Topic {
    let (kind, id) = name.split_once(':').unwrap();
    let kind = match kind {
        "user" => TopicKind::User,
        "note" => TopicKind::Note,
        _ => TopicKind::Channel,
    };
    Topic::new(&"acme".parse().unwrap(), kind, id)
}

fn delivery(event: &str) -> Rc<Delivery> {
    let event = event.strip_prefix('{').unwrap();
    let event = format!(r#"{{"v":1,{event}"#);
    Rc::new(Delivery::new(Arc::new(
        broker::event::Event::parse(event.as_bytes()).unwrap(),
    )))
}

impl Conversation {
    fn tell(&mut self, what: &str, rest: &str) -> Vec<Effect> {
        let now = self.now;
        let answer = |reply| Answer::Misskey(reply);
        let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let dialect = &mut self.dialect;
        match what {
            ">" => dialect.receive(rest, now),
            ">>" => {
                let bytes = rest.replace("\\xff", "\u{1}").into_bytes();
                let bytes: Vec<_> = bytes
                    .iter()
                    .map(|b| if *b == 1 { 0xff } else { *b })
                    .collect();
                dialect.receive_binary(&bytes, now)
            }
            "@" => dialect.deliver(&topic(first), &delivery(more), now),
            "confirmed" => dialect.notice(Notice::Subscribed(&topic(rest)), now),
            "resumed" => dialect.notice(Notice::Resumed(&topic(rest)), now),
            "gap" => dialect.notice(Notice::Gap(&topic(rest)), now),
            "woken" => dialect.notice(Notice::Woken, now),
            "time" => {
                self.now = Timestamp::from_millis(rest.parse().unwrap());
                Vec::new()
            }
            "allowed" => dialect.answer(answer(Reply::Allowed), now),
            "refused" => dialect.answer(answer(Reply::Refused), now),
            "members" => {
                let members = rest.split_whitespace().map(user).collect();
                dialect.answer(answer(Reply::Members(members)), now)
            }
            "viewer" => dialect.answer(answer(Reply::Viewer(viewer(rest).into())), now),
            "note" => {
                let note = (!more.is_empty()).then(|| {
                    let event = format!(r#"{{"type":"note","body":{more}}}"#);
                    Arc::clone(&delivery(&event).event)
                });
                dialect.answer(answer(Reply::Note(first.into(), note)), now)
            }
            "relay" => dialect.answer(answer(Reply::Relay(crate::relay::Relay::new().0)), now),
            "relayed" => dialect.answer(answer(Reply::Relayed(rest.into())), now),
            "relay-ended" => dialect.answer(answer(Reply::RelayEnded), now),
            "news" => {
                let (what, more) = more.split_once(' ').unwrap_or((more, ""));
                let news = match what {
                    "viewer" => News::Viewer(viewer(more).into()),
                    "signed-out" => News::SignedOut((!more.is_empty()).then(|| Token::new(more))),
                    "role-closed" => News::RoleClosed,
                    "antenna-gone" => News::AntennaGone,
                    _ => panic!("unknown: {what}"),
                };
                dialect.notice(Notice::News(&topic(first), &news), now)
            }
            _ => panic!("unknown: {what} {rest}"),
        }
    }

    /// Shows effects, and those of topics that are confirmed at once.
    fn show_all(&mut self, effects: &[Effect]) -> Vec<String> {
        let mut shown = Vec::new();
        for effect in effects {
            shown.extend(self.show(effect));
            if let Effect::Subscribe(topic, _) = effect
                && self.quick
            {
                let now = self.now;
                let effects = self.dialect.notice(Notice::Subscribed(topic), now);
                shown.extend(self.show_all(&effects));
            }
        }
        shown
    }

    fn show(&mut self, effect: &Effect) -> Option<String> {
        let name = |topic: &Topic| format!("{}:{}", topic.kind().as_str(), topic.id());
        Some(match effect {
            Effect::Send(outgoing) => {
                assert_eq!((outgoing.expires_at, &outgoing.tag), (None, &None));
                format!("< {}", text_of(&outgoing.frame))
            }
            Effect::Subscribe(topic, Interest::All) => format!("+ {}", name(topic)),
            Effect::Subscribe(topic, interest) => format!("+ {} {}", name(topic), wanted(interest)),
            Effect::Unsubscribe(topic) => format!("- {}", name(topic)),
            Effect::Want(topic, interest) => format!("want {} {}", name(topic), wanted(interest)),
            Effect::Ask(Errand::Misskey(asking)) => {
                assert_eq!(asking.caller, self.dialect.caller);
                format!("? {:?}", asking.question)
            }
            Effect::Forward(_, text) => format!("^ {text}"),
            Effect::WakeAt(at) => format!("wake {}", at.millis()),
            Effect::Count(Tally::Said(kind, outcome)) => {
                self.counted.push(format!("{kind:?} {outcome:?}"));
                return None;
            }
            Effect::Count(Tally::Withheld(reason)) => {
                self.counted.push(format!("withheld {reason:?}"));
                return None;
            }
            Effect::Close(reason) => format!("close {reason:?}"),
            other => panic!("not of this dialect: {other:?}"),
        })
    }
}

fn wanted(interest: &Interest) -> String {
    match interest {
        Interest::All => "all".into(),
        Interest::Keys(keys) => match keys.iter().count() {
            0 => "none".into(),
            count => count.to_string(),
        },
    }
}

fn text_of(frame: &Frame) -> String {
    let bytes = frame.parts().concat();
    let head = match bytes[1] {
        ..126 => 2,
        126 => 4,
        _ => 10,
    };
    str::from_utf8(&bytes[head..]).unwrap().into()
}
