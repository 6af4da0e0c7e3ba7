//! The streaming protocol of Misskey: timelines, notifications and notes as
//! they change.
//!
//! A client opens channels under names of its own and captures notes. Its messages
//! are heard strictly one after another: while one needs a check that takes time,
//! those after it wait. What is wrong, unknown or not allowed is met with silence.

mod asking;
mod message;
mod channel;
mod captures;
mod unconfirmed;
mod waiting;
mod awaited;
mod told;
mod connecting;
mod checking;
mod delivering;
mod later;
mod relaying;

pub mod rules;
pub mod params;
pub mod hashtags;
pub mod timeline;
pub mod copy;
pub mod happened;
pub mod personal;

use std::rc::Rc;
use std::sync::Arc;

use broker::Timestamp;
use broker::misskey::caller::{Account, Caller};
use broker::misskey::viewer::Viewer;
use broker::topic::{Topic, TopicKind};

pub use self::asking::{Asking, News, Question, Reply};
use self::awaited::Awaited;
use self::captures::{Captured, Captures, Released};
use self::channel::{Channel, JoinId, Name};
pub use self::delivering::Reason;
use self::message::{AnyLog, Log, Message, ToChannel, object};
pub use self::message::{MessageKind, Outcome};
use self::relaying::Relaying;
pub use self::told::Told;
use self::unconfirmed::Unconfirmed;
use self::waiting::Waiting;
use super::{Answer, Delivery, Dialect, Effect, Errand, Notice, Outgoing, Tally};
use crate::close::CloseReason;
use crate::interest::Interest;
use crate::websocket::Frame;

/// The protocol for one socket.
#[derive(Debug)]
pub struct Misskey {
    caller: Arc<Caller>,
    viewer: Arc<Viewer>,
    /// What everybody is told.
    broadcast: Topic,
    /// What the user is told, if anybody has signed in.
    user: Option<Topic>,
    /// All notes, while any channel shows some of them.
    notes: Option<Topic>,
    channels: Vec<Channel>,
    captures: Captures,
    /// Topics that are not confirmed yet, if there are any.
    unconfirmed: Option<Box<Unconfirmed>>,
    /// While a check is under way.
    waiting: Option<Box<Waiting>>,
    /// Notes that cannot be told yet, if there are any.
    awaited: Option<Box<Awaited>>,
    /// While the host serves channels.
    relaying: Option<Box<Relaying>>,
}

impl Misskey {
    /// A socket of this caller.
    pub fn new(caller: Arc<Caller>, viewer: Arc<Viewer>) -> Self {
        let tenant = &caller.host.tenant;
        let user = |account: &Account| Topic::new(tenant, TopicKind::User, &account.user);
        Self {
            broadcast: Topic::new(tenant, TopicKind::Channel, "broadcast"),
            user: caller.account.as_ref().map(user),
            caller,
            viewer,
            channels: Vec::new(),
            captures: Captures::default(),
            notes: None,
            unconfirmed: None,
            waiting: None,
            awaited: None,
            relaying: None,
        }
    }

    /// What the client said, or what waited until now.
    fn hear(&mut self, text: &str, effects: &mut Vec<Effect>) {
        let (kind, message) = Message::read(text);
        let outcome = match message {
            None if kind == MessageKind::Alive => Outcome::Ok,
            None => Outcome::Invalid,
            // Counted when it is known what comes of it.
            Some(Message::Connect(connect)) => match self.connect(&connect, effects) {
                Some(outcome) => outcome,
                None => return,
            },
            Some(Message::Disconnect(id)) => self.close(&JoinId::new(&id), effects),
            Some(Message::Channel(message)) => self.told_channel(&message, effects),
            Some(Message::Capture(id)) => self.capture(&id, effects),
            Some(Message::Release(id)) => self.release(&id, effects),
            Some(Message::ReadNotification) if self.user.is_some() => {
                effects.push(self.ask(Question::ReadNotifications));
                Outcome::Ok
            }
            Some(Message::ReadNotification) => Outcome::Refused,
        };
        effects.push(said(kind, outcome));
    }

    /// Something for a channel.
    fn told_channel(&mut self, message: &ToChannel<'_>, effects: &mut Vec<Effect>) -> Outcome {
        let join = JoinId::new(&message.id);
        let Some(open) = self.channels.iter().find(|open| open.join == join) else {
            return Outcome::Idle;
        };
        if open.is_relayed() {
            self.forward(message, effects);
            return Outcome::Ok;
        }
        let body = message.body.get();
        let understood = match (open.name(), &*message.kind) {
            (Some(Name::ChatUser | Name::ChatRoom), "read") => {
                effects.extend(self.read_chat(open).map(|read| self.ask(read)));
                return Outcome::Ok;
            }
            (Some(Name::ServerStats), "requestLog") => object::<AnyLog>(body).is_some(),
            (Some(Name::QueueStats), "requestLog") => object::<Log<'_>>(body).is_some(),
            _ => return Outcome::Idle,
        };
        if !understood {
            return Outcome::Invalid;
        }
        // Only the host has figures.
        effects.push(send(told::event(&join, "statsLog", "[]")));
        Outcome::Ok
    }

