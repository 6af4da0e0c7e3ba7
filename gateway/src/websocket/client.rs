//! A client's side of the wire, for the tests.

use super::{Decoder, Limits, Received, Violation};

/// A client's frame. `first` is its first byte: the flags and the opcode.
pub(super) fn frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = head(first, payload.len(), key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

/// The header of a client's frame, its length in the shortest form.
pub(super) fn head(first: u8, length: usize, key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes
}

/// What the decoder handed out, to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Heard {
    /// A fragment counts, but says nothing by itself.
    fn of(received: &Received<'_>) -> Option<Self> {
        Some(match received {
            Received::Text(text) => Self::Text((*text).to_owned()),
            Received::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Received::Ping(payload) => Self::Ping(payload.to_vec()),
            Received::Pong(payload) => Self::Pong(payload.to_vec()),
            Received::Fragment => return None,
            Received::Close(None) => Self::Close(None),
            Received::Close(Some(close)) => {
                Self::Close(Some((close.code, close.reason.to_owned())))
            }
        })
    }
}

/// All that was heard, and what ended it if something did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) heard: Vec<Heard>,
    pub(super) violation: Option<Violation>,
}

impl Outcome {
    /// What a decoder makes of `bytes`, in addition to what it heard before.
    pub(super) fn read(&mut self, decoder: &mut Decoder, bytes: &[u8], limits: Limits) {
        let mut on = |received: Received<'_>| self.heard.extend(Heard::of(&received));
        if let Err(violation) = decoder.read(&mut bytes.to_vec(), &limits, &mut on) {
            assert_eq!(
                self.violation.replace(violation),
                None,
                "a second violation"
            );
        }
    }

    /// What a new decoder makes of bytes that come in these pieces.
    pub(super) fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Self {
        let mut outcome = Self::default();
        let mut decoder = Decoder::new();
        for piece in pieces {
            outcome.read(&mut decoder, piece, limits);
            assert!(decoder.held() <= limits.max_message + 256);
        }
        outcome
    }
}
