//! Conversations of the Hypothesis dialect.
//!
//! What happens stands at the margin, what the dialect answers is indented:
//!
//! * `open`, `subscribed annotations`, `subscribed user`, `gap user`, `woken`, `time <ms>`
//! * `> <text>` from the client, `>> <bytes>` in a binary frame (`\xff` is no UTF-8)
//! * `create a1 by=ben uri=httpx://e.org …`: an event; see [`Conversation::notification`]
//! * `joined g1 member`, `left g1`, `role g1 moderator`; `signed-out t1`, `signed-out all`
//! * `identity g1=member …`, `identity nobody`: the answer to an errand
//!
//! The dialect's `tells <action> <id> as <class>` stands for a frame.

use std::collections::BTreeMap;

use broker::annotation::{Audience, Change, Moderation, Readable};
use broker::people::{self, MembershipAction, Memberships, Role};
use broker::topic::Tenant;
use serde_json::{Value, json};

use super::*;
use crate::dialect::Errand;

const ADA: &str = "acct:ada@example.org";

struct Conversation {
    dialect: Hypothesis,
    annotations: Topic,
    user: Topic,
    now: Timestamp,
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
                self.frame(&json!({"v": 1, "type": "membership", "body": body}).to_string())
            }
            "identity" => {
                let identity = (rest != "nobody").then(|| signed_in(rest));
                self.dialect.answer(Answer::Identity(identity), now)
            }
            _ => panic!("unknown: {line}"),
        };
        effects.iter().filter_map(show).collect()
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
    let head = match frame.bytes()[1] {
        ..126 => 2,
        126 => 4,
        _ => 10,
    };
    str::from_utf8(&frame.bytes()[head..]).unwrap()
}

/// What the client or the gateway sees of an effect; counts of messages are not shown.
fn show(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Send(outgoing) => {
            assert_eq!((outgoing.expires_at, &outgoing.tag), (None, &None));
            show_frame(text_of(&outgoing.frame))
        }
        Effect::Subscribe(topic, _) => format!("+ {topic}"),
        Effect::Unsubscribe(topic) => format!("- {topic}"),
        Effect::Want(_, Interest::Keys(keys)) => format!("want {}", keys.as_slice().len()),
        Effect::Want(_, Interest::All) => "want all".into(),
        Effect::Ask(Errand::Identity(known)) => {
            assert_eq!((&*known.userid, &*known.token), (ADA, "t1"));
            "ask identity".into()
        }
        Effect::Ask(errand) => format!("ask {errand:?}"),
        Effect::WakeAt(at) => format!("wake at {}", at.millis()),
        Effect::Count(Tally::Heard(..)) => return None,
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

#[test]
fn a_sign_of_life_is_answered_to_the_letter_of_its_number() {
    check(
        &mut anonymous(),
        r#"
> {"type":"ping","id":123}
    < {"type":"pong","ok":true,"reply_to":123}
> {"type":"ping","id":123456789012345678901234567890}
    < {"type":"pong","ok":true,"reply_to":123456789012345678901234567890}
> {"type":"ping","id":-1.50e3}
    < {"type":"pong","ok":true,"reply_to":-1.50e3}
> {"type":"ping","id":0,"ok":false,"reply_to":9}
    < {"type":"pong","ok":true,"reply_to":0}
> {"type":"ping","id":0}
    < {"type":"pong","ok":true,"reply_to":0}
"#,
    );
}

#[test]
fn without_a_number_there_is_no_answer_but_the_message_is_heard() {
    check(
        &mut anonymous(),
        r#"
> {"type":"ping"}
> {"type":"ping","id":"1"}
> {"type":"ping","id":[1]}
> {"type":"ping","id":{}}
> {"type":"ping","id":null}
> {"type":"no-such-type"}
> {"filter":{}}
> {"filter":{"match_policy":"include_any","clauses":[{"field":"/id","value":"x"}],"actions":{}}}
    want 1
"#,
    );
}

#[test]
fn a_socket_says_who_is_signed_in() {
    let ask = r#"
> {"type":"whoami","id":1}
    < {"type":"whoyouare","userid":"acct:ada@example.org","ok":true,"reply_to":1}
"#;
    check(&mut ada("", false), ask);
    let ask = ask.replace("\"acct:ada@example.org\"", "null");
    check(&mut anonymous(), &ask);
}

#[test]
fn what_a_message_calls_itself_counts_before_what_is_in_it() {
    check(
        &mut anonymous(),
        r#"
> {"type":"no-such-type","id":2}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"no-such-type\""},"ok":false,"reply_to":2}
> {"type":"zzz","filter":{"match_policy":"include_any","clauses":[],"actions":{}},"id":3}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"zzz\""},"ok":false,"reply_to":3}
> {"messageType":"ping","id":4}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: null"},"ok":false,"reply_to":4}
> {"type":5,"id":5}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: 5"},"ok":false,"reply_to":5}
> {"type":"PING","id":6}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"PING\""},"ok":false,"reply_to":6}
> {"type":"grün \"𝄞\"","id":7}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"gr\\u00fcn \\\"\\ud834\\udd1e\\\"\""},"ok":false,"reply_to":7}
> {"type":["ping"],"id":8}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: [\"ping\"]"},"ok":false,"reply_to":8}
> {"type":null,"messageType":"client_id","id":9}
    < {"type":"error","error":{"type":"invalid_data","description":"\"value\" is missing"},"ok":false,"reply_to":9}
