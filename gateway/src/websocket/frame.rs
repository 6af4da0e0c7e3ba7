//! The unit of the wire: a header, and a payload that clients must mask.
//!
//! What the server sends is a [`Frame`]; what a client sends is taken apart by
//! its [`Header`] and [`unmask`].

use std::fmt;
use std::iter;
use std::str;
use std::sync::Arc;

use super::violation::Violation;

/// The most a control frame may carry, in bytes.
const CONTROL_PAYLOAD: usize = 125;

/// A payload below this is copied rather than shared: to write from two places
/// costs more than to copy so little.
const SMALL: usize = 512;

/// A finished outgoing frame; all sockets that get it share its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Held);

#[derive(Clone, PartialEq, Eq)]
enum Held {
    Whole(Arc<[u8]>),
    Joined(Arc<Joined>),
}

/// A frame whose end is also that of others.
#[derive(PartialEq, Eq)]
struct Joined {
    /// The header, and the payload's own beginning.
    head: Box<[u8]>,
    rest: Shared,
}

/// The end of a text message that begins differently for different clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Shared(Arc<[u8]>);

impl Shared {
    /// A text of these parts.
    pub fn new(parts: &[&str]) -> Self {
        Self(together(&[], parts))
    }
}

impl Frame {
    /// One whole text message.
    pub fn text(text: &str) -> Self {
        Self::build(Opcode::Text, &[text])
    }

    /// One whole text message, given in parts.
    pub fn of_parts(parts: &[&str]) -> Self {
        Self::build(Opcode::Text, parts)
    }

    /// One whole text message that ends as others do. However many there are, the
    /// end is in memory once, unless it is short.
    pub fn joined(start: &[&str], rest: &Shared) -> Self {
        let length = rest.0.len() + start.iter().map(|part| part.len()).sum::<usize>();
        let (head, size) = head(Opcode::Text, length);
        if length < SMALL {
            let start = together(&head[..size], start);
            return Self(Held::Whole([&start[..], &rest.0].concat().into()));
        }
        let mut own = Vec::with_capacity(size + length - rest.0.len());
        own.extend_from_slice(&head[..size]);
        start
            .iter()
            .for_each(|part| own.extend_from_slice(part.as_bytes()));
        Self(Held::Joined(Arc::new(Joined {
            head: own.into(),
            rest: rest.clone(),
        })))
    }

    /// Asks the client for a sign of life. At most 125 bytes of `payload` are sent.
    pub fn ping(payload: &[u8]) -> Self {
        Self::build(Opcode::Ping, &[capped(payload)])
    }

    /// Answers a ping with the payload it carried. At most 125 bytes of `payload` are sent.
    pub fn pong(payload: &[u8]) -> Self {
        Self::build(Opcode::Pong, &[capped(payload)])
    }

    /// Ends the conversation, saying why. `reason` is cut, between two
    /// characters, to the 123 bytes that fit.
    pub fn close(code: u16, reason: &str) -> Self {
        let reason = &reason[..reason.floor_char_boundary(CONTROL_PAYLOAD - 2)];
        let mut payload = Vec::with_capacity(2 + reason.len());
        payload.extend(code.to_be_bytes());
        payload.extend(reason.as_bytes());
        Self::build(Opcode::Close, &[payload])
    }

    /// Header and payload, as they go on the wire, in at most two pieces.
    pub fn parts(&self) -> [&[u8]; 2] {
        match &self.0 {
            Held::Whole(bytes) => [bytes, &[]],
            Held::Joined(joined) => [&joined.head, &joined.rest.0],
        }
    }

    /// How many bytes go on the wire; a frame is never empty.
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header")]
    pub fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Bytes of memory that this one of its copies stands for: an equal part of what
    /// they share.
    pub fn weight(&self) -> usize {
        match &self.0 {
            Held::Whole(bytes) => bytes.len() / Arc::strong_count(bytes),
            Held::Joined(joined) => {
                let rest = &joined.rest.0;
                let bytes = joined.head.len() + rest.len() / Arc::strong_count(rest);
                bytes / Arc::strong_count(joined)
            }
        }
    }

