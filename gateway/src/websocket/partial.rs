//! What is held of a client's words while they are incomplete.

use std::str;

use super::frame::{Header, Opcode};
use super::violation::Violation;

/// What is held while something is incomplete.
#[derive(Default)]
pub(super) struct Partial {
    /// The start of a header.
    head: [u8; Header::LONGEST],
    head_size: usize,
    /// The frame whose payload is incomplete.
    pub(super) frame: Option<Header>,
    /// The payload so far, if that is a control frame. It is apart from the
    /// message, because it may come between two fragments.
    pub(super) control: Vec<u8>,
    /// The message that is incomplete.
    pub(super) message: Option<Message>,
}

impl Partial {
    /// Whether the bytes ended within a header.
    pub(super) fn has_head(&self) -> bool {
        self.head_size > 0
    }

    /// Adds to the header from `bytes`; `None` if they end before it does.
    pub(super) fn read_head(&mut self, bytes: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        while let Some(byte) = bytes.split_off_first_mut() {
            self.head[self.head_size] = *byte;
            self.head_size += 1;
            if let Some((frame, _)) = Header::read(&self.head[..self.head_size])? {
                self.head_size = 0;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Whether all that was begun has ended.
    pub(super) fn is_over(&self) -> bool {
        self.head_size == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Bytes of heap.
    pub(super) fn held(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |m| m.bytes.capacity());
        size_of::<Self>() + self.control.capacity() + message
    }
}

/// A message of which there is more to come.
pub(super) struct Message {
    pub(super) is_text: bool,
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes are known to be UTF-8, if it is a text.
    checked: usize,
}

impl Message {
    /// A message that begins with a frame of this kind.
    pub(super) fn new(opcode: Opcode) -> Self {
        Self {
            is_text: opcode == Opcode::Text,
            bytes: Vec::new(),
            checked: 0,
        }
    }

    /// Adds a piece, after which at least `more` bytes are to come. Fails as
    /// soon as nothing that could come would make the text UTF-8.
    pub(super) fn append(&mut self, piece: &[u8], more: usize) -> Result<(), Violation> {
        self.reserve(piece.len(), more);
        self.bytes.extend_from_slice(piece);
        if self.is_text {
            self.checked += match str::from_utf8(&self.bytes[self.checked..]) {
                Ok(text) => text.len(),
                // No length: the last character is cut off, not wrong.
                Err(cut) if cut.error_len().is_none() => cut.valid_up_to(),
                Err(_) => return Err(Violation::BadText),
            };
        }
        Ok(())
    }

    /// Doubles what is held, but never takes more than the frame will fill: a
    /// client that only announces a long message must not cost its length.
    fn reserve(&mut self, now: usize, more: usize) {
        let length = self.bytes.len();
        if self.bytes.capacity() - length < now {
            let ample = length
                .saturating_mul(2)
                .clamp(length + now, length + now + more);
            self.bytes.reserve_exact(ample - length);
        }
    }
}
