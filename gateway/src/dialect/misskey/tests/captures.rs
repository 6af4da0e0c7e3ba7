//! Notes that a client has captured.

use super::*;
use crate::dialect::misskey::captures::MAX_CAPTURES;

fn reacted(note: &str, of: &str) -> String {
    format!(
        r#"@ note:{note} {{"type":"reacted","body":{{"id":"{note}",{of}"body":{{"userId":"x2"}}}}}}"#
    )
}

fn updated(note: &str) -> String {
    format!(
        r#"< {{"type":"noteUpdated","body":{{"id":"{note}","type":"reacted","body":{{"userId":"x2"}}}}}}"#
    )
}

const PUBLIC: &str = r#""userId":"x1","visibility":"public","visibleUserIds":[],"#;

#[test]
fn captures_are_counted_and_all_their_names_mean_the_same() {
    check(
        misskey(),
        r#"
> {"type":"s","body":{"id":"n1"}}
+ note:n1
> {"type":"sr","body":{"id":"n1"}}
> {"type":"subNote","body":{"id":"n1"}}
> {"type":"un","body":{"id":"n1"}}
> {"type":"unsubNote","body":{"id":"n1"}}
> {"type":"un","body":{"id":"n1"}}
- note:n1
> {"type":"un","body":{"id":"n1"}}
! Release Idle
> {"type":"s","body":{"id":"n1"}}
+ note:n1
> {"type":"un","body":{"id":"n1"}}
- note:n1
"#,
    );
}

#[test]
fn the_one_that_was_captured_longest_ago_makes_room_however_often_it_was() {
    let mut conversation = misskey();
    let capture = |id: &str| format!(r#"> {{"type":"s","body":{{"id":"{id}"}}}}"#);
    let mut script = String::new();
    for n in 0..MAX_CAPTURES {
        script += &format!("{}\n+ note:c{n}\n", capture(&format!("c{n}")));
    }
    // The first becomes the youngest, and the second has been captured thrice.
    script += &format!("{}\n{}\n{}\n", capture("c1"), capture("c1"), capture("c0"));
    for n in 2..MAX_CAPTURES {
        script += &format!("{}\n", capture(&format!("c{n}")));
    }
    go_on(&mut conversation, &script);
    go_on(
        &mut conversation,
        &format!("{}\n+ note:x\n- note:c1", capture("x")),
    );
    go_on(
        &mut conversation,
        &format!("{}\n+ note:y\n- note:c0", capture("y")),
    );
    go_on(&mut conversation, &reacted("c1", PUBLIC));
    go_on(
        &mut conversation,
        &format!("{}\n{}", reacted("x", PUBLIC), updated("x")),
    );
    go_on(
        &mut conversation,
        &format!("{}\n{}", reacted("c2", PUBLIC), updated("c2")),
    );
}

#[test]
fn who_may_not_see_a_note_hears_nothing_of_it() {
    let told = |conversation: Conversation, of: &str, yes: bool| {
        let outcome = if yes {
            updated("n1")
        } else {
            "! withheld Visibility".into()
        };
        let script = format!(
            "> {{\"type\":\"s\",\"body\":{{\"id\":\"n1\"}}}}\n+ note:n1\n{}\n{outcome}",
            reacted("n1", of)
        );
        check(conversation, &script);
    };
    let of = |author: &str, visibility: &str, listed: &str| {
        format!(r#""userId":"{author}","visibility":"{visibility}","visibleUserIds":[{listed}],"#)
    };
    for (of, to_user, to_visitor) in [
        (of("x1", "public", ""), true, true),
        (of("m1", "home", ""), true, true),
        (of("x1", "followers", ""), false, false),
        (of("f1", "followers", ""), true, false),
        (of("u1", "followers", ""), true, false),
        (of("x1", "specified", r#""x2""#), false, false),
        (of("x1", "specified", r#""u1""#), true, false),
        (of("u1", "specified", ""), true, false),
        (of("f1", "newer", ""), false, false),
        (String::new(), false, false),
    ] {
        told(misskey(), &of, to_user);
        told(anonymous(), &of, to_visitor);
    }
    let nobody = || opened(conversation(host(), None, "visitors=none"));
    told(nobody(), PUBLIC, false);
    let old = |grant| {
        let host = Host {
            old_bus: true,
            ..host()
        };
        opened(conversation(host, grant, ""))
    };
    told(old(Some(Grant::Native)), "", true);
    told(old(None), "", true);
    told(old(None), &of("x1", "followers", ""), false);
}

#[test]
fn what_cannot_be_read_is_told_to_nobody() {
    for body in [
        "null",
        "5",
        r#""x""#,
        "{}",
        r#"{"id":"n1","visibility":5,"body":{}}"#,
    ] {
        let script = format!(
            "> {{\"type\":\"s\",\"body\":{{\"id\":\"n1\"}}}}\n+ note:n1\n@ note:n1 {{\"type\":\"deleted\",\"body\":{body}}}\n! withheld"
        );
        let mut conversation = misskey();
        go_on(&mut conversation, script.trim_end_matches("! withheld"));
        let last = conversation.counted.pop().unwrap();
        assert!(last.starts_with("withheld"), "{body}: {last}");
    }
}

#[test]
fn all_who_captured_a_note_get_the_same_bytes() {
    let update = delivery(&reacted("n1", PUBLIC)["@ note:n1 ".len()..]);
    let frames: Vec<_> = [misskey(), anonymous()]
        .into_iter()
        .map(|mut conversation| {
            go_on(
                &mut conversation,
                "> {\"type\":\"s\",\"body\":{\"id\":\"n1\"}}\n+ note:n1",
            );
            let now = conversation.now;
            let effects = conversation
                .dialect
                .deliver(&topic("note:n1"), &update, now);
            let [Effect::Send(outgoing)] = &effects[..] else {
                panic!("{effects:?}")
            };
            outgoing.frame.parts()[0].as_ptr()
        })
        .collect();
    assert_eq!(frames[0], frames[1]);
}