    fn build(opcode: Opcode, payload: &[impl AsRef<[u8]>]) -> Self {
        let length = payload.iter().map(|part| part.as_ref().len()).sum();
        let (head, size) = head(opcode, length);
        Self(Held::Whole(together(&head[..size], payload)))
    }
}

/// One after the other, written where they stay: a vector would be copied once more.
fn together(head: &[u8], parts: &[impl AsRef<[u8]>]) -> Arc<[u8]> {
    let length = parts.iter().map(|part| part.as_ref().len()).sum::<usize>();
    let mut bytes: Arc<[u8]> = iter::repeat_n(0, head.len() + length).collect();
    let mut rest = Arc::get_mut(&mut bytes).expect("nobody else has these bytes yet");
    for part in iter::once(head).chain(parts.iter().map(AsRef::as_ref)) {
        let here = rest.split_off_mut(..part.len());
        here.expect("there is room for all of them")
            .copy_from_slice(part);
    }
    bytes
}

/// Names the size only: what a frame carries belongs in no log.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.len())
    }
}

/// Names the size only.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} bytes)", self.0.len())
    }
}

fn capped(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_PAYLOAD)]
}

/// The header of a final, unmasked frame, and how many of its bytes count.
fn head(opcode: Opcode, length: usize) -> ([u8; 10], usize) {
    let mut head = [0; 10];
    head[0] = FIN | opcode as u8;
    let size = match length {
        0..=125 => {
            head[1] = length as u8;
            2
        }
        126..=0xFFFF => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    (head, size)
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a frame carries (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// The last thing its sender says.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping, or is a sign of life unasked.
    Pong = 10,
}

impl Opcode {
    fn read(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether the frame speaks about the connection and may stand between the
    /// parts of a message.
    pub(super) fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// The start of a client's frame.
#[derive(Clone, Copy)]
pub(super) struct Header {
    /// Whether the message ends with this frame.
    pub(super) fin: bool,
    /// What the frame carries.
    pub(super) opcode: Opcode,
    /// How many bytes of payload are to come.
    pub(super) length: usize,
    /// What the next bytes of payload are masked with.
    pub(super) key: [u8; 4],
}

impl Header {
    /// The size of the longest header.
    pub(super) const LONGEST: usize = 14;

    /// Reads the header at the start of `bytes`, and says how long it is; `None`
    /// while some of it is missing. Each byte is judged as soon as it is there.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBits);
        }
        let fin = first & FIN != 0;
        let opcode = Opcode::read(first & 0x0F).ok_or(Violation::ReservedOpcode)?;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        let (length, size) = match second & !MASKED {
            126 | 127 if opcode.is_control() => return Err(Violation::LongControl),
            126 => match bytes[2..].first_chunk() {
                Some(&length) => (minimal(u16::from_be_bytes(length).into(), 126)?, 4),
                None => return Ok(None),
            },
            127 => match bytes[2..].first_chunk() {
                Some(&length) => (minimal(u64::from_be_bytes(length), 0x1_0000)?, 10),
                None => return Ok(None),
            },
            length => (length.into(), 2),
        };
        let Some(&key) = bytes[size..].first_chunk() else {
            return Ok(None);
        };
        let header = Self {
            fin,
            opcode,
            length,
            key,
        };
        Ok(Some((header, size + key.len())))
    }

    /// Takes from `bytes` what belongs to this frame, in clear.
    pub(super) fn payload<'a>(&mut self, bytes: &mut &'a mut [u8]) -> &'a mut [u8] {
        let here = self.length.min(bytes.len());
        let payload = bytes
            .split_off_mut(..here)
            .expect("no more is asked for than there is");
        unmask(payload, self.key);
        self.length -= here;
        self.key.rotate_left(here % 4);
        payload
    }
}

/// The length, if no shorter form could have said it and its top bit is clear.
fn minimal(length: u64, least: u64) -> Result<usize, Violation> {
    if length < least || length >> 63 != 0 {
        return Err(Violation::BadLength);
    }
    // What does not fit the address space is beyond any limit too.
    Ok(usize::try_from(length).unwrap_or(usize::MAX))
}

/// Takes the mask off, eight bytes at a time.
fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let word = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let (words, rest) = payload.as_chunks_mut();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (i, byte) in rest.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}

