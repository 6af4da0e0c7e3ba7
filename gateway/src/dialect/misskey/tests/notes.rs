//! Notes as viewers get them, and those that come later.

use std::collections::BTreeSet;

use super::*;

const HOME: &str = "> {\"type\":\"connect\",\"body\":{\"channel\":\"homeTimeline\",\"id\":\"a\"}}\n+ channel:notesStream 3";
const MAIN: &str = "> {\"type\":\"connect\",\"body\":{\"channel\":\"main\",\"id\":\"m\"}}";
const ANTENNA: &str = "> {\"type\":\"connect\",\"body\":{\"channel\":\"antenna\",\"id\":\"a\",\"params\":{\"antennaId\":\"a1\"}}}\n? Antenna(\"a1\")\nallowed\n+ channel:antennaStream:a1\n+ channel:notesStream none";

#[test]
fn a_quote_is_shown_without_what_it_quotes_from_others_and_a_renote_not_at_all() {
    check(
        misskey(),
        &format!(
            r#"
{HOME}
@ channel:notesStream {{"type":"note","body":{{"id":"n1","userId":"f1","text":"quote","renoteId":"q","renote":{{"id":"q","userId":"x1","text":"secret","visibility":"followers"}}}}}}
< {{"type":"channel","body":{{"id":"a","type":"note","body":{{"id":"n1","userId":"f1","text":"quote","renoteId":"q","renote":{{"id":"q","userId":"x1","text":null,"visibility":"followers","cw":null,"fileIds":[],"files":[],"isHidden":true}}}}}}}}
@ channel:notesStream {{"type":"note","body":{{"id":"n1","userId":"f1","text":null,"renoteId":"q","renote":{{"id":"q","userId":"x1","text":"secret","visibility":"followers"}}}}}}
! withheld Filtered
@ channel:notesStream {{"type":"note","body":{{"text":"no note"}}}}
! withheld Unreadable
"#
        ),
    );
}

/// A quote of what only x1's followers may see, long enough to be shared.
fn long_quote() -> Rc<Delivery> {
    let text = "x".repeat(4000);
    delivery(&format!(
        r#"{{"type":"note","body":{{"id":"n1","userId":"f1","text":"{text}","renoteId":"q","renote":{{"id":"q","userId":"x1","text":"secret","visibility":"followers"}}}}}}"#
    ))
}

fn on_timeline(words: &str, join: &str) -> Conversation {
    let mut conversation = opened(conversation(host(), Some(Grant::Native), words));
    let connect =
        format!(r#"{{"type":"connect","body":{{"channel":"homeTimeline","id":"{join}"}}}}"#);
    let effects = conversation.dialect.receive(&connect, conversation.now);
    conversation.show_all(&effects);
    conversation
}

fn sent(conversation: &mut Conversation, delivery: &Rc<Delivery>) -> Frame {
    let now = conversation.now;
    let effects = conversation
        .dialect
        .deliver(&topic("channel:notesStream"), delivery, now);
    let [Effect::Send(outgoing)] = &effects[..] else {
        panic!("{effects:?}")
    };
    outgoing.frame.clone()
}

#[test]
fn sockets_share_a_note_s_bytes_whatever_they_call_their_channels() {
    let note = long_quote();
    let shared = |words: &str| -> BTreeSet<*const u8> {
        let names = (0..100).map(|n| format!("channel-{n}")).collect::<Vec<_>>();
        let frames = names.iter().map(|name| {
            let frame = sent(&mut on_timeline(words, name), &note);
            let text = text_of(&frame);
            assert!(text.starts_with(&format!(
                r#"{{"type":"channel","body":{{"id":"{name}","type""#
            )));
            assert_eq!(text.contains("secret"), words.contains("x1"));
            frame.parts()[1].as_ptr()
        });
        frames.collect()
    };
    let (whole, copies) = (shared("follows=f1,x1"), shared("follows=f1"));
    assert_eq!((whole.len(), copies.len()), (1, 1));
    assert_ne!(whole, copies);
    assert_eq!(
        shared("follows=f1,x1"),
        whole,
        "nobody's copy has changed it"
    );
}

#[test]
fn sockets_with_channels_of_one_name_share_the_frame() {
    let note = long_quote();
    let first = || sent(&mut on_timeline("follows=f1", "1"), &note).parts()[0].as_ptr();
    assert_eq!(first(), first());
}

#[test]
fn a_reaction_of_one_s_own_is_shown_to_oneself() {
    let note = r#"{"type":"note","body":{"id":"n1","userId":"f1","text":null,"renoteId":"q","renote":{"id":"q","userId":"x1","reactions":{"👍":1},"reactionAndUserPairCache":["u1/👍"]}}}"#;
    let note = delivery(note);
    assert!(
        text_of(&sent(&mut on_timeline("follows=f1", "1"), &note))
            .contains(r#","myReaction":"👍"}"#)
    );
    let other = opened(conversation(host(), None, ""));
    check(
        other,
        r#"
> {"type":"connect","body":{"channel":"globalTimeline","id":"a"}}
+ channel:notesStream 1
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"f1","text":"x"}}
< {"type":"channel","body":{"id":"a","type":"note","body":{"id":"n1","userId":"f1","text":"x"}}}
"#,
    );
}

