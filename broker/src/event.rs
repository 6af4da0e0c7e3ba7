//! What is published on a topic: the JSON contract with every producer.
//!
//! A frame is `<entry id> <json>` if a script published it, `<json>` if anyone
//! with Redis rights did. The first form cannot be forged by a producer that may
//! only PUBLISH on its own topics, so recipients are sent nothing else.

mod shown;

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::shown::Shown;
use crate::annotation::readers::ViewerClass;
use crate::annotation::{ANNOTATION, Notification};
use crate::message::Draft;
use crate::misskey::note::Note;
use crate::time::Timestamp;
use crate::trace::{Span, Traced};

/// The version of the contract this release writes, and the newest it reads.
const VERSION: u8 = 1;

/// The type of an event that carries a pushed message.
pub const MESSAGE: &str = "message";
/// The type of an event that ends the sockets of a recipient.
pub const REVOKED: &str = "revoked";
/// The type of an event whose body is a note.
pub const NOTE: &str = "note";

/// Something that happened, on its way to whoever listens to its topic.
#[derive(Debug)]
pub struct Event {
    /// Where a script stored it, in a ring or in a log of messages; `0-0` if it was
    /// published by a script but not stored. `None` if it was published directly.
    pub entry: Option<EntryId>,
    /// What happened, in the producer's words.
    pub kind: Box<str>,
    /// The particulars, as the producer wrote them.
    pub body: Box<RawValue>,
    /// After this it is of no use to anyone.
    pub expires_at: Option<Timestamp>,
    /// When it was published, if the producer said so.
    pub published_at: Option<Timestamp>,
    /// The trace that it belongs to, if that is recorded.
    pub traced: Option<Box<Traced>>,
    /// As an annotation's, once somebody has asked.
    shown: OnceLock<Option<Box<Shown>>>,
    /// As a note, once somebody has asked.
    note: OnceLock<Option<Box<Note>>>,
}

/// The id of an entry in a Redis stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Unix milliseconds by Redis' clock.
    pub millis: u64,
    /// Place within the millisecond.
    pub sequence: u64,
}

/// Why a frame on a topic is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    /// Not UTF-8, or not the JSON object of the contract.
    #[error("not an event in JSON")]
    Json,
    /// Written to a contract newer than this release.
    #[error("of a newer version than this release reads")]
    Version,
    /// Begins with something that is no entry id.
    #[error("begins with neither an entry id nor an object")]
    Entry,
}

#[derive(Deserialize)]
struct Wire<'a> {
    v: u8,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    x: Option<Millis>,
    #[serde(default)]
    ts: Option<Millis>,
    /// Whatever it is: nobody is refused for what concerns no client.
    #[serde(borrow, default)]
    traceparent: Option<&'a RawValue>,
}

/// A whole number, as whoever has no others than floating ones may write it.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Millis(i64);

impl TryFrom<f64> for Millis {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        match is_whole(number) {
            true => Ok(Self(number as i64)),
            false => Err("expected a whole number"),
        }
    }
}

/// Whether it stands for one whole number and no other.
pub(crate) fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 2_f64.powi(53)
}

impl Event {
    /// Reads a frame as it came from Redis.
    ///
    /// # Errors
    /// If it does not keep to the contract.
    pub fn parse(frame: &[u8]) -> Result<Self, BadEvent> {
        let frame = std::str::from_utf8(frame.trim_ascii_start()).map_err(|_| BadEvent::Json)?;
        let (entry, json) = match frame.split_once(' ') {
            _ if frame.starts_with('{') => (None, frame),
            Some((entry, json)) => (Some(EntryId::parse(entry).ok_or(BadEvent::Entry)?), json),
            None => return Err(BadEvent::Entry),
        };
        Self::read(entry, json)
    }

    /// The JSON of such a frame, as a ring keeps it; nothing of what is no text.
    pub(crate) fn json_of(frame: &[u8]) -> &str {
        let frame = std::str::from_utf8(frame.trim_ascii_start()).unwrap_or_default();
        match frame.split_once(' ') {
            Some((_, json)) if !frame.starts_with('{') => json,
            _ => frame,
        }
    }

    /// Reads what a ring keeps under this id.
    ///
    /// # Errors
    /// If it does not keep to the contract.
    pub fn stored(id: EntryId, json: &str) -> Result<Self, BadEvent> {
        Self::read(Some(id), json)
    }

