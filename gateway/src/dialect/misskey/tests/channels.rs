//! Which channels there are, who gets them, and what they tell.

use super::*;

#[test]
fn a_home_timeline_shows_notes_of_those_whom_the_user_follows() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"homeTimeline","id":"a","pong":true}}
+ channel:notesStream 3
< {"type":"connected","body":{"id":"a"}}
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"f1","text":"x"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
@ channel:notesStream {"type":"note","body":{"id":"n2","userId":"x1","text":"x"}}
! withheld Filtered
> {"type":"disconnect","body":{"id":"a"}}
- channel:notesStream
"#,
    );
}

#[test]
fn one_note_is_one_frame_for_each_channel_that_takes_it() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"localTimeline","id":"a"}}
+ channel:notesStream 1
> {"type":"connect","body":{"channel":"globalTimeline","id":"b"}}
want channel:notesStream 2
> {"type":"connect","body":{"channel":"homeTimeline","id":"c"}}
want channel:notesStream 5
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"f1","text":"x"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
< {"type":"channel","body":{"id":"b","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
< {"type":"channel","body":{"id":"c","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
> {"type":"disconnect","body":{"id":"a"}}
want channel:notesStream 4
"#,
    );
}

const PONG: &str = r#"< {"type":"connected","body":{"id":"a"}}"#;

fn connect(name: &str, params: &str) -> String {
    format!(
        r#"> {{"type":"connect","body":{{"channel":"{name}","id":"a","params":{params},"pong":true}}}}"#
    )
}

#[test]
fn what_happens_on_a_stream_is_told_as_it_is_to_those_who_hear_it() {
    for (name, params, stream) in [
        ("drive", "{}", "driveStream:u1"),
        ("admin", "{}", "adminStream:u1"),
        ("reversi", "{}", "reversiStream:u1"),
        ("reversiGame", r#"{"gameId":"g1"}"#, "reversiGameStream:g1"),
        ("chatUser", r#"{"otherId":"f1"}"#, "chatUserStream:u1-f1"),
    ] {
        let connect = connect(name, params);
        check(
            misskey(),
            &format!(
                r#"
{connect}
+ channel:{stream}
{PONG}
@ channel:{stream} {{"type":"log","body":{{"id": null}}}}
< {{"type":"channel","body":{{"id":"a","type":"log","body":{{"id": null}}}}}}
> {{"type":"disconnect","body":{{"id":"a"}}}}
- channel:{stream}
"#
            ),
        );
    }
    check(
        anonymous(),
        &format!(
            "{}\n+ channel:reversiGameStream:g1\n{PONG}",
            connect("reversiGame", r#"{"gameId":"g1"}"#)
        ),
    );
}

#[test]
fn what_does_not_say_which_is_refused_or_stays_mute() {
    for (name, params, opens) in [
        ("userList", "{}", false),
        ("userList", r#"{"listId":5}"#, false),
        ("antenna", r#"{"antennaId":null}"#, false),
        ("hashtag", r#"{"q":"foo"}"#, false),
        ("hashtag", r#"{"q":[[]]}"#, false),
        ("hashtag", r#"{"q":[["foo",1]]}"#, false),
        ("hashtag", "{}", false),
        ("roleTimeline", r#"{"roleId":5}"#, false),
        ("roleTimeline", r#"{"roleId":"r\u0000"}"#, false),
        ("chatUser", "{}", false),
        ("chatUser", r#"{"otherId":"u1"}"#, false),
        ("chatUser", r#"{"otherId":"f-1"}"#, false),
        ("chatRoom", r#"{"roomId":[]}"#, false),
        ("noSuchChannel", "{}", false),
        ("channel", "{}", true),
        ("channel", r#"{"channelId":5}"#, true),
        ("reversiGame", r#"{"gameId":5}"#, true),
    ] {
        let pong = if opens { PONG } else { "! Connect Refused" };
        check(misskey(), &format!("{}\n{pong}", connect(name, params)));
    }
}

#[test]
fn nobody_hears_what_two_others_write_to_each_other_because_of_a_hyphen() {
    let account = Account {
        user: "a-b".into(),
        key: user("a-b"),
        grant: Grant::Native,
        token: Token::new("t1"),
    };
    let caller = Caller {
        host: host().into(),
        account: Some(account),
    };
    let mut conversation = signed_in(Grant::Native);
    conversation.dialect = Misskey::new(caller.into(), viewer("").into());
    // What `a` and `b-c` write to each other is on `chatUserStream:a-b-c`.
    check(
        opened(conversation),
        &format!(
            "{}\n! Connect Refused",
            connect("chatUser", r#"{"otherId":"c"}"#)
        ),
    );
}

#[test]
fn a_timeline_that_policies_forbid_is_open_and_mute() {
    for (words, mute) in [
        ("-local", &["localTimeline", "hybridTimeline"][..]),
        ("-global", &["globalTimeline"]),
    ] {
        for name in [
            "localTimeline",
            "hybridTimeline",
            "globalTimeline",
            "homeTimeline",
        ] {
            let conversation = opened(conversation(host(), Some(Grant::Native), words));
            let hears = if mute.contains(&name) {
                String::new()
            } else {
                format!(
                    "+ channel:notesStream {}\n",
                    if name == "hybridTimeline" { 2 } else { 1 }
                )
            };
            check(
                conversation,
                &format!("{}\n{hears}{PONG}", connect(name, "{}")),
            );
        }
    }
}

#[test]
fn a_channel_replaces_the_one_of_its_name_and_what_both_hear_goes_on() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"localTimeline","id":"a"}}
+ channel:notesStream 1
> {"type":"connect","body":{"channel":"globalTimeline","id":"a","pong":true}}
want channel:notesStream 1
< {"type":"connected","body":{"id":"a"}}
want channel:notesStream 1
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"x1"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"x1"}}}
> {"type":"connect","body":{"channel":"main","id":"a","pong":true}}
< {"type":"connected","body":{"id":"a"}}
- channel:notesStream
> {"type":"connect","body":{"channel":"main","id":"a","pong":true}}
< {"type":"connected","body":{"id":"a"}}
> {"type":"connect","body":{"channel":"drive","id":"a","pong":true}}
+ channel:driveStream:u1
< {"type":"connected","body":{"id":"a"}}
> {"type":"connect","body":{"channel":"drive","id":"a","pong":true}}
< {"type":"connected","body":{"id":"a"}}
> {"type":"disconnect","body":{"id":"a"}}
- channel:driveStream:u1
"#,
    );
}

#[test]
fn what_a_refused_channel_replaces_is_closed_all_the_same() {
    for refused in [
        r#""channel":"noSuch""#,
        r#""channel":"userList""#,
        r#""channel":"drive","id":"b""#,
    ] {
        let closes = if refused.contains("\"b\"") {
            ""
        } else {
            "- channel:driveStream:u1"
        };
        let id = if refused.contains("\"b\"") {
            ""
        } else {
            r#","id":"a""#
        };
        check(
            misskey(),
            &format!(
                r#"
> {{"type":"connect","body":{{"channel":"drive","id":"a"}}}}
+ channel:driveStream:u1
> {{"type":"connect","body":{{{refused}{id},"pong":true}}}}
{closes}
! Connect Refused
"#
            ),
        );
    }
}

#[test]
fn some_channels_are_open_once_under_whatever_name() {
    for name in [
        "main",
        "drive",
        "serverStats",
        "queueStats",
        "admin",
        "reversi",
    ] {
        let mut conversation = misskey();
        go_on(
            &mut conversation,
            &connect(name, "{}").replace("true", "false")[..0],
        );
        let now = conversation.now;
        let open = |id: &str| {
            format!(r#"{{"type":"connect","body":{{"channel":"{name}","id":"{id}","pong":true}}}}"#)
        };
        let first = conversation.dialect.receive(&open("a"), now);
        conversation.show_all(&first);
        assert_eq!(conversation.counted.pop().unwrap(), "Connect Ok");
        let second = conversation.dialect.receive(&open("b"), now);
        assert_eq!(conversation.show_all(&second), [""; 0], "{name}");
        assert_eq!(conversation.counted.pop().unwrap(), "Connect Refused");
    }
}

#[test]
fn no_more_than_so_many_channels_are_open() {
    let mut conversation = misskey();
    for n in 0..33 {
        let connect = format!(
            r#"> {{"type":"connect","body":{{"channel":"reversiGame","id":"{n}","params":{{"gameId":"g"}}}}}}"#
        );
        let then = match n {
            0 => "\n+ channel:reversiGameStream:g\n! Connect Ok",
            32 => "\n! Connect Refused",
            _ => "\n! Connect Ok",
        };
        go_on(&mut conversation, &(connect + then));
    }
    go_on(
        &mut conversation,
        r#"
> {"type":"connect","body":{"channel":"main","id":"31"}}
! Connect Ok
"#,
    );
    let now = conversation.now;
    let log = delivery(r#"{"type":"log"}"#);
    let told = conversation
        .dialect
        .deliver(&topic("channel:reversiGameStream:g"), &log, now);
    assert_eq!(told.len(), 31);
}

#[test]
fn figures_of_the_server_are_none() {
    check(
        anonymous(),
        r#"
> {"type":"connect","body":{"channel":"serverStats","id":"s","pong":true}}
< {"type":"connected","body":{"id":"s"}}
> {"type":"connect","body":{"channel":"queueStats","id":"q","pong":true}}
< {"type":"connected","body":{"id":"q"}}
> {"type":"ch","body":{"id":"s","type":"requestLog","body":{"id":"12345","length":5}}}
< {"type":"channel","body":{"id":"s","type":"statsLog","body":[]}}
> {"type":"channel","body":{"id":"s","type":"requestLog","body":{}}}
< {"type":"channel","body":{"id":"s","type":"statsLog","body":[]}}
> {"type":"ch","body":{"id":"s","type":"requestLog","body":null}}
! Channel Invalid
> {"type":"ch","body":{"id":"q","type":"requestLog","body":{"id":"1","length":5}}}
< {"type":"channel","body":{"id":"q","type":"statsLog","body":[]}}
> {"type":"ch","body":{"id":"q","type":"requestLog","body":{"id":5,"length":5}}}
! Channel Invalid
> {"type":"ch","body":{"id":"q","type":"requestLog","body":{"id":"1","length":"5"}}}
! Channel Invalid
> {"type":"ch","body":{"id":"q","type":"other","body":{}}}
! Channel Idle
"#,
    );
}

#[test]
fn whoever_reads_a_chat_has_it_noted() {
    check(
        misskey(),
        r#"
> {"type":"connect","body":{"channel":"chatUser","id":"a","params":{"otherId":"f1"}}}
+ channel:chatUserStream:u1-f1
> {"type":"ch","body":{"id":"a","type":"read","body":null}}
? ReadChatUser("f1")
> {"type":"ch","body":{"id":"a","type":"typing","body":null}}
! Channel Idle
> {"type":"connect","body":{"channel":"chatRoom","id":"b","params":{"roomId":"r:1"}}}
? ChatRoom("r:1")
allowed
+ channel:chatRoomStream:r:1
> {"type":"ch","body":{"id":"b","type":"read","body":{"id":"m1"}}}
? ReadChatRoom("r:1")
"#,
    );
}

#[test]
fn who_is_muted_notifies_nobody() {
    let main = "> {\"type\":\"connect\",\"body\":{\"channel\":\"main\",\"id\":\"a\"}}";
    for (kind, body, told) in [
        (
            "notification",
            r#"{"id":"x","type":"follow","userId":"m1"}"#,
            false,
        ),
        (
            "notification",
            r#"{"id":"x","type":"follow","userId":"f1"}"#,
            true,
        ),
        ("notification", r#"{"id":"x","type":"login"}"#, true),
        (
            "unreadNotification",
            r#"{"id":"x","type":"follow","userId":"m1"}"#,
            true,
        ),
        ("mention", r#"{"id":"n1","userId":"m1"}"#, false),
        ("mention", r#"{"id":"n1","userId":"f1"}"#, true),
        ("reply", r#"{"id":"n1","userId":"m1"}"#, true),
    ] {
        let then = if told {
            format!(r#"< {{"type":"channel","body":{{"id":"a","type":"{kind}","body":{body}}}}}"#)
        } else {
            "! withheld Muted".into()
        };
        check(
            misskey(),
            &format!("{main}\n@ user:u1 {{\"type\":\"{kind}\",\"body\":{body}}}\n{then}"),
        );
    }
}
