//! Messages, cuts and mistakes at random, from fixed seeds.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::client::{Heard, Outcome, frame, head};
use super::{Decoder, Limits};

const LIMITS: Limits = Limits { max_message: 4096 };

fn key(random: &mut SmallRng) -> [u8; 4] {
    random.random()
}

fn size(random: &mut SmallRng, most: usize) -> usize {
    // Small ones often, and now and then on either side of a length's form.
    match random.random_range(0..4) {
        0 => random.random_range(0..4),
        1 => random.random_range(124..130).min(most),
        2 => random.random_range(0..=most.min(200)),
        _ => random.random_range(0..=most),
    }
}

fn text(random: &mut SmallRng, most: usize) -> String {
    const LETTERS: &[char] = &[
        'a',
        'Z',
        ' ',
        '\0',
        'µ',
        'ß',
        '€',
        '\u{FFFF}',
        '😀',
        '\u{10FFFF}',
    ];
    let end = size(random, most);
    let mut text = String::new();
    while text.len() + 4 <= end {
        text.push(*LETTERS.choose(random).unwrap());
    }
    text
}

/// A control frame other than a close.
fn control(random: &mut SmallRng) -> (Vec<u8>, Heard) {
    let payload: Vec<u8> = (0..size(random, 125)).map(|_| random.random()).collect();
    let key = key(random);
    if random.random() {
        (frame(0x89, &payload, key), Heard::Ping(payload))
    } else {
        (frame(0x8A, &payload, key), Heard::Pong(payload))
    }
}

/// A message in fragments, with control frames in between.
fn message(random: &mut SmallRng, bytes: &mut Vec<u8>, heard: &mut Vec<Heard>) {
    let (mut opcode, payload, message) = if random.random() {
        let text = text(random, LIMITS.max_message);
        (1, text.clone().into_bytes(), Heard::Text(text))
    } else {
        let size = size(random, LIMITS.max_message);
        let payload: Vec<u8> = (0..size).map(|_| random.random()).collect();
        (2, payload.clone(), Heard::Binary(payload))
    };
    let mut rest = &*payload;
    while random.random_bool(0.5) {
        let (fragment, after) = rest.split_at(random.random_range(0..=rest.len()));
        bytes.extend(frame(opcode, fragment, key(random)));
        (opcode, rest) = (0, after);
        if random.random_bool(0.3) {
            let (control, answer) = control(random);
            bytes.extend(control);
            heard.push(answer);
        }
    }
    bytes.extend(frame(0x80 | opcode, rest, key(random)));
    heard.push(message);
}

/// What a client might say, to the end or not.
fn conversation(random: &mut SmallRng) -> (Vec<u8>, Vec<Heard>) {
    let (mut bytes, mut heard) = (Vec::new(), Vec::new());
    for _ in 0..random.random_range(1..6) {
        if random.random_bool(0.8) {
            message(random, &mut bytes, &mut heard);
        } else {
            let (control, answer) = control(random);
            bytes.extend(control);
            heard.push(answer);
        }
    }
    (bytes, heard)
}

/// The same bytes in pieces, some of them empty.
fn pieces<'a>(random: &mut SmallRng, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let longest = *[1, 3, 16, 500, 5000].choose(random).unwrap();
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let size = random.random_range(0..=longest).min(bytes.len());
        let (piece, rest) = bytes.split_at(size);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

#[test]
fn whatever_is_said_is_heard_the_same_however_it_is_cut() {
    let random = &mut SmallRng::seed_from_u64(1);
    for _ in 0..2000 {
        let (bytes, heard) = conversation(random);
        let expected = Outcome {
            heard,
            violation: None,
        };
        assert_eq!(Outcome::of([&*bytes], LIMITS), expected);
        assert_eq!(Outcome::of(pieces(random, &bytes), LIMITS), expected);
    }
}

#[test]
fn between_messages_nothing_is_held() {
    assert!(size_of::<Decoder>() <= 16);
    let random = &mut SmallRng::seed_from_u64(2);
    let mut decoder = Decoder::new();
    for _ in 0..500 {
        let (bytes, _) = conversation(random);
        let mut outcome = Outcome::default();
        for piece in pieces(random, &bytes) {
            outcome.read(&mut decoder, piece, LIMITS);
        }
        assert_eq!(outcome.violation, None);
        assert_eq!(decoder.held(), 0);
    }
}

#[test]
fn no_more_is_held_than_was_sent_and_never_what_was_only_announced() {
    let mut decoder = Decoder::new();
    let limits = Limits {
        max_message: 10_000_000,
    };
    let mut outcome = Outcome::default();
    let mut sent = head(0x82, 10_000_000, [0; 4]);
    outcome.read(&mut decoder, &sent, limits);
    assert!(decoder.held() <= 256);
    while sent.len() < 300_000 {
        outcome.read(&mut decoder, &[7; 1000], limits);
        sent.extend([7; 1000]);
        assert!(decoder.held() <= 2 * sent.len() + 256);
    }
    outcome.read(&mut decoder, &[0x88], limits);
    assert_eq!(outcome, Outcome::default());
}

#[test]
fn a_violation_and_a_close_free_what_was_held() {
    for last in [frame(0x83, b"", [0; 4]), frame(0x88, b"", [0; 4])] {
        let mut decoder = Decoder::new();
        let mut outcome = Outcome::default();
        outcome.read(&mut decoder, &frame(0x01, &[b'x'; 4000], [0; 4]), LIMITS);
        assert!(decoder.held() >= 4000);
        outcome.read(&mut decoder, &last, LIMITS);
        assert_eq!(decoder.held(), 0);
    }
}

/// Breaks a conversation in a few places.
fn mutate(random: &mut SmallRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => {
                let end = random.random_range(at..bytes.len().min(at + 8));
                bytes.drain(at..end);
            }
            _ => {
                let end = random.random_range(at..bytes.len().min(at + 8));
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
        }
    }
}

#[test]
fn two_hundred_thousand_broken_inputs_are_heard_the_same_however_they_are_cut() {
    let random = &mut SmallRng::seed_from_u64(3);
    // A few conversations, each broken in many ways: making them is the slow part.
    let whole: Vec<Vec<u8>> = (0..4000)
        .map(|_| conversation(random).0)
        .filter(|bytes| bytes.len() < 400)
        .take(500)
        .collect();
    let limits = Limits { max_message: 300 };
    let mut violations = 0;
    for _ in 0..200_000 {
        let mut bytes = whole.choose(random).unwrap().clone();
        mutate(random, &mut bytes);
        let outcome = Outcome::of([&*bytes], limits);
        assert_eq!(Outcome::of(pieces(random, &bytes), limits), outcome);
        violations += u32::from(outcome.violation.is_some());
    }
    assert!((50_000..190_000).contains(&violations), "{violations}");
}
