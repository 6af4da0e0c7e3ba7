//! The last thing a client says, and what it may say then.

use super::{KEY, LIMITS, check, sent};
use crate::websocket::Violation;
use crate::websocket::client::{Heard, Outcome, frame};

fn close(payload: &[u8]) -> Outcome {
    let bytes = frame(0x88, payload, KEY);
    let outcome = Outcome::of([&*bytes], LIMITS);
    assert_eq!(outcome, Outcome::of(bytes.chunks(1), LIMITS));
    outcome
}

#[test]
fn after_a_close_nothing_is_heard() {
    for late in ["text 'late'", "ping", "close 03 e8", "bytes ff ff ff"] {
        check(&format!(
            "> text 'a'\n< text 'a'\n> close\n< close\n> {late}"
        ));
    }
}

#[test]
fn a_close_may_say_nothing_a_code_or_a_code_and_a_reason() {
    check("> close\n< close");
    check("> close 03 e8\n< close 03 e8");
    check("> close 03 e8 'Hello World!'\n< close 03 e8 'Hello World!'");
    check("> close 03 e8 '*'*123\n< close 03 e8 '*'*123");
    check("> close 03 e8 '*'*124\n! LongControl");
    check("> close 03\n! ShortClose");
}

#[test]
fn a_reason_is_utf8() {
    check("> close 03 e8 ce ba\n< close 03 e8 ce ba");
    check("> close 03 e8 ce ba e1 bd b9 ed a0 80\n! BadReason");
    check("> close 03 e8 ce\n! BadReason");
}

#[test]
fn only_codes_that_may_be_sent_are_taken() {
    for code in 0..=u16::MAX {
        let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let outcome = close(&code.to_be_bytes());
        if valid {
            assert_eq!(outcome.heard, [Heard::Close(Some((code, String::new())))]);
            assert_eq!(outcome.violation, None);
        } else {
            assert_eq!(outcome.heard, [], "{code}");
            assert_eq!(outcome.violation, Some(Violation::ReservedCode), "{code}");
        }
    }
}

#[test]
fn every_violation_has_a_code_that_says_whose_fault_it_was() {
    for (conversation, code) in [
        ("bytes 83", 1002),
        ("bytes c1", 1002),
        ("bytes 81 00", 1002),
        ("more", 1002),
        ("close 03", 1002),
        ("close 03 ec", 1002),
        ("close 03 e8 ff", 1007),
        ("text ff", 1007),
        ("announce 65537 text", 1009),
    ] {
        let outcome = Outcome::of([&*sent(conversation)], LIMITS);
        let violation = outcome.violation.unwrap();
        assert_eq!(violation.close_code(), code, "{violation}");
    }
}
