//! What clients say, and what they are told in return.

use super::*;

#[test]
fn a_socket_hears_what_everybody_is_told_and_asks_for_its_user() {
    let mut ada = conversation(host(), Some(Grant::Native), "");
    let effects = ada.dialect.open(ada.now);
    let shown = ada.show_all(&effects);
    assert_eq!(shown, ["+ channel:broadcast", "+ user:u1 none", "? Viewer"]);
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
want user:u1 all
< {"type":"connected","body":{"id":"a\n"}}
@ user:u1 {"type":"readAllNotifications","body":null}
< {"type":"channel","body":{"id":"a\n","type":"readAllNotifications","body":null}}
@ user:u1 {"type":"forkEvent","body":{"k":1}}
< {"type":"channel","body":{"id":"a\n","type":"forkEvent","body":{"k":1}}}
> {"type":"disconnect","body":{"id":"a\n"}}
want user:u1 none
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
        &format!(
            ">> \\xff\n>> {main}\nwant user:u1 all\n< {{\"type\":\"connected\",\"body\":{{\"id\":\"a\"}}}}"
        ),
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
