//! The recipient push protocol: a browser that only listens.
//!
//! A text frame's payload is the message and nothing else. On a socket that
//! negotiated `push.v1.json` the message comes with its particulars, and counts
//! as delivered only when the client acknowledges it (`docs/protocols.md`).
//!
//! What waited is sent first, oldest first; what happens meanwhile is parked and
//! follows, nothing twice.

mod catch_up;
mod pushed;
mod recent;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker::Timestamp;
use broker::event::{MESSAGE, REVOKED};
use broker::message::{GlobalMessage, Message, MessageId};
use broker::topic::Topic;
use serde::Deserialize;

use self::catch_up::CatchUp;
pub use self::pushed::Pushed;
use self::recent::Recent;
use super::{Answer, Delivery, Dialect, Effect, Errand, Mark, Notice, Outgoing, Tag};
use crate::close::CloseReason;
use crate::interest::Interest;
use crate::websocket::Frame;

/// The subprotocol with particulars and acknowledgements.
pub const JSON_SUBPROTOCOL: &str = "push.v1.json";

/// Global messages remembered per socket, so that the store's copies of them
/// are not sent again. More than this many within one gap in the link may
/// repeat.
const GLOBALS: usize = 16;

/// After catching up, events that were on their way may still come; by then
/// they have, and what was sent need not be remembered any more.
const SETTLE: Duration = Duration::from_secs(10);

/// How a socket gets its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text alone; delivered once flushed.
    Raw,
    /// JSON with particulars; delivered once acknowledged.
    Json,
}

/// The push protocol for one socket of one recipient.
#[derive(Debug)]
pub struct Push {
    recipient: Topic,
    label: Option<Arc<str>>,
    form: Form,
    /// When the socket was asked for, by Redis' clock.
    since: Timestamp,
    /// The recipient's own messages that came by of late; after a gap the store is
    /// read from behind what is not remembered any more.
    recent: Recent,
    /// The latest global messages that were sent.
    globals: Vec<MessageId>,
    /// While what waited is being sent.
    catching_up: Option<Box<CatchUp>>,
    /// What was sent while catching up, for a while after.
    settling: Option<Box<Settling>>,
}

#[derive(Debug)]
struct Settling {
    sent: Vec<MessageId>,
    until: Timestamp,
}

#[derive(Deserialize)]
struct Acknowledgement<'a> {
    #[serde(borrow)]
    ack: Vec<&'a str>,
}

impl Push {
    /// A socket of `recipient`, registered with `label`, asked for at `since`.
    pub fn new(recipient: Topic, label: Option<Arc<str>>, form: Form, since: Timestamp) -> Self {
        Self {
            recipient,
            label,
            form,
            since,
            recent: Recent::default(),
            globals: Vec::new(),
            catching_up: None,
            settling: None,
        }
    }

    fn backlog(&self, after: Option<MessageId>) -> Effect {
        let (recipient, label) = (self.recipient.clone(), self.label.clone());
        Effect::Ask(Errand::Backlog {
            recipient,
            label,
            since: self.since,
            after,
        })
    }

    /// What a live or parked event means for this socket.
    fn live(&mut self, topic: &Topic, delivery: &Delivery, now: Timestamp) -> Option<Effect> {
        let pushed = Pushed::of(topic, delivery)?;
        let own = *topic == self.recipient;
        // It may have been parked for longer than what was sent is settling.
        let seen = own && self.recent.has(pushed.id);
        if own {
            self.recent.note(pushed.place, pushed.id);
        }
        if !pushed.concerns(self.label.as_deref()) || pushed.expired(now) {
            return None;
        }
        let known = if own {
            let settling = self.settling.as_ref();
            seen || settling.is_some_and(|s| s.sent.contains(&pushed.id))
        } else {
            !self.remember(pushed.id)
        };
        if known {
            return None;
        }
        let expires_at = pushed.expires_at;
        let (frame, tag) = match (self.form, own) {
            (Form::Raw, true) => (pushed.raw(), Some(Tag::Message(pushed.id))),
            (Form::Raw, false) => (pushed.raw(), Some(Tag::Global(pushed.global()))),
            (Form::Json, true) => (pushed.json(), None),
            (Form::Json, false) => {
                let (recipient, global) = (self.recipient.clone(), pushed.global());
                return Some(Effect::Ask(Errand::Claim { recipient, global }));
            }
        };
        Some(Effect::Send(Outgoing {
            frame,
            expires_at,
            tag,
        }))
    }

