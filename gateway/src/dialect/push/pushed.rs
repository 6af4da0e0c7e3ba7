//! A pushed message as the sockets of one shard share it.

use std::cell::OnceCell;
use std::sync::Arc;

use broker::Timestamp;
use broker::event::MessageBody;
use broker::message::{GlobalMessage, Message, MessageId};
use broker::topic::Topic;
use serde::Serialize;

use super::super::Delivery;
use crate::websocket::Frame;

/// A message's event, read once, and its frames, each built once.
#[derive(Debug)]
pub struct Pushed {
    pub(super) id: MessageId,
    /// Where it stands among what is sent to its recipient.
    pub(super) place: MessageId,
    deliver_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    text: Arc<str>,
    label: Option<Arc<str>>,
    raw: OnceCell<Frame>,
    json: OnceCell<Frame>,
    global: OnceCell<Arc<GlobalMessage>>,
}

/// The frame of `push.v1.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    id: String,
    message: &'a str,
    topic: Option<&'a str>,
    created_at: String,
    expires_at: Option<String>,
    global_message_id: Option<String>,
}

impl Pushed {
    /// The message that this delivery on `topic` carries; `None` if it cannot be read as one.
    pub(super) fn of<'a>(topic: &Topic, delivery: &'a Delivery) -> Option<&'a Self> {
        delivery
            .pushed
            .get_or_init(|| Self::read(topic, delivery))
            .as_ref()
    }

    fn read(topic: &Topic, delivery: &Delivery) -> Option<Self> {
        let event = &delivery.event;
        let entry = event.entry?;
        let body: MessageBody<'_> = serde_json::from_str(event.body.get()).ok()?;
        let place = MessageId {
            millis: entry.millis,
            sequence: u32::try_from(entry.sequence).ok()?,
            partition: topic.partition(),
        };
        let id = match body.id {
            Some(id) => MessageId::from_entry(&id, place.partition)?,
            None => place,
        };
        Some(Self {
            id,
            place,
            deliver_at: body.deliver_at.map(Timestamp::from_millis),
            expires_at: event.expires_at,
            text: body.message.into(),
            label: body.topic.map(Into::into),
            raw: OnceCell::new(),
            json: OnceCell::new(),
            global: OnceCell::new(),
        })
    }

    /// Whether a socket registered with `label` is to get it: a message without
    /// a label goes to all.
    pub(super) fn concerns(&self, label: Option<&str>) -> bool {
        self.label.is_none() || self.label.as_deref() == label
    }

    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn raw(&self) -> Frame {
        self.raw.get_or_init(|| Frame::text(&self.text)).clone()
    }

    pub(super) fn json(&self) -> Frame {
        let (text, label) = (&self.text, self.label.as_deref());
        self.json
            .get_or_init(|| json_frame(self.id, text, label, self.expires_at, None))
            .clone()
    }

    /// As a global message, which it is if it came on the topic of all.
    pub(super) fn global(&self) -> Arc<GlobalMessage> {
        let global = || {
            Arc::new(GlobalMessage {
                id: self.id,
                text: Arc::clone(&self.text),
                label: self.label.clone(),
                expires_at: self.expires_at,
                deliver_at: self.deliver_at,
            })
        };
        Arc::clone(self.global.get_or_init(global))
    }
}

/// The `push.v1.json` frame of a stored message.
pub(super) fn json(message: &Message) -> Frame {
    let label = message.label.as_deref();
    json_frame(
        message.id,
        &message.text,
        label,
        message.expires_at,
        message.global_id,
    )
}

fn json_frame(
    id: MessageId,
    text: &str,
    label: Option<&str>,
    expires_at: Option<Timestamp>,
    global_id: Option<MessageId>,
) -> Frame {
    let json = Json {
        id: id.to_string(),
        message: text,
        topic: label,
        created_at: id.created_at().to_string(),
        expires_at: expires_at.map(|at| at.to_string()),
        global_message_id: global_id.map(|id| id.to_string()),
    };
    Frame::text(&serde_json::to_string(&json).expect("text can always be written as JSON"))
}