    /// What to ask when what was written here has been read.
    fn read_chat(&self, open: &Channel) -> Option<Question> {
        let topic = open.topic.as_ref()?.id();
        if let Some(room) = topic.strip_prefix("chatRoomStream:") {
            return Some(Question::ReadChatRoom(room.into()));
        }
        let me = &*self.caller.account.as_ref()?.user;
        let other = topic.strip_prefix("chatUserStream:")?.strip_prefix(me)?;
        Some(Question::ReadChatUser(other.strip_prefix('-')?.into()))
    }

    fn capture(&mut self, id: &str, effects: &mut Vec<Effect>) -> Outcome {
        let note = Topic::new(&self.caller.host.tenant, TopicKind::Note, id);
        if let Captured::New(gone) = self.captures.capture(&note) {
            self.subscribe(note, Interest::All, effects);
            if let Some(gone) = gone {
                self.unsubscribe(gone, effects);
            }
        }
        Outcome::Ok
    }

    fn release(&mut self, id: &str, effects: &mut Vec<Effect>) -> Outcome {
        let note = Topic::new(&self.caller.host.tenant, TopicKind::Note, id);
        match self.captures.release(&note) {
            Released::Unknown => return Outcome::Idle,
            Released::Counted => {}
            Released::Last => self.unsubscribe(note, effects),
        }
        Outcome::Ok
    }

    fn subscribe(&mut self, topic: Topic, interest: Interest, effects: &mut Vec<Effect>) {
        self.unconfirmed.get_or_insert_default().ask(&topic);
        effects.push(Effect::Subscribe(topic, interest));
    }

    fn unsubscribe(&mut self, topic: Topic, effects: &mut Vec<Effect>) {
        self.settle(&topic, effects);
        effects.push(Effect::Unsubscribe(topic));
    }

    /// The topic is confirmed, or not wanted any more.
    fn settle(&mut self, topic: &Topic, effects: &mut Vec<Effect>) {
        if let Some(unconfirmed) = &mut self.unconfirmed {
            let ready = unconfirmed.settle(topic);
            effects.extend(ready.iter().map(|join| send(told::connected(join))));
            if unconfirmed.is_empty() {
                self.unconfirmed = None;
            }
        }
    }

    /// Says that a channel is open, as soon as that is so.
    fn announce(&mut self, join: JoinId, effects: &mut Vec<Effect>) {
        match &mut self.unconfirmed {
            None => effects.push(send(told::connected(&join))),
            Some(unconfirmed) => {
                if !unconfirmed.announce(join) {
                    effects.push(Effect::Close(CloseReason::TooMuch));
                }
            }
        }
    }

    /// From now on names the topic by this copy, the hub's, which all sockets share.
    fn share(&mut self, topic: &Topic) {
        let channels = self
            .channels
            .iter_mut()
            .filter_map(|open| open.topic.as_mut());
        let of_socket = [
            self.user.as_mut(),
            self.notes.as_mut(),
            Some(&mut self.broadcast),
        ];
        let own = channels.chain(of_socket.into_iter().flatten());
        let mut known = false;
        for own in own.filter(|own| *own == topic) {
            own.clone_from(topic);
            known = true;
        }
        if !known {
            self.captures.share(topic);
        }
    }

    /// Where it is told that the viewer is otherwise than before.
    fn viewer_topic(&self) -> &Topic {
        self.user.as_ref().unwrap_or(&self.broadcast)
    }

    /// The channel of what concerns the user, if it is open.
    fn main(&self) -> Option<&Channel> {
        self.channels
            .iter()
            .find(|open| open.name() == Some(Name::Main))
    }

    /// The open channels of a topic of their own.
    fn of_topic(&self, topic: &Topic) -> impl Iterator<Item = &Channel> {
        self.channels
            .iter()
            .filter(move |open| open.topic.as_ref() == Some(topic))
    }

    fn ask(&self, question: Question) -> Effect {
        let caller = Arc::clone(&self.caller);
        Effect::Ask(Errand::Misskey(Box::new(Asking { caller, question })))
    }