> {"messageType":"client_id","filter":1,"id":10}
    < {"type":"error","error":{"type":"invalid_data","description":"failed to parse filter"},"ok":false,"reply_to":10}
> {"type":"client_id","id":11}
    < {"type":"error","error":{"type":"invalid_data","description":"\"value\" is missing"},"ok":false,"reply_to":11}
> {"type":"filter","id":12}
    < {"type":"error","error":{"type":"invalid_data","description":"\"filter\" is missing"},"ok":false,"reply_to":12}
> {"type":"pong","type":"p\u0069ng","id":1,"id":13}
    < {"type":"pong","ok":true,"reply_to":13}
"#,
    );
}

#[test]
fn a_name_and_a_filter_are_taken_without_an_answer() {
    check(
        &mut anonymous(),
        r#"
> {"messageType":"client_id","value":"c0ffee00","id":1}
> {"type":"client_id","value":{"any":["JSON"]},"id":2}
> {"type":"client_id","value":null,"id":3}
> {"type":"filter","filter":{"match_policy":"include_any","clauses":[],"actions":null},"id":4}
    want 0
"#,
    );
}

#[test]
fn json_that_is_no_object_means_nothing() {
    check(
        &mut anonymous(),
        r#"
> []
> "x"
> 5
> null
>  {"type":"ping","id":1}
    < {"type":"pong","ok":true,"reply_to":1}
"#,
    );
}

#[test]
fn what_is_no_json_ends_the_socket() {
    for text in [
        "{\"a\": b}",
        "",
        "{",
        "{}x",
        "NaN",
        "{\"type\":\"ping\",\"id\":1,}",
    ] {
        let script = format!("> {text}\n    close BadMessage");
        check(&mut anonymous(), &script);
        check(&mut anonymous(), &script.replacen('>', ">>", 1));
    }
    check(&mut anonymous(), ">> \\xff\n    close BadMessage");
}

#[test]
fn a_hundred_thousand_brackets_end_the_socket_and_nothing_else() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let inner = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for text in [inner.clone(), format!("{{\"type\":{inner},\"id\":1}}")] {
            let script = format!("> {text}\n    close BadMessage");
            check(&mut anonymous(), &script);
        }
    }
    let brackets_in_text = format!(
        "> {{\"type\":\"ping\",\"id\":1,\"x\":\"\\\"{}\"}}",
        "[".repeat(1000)
    );
    let pong = "    < {\"type\":\"pong\",\"ok\":true,\"reply_to\":1}";
    check(&mut anonymous(), &format!("{brackets_in_text}\n{pong}"));
}

