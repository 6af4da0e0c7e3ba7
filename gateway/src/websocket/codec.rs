//! Hears what one client says, frame by frame, and nothing that breaks the rules.
//!
//! Bytes go in as they come off the socket; whole messages and control frames
//! come out. What lies whole in the bytes is handed out where it lies; memory
//! is held only for what is incomplete.

use std::mem;
use std::str;

use super::frame::{CloseFrame, Header, Opcode};
use super::partial::{Message, Partial};
use super::violation::Violation;

/// One client's side of a connection.
///
/// Between messages it holds nothing on the heap. After a close frame or a
/// [`Violation`] it is deaf: the rest of what the client sends is ignored.
#[derive(Default)]
pub struct Decoder(State);

/// What a client may not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in bytes of payload, over all of its fragments.
    pub max_message: usize,
}

/// What a client said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping; it wants a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong, also one that nobody asked for.
    Pong(&'a [u8]),
    /// A frame that ends no message. What it carries is handed out with the
    /// message, but it counts: an empty one could be repeated for ever.
    Fragment,
    /// The last thing a client says; `None` if it gave no code.
    Close(Option<CloseFrame<'a>>),
}

#[derive(Default)]
enum State {
    /// Every frame and message so far was complete.
    #[default]
    Between,
    /// A frame or a message is incomplete.
    Within(Box<Partial>),
    /// The client said its last word.
    Deaf,
}

impl Decoder {
    /// A client that has said nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes from the socket, unmasks them in place, and calls
    /// `on` for each message and control frame that they complete, in order.
    ///
    /// What was complete before a [`Violation`] is still handed out.
    pub fn read(
        &mut self,
        mut bytes: &mut [u8],
        limits: &Limits,
        on: &mut impl FnMut(Received<'_>),
    ) -> Result<(), Violation> {
        // Deaf until the end is reached: a violation or a close returns early.
        let mut partial = match mem::replace(&mut self.0, State::Deaf) {
            State::Between => None,
            State::Within(partial) => Some(partial),
            State::Deaf => return Ok(()),
        };
        while !bytes.is_empty() {
            let Some(mut frame) = next_frame(&mut partial, &mut bytes, limits)? else {
                break;
            };
            let payload = frame.payload(&mut bytes);
            if !frame.opcode.is_control() {
                take_data(&mut partial, &frame, payload, on)?;
            } else if take_control(&mut partial, &frame, payload, on)? {
                return Ok(());
            }
            if frame.length > 0 {
                partial.get_or_insert_default().frame = Some(frame);
            }
        }
        self.0 = match partial {
            Some(partial) if !partial.is_over() => State::Within(partial),
            _ => State::Between,
        };
        Ok(())
    }

    /// Hears no more, and holds nothing.
    pub fn give_up(&mut self) {
        self.0 = State::Deaf;
    }

    /// Bytes of heap held for what is incomplete, at most the longest message
    /// and some 250 more; 0 between messages.
    pub fn held(&self) -> usize {
        match &self.0 {
            State::Within(partial) => partial.held(),
            State::Between | State::Deaf => 0,
        }
    }
}

/// The frame that the next bytes belong to: the one that is incomplete, or a
/// new one. `None` if the bytes end within its header.
fn next_frame(
    partial: &mut Option<Box<Partial>>,
    bytes: &mut &mut [u8],
    limits: &Limits,
) -> Result<Option<Header>, Violation> {
    if let Some(frame) = partial.as_mut().and_then(|partial| partial.frame.take()) {
        return Ok(Some(frame));
    }
    let begun = partial.as_ref().is_some_and(|partial| partial.has_head());
    let whole = if begun { None } else { Header::read(bytes)? };
    let frame = if let Some((frame, size)) = whole {
        *bytes = &mut mem::take(bytes)[size..];
        Some(frame)
    } else {
        partial.get_or_insert_default().read_head(bytes)?
    };
    if let Some(frame) = &frame {
        let message = partial
            .as_ref()
            .and_then(|partial| partial.message.as_ref());
        admit(frame, message, limits)?;
    }
    Ok(frame)
}

/// Whether a frame may follow what came before it.
fn admit(frame: &Header, message: Option<&Message>, limits: &Limits) -> Result<(), Violation> {
    match (frame.opcode, message) {
        (Opcode::Continuation, None) => return Err(Violation::LoneContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::Interrupted),
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
        _ => {}
    }
    let so_far = message.map_or(0, |message| message.bytes.len());
    match so_far.checked_add(frame.length) {
        Some(length) if length <= limits.max_message => Ok(()),
        _ => Err(Violation::TooBig),
    }
}

/// Takes some of a data frame's payload; hands the message out if that ends it.
fn take_data(
    partial: &mut Option<Box<Partial>>,
    frame: &Header,
    payload: &[u8],
    on: &mut impl FnMut(Received<'_>),
) -> Result<(), Violation> {
    let ends = frame.fin && frame.length == 0;
    let begun = partial
        .as_ref()
        .is_some_and(|partial| partial.message.is_some());
    if ends && !begun {
        return hand_out(frame.opcode == Opcode::Text, payload, on);
    }
    let message = &mut partial.get_or_insert_default().message;
    let mut whole = message.take().unwrap_or_else(|| Message::new(frame.opcode));
    whole.append(payload, frame.length)?;
    if ends {
        return hand_out(whole.is_text, &whole.bytes, on);
    }
    *message = Some(whole);
    if frame.length == 0 {
        on(Received::Fragment);
    }
    Ok(())
}

fn hand_out(
    is_text: bool,
    payload: &[u8],
    on: &mut impl FnMut(Received<'_>),
) -> Result<(), Violation> {
    if is_text {
        on(Received::Text(
            str::from_utf8(payload).map_err(|_| Violation::BadText)?,
        ));
    } else {
        on(Received::Binary(payload));
    }
    Ok(())
}

/// Takes some of a control frame's payload; hands it out if that is all, and
/// says whether it was a close.
fn take_control(
    partial: &mut Option<Box<Partial>>,
    frame: &Header,
    payload: &[u8],
    on: &mut impl FnMut(Received<'_>),
) -> Result<bool, Violation> {
    let mut kept = partial
        .as_mut()
        .map(|partial| mem::take(&mut partial.control))
        .unwrap_or_default();
    let whole = if kept.is_empty() {
        payload
    } else {
        kept.extend_from_slice(payload);
        &kept
    };
    if frame.length > 0 {
        partial.get_or_insert_default().control = whole.to_vec();
        return Ok(false);
    }
    on(match frame.opcode {
        Opcode::Ping => Received::Ping(whole),
        Opcode::Pong => Received::Pong(whole),
        _ => Received::Close(CloseFrame::read(whole)?),
    });
    Ok(frame.opcode == Opcode::Close)
}