    /// Reads the JSON of a frame in front of which `entry` stood, or would have.
    ///
    /// # Errors
    /// If it does not keep to the contract.
    pub(crate) fn read(entry: Option<EntryId>, json: &str) -> Result<Self, BadEvent> {
        let wire: Wire<'_> = serde_json::from_str(json).map_err(|_| BadEvent::Json)?;
        if wire.v > VERSION {
            return Err(BadEvent::Version);
        }
        let stored_at = entry
            .filter(|e| e.millis > 0)
            .and_then(|e| i64::try_from(e.millis).ok());
        Ok(Self {
            entry,
            kind: wire.kind.into(),
            body: wire
                .body
                .map_or_else(|| RawValue::NULL.to_owned(), RawValue::to_owned),
            expires_at: wire.x.map(|x| Timestamp::from_millis(x.0)),
            published_at: stored_at
                .or(wire.ts.map(|ts| ts.0))
                .map(Timestamp::from_millis),
            traced: wire.traceparent.and_then(traced),
            shown: OnceLock::new(),
            note: OnceLock::new(),
        })
    }

    /// Something that nobody has stored, told by something else than a frame.
    pub(crate) fn of(kind: &str, body: Box<RawValue>) -> Self {
        Self {
            entry: None,
            kind: kind.into(),
            body,
            expires_at: None,
            published_at: None,
            traced: None,
            shown: OnceLock::new(),
            note: OnceLock::new(),
        }
    }

    /// Whether one of our scripts says so of its own accord. What a producer may
    /// word is kept in a ring, and this in none.
    pub fn is_our_word(&self) -> bool {
        self.entry == Some(EntryId::NOWHERE)
    }

    /// What happened to which annotation, if the event tells of one and a script
    /// published it; to be believed on the topic of annotations alone. Read once,
    /// for all who share the event.
    pub fn annotation(&self) -> Option<&Notification> {
        self.shown().map(Shown::notification)
    }

    /// The annotation as a viewer of this class gets it, in JSON. Rendered once,
    /// for all who share the event.
    pub fn view(&self, class: ViewerClass, flagged: bool) -> Option<&str> {
        self.shown().map(|shown| shown.view(class, flagged))
    }

    /// The note that the event tells of, if it is of that kind. Read once, for all
    /// who share the event.
    pub fn note(&self) -> Option<&Note> {
        let read = || {
            let note = (&*self.kind == NOTE).then(|| Note::parse(self.body.get()));
            note.flatten().map(Box::new)
        };
        self.note.get_or_init(read).as_deref()
    }

    fn shown(&self) -> Option<&Shown> {
        let read = || {
            let tells = self.entry.is_some() && &*self.kind == ANNOTATION;
            let notification = tells.then(|| serde_json::from_str(self.body.get()).ok());
            notification.flatten().map(|n| Box::new(Shown::new(n)))
        };
        self.shown.get_or_init(read).as_deref()
    }
}

impl EntryId {
    /// Of what is published by a script and not stored.
    pub const NOWHERE: Self = Self {
        millis: 0,
        sequence: 0,
    };

    /// Reads `<milliseconds>-<sequence>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, sequence) = text.split_once('-')?;
        Some(Self {
            millis: millis.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    }
}

/// The body of a pushed message's event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageBody<'a> {
    /// The text.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// The label (`topic` on the wire), if it has one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Cow<'a, str>>,
    /// Which message it is, `<ms>-<seq>`, if not the one that is stored where the
    /// frame says: it was scheduled, and was released there.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// When it was due (ms), if it was scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<i64>,
}

/// What a frame says of the trace that it belongs to.
fn traced(value: &RawValue) -> Option<Box<Traced>> {
    let text = value.get().strip_prefix('"')?.strip_suffix('"')?;
    Traced::read(text)
}