    /// Notes that a global message is being sent; false if it was before.
    fn remember(&mut self, global: MessageId) -> bool {
        if self.globals.contains(&global) {
            return false;
        }
        if self.globals.len() == GLOBALS {
            self.globals.remove(0);
        }
        self.globals.push(global);
        true
    }

    /// A message read from the store, as a frame.
    fn stored(&mut self, message: &Message) -> Effect {
        self.recent.note(message.place(), message.id);
        let (frame, tag) = match self.form {
            Form::Raw => (Frame::text(&message.text), Some(Tag::Message(message.id))),
            Form::Json => (pushed::json(message), None),
        };
        Effect::Send(Outgoing {
            frame,
            expires_at: message.expires_at,
            tag,
        })
    }

    /// A page of what waited.
    fn page(
        &mut self,
        messages: Vec<Message>,
        more: Option<MessageId>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let Some(mut catching_up) = self.catching_up.take() else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        for message in messages {
            catching_up.sent.push(message.id);
            let known = |global| !self.remember(global);
            let known = message.global_id.is_some_and(known) || self.recent.has(message.id);
            if !known && message.expires_at.is_none_or(|at| now < at) {
                effects.push(self.stored(&message));
            }
        }
        if more.is_some() || catching_up.again {
            catching_up.again &= more.is_some();
            // The next page waits until this one is on its way, so that a slow
            // reader is not sent more than it can take.
            match (effects.last_mut(), more) {
                (Some(Effect::Send(outgoing)), Some(last)) => {
                    let end = outgoing.tag.get_or_insert(Tag::Message(last));
                    catching_up.page_end = Some((end.clone(), last));
                }
                _ => effects.push(self.backlog(more.or(self.recent.since()))),
            }
            self.catching_up = Some(catching_up);
            return effects;
        }
        self.finish(*catching_up, effects, now)
    }

    /// Everything that waited has been sent: what was parked follows, in order.
    fn finish(&mut self, done: CatchUp, page: Vec<Effect>, now: Timestamp) -> Vec<Effect> {
        let CatchUp { parked, sent, .. } = done;
        let mut effects = page;
        if !sent.is_empty() {
            let until = now + SETTLE;
            self.settling = Some(Box::new(Settling { sent, until }));
            effects.push(Effect::WakeAt(until));
        }
        for (topic, delivery) in parked.in_order(&self.recipient) {
            effects.extend(self.live(&topic, &delivery, now));
        }
        effects
    }

    /// The client says which messages it has.
    fn acknowledge(&self, frame: &str) -> Option<Vec<Effect>> {
        let Acknowledgement { ack } = serde_json::from_str(frame).ok()?;
        ack.into_iter()
            .map(|id| {
                let what = Tag::Message(id.parse().ok()?);
                let recipient = self.recipient.clone();
                Some(Effect::Ask(Errand::Mark(Mark { recipient, what })))
            })
            .collect()
    }

    /// Whether this tag ends the page that is being sent; then the next is asked for.
    fn next_page(&mut self, tag: &Tag) -> Option<Effect> {
        let page_end = &mut self.catching_up.as_mut()?.page_end;
        let (_, last) = page_end.take_if(|(end, _)| end == tag)?;
        Some(self.backlog(Some(last)))
    }
}

impl Dialect for Push {
    fn open(&mut self, _now: Timestamp) -> Vec<Effect> {
        self.catching_up = Some(Box::new(CatchUp::waiting_for(2)));
        let all = Topic::all(&self.recipient.tenant());
        vec![
            Effect::Subscribe(self.recipient.clone(), Interest::All),
            Effect::Subscribe(all, Interest::All),
        ]
    }