    /// What the user follows and mutes is this by now, unless something later is known:
    /// what is answered and what is told without a question take different ways.
    fn look(&mut self, viewer: &Arc<Viewer>, effects: &mut Vec<Effect>) {
        if viewer.version < self.viewer.version {
            return;
        }
        let known = std::mem::replace(&mut self.viewer, Arc::clone(viewer));
        if self.notes.is_some() && known != *viewer {
            self.tune(effects);
        }
    }

    /// Something is otherwise than before.
    fn news(&mut self, topic: &Topic, news: &News, effects: &mut Vec<Effect>) {
        match news {
            News::Viewer(viewer) if topic == self.viewer_topic() => self.look(viewer, effects),
            News::Viewer(_) => {}
            News::SignedOut(token) => {
                let account = self.caller.account.as_ref();
                let ours = |account: &Account| token.as_ref().is_none_or(|t| *t == account.token);
                if account.is_some_and(ours) {
                    effects.push(Effect::Close(CloseReason::Revoked));
                }
            }
            News::RoleClosed | News::AntennaGone => self.close_all(topic, effects),
        }
    }
}

impl Dialect for Misskey {
    fn open(&mut self, _now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.subscribe(self.broadcast.clone(), Interest::All, &mut effects);
        if let Some(user) = self.user.clone() {
            self.subscribe(user, Interest::All, &mut effects);
        }
        effects
    }

    fn receive(&mut self, frame: &str, _now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match &mut self.waiting {
            None => self.hear(frame, &mut effects),
            Some(waiting) => {
                if !waiting.hold(frame) {
                    effects.push(Effect::Close(CloseReason::TooMuch));
                }
            }
        }
        effects
    }

    /// The same as text.
    fn receive_binary(&mut self, frame: &[u8], now: Timestamp) -> Vec<Effect> {
        self.receive(&String::from_utf8_lossy(frame), now)
    }

    fn deliver(&mut self, topic: &Topic, delivery: &Rc<Delivery>, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(1);
        if self.notes.as_ref() == Some(topic) {
            self.note(delivery, now, &mut effects);
        } else if self.user.as_ref() == Some(topic) {
            self.personal(delivery, now, &mut effects);
        } else if self.broadcast == *topic {
            effects.push(send(Told::of(delivery).broadcast(&delivery.event)));
        } else if self.captures.contains(topic) {
            self.captured(topic, delivery, &mut effects);
        } else {
            self.streamed(topic, delivery, now, &mut effects);
        }
        effects
    }

    fn answer(&mut self, answer: Answer, now: Timestamp) -> Vec<Effect> {
        let Answer::Misskey(reply) = answer else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        match reply {
            Reply::Viewer(viewer) => self.look(&viewer, &mut effects),
            Reply::Allowed | Reply::Members(_) | Reply::Refused => {
                self.checked(&reply, &mut effects);
            }
            Reply::Note(id, note) => self.note_answered(&id, note.as_deref(), now, &mut effects),
            Reply::Relay(relay) => self.relay_open(relay, &mut effects),
            Reply::Relayed(text) => self.relayed(&text, &mut effects),
            Reply::RelayEnded => self.relay_ended(now, &mut effects),
        }
        effects
    }

    fn notice(&mut self, notice: Notice<'_>, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match notice {
            Notice::Subscribed(topic) | Notice::Resumed(topic) => {
                self.share(topic);
                if topic == self.viewer_topic() {
                    effects.push(self.ask(Question::Viewer));
                }
                self.listening(topic, &mut effects);
                if matches!(notice, Notice::Resumed(_)) {
                    self.members_unknown(topic, &mut effects);
                }
                self.settle(topic, &mut effects);
            }
            // The protocol has no word for it; who comes back reads again.
            Notice::Gap(_) => effects.push(Effect::Close(CloseReason::Missed)),
            Notice::News(topic, news) => self.news(topic, news, &mut effects),
            Notice::Woken => {
                self.note_overdue(now, &mut effects);
                self.relay_again(now, &mut effects);
            }
            Notice::Flushed(_) | Notice::Expired(_) | Notice::Pinged(_) | Notice::Answered => {}
        }
        effects
    }

    fn kept(&self) -> usize {
        self.waiting.as_deref().map_or(0, Waiting::bytes)
    }

    fn forget(&mut self) {
        self.waiting = None;
    }
}

fn said(kind: MessageKind, outcome: Outcome) -> Effect {
    Effect::Count(Tally::Said(kind, outcome))
}

fn send(frame: Frame) -> Effect {
    Effect::Send(Outgoing {
        frame,
        expires_at: None,
        tag: None,
    })
}

#[cfg(test)]
mod tests;