/// What a client's close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why: 1000 to 1014 without the reserved 1004 to 1006, or 3000 to 4999.
    pub code: u16,
    /// The same for people, at most 123 bytes; often empty.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads the payload of a close frame; `None` if it says nothing.
    pub(super) fn read(payload: &'a [u8]) -> Result<Option<Self>, Violation> {
        let Some((&code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() {
                Ok(None)
            } else {
                Err(Violation::ShortClose)
            };
        };
        let code = u16::from_be_bytes(code);
        let reason = str::from_utf8(reason).map_err(|_| Violation::BadReason)?;
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some(Self { code, reason })),
            _ => Err(Violation::ReservedCode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_the_shortest_header_that_can_say_its_length() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (0xFFFF, vec![0x81, 126, 0xFF, 0xFF]),
            (0x1_0000, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(length);
            let frame = Frame::text(&text);
            assert_eq!(frame.len(), header.len() + length);
            assert!(frame.parts()[0].starts_with(&header), "{length}");
            assert!(frame.parts()[0].ends_with(text.as_bytes()), "{length}");
        }
    }

    #[test]
    fn control_frames_carry_what_fits_them() {
        assert_eq!(Frame::ping(b"?").parts()[0], b"\x89\x01?");
        assert_eq!(Frame::pong(b"").parts()[0], b"\x8A\x00");
        assert_eq!(Frame::pong(&[7; 200]).len(), 2 + 125);
        assert_eq!(
            Frame::close(1012, "moving").parts()[0],
            b"\x88\x08\x03\xF4moving"
        );
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let frame = Frame::close(1008, &"ä".repeat(100));
        assert_eq!(&frame.parts()[0][..4], &[0x88, 124, 0x03, 0xF0]);
        assert_eq!(str::from_utf8(&frame.parts()[0][4..]), Ok(&*"ä".repeat(61)));
    }

    #[test]
    fn copies_of_a_frame_share_its_bytes() {
        let frame = Frame::text("once");
        assert_eq!(frame.parts()[0].as_ptr(), frame.clone().parts()[0].as_ptr());
    }

    #[test]
    fn a_frame_that_ends_as_others_do_reads_as_if_it_were_alone() {
        for length in [0, 1, 100, SMALL - 3, SMALL - 2, SMALL, 0xFFFF, 0x1_0000] {
            let end = "x".repeat(length);
            let rest = Shared::new(&[&end[..length / 2], &end[length / 2..]]);
            let frame = Frame::joined(&["a", "b"], &rest);
            let alone = Frame::text(&format!("ab{end}"));
            assert_eq!(frame.parts().concat(), alone.parts().concat());
            assert_eq!(frame.len(), alone.len());
        }
        assert_eq!(Frame::of_parts(&["a", "", "b"]), Frame::text("ab"));
    }

    #[test]
    fn frames_that_end_alike_share_their_end() {
        let rest = Shared::new(&[&"x".repeat(SMALL)]);
        let end = |start| Frame::joined(&[start], &rest).parts()[1].as_ptr();
        assert_eq!(end("a"), end("b"));
        assert_eq!(size_of::<Frame>(), 16, "there is one for each that waits");
    }

    #[test]
    fn a_frame_shows_its_size_and_keeps_its_text_to_itself() {
        assert_eq!(format!("{:?}", Frame::text("secret")), "Frame(8 bytes)");
    }

    #[test]
    fn the_mask_comes_off_whatever_the_length_and_wherever_the_cut() {
        let key = [0x11, 0x22, 0x44, 0x88];
        for length in 0..40 {
            let clear: Vec<u8> = (0..length).collect();
            let masked: Vec<u8> = clear
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            for cut in 0..=clear.len() {
                let mut frame = Header {
                    fin: true,
                    opcode: Opcode::Binary,
                    length: clear.len(),
                    key,
                };
                let mut bytes = masked.clone();
                let (mut one, mut two) = bytes.split_at_mut(cut);
                frame.payload(&mut one);
                frame.payload(&mut two);
                assert_eq!(frame.length, 0);
                assert_eq!(bytes, clear);
            }
        }
    }
}