/// The JSON of an event that is published in this span, if that is recorded.
pub(crate) fn traced_in(span: &Span, json: String) -> String {
    match (span.traceparent(), json.strip_prefix('{')) {
        (Some(traceparent), Some(rest)) => format!(r#"{{"traceparent":"{traceparent}",{rest}"#),
        _ => json,
    }
}

/// The JSON of the event that announces a stored message. Its id is where the
/// script stores it, so the script writes that in front.
pub fn message_payload(draft: &Draft) -> String {
    let body = MessageBody {
        message: Cow::Borrowed(&draft.text),
        topic: draft.label.as_deref().map(Cow::Borrowed),
        id: None,
        deliver_at: None,
    };
    event_json(MESSAGE, Some(&body), draft.expires_at)
}

/// The JSON of the event that ends a recipient's sockets.
pub fn revoked_payload() -> String {
    event_json(REVOKED, None::<&()>, None)
}

/// The JSON of an event, as this release writes it.
pub(crate) fn event_json(
    kind: &str,
    body: Option<&impl Serialize>,
    expires_at: Option<Timestamp>,
) -> String {
    #[derive(Serialize)]
    struct Out<'a, B> {
        v: u8,
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        x: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a B>,
    }
    let out = Out {
        v: VERSION,
        kind,
        x: expires_at.map(Timestamp::millis),
        body,
    };
    serde_json::to_string(&out).expect("text and numbers can always be written as JSON")
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_reads_back_what_was_pushed() {
        let draft = Draft {
            text: "line\n\"two\" \u{0} {grün}".into(),
            label: Some("news".into()),
            expires_at: Some(Timestamp::from_millis(1_800_000_000_000)),
            deliver_at: None,
        };
        let frame = format!("1700000000000-3 {}", message_payload(&draft));
        let event = Event::parse(frame.as_bytes()).unwrap();
        assert_eq!(
            event.entry,
            Some(EntryId {
                millis: 1_700_000_000_000,
                sequence: 3
            })
        );
        assert_eq!(&*event.kind, MESSAGE);
        assert_eq!(event.expires_at, draft.expires_at);
        assert_eq!(
            event.published_at,
            Some(Timestamp::from_millis(1_700_000_000_000))
        );
        let body: MessageBody<'_> = serde_json::from_str(event.body.get()).unwrap();
        assert_eq!(&*body.message, &*draft.text);
        assert_eq!(body.topic.as_deref(), Some("news"));
    }

    #[test]
    fn a_producer_s_event_keeps_its_body_to_the_letter() {
        let event =
            Event::parse(br#"{"v":1,"type":"x","body":{"a": 1.0},"ts":5,"later":true}"#).unwrap();
        assert_eq!(event.entry, None);
        assert_eq!(event.body.get(), r#"{"a": 1.0}"#);
        let spaced = Event::parse(b"\n  {\"v\":1,\"type\":\"x\"}").unwrap();
        assert_eq!(spaced.entry, None);
        assert_eq!(event.published_at, Some(Timestamp::from_millis(5)));
    }

    #[test]
    fn an_event_belongs_to_a_trace_if_it_says_so_and_that_is_recorded() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traced = |traceparent: &str| {
            let frame = format!(r#"{{"traceparent":{traceparent},"v":1,"type":"x","body":7}}"#);
            let event = Event::parse(frame.as_bytes()).unwrap();
            assert_eq!(event.body.get(), "7");
            event.traced.map(|traced| traced.parent.to_string())
        };
        assert_eq!(traced(&format!("\"{good}\"")).as_deref(), Some(good));
        let unsampled = format!("\"{}\"", good.replace("-01", "-00"));
        let long = format!("\"{}\"", "0".repeat(1 << 16));
        for other in [&unsampled, &long, "5", "null", "{}", "\"\"", "[\"x\"]"] {
            assert_eq!(traced(other), None, "{other:.80}");
        }
    }

    #[test]
    fn only_an_event_of_that_kind_tells_of_a_note() {
        let body = r#"{"id":"n","userId":"u"}"#;
        let event = |kind: &str, body: &str| {
            let frame = format!(r#"{{"v":1,"type":"{kind}","body":{body}}}"#);
            Event::parse(frame.as_bytes()).unwrap()
        };
        assert_eq!(event(NOTE, body).note(), Note::parse(body).as_ref());
        assert_eq!(event("mention", body).note(), None);
        assert_eq!(event(NOTE, "5").note(), None);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let cases: [(&[u8], BadEvent); 7] = [
            (b"", BadEvent::Entry),
            (b"hello", BadEvent::Entry),
            (b"hello {}", BadEvent::Entry),
            (b"1-1 {}", BadEvent::Json),
            (b"\xff", BadEvent::Json),
            (br#"{"v":2,"type":"x"}"#, BadEvent::Version),
            (br#"{"v":1}"#, BadEvent::Json),
        ];
        for (frame, why) in cases {
            assert_eq!(Event::parse(frame).unwrap_err(), why, "{frame:?}");
        }
    }
}
