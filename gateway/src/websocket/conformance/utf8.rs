//! A text is UTF-8, or fails at the first byte that shows otherwise.

use super::{KEY, LIMITS, check, payload};
use crate::websocket::client::{Heard, Outcome, frame, head};
use crate::websocket::{Decoder, Violation};

/// `κόσμε`, the boundaries of every length, and code points that are not
/// characters but may be sent.
const VALID: &str = "
    ce ba e1 bd b9 cf 83 ce bc ce b5
    ce ba e1 bd b9 cf 83 ce bc
    ce ba e1 bd b9
    00
    c2 80
    e0 a0 80
    f0 90 80 80
    7f
    df bf
    ef bf bf
    f4 8f bf bf
    ed 9f bf
    ee 80 80
    ef bf bd
    ef bf be
    f0 9f bf be
    f0 9f bf bf
    f0 af bf be
    f1 8f bf bf
    f4 8f bf be
    ef bf b9 ef bf ba ef bf bb ef bf bc
    48 65 6c 6c 6f 2d c2 b5 40 c3 9f c3 b6 c3 a4 c3 bc c3 a0 c3 a1
";

/// Surrogates; sequences that are too long, too great, overlong, cut short
/// or without a start; and bytes that never occur.
const INVALID: &str = "
    ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80 65 64 69 74 65 64
    f8 88 80 80 80
    fc 84 80 80 80 80
    f7 bf bf bf
    fb bf bf bf bf
    fd bf bf bf bf bf
    f4 90 80 80
    80
    bf
    80 bf
    80 bf 80
    80 bf 80 bf 80 bf
    c0 20 c1 20 c2 20
    df 20
    e0 20 e1 20
    ef 20
    f0 20
    f7 20
    f8 20
    fb 20
    fc 20
    fd 20
    c0
    c2
    e0 80
    e1 80
    f0 80 80
    f1 80 80
    f8 80 80 80
    fc 80 80 80 80
    df
    ef bf
    f7 bf bf
    fb bf bf bf
    fd bf bf bf bf
    c0 e0 80 f0 80 80
    fe
    ff
    fe fe ff ff
    c0 af
    e0 80 af
    f0 80 80 af
    f8 80 80 80 af
    fc 80 80 80 80 af
    c1 bf
    e0 9f bf
    f0 8f bf bf
    f8 87 bf bf bf
    fc 83 bf bf bf bf
    c0 80
    e0 80 80
    f0 80 80 80
    ed a0 80
    ed ad bf
    ed ae 80
    ed af bf
    ed b0 80
    ed be 80
    ed bf bf
    ed a0 80 ed b0 80
    ed ad bf ed bf bf
    ed af bf ed b0 80
";

fn rows(table: &str) -> impl Iterator<Item = &str> {
    table.lines().map(str::trim).filter(|row| !row.is_empty())
}

/// Whether something could follow that makes these bytes UTF-8. Tried out:
/// a last character lacks at most three bytes, and these are the ones whose
/// ranges differ.
fn hopeful(bytes: &[u8]) -> bool {
    let mut endings = vec![Vec::new()];
    for _ in 0..3 {
        for ending in endings.clone() {
            endings.extend([0x80, 0x90, 0xA0, 0xBF].map(|b| [&ending[..], &[b]].concat()));
        }
    }
    endings
        .iter()
        .any(|ending| str::from_utf8(&[bytes, ending].concat()).is_ok())
}

/// Feeds a text that never ends, octet by octet, as one frame or as many:
/// it must fail at the first octet that leaves no hope.
fn fails_when_hope_is_lost(bytes: &[u8]) {
    let one = [head(0x81, bytes.len() + 1, [0; 4]), bytes.to_vec()].concat();
    let mut many = vec![frame(0x01, b"", KEY)];
    many.extend(bytes.iter().map(|byte| frame(0x00, &[*byte], KEY)));
    let (mut in_one, mut in_many) = (Decoder::new(), Decoder::new());
    let (mut from_one, mut from_many) = (Outcome::default(), Outcome::default());
    from_one.read(&mut in_one, &one[..one.len() - bytes.len()], LIMITS);
    from_many.read(&mut in_many, &many[0], LIMITS);
    for end in 1..=bytes.len() {
        let start = one.len() - bytes.len();
        from_one.read(&mut in_one, &one[start + end - 1..start + end], LIMITS);
        from_many.read(&mut in_many, &many[end], LIMITS);
        let expected = (!hopeful(&bytes[..end])).then_some(Violation::BadText);
        assert_eq!(from_one.violation, expected, "{:02x?}", &bytes[..end]);
        assert_eq!(from_many.violation, expected, "{:02x?}", &bytes[..end]);
    }
}

#[test]
fn a_text_is_utf8_however_it_is_cut() {
    for row in rows(VALID) {
        check(&format!("> text {row}\n< text {row}"));
        let bytes = payload(row);
        for cut in 0..=bytes.len() {
            let fragments = [
                frame(0x01, &bytes[..cut], KEY),
                frame(0x80, &bytes[cut..], KEY),
            ]
            .concat();
            let outcome = Outcome::of([&*fragments], LIMITS);
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert_eq!(outcome.heard, [Heard::Text(text)], "{row} cut at {cut}");
        }
    }
}

#[test]
fn a_text_that_is_not_utf8_is_never_handed_out() {
    for row in rows(INVALID) {
        let bytes = payload(row);
        let whole = frame(0x81, &bytes, KEY);
        for octets in [usize::MAX, 1] {
            let outcome = Outcome::of(whole.chunks(octets), LIMITS);
            assert_eq!(outcome.heard, [], "{row}");
            assert_eq!(outcome.violation, Some(Violation::BadText), "{row}");
        }
        let fragments: Vec<u8> = [frame(0x01, b"", KEY)]
            .into_iter()
            .chain(bytes.iter().map(|byte| frame(0x00, &[*byte], KEY)))
            .chain([frame(0x80, b"", KEY)])
            .flatten()
            .collect();
        let outcome = Outcome::of([&*fragments], LIMITS);
        assert_eq!(outcome.heard, [], "{row}");
        assert_eq!(outcome.violation, Some(Violation::BadText), "{row}");
    }
}

#[test]
fn a_bad_byte_fails_at_once_in_a_message_that_has_not_ended() {
    for row in rows(VALID).chain(rows(INVALID)) {
        fails_when_hope_is_lost(&payload(row));
    }
    for first in 0x7F..=0xFF {
        for second in [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF] {
            fails_when_hope_is_lost(&[b'a', first, second]);
        }
    }
}

#[test]
fn a_bad_byte_fails_before_its_frame_is_complete() {
    check("> announce 1000 text ce ba e1 bd b9 cf 83 f4 90\n! BadText");
    check("> text+ ce ba\n> announce 1000 more ed a0\n! BadText");
    check("> text+ ce ba f4\n> ping\n< ping\n> more+ 90\n! BadText");
}

#[test]
fn a_character_must_be_complete_when_its_message_is() {
    check("> text+ e2 82\n> more+\n> more ac\n< text e2 82 ac");
    check("> text+ e2 82\n> more\n! BadText");
    check("> text f0 9f 98\n! BadText");
}

#[test]
fn what_is_binary_need_not_be_utf8() {
    for row in rows(INVALID) {
        check(&format!("> binary {row}\n< binary {row}"));
        check(&format!(
            "> binary+ {row}\n> more {row}\n< binary {row} {row}"
        ));
    }
}
