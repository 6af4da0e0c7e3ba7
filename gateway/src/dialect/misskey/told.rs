//! Events as the sockets of one shard share them: read once, framed once.
//!
//! Sockets differ in what their clients call a channel, so the frames of one
//! event differ in that alone and share the rest.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};

use broker::event::Event;
use broker::key::Key;
use broker::misskey::Field;
use broker::misskey::note::Visibility;
use broker::topic::Topic;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Delivery;
use super::channel::JoinId;
use super::message::object;
use crate::websocket::{Frame, Shared};

/// Different names of a channel for which frames are kept. Clients number their
/// channels, so few names serve most sockets; those who make up their own would
/// only be in the way.
const KEPT: usize = 16;

/// What an event tells sockets of this protocol.
#[derive(Debug, Default)]
pub struct Told {
    whole: Framed,
    update: OnceCell<Option<Update>>,
    broadcast: OnceCell<Frame>,
}

/// A channel's event, for whatever the channel is called.
#[derive(Debug, Default)]
pub(super) struct Framed {
    rest: OnceCell<Shared>,
    frames: RefCell<Vec<(JoinId, Frame)>>,
}

/// What became of a note, and who may know.
#[derive(Debug)]
pub(super) struct Update {
    /// `None` if the event does not say, as those of older versions do not.
    pub(super) audience: Option<Audience>,
    pub(super) frame: Frame,
}

/// Who may see the note of an update.
#[derive(Debug)]
pub(super) struct Audience {
    pub(super) author: Option<Key>,
    pub(super) visibility: Visibility,
    pub(super) listed: Box<[Key]>,
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

    /// The event for everybody.
    pub(super) fn broadcast(&self, event: &Event) -> Frame {
        let build = || {
            let kind = quoted(&event.kind);
            Frame::of_parts(&[r#"{"type":"#, &kind, r#","body":"#, event.body.get(), "}"])
        };
        self.broadcast.get_or_init(build).clone()
    }

    /// The event as what became of the note of its topic; `None` if it is not
    /// understood.
    pub(super) fn update(&self, topic: &Topic, event: &Event) -> Option<&Update> {
        let read = || Update::read(topic, event);
        self.update.get_or_init(read).as_ref()
    }
}

impl Framed {
    /// The frame for a channel with this name.
    pub(super) fn frame(&self, join: &JoinId, kind: &str, body: &str) -> Frame {
        let mut frames = self.frames.borrow_mut();
        if let Some((_, frame)) = frames.iter().find(|(known, _)| known == join) {
            return frame.clone();
        }
        let rest = self.rest.get_or_init(|| {
            let kind = quoted(kind);
            Shared::new(&[r#","type":"#, &kind, r#","body":"#, body, "}}"])
        });
        let frame = Frame::joined(&[r#"{"type":"channel","body":{"id":"#, join.json()], rest);
        if frames.len() < KEPT {
            frames.push((join.clone(), frame.clone()));
        }
        frame
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateBody<'a> {
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
    visibility: Option<Text<'a>>,
    visible_user_ids: Option<Vec<Text<'a>>>,
    body: Option<&'a RawValue>,
}

/// A string, borrowed where it holds no escapes, also within an `Option` or a `Vec`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Update {
    fn read(topic: &Topic, event: &Event) -> Option<Self> {
        let update: UpdateBody<'_> = object(event.body.get())?;
        let key = |id: &Text<'_>| Field::User.key(&id.0);
        let audience = |visibility: Text<'_>| Audience {
            author: update.user_id.as_ref().map(key),
            visibility: match &*visibility.0 {
                "public" => Visibility::Public,
                "home" => Visibility::Home,
                "followers" => Visibility::Followers,
                _ => Visibility::Specified,
            },
            listed: update.visible_user_ids.iter().flatten().map(key).collect(),
        };
        let (id, kind) = (quoted(&topic.id()), quoted(&event.kind));
        let body = update.body.map_or("null", RawValue::get);
        Some(Self {
            audience: update.visibility.map(audience),
            frame: Frame::of_parts(&[
                r#"{"type":"noteUpdated","body":{"id":"#,
                &id,
                r#","type":"#,
                &kind,
                r#","body":"#,
                body,
                "}}",
            ]),
        })
    }
}

/// The frame that says that a channel is open.
pub(super) fn connected(join: &JoinId) -> Frame {
    Frame::of_parts(&[r#"{"type":"connected","body":{"id":"#, join.json(), "}}"])
}

/// The frame of a channel's event for one socket alone.
pub(super) fn event(join: &JoinId, kind: &str, body: &str) -> Frame {
    Framed::default().frame(join, kind, body)
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text can always be written as JSON")
}
