//! What a Misskey publishes on its bus, taken apart no further than somebody
//! wants it.
//!
//! One channel carries everything, as `{"channel": <stream>, "message": …}`. Which
//! stream it is stands in front and is read alone; the rest is looked at only for
//! who wants that stream. Written in any other way the whole is parsed. Whatever
//! stands in a message, tokens included, is repeated in no error.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Event, NOTE};
use crate::topic::{Tenant, TopicKind, encode};

/// The longest message that is looked at, in bytes. A packed note has a few KiB.
pub const MAX_MESSAGE: usize = 1 << 20;
/// How deep arrays and objects may lie in each other. A note with all it answers
/// and renotes has about ten levels; what reads them, here and in clients, may
/// not survive thousands.
pub(crate) const MAX_DEPTH: usize = 128;

/// The stream by which processes of a Misskey tell each other what to forget.
pub const INTERNAL: &str = "internal";
/// The stream of all notes, whose messages are the notes themselves.
const NOTES: &str = "notesStream";

/// How a message begins, as every Misskey writes it.
const BEGINS: &[u8] = b"{\"channel\":\"";
const GOES_ON: &[u8] = b"\",\"message\":";

/// Why a message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Longer than [`MAX_MESSAGE`].
    #[error("longer than 1 MiB")]
    Size,
    /// Not JSON in UTF-8.
    #[error("not JSON in UTF-8")]
    Json,
    /// JSON, and not of the form of a message.
    #[error("not of the form of a message")]
    Form,
    /// More levels than a message has.
    #[error("arrays and objects lie too deep in each other")]
    Depth,
}

impl BadFrame {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Json => "json",
            Self::Form => "form",
            Self::Depth => "depth",
        }
    }
}

/// A message of which no more is known than its stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// The stream's name.
    pub stream: Cow<'a, str>,
    message: Message<'a>,
}

#[derive(Debug, PartialEq, Eq)]
enum Message<'a> {
    /// What stands where the message should, and all of the frame.
    Unread { rest: &'a [u8], frame: &'a [u8] },
    /// JSON.
    Read(&'a str),
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    message: &'a RawValue,
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

/// Reads which stream a frame from the bus is of.
///
/// # Errors
/// If that cannot be told.
pub fn route(frame: &[u8]) -> Result<Routed<'_>, BadFrame> {
    if MAX_MESSAGE < frame.len() {
        return Err(BadFrame::Size);
    }
    if let Some((stream, rest)) = usual(frame) {
        let message = Message::Unread { rest, frame };
        let stream = Cow::Borrowed(stream);
        return Ok(Routed { stream, message });
    }
    let Written { channel, message } = whole(frame)?;
    Ok(Routed {
        stream: channel,
        message: Message::Read(message.get()),
    })
}

/// The stream of a frame as it is usually written, and what stands where the
/// message should.
fn usual(frame: &[u8]) -> Option<(&str, &[u8])> {
    let named = frame.strip_prefix(BEGINS)?;
    let plain = |b: &u8| !matches!(b, b'"' | b'\\' | ..0x20);
    let end = named.iter().position(|b| !plain(b))?;
    let (stream, rest) = named.split_at(end);
    let rest = rest.strip_prefix(GOES_ON)?.strip_suffix(b"}")?;
    Some((std::str::from_utf8(stream).ok()?, rest))
}

fn whole(frame: &[u8]) -> Result<Written<'_>, BadFrame> {
    let text = std::str::from_utf8(frame).map_err(|_| BadFrame::Json)?;
    // Members by name only: an array would do for them as well.
    if text.trim_start().starts_with('[') {
        return Err(BadFrame::Form);
    }
    serde_json::from_str(text).map_err(|error| bad(&error))
}

fn bad(error: &serde_json::Error) -> BadFrame {
    match error.classify() {
        serde_json::error::Category::Data => BadFrame::Form,
        _ => BadFrame::Json,
    }
}

impl<'a> Routed<'a> {
    /// The message, in JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn message(&self) -> Result<&'a str, BadFrame> {
        let message = match self.message {
            Message::Read(message) => message,
            Message::Unread { rest, frame } => {
                let text = std::str::from_utf8(rest).map_err(|_| BadFrame::Json)?;
                match serde_json::from_str::<&RawValue>(text) {
                    Ok(message) => message.get(),
                    // The message may end earlier, and something follow it.
                    Err(_) => whole(frame)?.message.get(),
                }
            }
        };
        if is_too_deep(message) {
            return Err(BadFrame::Depth);
        }
        Ok(message)
    }

    /// What happened, for those who listen to the stream's [topic](address).
    ///
    /// # Errors
    /// If the message does not have its form.
    pub fn event(&self) -> Result<Event, BadFrame> {
        let message = self.message()?;
        if self.stream == NOTES {
            if !message.starts_with('{') {
                return Err(BadFrame::Form);
            }
            return Ok(Event::of(NOTE, message_value(message)));
        }
        let (kind, body) = told(message)?;
        Ok(Event::of(&kind, body.to_owned()))
    }
}

/// A message that has been read as one value.
fn message_value(message: &str) -> Box<RawValue> {
    RawValue::from_string(message.to_owned()).expect("it has been read as JSON")
}

/// The `type` and the `body` of a message; without a body, it is null.
pub(super) fn told(message: &str) -> Result<(Cow<'_, str>, &RawValue), BadFrame> {
    if !message.starts_with('{') {
        return Err(BadFrame::Form);
    }
    let told: Told<'_> = serde_json::from_str(message).map_err(|error| bad(&error))?;
    Ok((told.kind, told.body.unwrap_or(RawValue::NULL)))
}

/// Where that which happens on a stream is told: the kind and the id of its
/// topic. Not for [`INTERNAL`], which is nobody's.
pub fn address(stream: &str) -> (TopicKind, &str) {
    match stream.split_once(':') {
        Some(("mainStream", user)) => (TopicKind::User, user),
        Some(("noteStream", note)) => (TopicKind::Note, note),
        _ => (TopicKind::Channel, stream),
    }
}

/// Writes the name of a stream's topic over what is in `name`.
pub fn name_topic(name: &mut String, tenant: &Tenant, stream: &str) {
    let (kind, id) = address(stream);
    name.clear();
    write!(name, "{tenant}:{}:{}", kind.as_str(), encode(id)).expect("a text grows");
}

/// Whether arrays and objects lie too deep in each other. Of JSON.
pub(crate) fn is_too_deep(json: &str) -> bool {
    let opens = |b: &&u8| matches!(b, b'{' | b'[');
    // Few have as many at all; this is quick.
    if json.bytes().filter(|b| opens(&b)).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                if MAX_DEPTH < depth {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests;