    fn receive(&mut self, frame: &str, _now: Timestamp) -> Vec<Effect> {
        match self.form {
            Form::Raw => Vec::new(),
            Form::Json => match self.acknowledge(frame) {
                Some(marks) => marks,
                None => vec![Effect::Close(CloseReason::Malformed)],
            },
        }
    }

    /// An acknowledgement and our close frame may pass each other. Were it not heard,
    /// the message would come again.
    fn receive_late(&mut self, frame: &str) -> Vec<Effect> {
        match self.form {
            Form::Raw => Vec::new(),
            Form::Json => self.acknowledge(frame).unwrap_or_default(),
        }
    }

    /// Not part of the protocol.
    fn receive_binary(&mut self, _frame: &[u8], _now: Timestamp) -> Vec<Effect> {
        Vec::new()
    }

    fn deliver(&mut self, topic: &Topic, delivery: &Rc<Delivery>, now: Timestamp) -> Vec<Effect> {
        match (&*delivery.event.kind, &mut self.catching_up) {
            (REVOKED, _) => vec![Effect::Close(CloseReason::Revoked)],
            (MESSAGE, Some(catching_up)) => {
                catching_up.park(topic, delivery);
                Vec::new()
            }
            (MESSAGE, None) => self.live(topic, delivery, now).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn answer(&mut self, answer: Answer, now: Timestamp) -> Vec<Effect> {
        match answer {
            Answer::Backlog { messages, more } => self.page(messages, more, now),
            Answer::Revoked => vec![Effect::Close(CloseReason::Revoked)],
            Answer::Identity(_) | Answer::Misskey(_) | Answer::Missed(_) => Vec::new(),
            Answer::Claimed { global, id } => {
                if global.expires_at.is_some_and(|at| at <= now) {
                    return Vec::new();
                }
                let frame = pushed::json(&copy_of(&global, id, &self.recipient));
                let expires_at = global.expires_at;
                vec![Effect::Send(Outgoing {
                    frame,
                    expires_at,
                    tag: None,
                })]
            }
        }
    }

    fn notice(&mut self, notice: Notice<'_>, now: Timestamp) -> Vec<Effect> {
        match notice {
            Notice::Subscribed(_) => {
                let all = self.catching_up.as_mut().is_some_and(|c| c.confirmed());
                if all {
                    vec![self.backlog(None)]
                } else {
                    Vec::new()
                }
            }
            // The store knows what happened meanwhile, whatever is lost otherwise.
            Notice::Resumed(_) | Notice::Gap(_) => match &mut self.catching_up {
                Some(catching_up) => {
                    catching_up.again = true;
                    Vec::new()
                }
                None => {
                    self.catching_up = Some(Box::new(CatchUp::waiting_for(0)));
                    vec![self.backlog(self.recent.since())]
                }
            },
            Notice::Flushed(tag) => {
                let mark = (self.form == Form::Raw).then(|| {
                    let mark = Mark {
                        recipient: self.recipient.clone(),
                        what: tag.clone(),
                    };
                    Effect::Ask(Errand::Mark(mark))
                });
                mark.into_iter().chain(self.next_page(tag)).collect()
            }
            Notice::Expired(tag) => self.next_page(tag).into_iter().collect(),
            Notice::News(..) | Notice::Pinged(_) | Notice::Answered => Vec::new(),
            Notice::Woken => {
                if self
                    .settling
                    .as_ref()
                    .is_some_and(|settling| settling.until <= now)
                {
                    self.settling = None;
                }
                Vec::new()
            }
        }
    }
}

/// A recipient's own copy of a global message.
fn copy_of(global: &GlobalMessage, id: MessageId, recipient: &Topic) -> Message {
    Message {
        id,
        recipient: recipient.id().into(),
        text: Arc::clone(&global.text),
        label: global.label.clone(),
        expires_at: global.expires_at,
        status: broker::message::Status::Pending,
        global_id: Some(global.id),
        deliver_at: None,
        place: None,
    }
}

#[cfg(test)]
mod tests;
