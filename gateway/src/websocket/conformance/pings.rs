//! Pings, pongs, and what control frames may carry.

use super::check;

#[test]
fn pings_and_pongs_carry_up_to_125_bytes() {
    for payload in ["", "'Hello'", "00 ff fe fd fc fb 00 ff", "fe*125"] {
        check(&format!("> ping {payload}\n< ping {payload}"));
        check(&format!("> pong {payload}\n< pong {payload}"));
    }
    for kind in ["ping", "pong", "close"] {
        check(&format!("> {kind} fe*126\n! LongControl"));
        check(&format!("> {kind} fe*65536\n! LongControl"));
    }
}

#[test]
fn an_unasked_pong_disturbs_nothing() {
    check(
        "
        > pong 'unasked'
        < pong 'unasked'
        > ping 'asked'
        < ping 'asked'
        > text 'on'
        < text 'on'
        ",
    );
}

#[test]
fn ten_pings_are_ten_pings() {
    check(&"> ping 'x'\n< ping 'x'\n".repeat(10));
}

#[test]
fn a_control_frame_is_never_fragmented() {
    for kind in ["ping+", "pong+", "close+"] {
        check(&format!("> {kind} 'x'\n! FragmentedControl"));
        check(&format!("> text+ 'a'\n> {kind}\n! FragmentedControl"));
    }
}