#[test]
fn whom_the_user_follows_by_now_counts() {
    check(
        misskey(),
        &format!(
            r#"
{HOME}
news user:u1 viewer follows=f1,x1,x2
want channel:notesStream 4
@ channel:notesStream {{"type":"note","body":{{"id":"n1","userId":"x1"}}}}
< {{"type":"channel","body":{{"id":"a","type":"note","body":{{"id":"n1","userId":"x1"}}}}}}
viewer follows=f1,x1,x2
viewer follows=f1
want channel:notesStream 2
@ channel:notesStream {{"type":"note","body":{{"id":"n1","userId":"x1"}}}}
! withheld Filtered
news channel:broadcast viewer nobody
news user:u1 viewer version=9 follows=f1,f3
want channel:notesStream 3
viewer version=8 follows=f1,f2,f4
news user:u1 viewer version=8 follows=f1,f2,f4
@ channel:notesStream {{"type":"note","body":{{"id":"n1","userId":"f1"}}}}
< {{"type":"channel","body":{{"id":"a","type":"note","body":{{"id":"n1","userId":"f1"}}}}}}
"#
        ),
    );
    check(
        anonymous(),
        r#"
> {"type":"connect","body":{"channel":"globalTimeline","id":"a"}}
+ channel:notesStream 1
news channel:broadcast viewer nobody visitors=none
want channel:notesStream 1
@ channel:notesStream {"type":"note","body":{"id":"n1","userId":"f1"}}
! withheld Filtered
"#,
    );
}

#[test]
fn what_an_antenna_finds_is_sent_as_everybody_gets_it() {
    check(
        misskey(),
        &format!(
            r#"
{ANTENNA}
@ channel:antennaStream:a1 {{"type":"note","body":{{"id":"n1","userId":"x1","text":"RAW ROW"}}}}
want channel:notesStream 1
wake 1002000
@ channel:notesStream {{"type":"note","body":{{"id":"n1","userId":"x1","text":"packed"}}}}
< {{"type":"channel","body":{{"id":"a","type":"note","body":{{"id":"n1","userId":"x1","text":"packed"}}}}}}
want channel:notesStream none
time 1002000
woken
@ channel:antennaStream:a1 {{"type":"other","body":{{"id":"n1"}}}}
! withheld Unreadable
@ channel:antennaStream:a1 {{"type":"note","body":5}}
! withheld Unreadable
"#
        ),
    );
}

