//! What clients say, and what they are told in return.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;

#[test]
fn a_socket_hears_what_everybody_is_told_and_asks_for_its_user() {
    let mut ada = conversation(host(), Some(Grant::Native), "");
    let effects = ada.dialect.open(ada.now);
    let shown = ada.show_all(&effects);
    assert_eq!(shown, ["+ channel:broadcast", "+ user:u1", "? Viewer"]);
    let mut visitor = conversation(host(), None, "");
    let effects = visitor.dialect.open(visitor.now);
    assert_eq!(
        visitor.show_all(&effects),
        ["+ channel:broadcast", "? Viewer"]
    );
    for conversation in [ada, visitor] {
        check(
            conversation,
            r#"
@ channel:broadcast {"type":"emojiDeleted","body":{"emojis":[ {"name":"blob"}]}}
< {"type":"emojiDeleted","body":{"emojis":[ {"name":"blob"}]}}
@ channel:broadcast {"type":"emoji\"","ts":1}
< {"type":"emoji\"","body":null}
"#,
        );
    }
}

#[test]
fn main_tells_what_concerns_the_user_while_it_is_open() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"main","id":"a\n","pong":true}}
< {"type":"connected","body":{"id":"a\n"}}
@ user:u1 {"type":"readAllNotifications","body":null}
< {"type":"channel","body":{"id":"a\n","type":"readAllNotifications","body":null}}
@ user:u1 {"type":"forkEvent","body":{"k":1}}
< {"type":"channel","body":{"id":"a\n","type":"forkEvent","body":{"k":1}}}
> {"type":"disconnect","body":{"id":"a\n"}}
@ user:u1 {"type":"forkEvent","body":{"k":1}}
"#,
    );
}

#[test]
fn a_captured_note_reports_reactions_until_released() {
    check(
        misskey(),
        r#"
> {"type":"subNote","body":{"id":"n1"}}
+ note:n1
@ note:n1 {"type":"reacted","body":{"id":"n1","userId":"x1","visibility":"public","visibleUserIds":[],"body":{"reaction":"like","userId":"u2"}}}
< {"type":"noteUpdated","body":{"id":"n1","type":"reacted","body":{"reaction":"like","userId":"u2"}}}
> {"type":"unsubNote","body":{"id":"n1"}}
- note:n1
"#,
    );
}

#[test]
fn garbage_is_met_with_silence() {
    for garbage in [
        "h",
        "ping",
        "{",
        "null",
        "[1]",
        r#"["connect",{"channel":"main","id":"a","pong":true}]"#,
        r#""x""#,
        r#"{"type":"noSuchType","body":{}}"#,
        r#"{"type":1,"body":{}}"#,
        r#"{"body":{}}"#,
    ] {
        check(misskey(), &format!("> {garbage}\n>> {garbage}"));
    }
    let main = r#"{"type":"connect","body":{"channel":"main","id":"a","pong":true}}"#;
    check(
        misskey(),
        &format!(">> \\xff\n>> {main}\n< {{\"type\":\"connected\",\"body\":{{\"id\":\"a\"}}}}"),
    );
}

