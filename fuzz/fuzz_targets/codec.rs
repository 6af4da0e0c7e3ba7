//! What a client sends is heard the same however it is cut, within the limits.
//!
//! The first byte says how it is cut, the second how long a message may be.

#![no_main]

use gateway::websocket::{Decoder, Limits, Received, Violation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [cut, limit, bytes @ ..] = input else {
        return;
    };
    let limits = Limits {
        max_message: usize::from(*limit) * 8,
    };
    let whole = hear(std::iter::once(bytes), limits);
    assert_eq!(hear(bytes.chunks(usize::from(*cut).max(1)), limits), whole);
    assert_eq!(hear(bytes.chunks(1), limits), whole);
});

#[derive(Debug, PartialEq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Fragment,
    Close(Option<(u16, String)>),
}

fn hear<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    limits: Limits,
) -> (Vec<Heard>, Option<Violation>) {
    let mut decoder = Decoder::new();
    let mut heard = Vec::new();
    for piece in pieces {
        let mut on = |received: Received<'_>| heard.push(keep(received, limits));
        let read = decoder.read(&mut piece.to_vec(), &limits, &mut on);
        assert!(decoder.held() <= limits.max_message + 256);
        if let Err(violation) = read {
            assert_eq!(decoder.held(), 0);
            return (heard, Some(violation));
        }
    }
    (heard, None)
}

fn keep(received: Received<'_>, limits: Limits) -> Heard {
    match received {
        Received::Text(text) => {
            assert!(text.len() <= limits.max_message);
            Heard::Text(text.to_owned())
        }
        Received::Binary(bytes) => {
            assert!(bytes.len() <= limits.max_message);
            Heard::Binary(bytes.to_vec())
        }
        Received::Ping(payload) => Heard::Ping(payload.to_vec()),
        Received::Pong(payload) => Heard::Pong(payload.to_vec()),
        Received::Fragment => Heard::Fragment,
        Received::Close(close) => {
            Heard::Close(close.map(|close| (close.code, close.reason.to_owned())))
        }
    }
}
