//! The rules of RFC 6455 for what clients send, as conversations.
//!
//! In the order of sections 1 to 7 of the Autobahn suite: framing, pings,
//! reserved bits, opcodes, fragmentation, UTF-8, closing.
//!
//! A conversation has lines of three kinds. `>` is a frame from the client: its
//! kind, with a `+` if it is not final, then its payload; `announce N KIND` says
//! that N bytes would come, and `bytes` stands for bytes as they are. `<` is what
//! is handed out then, `!` the violation. Payloads are hexadecimal bytes and
//! quoted texts, which `*N` repeats. Each conversation is held three times: frame
//! by frame, octet by octet, and all at once.

mod framing;
mod pings;
mod reserved;
mod fragmentation;
mod utf8;
mod closing;

use super::client::{Heard, Outcome, frame, head};
use super::{Decoder, Limits};

const LIMITS: Limits = Limits {
    max_message: 0x1_0000,
};
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A line from the client, and what must come of it.
#[derive(Default)]
struct Turn<'a> {
    line: &'a str,
    bytes: Vec<u8>,
    heard: Vec<Heard>,
    violation: Option<&'a str>,
}

fn check(conversation: &str) {
    let turns = turns(conversation);
    for octets in [usize::MAX, 1] {
        let mut decoder = Decoder::new();
        for turn in &turns {
            let mut outcome = Outcome::default();
            for piece in turn.bytes.chunks(octets) {
                outcome.read(&mut decoder, piece, LIMITS);
            }
            assert_eq!(outcome.heard, turn.heard, "> {}", turn.line);
            let violation = outcome.violation.map(|violation| format!("{violation:?}"));
            assert_eq!(violation.as_deref(), turn.violation, "> {}", turn.line);
        }
    }
    let all: Vec<u8> = turns.iter().flat_map(|turn| turn.bytes.clone()).collect();
    let heard: Vec<Heard> = turns.into_iter().flat_map(|turn| turn.heard).collect();
    assert_eq!(Outcome::of([&*all], LIMITS).heard, heard, "all at once");
}

fn turns(conversation: &str) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for line in conversation.lines().map(str::trim) {
        let Some((mark, line)) = line.split_once(' ') else {
            assert_eq!(line, "");
            continue;
        };
        match (mark, turns.last_mut()) {
            (">", _) => turns.push(Turn {
                line,
                bytes: sent(line),
                ..Turn::default()
            }),
            ("<", Some(turn)) => turn.heard.push(heard(line)),
            ("!", Some(turn)) => turn.violation = Some(line),
            _ => panic!("not a line of a conversation: {line}"),
        }
    }
    turns
}

fn sent(line: &str) -> Vec<u8> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "bytes" => payload(rest),
        "announce" => {
            let (length, rest) = rest.split_once(' ').unwrap();
            let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let here = payload(rest);
            let mut bytes = head(first(kind), length.parse().unwrap(), KEY);
            bytes.extend(here.iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k));
            bytes
        }
        kind => frame(first(kind), &payload(rest), KEY),
    }
}

fn first(kind: &str) -> u8 {
    let (kind, fin) = match kind.strip_suffix('+') {
        Some(kind) => (kind, 0),
        None => (kind, 0x80),
    };
    fin | match kind {
        "more" => 0,
        "text" => 1,
        "binary" => 2,
        "close" => 8,
        "ping" => 9,
        "pong" => 10,
        _ => panic!("not a kind of frame: {kind}"),
    }
}

fn heard(line: &str) -> Heard {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let bytes = payload(rest);
    match kind {
        "text" => Heard::Text(String::from_utf8(bytes).unwrap()),
        "binary" => Heard::Binary(bytes),
        "ping" => Heard::Ping(bytes),
        "pong" => Heard::Pong(bytes),
        "close" => Heard::Close(bytes.split_first_chunk().map(|(code, reason)| {
            let reason = String::from_utf8(reason.to_vec()).unwrap();
            (u16::from_be_bytes(*code), reason)
        })),
        _ => panic!("nothing that is handed out: {kind}"),
    }
}

fn payload(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        text = text.trim_start();
        let token;
        (token, text) = if let Some(quoted) = text.strip_prefix('\'') {
            let (token, rest) = quoted.split_once('\'').unwrap();
            (token.as_bytes().to_vec(), rest)
        } else if text.len() >= 2 {
            let (byte, rest) = text.split_at(2);
            (vec![u8::from_str_radix(byte, 16).unwrap()], rest)
        } else {
            assert_eq!(text, "");
            return bytes;
        };
        let mut times = 1;
        if let Some(rest) = text.strip_prefix('*') {
            let end = rest.find(' ').unwrap_or(rest.len());
            times = rest[..end].parse().unwrap();
            text = &rest[end..];
        }
        bytes.extend(token.repeat(times));
    }
}