#[test]
fn visitors_get_no_channel_that_is_somebody_s_own() {
    for (name, params) in [
        ("main", "{}"),
        ("homeTimeline", "{}"),
        ("hybridTimeline", "{}"),
        ("drive", "{}"),
        ("antenna", r#"{"antennaId":"a1"}"#),
        ("userList", r#"{"listId":"l1"}"#),
        ("chatUser", r#"{"otherId":"f1"}"#),
        ("chatRoom", r#"{"roomId":"r1"}"#),
        ("admin", "{}"),
        ("reversi", "{}"),
    ] {
        let script = format!(
            r#"
> {{"type":"connect","body":{{"channel":"{name}","id":"a","params":{params},"pong":true}}}}
! Connect Refused
> {{"type":"readNotification"}}
! ReadNotification Refused
"#
        );
        check(anonymous(), &script);
    }
}

#[test]
fn no_app_hears_what_moderators_are_told() {
    let admin = r#"> {"type":"connect","body":{"channel":"admin","id":"a","pong":true}}"#;
    check(app(), admin);
    check(
        misskey(),
        &format!(
            "{admin}\n+ channel:adminStream:u1\n< {{\"type\":\"connected\",\"body\":{{\"id\":\"a\"}}}}"
        ),
    );
}

/// The message is heard as one of its kind, and the channel or note is there or not.
#[track_caller]
fn invalid(message: &str) {
    let mut conversation = misskey();
    go_on(&mut conversation, &format!("> {message}"));
    let last = conversation.counted.pop().unwrap();
    assert!(last.ends_with(" Invalid"), "{message}: {last}");
}

#[test]
fn what_does_not_keep_to_the_protocol_is_ignored() {
    for body in [
        r#"{"channel":"main"}"#,
        r#"{"channel":"main","id":7}"#,
        r#"{"channel":"main","id":null}"#,
        r#"{"id":"a"}"#,
        r#"{"channel":1,"id":"a"}"#,
        r#"{"channel":"main","id":"a","pong":"yes"}"#,
        r#"{"channel":"main","id":"a","pong":1}"#,
        r#"{"channel":"main","id":"a","params":null}"#,
        r#"{"channel":"main","id":"a","params":[]}"#,
        r#"{"channel":"main","id":"a","params":"x"}"#,
        r#"["main","a"]"#,
        "[]",
        "null",
        r#""main""#,
    ] {
        invalid(&format!(r#"{{"type":"connect","body":{body}}}"#));
    }
    invalid(r#"{"type":"connect"}"#);
    let long = "x".repeat(256);
    invalid(&format!(
        r#"{{"type":"connect","body":{{"channel":"main","id":"{long}"}}}}"#
    ));
    let long = "x".repeat(65);
    for message in ["s", "un"] {
        invalid(&format!(
            r#"{{"type":"{message}","body":{{"id":"{long}"}}}}"#
        ));
    }
    for message in [
        "disconnect",
        "ch",
        "channel",
        "s",
        "sr",
        "subNote",
        "un",
        "unsubNote",
    ] {
        invalid(&format!(r#"{{"type":"{message}"}}"#));
        for body in ["{}", "null", r#"{"id":5}"#, r#"["n1"]"#, r#""n1""#] {
            invalid(&format!(r#"{{"type":"{message}","body":{body}}}"#));
        }
    }
    for message in ["s", "sr", "subNote", "un", "unsubNote"] {
        invalid(&format!(r#"{{"type":"{message}","body":{{"id":""}}}}"#));
        invalid(&format!(
            r#"{{"type":"{message}","body":{{"id":"{long}"}}}}"#
        ));
    }
    for message in ["ch", "channel"] {
        invalid(&format!(
            r#"{{"type":"{message}","body":{{"id":"a","type":"read"}}}}"#
        ));
        invalid(&format!(
            r#"{{"type":"{message}","body":{{"id":"a","body":{{}}}}}}"#
        ));
        invalid(&format!(
            r#"{{"type":"{message}","body":{{"id":"a","type":5,"body":{{}}}}}}"#
        ));
    }
}

#[test]
fn what_means_nothing_that_is_there_is_ignored() {
    check(
        misskey(),
        r#"
> {"type":"disconnect","body":{"id":"zz"}}
! Disconnect Idle
> {"type":"ch","body":{"id":"nope","type":"read","body":null}}
! Channel Idle
> {"type":"un","body":{"id":"n1"}}
! Release Idle
> h
! Alive Ok
"#,
    );
}

#[test]
fn no_pong_is_sent_but_for_true() {
    for pong in ["", r#","pong":false"#, r#","pong":null"#] {
        let script = format!(
            r#"
> {{"type":"connect","body":{{"channel":"main","id":"","params":{{}}{pong}}}}}
! Connect Ok
@ user:u1 {{"type":"readAllAnnouncements","body":null}}
< {{"type":"channel","body":{{"id":"","type":"readAllAnnouncements","body":null}}}}
"#
        );
        check(misskey(), &script);
    }
}

#[test]
fn binary_messages_are_read_as_text() {
    check(
        misskey(),
        r#"
>> {"type":"connect","body":{"channel":"main","id":"a","pong":true}}
< {"type":"connected","body":{"id":"a"}}
>> {"type":"s","body":{"id":"n\xff1"}}
+ note:n�1
"#,
    );
}

#[test]
fn only_who_is_signed_in_reads_notifications() {
    check(
        misskey(),
        r#"
> {"type":"readNotification"}
? ReadNotifications
> {"type":"readNotification","body":{"id":"x"}}
? ReadNotifications
"#,
    );
    check(anonymous(), r#"> {"type":"readNotification","body":null}"#);
}

#[test]
fn a_pong_waits_for_all_that_was_asked_before_it() {
    let mut slow = conversation(host(), Some(Grant::Native), "");
    slow.quick = false;
    slow.dialect.open(slow.now);
    check(
        slow,
        r#"
> {"type":"s","body":{"id":"n1"}}
+ note:n1
> {"type":"connect","body":{"channel":"drive","id":"a","pong":true}}
+ channel:driveStream:u1
> {"type":"s","body":{"id":"n2"}}
+ note:n2
> {"type":"connect","body":{"channel":"reversi","id":"b","pong":true}}
+ channel:reversiStream:u1
confirmed channel:broadcast
confirmed user:u1
? Viewer
confirmed channel:driveStream:u1
confirmed note:n1
< {"type":"connected","body":{"id":"a"}}
confirmed channel:reversiStream:u1
> {"type":"un","body":{"id":"n2"}}
< {"type":"connected","body":{"id":"b"}}
- note:n2
> {"type":"connect","body":{"channel":"main","id":"c","pong":true}}
< {"type":"connected","body":{"id":"c"}}
"#,
    );
}

#[test]
fn who_opens_and_closes_while_nothing_is_confirmed_is_ended_in_the_end() {
    let mut slow = conversation(host(), Some(Grant::Native), "");
    slow.quick = false;
    slow.dialect.open(slow.now);
    let connect = r#"{"type":"connect","body":{"channel":"main","id":"a","pong":true}}"#;
    let closes = |effects: &[Effect]| effects.contains(&Effect::Close(CloseReason::TooMuch));
    let heard = (0..1000).take_while(|_| !closes(&slow.dialect.receive(connect, slow.now)));
    assert_eq!(heard.count(), 256);
}

#[test]
fn a_socket_ends_with_its_token_or_its_user() {
    for (news, ends) in [
        ("signed-out", true),
        ("signed-out t1", true),
        ("signed-out t2", false),
    ] {
        let end = if ends { "close Revoked" } else { "" };
        check(misskey(), &format!("news user:u1 {news}\n{end}"));
        check(anonymous(), &format!("news channel:broadcast {news}"));
    }
    assert_eq!(CloseReason::Revoked.code(), Some(1008));
}

#[test]
fn what_a_user_follows_is_asked_anew_when_something_may_have_been_missed() {
    check(
        misskey(),
        "resumed user:u1\n? Viewer\nresumed channel:broadcast",
    );
    check(anonymous(), "resumed channel:broadcast\n? Viewer");
}

#[test]
fn who_missed_something_is_to_come_back() {
    check(misskey(), "gap user:u1\nclose Missed");
    assert_eq!(CloseReason::Missed.code(), Some(1012));
}

/// Words of messages, put together at random.
const WORDS: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "5",
    "1e999",
    " ",
    "\u{0}",
    "é",
    r#""type":"#,
    r#""body":"#,
    r#""id":"a""#,
    r#""id":"n1""#,
    r#""channel":"main""#,
    r#""channel":"hashtag""#,
    r#""params":{"q":[["t"]]}"#,
    r#""pong":true"#,
    r#""connect""#,
    r#""disconnect""#,
    r#""ch""#,
    r#""s""#,
    r#""un""#,
    r#""readNotification""#,
    r#"{"type":"connect","body":{"channel":"hashtag","id":"a","#,
    r#"{"type":"ch","body":{"id":"a","type":"requestLog","body":"#,
    r#"{"type":"s","body":{"id":"#,
    r#"{"type":"un","body":{"id":"n1"}}"#,
    "h",
];

#[test]
fn no_message_ends_a_socket_or_is_answered_but_by_what_it_asks() {
    let mut random = SmallRng::seed_from_u64(7);
    let mut conversation = misskey();
    for _ in 0..50_000 {
        let words = random.random_range(0..8);
        let message: String = (0..words)
            .map(|_| *WORDS.choose(&mut random).unwrap())
            .collect();
        let mut bytes = message.into_bytes();
        if let (true, false) = (random.random_bool(0.1), bytes.is_empty()) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        let now = conversation.now;
        let effects = conversation.dialect.receive_binary(&bytes, now);
        for shown in conversation.show_all(&effects) {
            let answers = [
                "< {\"type\":\"connected\"",
                "+ ",
                "- ",
                "want ",
                "? ReadNotifications",
            ];
            let expected = answers.iter().any(|answer| shown.starts_with(answer));
            assert!(expected, "{}: {shown}", String::from_utf8_lossy(&bytes));
        }
        let counted = conversation.counted.pop();
        assert!(counted.is_some(), "each message is counted");
    }
}
