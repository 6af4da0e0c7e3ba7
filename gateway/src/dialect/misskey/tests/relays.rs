//! Channels that the host serves itself.

use super::*;
use crate::relay::Relay;

fn relaying(grant: Option<Grant>) -> Conversation {
    let host = Host {
        relay: Some("wss://misskey.example/streaming".parse().unwrap()),
        ..host()
    };
    opened(conversation(host, grant, ""))
}

#[test]
fn what_only_the_host_can_serve_passes_as_it_is() {
    check(
        relaying(None),
        r#"
> {"type":"connect","body":{"channel":"serverStats","id":"s"}}
? Relay
> {"type":"connect","body":{"channel":"reversiGame","id":"g","params":{"gameId": "g1"},"pong":true}}
> {"type":"connect","body":{"channel":"serverStats","id":"t"}}
! Connect Refused
relay
^ {"type":"connect","body":{"channel":"serverStats","id":"s","pong":false}}
^ {"type":"connect","body":{"channel":"reversiGame","id":"g","params":{"gameId": "g1"},"pong":true}}
> {"type":"connect","body":{"channel":"bubbleTimeline","id":"b","params":{"x":1}}}
^ {"type":"connect","body":{"channel":"bubbleTimeline","id":"b","params":{"x":1},"pong":false}}
relayed {"type":"connected","body":{"id":"g"}}
< {"type":"connected","body":{"id":"g"}}
relayed {"type":"channel","body":{"id":"g","type":"log","body":{"x":"\u00e9"}}}
< {"type":"channel","body":{"id":"g","type":"log","body":{"x":"\u00e9"}}}
> {"type":"channel","body":{"id":"g","type":"putStone","body":{"pos":3,"id":"x"}}}
^ {"type":"ch","body":{"id":"g","type":"putStone","body":{"pos":3,"id":"x"}}}
> {"type":"disconnect","body":{"id":"g"}}
^ {"type":"disconnect","body":{"id":"g"}}
relayed {"type":"channel","body":{"id":"g","type":"log","body":{}}}
"#,
    );
}

#[test]
fn what_is_said_to_a_channel_before_there_is_a_way_waits_for_it() {
    check(
        relaying(None),
        r#"
> {"type":"connect","body":{"channel":"serverStats","id":"s"}}
? Relay
> {"type":"ch","body":{"id":"s","type":"requestLog","body":{"id":"1","length":50}}}
relay
^ {"type":"connect","body":{"channel":"serverStats","id":"s","pong":false}}
^ {"type":"ch","body":{"id":"s","type":"requestLog","body":{"id":"1","length":50}}}
"#,
    );
}

#[test]
fn no_more_waits_for_a_way_than_a_client_has_reason_to_say() {
    let mut conversation = relaying(None);
    let now = conversation.now;
    let open = r#"{"type":"connect","body":{"channel":"ofAFork","id":"f"}}"#;
    conversation.dialect.receive(open, now);
    let long = format!("{:?}", "x".repeat(30 << 10));
    let bodies = vec![long; 3]
        .into_iter()
        .chain((0..100).map(|n| n.to_string()));
    for body in bodies {
        let said = format!(r#"{{"type":"ch","body":{{"id":"f","type":"y","body":{body}}}}}"#);
        conversation.dialect.receive(&said, now);
    }
    let (relay, _forwarded) = Relay::new();
    let answer = Answer::Misskey(Reply::Relay(relay));
    let effects = conversation.dialect.answer(answer, now);
    let said = conversation.show_all(&effects);
    assert_eq!(said.len(), 1 + 32, "the channel, and as many as may wait");
    let bytes: usize = said.iter().map(String::len).sum();
    assert!(bytes < 70_000, "{bytes}");
}

#[test]
fn no_more_is_kept_of_a_relayed_channel_than_so_much() {
    let long = "x".repeat((4 << 10) + 1);
    for connect in [
        format!(r#""channel":"serverStats","params":{{"x":"{long}"}}"#),
        format!(r#""channel":"{long}""#),
    ] {
        let script = format!(
            "> {{\"type\":\"connect\",\"body\":{{{connect},\"id\":\"a\"}}}}\n! Connect Refused"
        );
        check(relaying(None), &script);
    }
}

#[test]
fn nothing_passes_that_is_not_for_a_relayed_channel() {
    check(
        relaying(Some(Grant::Native)),
        r#"
> {"type":"connect","body":{"channel":"main","id":"m"}}
> {"type":"connect","body":{"channel":"queueStats","id":"q"}}
? Relay
relay
^ {"type":"connect","body":{"channel":"queueStats","id":"q","pong":false}}
relayed {"type":"channel","body":{"id":"m","type":"notification","body":{}}}
relayed {"type":"connected","body":{"id":"m"}}
relayed {"type":"connected","body":{"id":"q"}}
relayed {"type":"noteUpdated","body":{"id":"q"}}
relayed {"type":"emojiAdded","body":{"emoji":{}}}
relayed ["channel",{"id":"q"}]
relayed nonsense
relayed {"type":"channel","body":{"id":"q","type":"stats","body":{}}}
< {"type":"channel","body":{"id":"q","type":"stats","body":{}}}
"#,
    );
}

#[test]
fn a_way_that_is_lost_is_asked_for_again_after_ever_longer_pauses() {
    let mut conversation = relaying(Some(Grant::Native));
    go_on(
        &mut conversation,
        r#"
> {"type":"connect","body":{"channel":"reversiGame","id":"g","pong":true}}
? Relay
"#,
    );
    let mut now = 1_000_000;
    for pause in [1, 2, 4, 8, 16, 32, 32] {
        let (early, late) = (now + pause * 1000 - 1, now + pause * 1000);
        let script = format!(
            "relay-ended\nwake {late}\ntime {early}\nwoken\ntime {late}\nwoken\n? Relay\nwoken"
        );
        go_on(&mut conversation, &script);
        now = late;
    }
    go_on(
        &mut conversation,
        &format!(
            r#"
relay
^ {{"type":"connect","body":{{"channel":"reversiGame","id":"g","pong":true}}}}
relayed {{"type":"connected","body":{{"id":"g"}}}}
< {{"type":"connected","body":{{"id":"g"}}}}
relay-ended
wake {}
> {{"type":"ch","body":{{"id":"g","type":"ready","body":true}}}}
time {}
woken
? Relay
relay
^ {{"type":"connect","body":{{"channel":"reversiGame","id":"g","pong":false}}}}
"#,
            now + 1000,
            now + 1000
        ),
    );
}

#[test]
fn a_way_ends_with_the_last_channel_that_needs_it() {
    let mut conversation = relaying(None);
    let (relay, _forwarded) = Relay::new();
    let now = conversation.now;
    go_on(
        &mut conversation,
        r#"
> {"type":"connect","body":{"channel":"serverStats","id":"s"}}
? Relay
"#,
    );
    let weak = Arc::downgrade(&relay);
    drop(
        conversation
            .dialect
            .answer(Answer::Misskey(Reply::Relay(relay)), now),
    );
    assert_eq!(weak.strong_count(), 1);
    go_on(
        &mut conversation,
        r#"> {"type":"disconnect","body":{"id":"s"}}"#,
    );
    assert_eq!(weak.strong_count(), 0);
    go_on(&mut conversation, "relay\nrelay-ended\nwoken");
}
