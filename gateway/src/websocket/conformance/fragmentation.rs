//! Messages in parts, and what may come between the parts.

use super::super::client::frame;
use super::super::{Decoder, Limits, Received};
use super::check;

#[test]
fn fragments_make_one_message() {
    for kind in ["text", "binary"] {
        check(&format!(
            "
            > {kind}+ 'fragment1'
            > more 'fragment2'
            < {kind} 'fragment1fragment2'
            > {kind}+ 'a'
            > more+ 'b'
            > more+ 'c'
            > more 'd'
            < {kind} 'abcd'
            > {kind} 'whole'
            < {kind} 'whole'
            "
        ));
    }
}

#[test]
fn fragments_may_be_empty() {
    check(
        "
        > text+
        > more+
        > more
        < text
        > text+
        > more+ 'middle'
        > more
        < text 'middle'
        > binary+
        > more
        < binary
        ",
    );
}

#[test]
fn control_frames_may_come_between_fragments() {
    check(
        "
        > text+ 'frag'
        > ping 'p1'
        < ping 'p1'
        > more+ 'ment'
        > pong
        < pong
        > ping 'p2'
        < ping 'p2'
        > more 's'
        < text 'fragments'
        > text 'next'
        < text 'next'
        ",
    );
}

#[test]
fn a_close_between_fragments_ends_it_all() {
    check(
        "
        > text+ 'frag'
        > close 03 e8
        < close 03 e8
        > more 'ment'
        > text 'late'
        ",
    );
}

#[test]
fn a_continuation_needs_a_beginning() {
    for kind in ["more", "more+"] {
        check(&format!("> {kind}\n! LoneContinuation"));
        check(&format!("> {kind} 'lone'\n! LoneContinuation"));
        check(&format!(
            "> text 'a'\n< text 'a'\n> {kind} 'b'\n! LoneContinuation"
        ));
        check(&format!(
            "
            > text+ 'a'
            > more 'b'
            < text 'ab'
            > {kind} 'c'
            ! LoneContinuation
            "
        ));
    }
}

#[test]
fn a_message_must_end_before_the_next_begins() {
    for kind in ["text", "text+", "binary", "binary+"] {
        check(&format!("> text+ 'a'\n> {kind} 'b'\n! Interrupted"));
        check(&format!("> binary+\n> {kind}\n! Interrupted"));
        check(&format!(
            "> text+ 'a'\n> more+ 'b'\n> {kind} 'c'\n! Interrupted"
        ));
    }
}

#[test]
fn each_fragment_counts_as_it_ends_however_it_arrives() {
    let frames = [
        frame(0x01, b"", [1; 4]),
        frame(0x00, b"", [2; 4]),
        frame(0x00, b"frag", [3; 4]),
        frame(0x89, b"ping", [4; 4]),
        frame(0x80, b"ment", [5; 4]),
    ];
    let bytes = frames.concat();
    for piece in [1, 3, bytes.len()] {
        let (mut decoder, mut counted) = (Decoder::new(), 0);
        for piece in bytes.chunks(piece) {
            let mut on = |received: Received<'_>| {
                counted += u32::from(received == Received::Fragment);
            };
            let limits = Limits { max_message: 100 };
            decoder.read(&mut piece.to_vec(), &limits, &mut on).unwrap();
        }
        assert_eq!(counted, 3, "in pieces of {piece}");
    }
}