#[test]
fn what_an_antenna_finds_and_nobody_gets_is_asked_for() {
    check(
        misskey(),
        &format!(
            r#"
{ANTENNA}
@ channel:antennaStream:a1 {{"type":"note","body":{{"id":"n1","text":"RAW ROW"}}}}
want channel:notesStream 1
wake 1002000
time 1002000
woken
? Note("n1")
wake 1017000
note n1 {{"id":"n1","userId":"x1","text":"packed"}}
< {{"type":"channel","body":{{"id":"a","type":"note","body":{{"id":"n1","userId":"x1","text":"packed"}}}}}}
want channel:notesStream none
note n1 {{"id":"n1","userId":"x1","text":"packed"}}
@ channel:antennaStream:a1 {{"type":"note","body":{{"id":"n2"}}}}
want channel:notesStream 1
wake 1004000
time 1004000
woken
? Note("n2")
wake 1019000
note n2
want channel:notesStream none
! withheld Lost
@ channel:antennaStream:a1 {{"type":"note","body":{{"id":"n3"}}}}
want channel:notesStream 1
wake 1006000
> {{"type":"disconnect","body":{{"id":"a"}}}}
- channel:antennaStream:a1
- channel:notesStream
time 1006000
woken
"#
        ),
    );
}

#[test]
fn what_nobody_answers_is_done_without() {
    check(
        misskey(),
        &format!(
            r#"
{ANTENNA}
{MAIN}
@ channel:antennaStream:a1 {{"type":"note","body":{{"id":"n1"}}}}
want channel:notesStream 1
wake 1002000
@ user:u1 {{"type":"mention","body":{{"id":"n2","userId":"f1","isHidden":true}}}}
? Note("n2")
wake 1015000
time 1002000
woken
? Note("n1")
wake 1017000
time 1017000
woken
< {{"type":"channel","body":{{"id":"m","type":"mention","body":{{"id":"n2","userId":"f1","isHidden":true}}}}}}
want channel:notesStream none
"#
        ),
    );
}

#[test]
fn no_more_than_so_many_notes_are_awaited() {
    let mut conversation = misskey();
    go_on(&mut conversation, ANTENNA);
    go_on(&mut conversation, MAIN);
    for n in 0..64 {
        let then = format!("want channel:notesStream {}\nwake 1002000", n + 1);
        go_on(
            &mut conversation,
            &format!(
                "@ channel:antennaStream:a1 {{\"type\":\"note\",\"body\":{{\"id\":\"n{n}\"}}}}\n{then}"
            ),
        );
    }
    go_on(
        &mut conversation,
        r#"
@ channel:antennaStream:a1 {"type":"note","body":{"id":"n64"}}
! withheld Lost
@ user:u1 {"type":"mention","body":{"id":"n2","userId":"f1","isHidden":true}}
< {"type":"channel","body":{"id":"m","type":"mention","body":{"id":"n2","userId":"f1","isHidden":true}}}
"#,
    );
}

#[test]
fn what_was_packed_while_it_was_hidden_is_asked_for_again() {
    check(
        misskey(),
        &format!(
            r#"
{MAIN}
@ user:u1 {{"type":"notification","body":{{"id":"x","type":"reply","userId":"f1","note":{{"id":"n1","text":null,"isHidden":true}}}}}}
? Note("n1")
wake 1015000
@ user:u1 {{"type":"readAllNotifications"}}
< {{"type":"channel","body":{{"id":"m","type":"readAllNotifications","body":null}}}}
note n1 {{"id":"n1","userId":"f1","text":"t"}}
< {{"type":"channel","body":{{"id":"m","type":"notification","body":{{"id":"x","type":"reply","userId":"f1","note":{{"id":"n1","userId":"f1","text":"t"}}}}}}}}
@ user:u1 {{"type":"mention","body":{{"id":"n2","userId":"f1","isHidden":true}}}}
? Note("n2")
wake 1015000
note n2 {{"id":"n2","userId":"f1","text":"t"}}
< {{"type":"channel","body":{{"id":"m","type":"mention","body":{{"id":"n2","userId":"f1","text":"t"}}}}}}
@ user:u1 {{"type":"mention","body":{{"id":"n3","userId":"f1","isHidden":true}}}}
? Note("n3")
wake 1015000
note n3
< {{"type":"channel","body":{{"id":"m","type":"mention","body":{{"id":"n3","userId":"f1","isHidden":true}}}}}}
@ user:u1 {{"type":"mention","body":{{"id":"n4","userId":"f1","isHidden":true}}}}
? Note("n4")
wake 1015000
> {{"type":"disconnect","body":{{"id":"m"}}}}
note n4 {{"id":"n4","userId":"f1","text":"t"}}
"#
        ),
    );
}