#[test]
fn a_binary_frame_is_heard_like_text() {
    check(
        &mut anonymous(),
        "
>> {\"type\":\"ping\",\"id\":7}
    < {\"type\":\"pong\",\"ok\":true,\"reply_to\":7}
>> \u{feff}{\"type\":\"ping\",\"id\":8}
    < {\"type\":\"pong\",\"ok\":true,\"reply_to\":8}
",
    );
}

#[test]
fn what_is_asked_before_all_topics_are_subscribed_waits_in_order() {
    check(
        &mut conversation(Some(signed_in("")), false),
        &format!(
            r#"
open
    + acme:channel:annotations
    + acme:user:{ADA}
> {{"type":"ping","id":1}}
subscribed annotations
> {EVERYTHING}
> {{"type":"ping","id":2}}
subscribed user
    ask identity
    < {{"type":"pong","ok":true,"reply_to":1}}
    want 1
    < {{"type":"pong","ok":true,"reply_to":2}}
> {{"type":"ping","id":3}}
    < {{"type":"pong","ok":true,"reply_to":3}}
"#
        ),
    );
}

#[test]
fn what_waits_is_bounded() {
    let mut many = conversation(None, false);
    many.tell("open");
    for _ in 0..256 {
        check(&mut many, "> {}");
    }
    check(&mut many, "> {}\n    close TooMuch");
    let mut long = conversation(None, false);
    long.tell("open");
    let text = "x".repeat(60 << 10);
    check(
        &mut long,
        &format!("> {text}\n> {text}\n> {text}\n    close TooMuch"),
    );
}

#[test]
fn a_socket_is_told_of_what_its_filter_matches() {
    check(
        &mut anonymous(),
        &format!(
            r#"
create a1
> {EVERYTHING}
    want 1
create a1
    tells create a1 as reader
update a1
    tells update a1 as reader
delete a1
    tells delete a1
create a2 uri=httpx://e.org/other
create a3 uri=httpx://e.org/other,httpx://e.org
    tells create a3 as reader
> {{"filter":{{"match_policy":"include_any","clauses":[],"actions":{{}}}}}}
    want 0
create a4
"#
        ),
    );
}

#[test]
fn a_filter_that_cannot_be_used_leaves_the_one_before() {
    check(
        &mut anonymous(),
        &format!(
            r#"
> {EVERYTHING}
    want 1
> {{"type":"filter","filter":{{"match_policy":"include_any","clauses":[{{}}],"actions":{{}}}},"id":1}}
    < {{"type":"error","error":{{"type":"invalid_data","description":"failed to parse filter"}},"ok":false,"reply_to":1}}
create a1
    tells create a1 as reader
"#
        ),
    );
    let mut strict = conversation(None, true);
    check(&mut strict, OPEN);
    check(
        &mut strict,
        r#"
> {"type":"filter","filter":{"match_policy":"include_any","clauses":[{}],"actions":{}},"id":1}
> {"type":"filter","filter":{"match_policy":"include_any","clauses":[{"field":"/uri"}],"actions":{}},"id":2}
> {"type":[],"id":3}
> {"type":"filter","filter":{},"id":4}
    < {"type":"error","error":{"type":"invalid_data","description":"failed to parse filter"},"ok":false,"reply_to":4}
"#,
    );
}

#[test]
fn the_tab_that_caused_an_event_is_spared_it() {
    let mut socket = ada("", false);
    check(
        &mut socket,
        r#"
create a1
    tells create a1 as reader
create a1 client=tab
    tells create a1 as reader
> {"messageType":"client_id","value":"tab"}
create a1 client=tab
    suppressed Echo
create a1 client=other
    tells create a1 as reader
create a1
    tells create a1 as reader
> {"messageType":"client_id","value":5}
create a1 client=5
    tells create a1 as reader
"#,
    );
}

#[test]
fn two_unknown_tabs_are_the_same_to_the_original() {
    let mut socket = ada("", true);
    check(
        &mut socket,
        r#"
create a1
    suppressed Echo
create a1 client=tab
    tells create a1 as reader
> {"messageType":"client_id","value":"tab"}
create a1
    tells create a1 as reader
create a1 client=tab
    suppressed Echo
"#,
    );
}

#[test]
fn who_is_told_is_who_may_read() {
    let nobody = format!("> {EVERYTHING}\n    want 1");
    let mut stranger = anonymous();
    check(&mut stranger, &nobody);
    check(
        &mut stranger,
        r"
create a1 group=open
    tells create a1 as reader
create a1 group=g1:members
    suppressed Permission
create a1 private
    suppressed Permission
create a1 status=PENDING
    suppressed Permission
create a1 banned
    suppressed ShadowBan
delete a1 group=g1:members
    suppressed Permission
create a1 group=gone:nobody
    suppressed Permission
",
    );
    check(
        &mut ada("g1=member g2=moderator", false),
        r"
create a1 group=g1:members
    tells create a1 as reader
create a1 group=g2:members
    tells create a1 as moderator
create a1 group=g3:members
    suppressed Permission
create a1 group=g2:members status=PENDING
    tells create a1 as moderator
create a1 group=g1:members status=SPAM
    suppressed Permission
create a1 by=ada private
    tells create a1 as author
create a1 by=ada status=DENIED
    tells create a1 as author
create a1 group=g2:members private
    suppressed Permission
create a1 by=ada banned
    tells create a1 as author
create a1 group=g1:members banned
    suppressed ShadowBan
update a1 flagged
    tells update a1 as reader, flagged
",
    );
}

#[test]
fn anonymous_sockets_hear_of_shadow_banned_authors_only_in_the_original() {
    let mut strict = conversation(None, true);
    check(&mut strict, OPEN);
    check(
        &mut strict,
        &format!(
            r"
> {EVERYTHING}
    want 1
create a1 banned client=tab
    tells create a1 as reader
"
        ),
    );
    check(
        &mut ada("", true),
        "create a1 banned client=tab\n    suppressed ShadowBan",
    );
}

#[test]
fn a_user_who_joins_a_group_hears_of_it_and_from_it() {
    let model = r#"{"userid":"acct:ada@example.org"}"#;
    let joined =
        format!(r#"    < {{"type":"session-change","action":"group-join","model":{model}}}"#);
    let left =
        format!(r#"    < {{"type":"session-change","action":"group-leave","model":{model}}}"#);
    check(
        &mut ada("", false),
        &format!(
            r"
create a1 group=g1:members
    suppressed Permission
joined g1 member
{joined}
create a1 group=g1:members
    tells create a1 as reader
role g1 moderator
create a1 group=g1:members status=PENDING
    tells create a1 as moderator
left g1
{left}
create a1 group=g1:members
    suppressed Permission
"
        ),
    );
    check(
        &mut ada("g2=member", true),
        &format!(
            r"
joined g1 member
{joined}
create a1 group=g1:members client=tab
    suppressed Permission
left g2
{left}
create a1 group=g2:members client=tab
    tells create a1 as reader
"
        ),
    );
}

#[test]
fn nobody_is_let_into_a_group_by_what_no_script_published() {
    check(
        &mut ada("", false),
        r"
forged g1 member
create a1 group=g1:members
    suppressed Permission
",
    );
}

#[test]
fn what_changed_before_the_user_s_topic_was_subscribed_is_read() {
    let mut socket = conversation(Some(signed_in("g1=member")), false);
    check(
        &mut socket,
        &format!(
            r"
open
    + acme:channel:annotations
    + acme:user:{ADA}
subscribed annotations
subscribed user
    ask identity
> {EVERYTHING}
    want 1
identity g2=member
create a1 group=g1:members
    suppressed Permission
create a1 group=g2:members
    tells create a1 as reader
gap user
    ask identity
identity nobody
    close SignedOut
"
        ),
    );
}

#[test]
fn an_answer_that_may_be_older_than_a_change_is_asked_for_again() {
    let mut socket = ada("g1=member", false);
    check(&mut socket, "gap user\n    ask identity");
    socket.tell("left g1");
    check(
        &mut socket,
        r"
identity g1=member
    ask identity
create a1 group=g1:members
    suppressed Permission
identity g1=member
create a1 group=g1:members
    tells create a1 as reader
gap user
    ask identity
gap user
identity
    ask identity
create a1 group=g1:members
    tells create a1 as reader
",
    );
}

#[test]
fn the_groups_of_the_beginning_stay_in_the_original() {
    check(
        &mut ada("g1=member", true),
        r"
gap user
    ask identity
identity
create a1 group=g1:members client=tab
    tells create a1 as reader
gap user
    ask identity
identity nobody
    close SignedOut
",
    );
}

#[test]
fn a_withdrawn_token_ends_its_sockets_and_no_other() {
    check(
        &mut ada("", false),
        "signed-out t2\nsigned-out t1\n    close SignedOut",
    );
    check(&mut ada("", false), "signed-out all\n    close SignedOut");
}

#[test]
fn a_token_that_expires_ends_its_socket_then() {
    let hour = 3_600_000;
    let expires_at = Some(Timestamp::from_millis(1000 + hour + 5));
    let mut socket = conversation(
        Some(SignedIn {
            expires_at,
            ..signed_in("")
        }),
        false,
    );
    check(
        &mut socket,
        &format!(
            r"
open
    + acme:channel:annotations
    + acme:user:{ADA}
    wake at 3601000
time 3601000
woken
    wake at 3601005
time 3601005
woken
    close Expired
"
        ),
    );
}

#[test]
fn a_frame_is_built_once_for_all_who_see_the_same() {
    let mut members: Vec<_> = (0..20).map(|_| ada("g1=member", false)).collect();
    members.push(ada("g1=moderator", false));
    let body = serde_json::to_value(notification("create", "a1 group=g1:members")).unwrap();
    let frame = format!(
        "0-0 {}",
        json!({"v": 1, "type": "annotation", "body": body})
    );
    let event = event(&frame);
    let mut frames = std::collections::BTreeSet::new();
    let mut texts = std::collections::BTreeSet::new();
    // As two shards have it.
    let deliveries = [(); 2].map(|()| Rc::new(Delivery::new(Arc::clone(&event))));
    for delivery in &deliveries {
        for member in &mut members {
            let topic = member.annotations.clone();
            let effects = member.dialect.deliver(&topic, delivery, member.now);
            let [Effect::Send(outgoing)] = &effects[..] else {
                panic!("{effects:?}");
            };
            frames.insert(outgoing.frame.bytes().as_ptr());
            texts.insert(text_of(&outgoing.frame).to_owned());
        }
        let views = [ViewerClass::Reader, ViewerClass::Moderator];
        texts.extend(views.map(|class| event.view(class, false).unwrap().to_owned()));
    }
    assert_eq!(frames.len(), 2 * 2, "one for each class and shard");
    assert_eq!(
        texts.len(),
        2 + 2,
        "one frame and one annotation for each class"
    );
    assert_eq!(
        event.view(ViewerClass::Reader, false).unwrap().as_ptr(),
        event.view(ViewerClass::Reader, false).unwrap().as_ptr(),
    );
}
