//! What a client that comes back is sent.

use super::*;

const NAMED: &str = r#"{"messageType":"client_id","value":"tab"}"#;

/// An anonymous client that has said both.
fn back() -> Conversation {
    let mut conversation = anonymous();
    conversation.back = true;
    check(
        &mut conversation,
        &format!("\n> {EVERYTHING}\n    want 1\n> {NAMED}\n    ask missed\n"),
    );
    conversation
}

#[test]
fn what_was_missed_is_asked_for_once_in_either_order() {
    back();
    let mut conversation = anonymous();
    conversation.back = true;
    check(
        &mut conversation,
        &format!(
            "
> {NAMED}
> {EVERYTHING}
    want 1
    ask missed
> {NAMED}
> {EVERYTHING}
    want 1
missed
> {EVERYTHING}
    want 1
"
        ),
    );
}

#[test]
fn who_has_no_name_or_wants_nothing_or_is_treated_as_by_the_original_is_sent_nothing() {
    let odd = r#"{"messageType":"client_id","value":{}}"#;
    let nothing = r#"{"filter":{"match_policy":"include_any","actions":{},"clauses":[]}}"#;
    let mut conversation = anonymous();
    conversation.back = true;
    check(
        &mut conversation,
        &format!("> {odd}\n> {EVERYTHING}\n    want 1\n> {nothing}\n    want 0\n> {NAMED}\n"),
    );
    let mut strict = super::conversation(None, true);
    strict.back = true;
    check(&mut strict, OPEN);
    let both = format!("> {EVERYTHING}\n    want 1\n> {NAMED}\npinged 5\nanswered\n");
    check(&mut strict, &both);
}

#[test]
fn what_was_missed_and_is_on_its_way_still_does_not_come_twice() {
    check(
        &mut back(),
        "
missed 5 create a5; 6 create a6
    tells create a5 as reader
    tells create a6 as reader
live 6 create a6
live 7 create a7
    tells create a7 as reader
live 5 create a5
pinged 8
live 60009 create a9
    tells create a9 as reader
",
    );
}

#[test]
fn a_link_that_reads_the_ring_again_after_a_ping_repeats_nothing() {
    check(
        &mut back(),
        "
missed 5 create a5; 6 create a6
    tells create a5 as reader
    tells create a6 as reader
pinged 60006
live 5 create a5
live 6 create a6
pinged 60007
live 6 create a6
    tells create a6 as reader
",
    );
}

#[test]
fn what_came_meanwhile_is_told_even_if_another_socket_has_set_a_later_point() {
    check(
        &mut back(),
        "
live 6 create a6
missed-behind 5 create a5; 6 create a6
    tells create a6 as reader
",
    );
    // It may also come only now, by a link that had been lost.
    check(
        &mut back(),
        "
missed-behind 5 create a5; 6 create a6
live 6 create a6
    tells create a6 as reader
",
    );
}

#[test]
fn what_was_missed_comes_first_and_what_happens_meanwhile_follows_once() {
    check(
        &mut back(),
        "
live 8 create a8
live 6 create a6
missed 5 create a5; 6 create a6; 7 create a7 uri=http://other.org/
    tells create a5 as reader
    tells create a6 as reader
    tells create a8 as reader
live 9 create a9
    tells create a9 as reader
",
    );
}

#[test]
fn what_was_told_before_the_client_said_its_name_is_not_told_again() {
    let mut conversation = anonymous();
    conversation.back = true;
    check(
        &mut conversation,
        &format!(
            "
> {EVERYTHING}
    want 1
live 6 create a6
    tells create a6 as reader
> {NAMED}
    ask missed
missed 5 create a5; 6 create a6
    tells create a5 as reader
"
        ),
    );
}

#[test]
fn what_may_not_be_read_any_more_is_not_told_as_it_was() {
    check(
        &mut back(),
        "
missed 1 create a1; 2 create a2; 3 update a1 private; 4 create a3; 5 delete a2; 6 update a3; 7 create a4 client=tab; 8 create a5; 9 update a5 client=tab
    tells create a3 as reader
    tells delete a2
    tells update a3 as reader
",
    );
}

#[test]
fn the_rights_are_those_of_now() {
    let mut conversation = conversation(Some(signed_in("g1=member")), false);
    conversation.back = true;
    check(
        &mut conversation,
        &format!(
            "
open
    + acme:channel:annotations
    + acme:user:{ADA}
> {NAMED}
> {EVERYTHING}
subscribed annotations
subscribed user
    ask identity
    want 1
    ask missed
missed 1 create a1 group=g1:members; 2 create a2; 3 create a3 by=ada
identity
    tells create a2 as reader
    tells create a3 as author
"
        ),
    );
}

#[test]
fn much_is_sent_as_fast_as_it_is_taken() {
    let mut conversation = back();
    let many: Vec<String> = (1..=130).map(|n| format!("{n} create a{n}")).collect();
    let first = conversation.tell(&format!("missed {}", many.join("; ")));
    assert_eq!(first.len(), 64);
    assert_eq!(first[63], "tells create a64 as reader #64");
    check(&mut conversation, "live 131 create b\nflushed 5");
    let second = conversation.tell("flushed 64");
    assert_eq!(second.len(), 64);
    check(
        &mut conversation,
        "
flushed 128
    tells create a129 as reader
    tells create a130 as reader
    tells create b as reader
",
    );
}

#[test]
fn more_than_can_be_parked_sends_the_client_away_to_come_back() {
    let mut conversation = back();
    for n in 1..=256 {
        assert!(
            conversation
                .tell(&format!("live {n} create a{n}"))
                .is_empty()
        );
    }
    check(&mut conversation, "live 257 create b\n    close Missed\n");
}

#[test]
fn an_answered_ping_proves_what_was_sent_before_it() {
    check(
        &mut back(),
        "
pinged 5
answered
pinged 6
missed
answered
pinged 8
answered
    reached 8
answered
pinged 0
answered
pinged 9
answered
    reached 9
",
    );
}
