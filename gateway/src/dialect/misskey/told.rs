//! Events as the sockets of one shard share them: read once, framed once.
//!
//! Sockets differ in what their clients call a channel, so the frames of one
//! event differ in that alone and share the rest. A few viewers see a note
//! otherwise than all others; those who see it alike share their copy.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};

use broker::event::Event;
use broker::topic::Topic;

use super::super::Delivery;
use super::channel::JoinId;
use super::copy;
use super::happened::Happened;
use super::rules::Cover;
use super::timeline::View;
use crate::websocket::{Frame, Shared};

/// Different names of a channel for which frames are kept. Clients number their
/// channels, so few names serve most sockets; those who make up their own would
/// only be in the way.
const NAMES: usize = 16;
/// Different copies of a note that are kept.
const COPIES: usize = 64;
/// A body below this is written anew for each name rather than shared.
const SMALL: usize = 256;

/// What an event tells sockets of this protocol.
#[derive(Debug, Default)]
pub struct Told {
    whole: Framed,
    copies: RefCell<Vec<Copied>>,
    update: OnceCell<Option<Box<Update>>>,
    broadcast: OnceCell<Frame>,
}

/// A note as it is shown to some.
#[derive(Debug)]
struct Copied {
    cover: Cover,
    reaction: Option<Box<str>>,
    body: Box<str>,
    framed: Framed,
}

/// A channel's event, for whatever the channel is called.
#[derive(Debug, Default)]
struct Framed {
    rest: OnceCell<Shared>,
    frames: RefCell<Vec<(JoinId, Frame)>>,
}

/// What became of a captured note.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) happened: Happened,
    pub(super) frame: Frame,
}

impl Told {
    /// What this delivery tells.
    pub(super) fn of(delivery: &Delivery) -> &Self {
        delivery.misskey.get_or_init(Box::default)
    }

    /// The event for a channel with this name.
    pub(super) fn frame(&self, event: &Event, join: &JoinId) -> Frame {
        self.whole.frame(join, &event.kind, event.body.get())
    }

    /// The note for a channel with this name, as the view shows it. `None` if no
    /// copy can be made of it; then it is shown to nobody who needs one.
    pub(super) fn note(&self, event: &Event, view: &View<'_>, join: &JoinId) -> Option<Frame> {
        if view.is_whole() {
            return Some(self.frame(event, join));
        }
        let mut copies = self.copies.borrow_mut();
        let known =
            |copy: &&Copied| copy.cover == view.cover && copy.reaction.as_deref() == view.reaction;
        if let Some(copy) = copies.iter().find(known) {
            return Some(copy.framed.frame(join, &event.kind, &copy.body));
        }
        let copy = Copied {
            cover: view.cover,
            reaction: view.reaction.map(Into::into),
            body: copy::note(event.body.get(), view)?.into(),
            framed: Framed::default(),
        };
        let frame = copy.framed.frame(join, &event.kind, &copy.body);
        if copies.len() < COPIES {
            copies.push(copy);
        }
        Some(frame)
    }

    /// The event for everybody.
    pub(super) fn broadcast(&self, event: &Event) -> Frame {
        let build = || {
            let kind = escaped(&event.kind);
            let body = event.body.get();
            Frame::of_parts(&[r#"{"type":""#, &kind, r#"","body":"#, body, "}"])
        };
        self.broadcast.get_or_init(build).clone()
    }

    /// The event as what became of the note of its topic; `None` if it is not
    /// understood.
    pub(super) fn update(&self, topic: &Topic, event: &Event) -> Option<&Update> {
        let read = || Update::read(topic, event).map(Box::new);
        self.update.get_or_init(read).as_deref()
    }
}

impl Framed {
    /// The frame for a channel with this name.
    fn frame(&self, join: &JoinId, kind: &str, body: &str) -> Frame {
        let mut frames = self.frames.borrow_mut();
        if let Some((_, frame)) = frames.iter().find(|(known, _)| known == join) {
            return frame.clone();
        }
        let frame = if body.len() < SMALL {
            event(join, kind, body)
        } else {
            let rest = self.rest.get_or_init(|| {
                let kind = escaped(kind);
                Shared::new(&[r#","type":""#, &kind, r#"","body":"#, body, "}}"])
            });
            Frame::joined(&[HEAD, join.json()], rest)
        };
        if frames.len() < NAMES {
            frames.push((join.clone(), frame.clone()));
        }
        frame
    }
}

impl Update {
    fn read(topic: &Topic, event: &Event) -> Option<Self> {
        let happened = Happened::read(event.body.get())?;
        let id = topic.id();
        let (id, kind, body) = (escaped(&id), escaped(&event.kind), happened.body.get());
        let head = r#"{"type":"noteUpdated","body":{"id":""#;
        let parts = [
            head,
            &id,
            r#"","type":""#,
            &kind,
            r#"","body":"#,
            body,
            "}}",
        ];
        Some(Self {
            frame: Frame::of_parts(&parts),
            happened,
        })
    }
}

/// How the frames of all channels begin.
const HEAD: &str = r#"{"type":"channel","body":{"id":"#;

/// The frame of a channel's event.
pub(super) fn event(join: &JoinId, kind: &str, body: &str) -> Frame {
    let kind = escaped(kind);
    Frame::of_parts(&[
        HEAD,
        join.json(),
        r#","type":""#,
        &kind,
        r#"","body":"#,
        body,
        "}}",
    ])
}

/// The frame that says that a channel is open.
pub(super) fn connected(join: &JoinId) -> Frame {
    Frame::of_parts(&[r#"{"type":"connected","body":{"id":"#, join.json(), "}}"])
}

/// A text as it stands in JSON, within its quotes.
fn escaped(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| 0x20 <= byte && !matches!(byte, b'"' | b'\\');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let quoted = quoted(text);
    Cow::Owned(quoted[1..quoted.len() - 1].to_owned())
}

/// A text as it stands in JSON, with its quotes.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text can always be written as JSON")
}
