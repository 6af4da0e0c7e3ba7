//! What a client says, and the answers to it.
//!
//! Clients in the field send their filter and their name without a type and
//! without an id, so nothing is refused for the want of either; but only what
//! has a numeric id is answered.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::Effect;
use super::send;
use crate::websocket::Frame;

/// Arrays and objects within each other; nothing that clients have to say has a
/// tenth of it.
const MAX_DEPTH: usize = 64;

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A sign of life.
    Ping,
    /// Who is signed in here.
    Whoami,
    /// What the tab calls itself.
    ClientId,
    /// What the socket wants to hear of.
    Filter,
    /// Something that the protocol does not know.
    Other,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// Something is missing in it or wrong with it.
    InvalidData,
    /// It is of a type that the protocol does not know.
    InvalidType,
    /// It is JSON, but no object, and means nothing.
    Ignored,
    /// It is not JSON.
    NotJson,
}

/// What a client said.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: MessageKind,
    /// What it calls itself, as the client wrote it.
    named: Option<&'a RawValue>,
    /// The number to answer to, as the client wrote it, which may be longer than
    /// any number of ours.
    id: Option<&'a RawValue>,
    pub(super) value: Option<&'a RawValue>,
    pub(super) filter: Option<&'a RawValue>,
}

/// The text is not JSON, or nested so deep that nobody meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson;

/// An answer, without what every answer has.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Reply<'a> {
    /// To a ping.
    Pong,
    /// To a whoami.
    Whoyouare {
        /// The user, if anybody is signed in.
        userid: Option<&'a str>,
    },
    /// To what was not done.
    Error {
        /// Why.
        error: Mistake<'a>,
    },
}

/// Why a message was not done.
#[derive(Debug, Serialize)]
pub(super) struct Mistake<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    description: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    reply: &'a Reply<'a>,
    ok: bool,
    reply_to: &'a RawValue,
}

impl<'a> Message<'a> {
    /// Reads a message; `None` if it is no object, which means nothing.
    pub(super) fn read(text: &'a str) -> Result<Option<Self>, NotJson> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if MAX_DEPTH < depth(text) {
            return Err(NotJson);
        }
        let whole: &RawValue = serde_json::from_str(text).map_err(|_| NotJson)?;
        if !whole.get().starts_with('{') {
            return Ok(None);
        }
        let members: Members<'_> = serde_json::from_str(whole.get()).map_err(|_| NotJson)?;
        Ok(Some(members.message()))
    }

    /// An answer; none if the message has no number to answer to.
    pub(super) fn reply(&self, reply: &Reply<'_>) -> Vec<Effect> {
        let answer = |reply_to| {
            let ok = !matches!(reply, Reply::Error { .. });
            let answer = Answer {
                reply,
                ok,
                reply_to,
            };
            let json = serde_json::to_string(&answer).expect("text can always be written as JSON");
            send(Frame::text(&json))
        };
        self.id.map(answer).into_iter().collect()
    }

    /// Something is missing in it or wrong with it.
    pub(super) fn invalid_data(&self, description: &str) -> (Outcome, Vec<Effect>) {
        let kind = "invalid_data";
        let error = Mistake { kind, description };
        (Outcome::InvalidData, self.reply(&Reply::Error { error }))
    }

    /// It is of a type that the protocol does not know.
    pub(super) fn invalid_type(&self) -> Vec<Effect> {
        let named = self.named.map_or("null", RawValue::get);
        let description = &format!("invalid message type: {}", ascii(named));
        let kind = "invalid_type";
        let error = Mistake { kind, description };
        self.reply(&Reply::Error { error })
    }

    /// Whether its type is an array or an object.
    pub(super) fn has_odd_type(&self) -> bool {
        self.named
            .is_some_and(|named| named.get().starts_with(['[', '{']))
    }
}

/// The members of a message that mean something; of two of one name the last counts.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a RawValue>,
    message_type: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    value: Option<&'a RawValue>,
    filter: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    fn message(self) -> Message<'a> {
        let named = self.kind.filter(|kind| kind.get() != "null");
        let kind = match named {
            Some(named) => match text(named).as_deref() {
                Some("ping") => MessageKind::Ping,
                Some("whoami") => MessageKind::Whoami,
                Some("client_id") => MessageKind::ClientId,
                Some("filter") => MessageKind::Filter,
                _ => MessageKind::Other,
            },
            // As clients older than the types send them, and all of today's too.
            None if self.filter.is_some() => MessageKind::Filter,
            None => match self.message_type.and_then(text).as_deref() {
                Some("client_id") => MessageKind::ClientId,
                _ => MessageKind::Other,
            },
        };
        Message {
            kind,
            named,
            id: self.id.filter(|id| is_number(id)),
            value: self.value,
            filter: self.filter,
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                // A name that is no text, such as half a character, is still JSON.
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    let member = match text(name).as_deref() {
                        Some("type") => &mut members.kind,
                        Some("messageType") => &mut members.message_type,
                        Some("id") => &mut members.id,
                        Some("value") => &mut members.value,
                        Some("filter") => &mut members.filter,
                        _ => continue,
                    };
                    *member = Some(value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn is_number(raw: &RawValue) -> bool {
    raw.get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// How deep arrays and objects are nested at most.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// JSON with everything outside ASCII escaped, as clients are used to.
fn ascii(json: &str) -> String {
    let plain = match serde_json::from_str::<String>(json) {
        Ok(text) => serde_json::to_string(&text).expect("text can always be written as JSON"),
        Err(_) => json.to_owned(),
    };
    let mut ascii = String::with_capacity(plain.len());
    for c in plain.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}
