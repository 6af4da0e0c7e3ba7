//! Lengths, masks, and messages however they are cut.

use super::{KEY, LIMITS, check};
use crate::websocket::client::{Heard, Outcome, frame};
use crate::websocket::{Decoder, Received};

#[test]
fn a_message_of_every_class_of_length_arrives_whole() {
    for length in [0, 1, 125, 126, 127, 128, 0xFFFF, 0x1_0000] {
        check(&format!("> text '*'*{length}\n< text '*'*{length}"));
        check(&format!("> binary fe*{length}\n< binary fe*{length}"));
    }
}

#[test]
fn a_message_may_be_cut_anywhere() {
    let bytes = frame(0x81, "*".repeat(0x1_0000).as_bytes(), KEY);
    for octets in [997, 1000, 4096] {
        let outcome = Outcome::of(bytes.chunks(octets), LIMITS);
        assert_eq!(outcome.heard, [Heard::Text("*".repeat(0x1_0000))]);
    }
}

#[test]
fn messages_that_arrive_together_are_handed_out_in_order() {
    check(
        "
        > text 'one'
        < text 'one'
        > text
        < text
        > binary 00 ff
        < binary 00 ff
        > text 'four'
        < text 'four'
        ",
    );
}

#[test]
fn a_whole_text_is_handed_out_where_it_lies() {
    let mut bytes = [frame(0x89, b"?", KEY), frame(0x81, b"in place", KEY)].concat();
    let range = bytes.as_ptr_range();
    let mut texts = 0;
    let read = Decoder::new().read(&mut bytes, &LIMITS, &mut |received| {
        if let Received::Text(text) = received {
            assert!(range.contains(&text.as_ptr()));
            texts += 1;
        }
    });
    assert_eq!((read, texts), (Ok(()), 1));
}

#[test]
fn a_length_must_take_its_shortest_form() {
    for bytes in [
        "81 fe 00 00",
        "81 fe 00 7d",
        "81 ff 00 00 00 00 00 00 00 7e",
        "81 ff 00 00 00 00 00 00 ff ff",
        "81 ff 80 00 00 00 00 01 00 00",
        "81 ff ff ff ff ff ff ff ff ff",
    ] {
        check(&format!("> bytes {bytes}\n! BadLength"));
    }
}

#[test]
fn a_client_must_mask() {
    for bytes in ["81 00", "81 05 'Hello'", "81 7e", "89 00", "88 00"] {
        check(&format!(
            "> text 'a'\n< text 'a'\n> bytes {bytes}\n! Unmasked"
        ));
    }
}

#[test]
fn a_message_may_be_as_long_as_the_limit_and_no_longer() {
    check("> announce 65537 text\n! TooBig");
    check("> announce 65537 binary\n! TooBig");
    check("> bytes 81 ff 7f ff ff ff ff ff ff ff 00 00 00 00\n! TooBig");
    check(
        "
        > binary+ 01*65000
        > more+ 02*535
        > more 03
        < binary 01*65000 02*535 03
        > binary+ 01*65000
        > ping 05*125
        < ping 05*125
        > announce 537 more
        ! TooBig
        ",
    );
}
