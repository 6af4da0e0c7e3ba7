//! Messages in parts, and what may come between the parts.

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
