//! What a client says, read as strictly as the original reads it.
//!
//! Nothing is ever answered to what cannot be read: the protocol has no errors.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::params::Params;

/// Ids are shorter than this, in bytes; longer ones are nobody's, and would be
/// kept for as long as the socket is open.
const MAX_ID: usize = 256;
/// Ids of notes are no longer than this, in bytes; a Misskey's have 10 to 32. Each
/// that is captured is kept in Redis too, and a client may capture over a thousand.
const MAX_NOTE_ID: usize = 64;

/// What a message is, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Open a channel.
    Connect,
    /// Close one.
    Disconnect,
    /// Something for a channel.
    Channel,
    /// Tell of a note as it changes.
    Capture,
    /// Do so no longer.
    Release,
    /// The user has read all notifications.
    ReadNotification,
    /// A sign of life, which is no JSON.
    Alive,
    /// Anything else.
    Other,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked.
    Ok,
    /// Nothing: it is not what the protocol says.
    Invalid,
    /// Nothing: who asks may not have it, or there is no such thing.
    Refused,
    /// Nothing: there is nothing to do, as it means what is not there.
    Idle,
}

/// A message that can be understood.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Connect(Connect<'a>),
    Disconnect(Cow<'a, str>),
    Channel(ToChannel<'a>),
    Capture(Cow<'a, str>),
    Release(Cow<'a, str>),
    ReadNotification,
}

/// Asks for a channel.
#[derive(Debug, Deserialize)]
pub(super) struct Connect<'a> {
    /// Which.
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
    /// What the client will call it.
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    /// An object, if there are any.
    #[serde(default, borrow, deserialize_with = "present")]
    pub(super) params: Option<&'a RawValue>,
    /// Whether to say when it is open.
    #[serde(default)]
    pub(super) pong: Option<bool>,
}

/// Something for a channel.
#[derive(Debug, Deserialize)]
pub(super) struct ToChannel<'a> {
    /// What the client calls the channel.
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    /// What it is.
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    /// The particulars, which may be `null`.
    #[serde(borrow)]
    pub(super) body: &'a RawValue,
}

/// Asks for the log of a server, whatever its members are.
#[derive(Deserialize)]
pub(super) struct AnyLog {}

/// Asks for the log of queues.
#[derive(Deserialize)]
pub(super) struct Log<'a> {
    #[serde(borrow, rename = "id")]
    _id: Cow<'a, str>,
    #[serde(rename = "length")]
    _length: f64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "present")]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl MessageKind {
    fn named(name: &str) -> Self {
        match name {
            "connect" => Self::Connect,
            "disconnect" => Self::Disconnect,
            "channel" | "ch" => Self::Channel,
            "subNote" | "s" | "sr" => Self::Capture,
            "unsubNote" | "un" => Self::Release,
            "readNotification" => Self::ReadNotification,
            _ => Self::Other,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads what a client said; `None` if it is to be ignored.
    pub(super) fn read(text: &'a str) -> (MessageKind, Option<Self>) {
        if matches!(text, "h" | "ping") {
            return (MessageKind::Alive, None);
        }
        let Some(Envelope { kind, body }) = object(text) else {
            return (MessageKind::Other, None);
        };
        let kind = MessageKind::named(&kind);
        let body = body.map(RawValue::get);
        let message = match kind {
            MessageKind::Connect => body.and_then(Self::connect),
            MessageKind::Disconnect => body
                .and_then(object)
                .map(|n: Named<'_>| Self::Disconnect(n.id)),
            MessageKind::Channel => body.and_then(object).map(Self::Channel),
            MessageKind::Capture => body.and_then(note).map(Self::Capture),
            MessageKind::Release => body.and_then(note).map(Self::Release),
            MessageKind::ReadNotification => Some(Self::ReadNotification),
            MessageKind::Alive | MessageKind::Other => None,
        };
        (kind, message)
    }

    fn connect(body: &'a str) -> Option<Self> {
        let connect: Connect<'a> = object(body)?;
        let fits = connect.id.len() < MAX_ID;
        let object = connect
            .params
            .is_none_or(|params| params.get().starts_with('{'));
        (fits && object).then_some(Self::Connect(connect))
    }
}

/// An id in a channel's parameters; `None` if it is no string, or nobody's.
pub(super) fn id<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    let fits = |id: &&str| id.len() < MAX_ID && !id.contains(char::is_control);
    params.text(name).filter(fits)
}

fn note(body: &str) -> Option<Cow<'_, str>> {
    let Named { id } = object(body)?;
    (1..=MAX_NOTE_ID).contains(&id.len()).then_some(id)
}

/// Reads an object; an array is none, though it could be read as one.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let object = text.trim_start().starts_with('{');
    object.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Tells `null` from nothing.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}
