//! Bits and opcodes that no extension gave a meaning.

use super::{KEY, LIMITS, check};
use crate::websocket::Violation;
use crate::websocket::client::{Heard, Outcome, frame};

#[test]
fn no_reserved_bit_may_be_set_in_any_frame() {
    for bits in (0x10..=0x70).step_by(0x10) {
        for first in 0..=0xFF_u8 {
            if first & 0x70 == bits {
                let bad = frame(first, b"Hello", KEY);
                let outcome = Outcome::of([&*frame(0x81, b"before", KEY), &*bad], LIMITS);
                assert_eq!(outcome.heard, [Heard::Text("before".into())]);
                assert_eq!(outcome.violation, Some(Violation::ReservedBits));
                let at_once = Outcome::of([&bad[..1]], LIMITS);
                assert_eq!(at_once.violation, Some(Violation::ReservedBits));
            }
        }
    }
}

#[test]
fn no_reserved_opcode_may_be_used() {
    for opcode in (3..8).chain(11..16) {
        for fin in [0, 0x80] {
            for payload in [&b""[..], b"Hello"] {
                let bad = frame(fin | opcode, payload, KEY);
                let outcome = Outcome::of([&*frame(0x81, b"before", KEY), &*bad], LIMITS);
                assert_eq!(outcome.heard, [Heard::Text("before".into())]);
                assert_eq!(outcome.violation, Some(Violation::ReservedOpcode));
            }
        }
    }
}

#[test]
fn nothing_after_a_violation_is_heard() {
    check(
        "
        > text 'before'
        < text 'before'
        > bytes 83
        ! ReservedOpcode
        > text 'after'
        > ping
        > bytes 83
        > close
        ",
    );
}
