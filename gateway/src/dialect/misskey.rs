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
mod told;

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
use broker::misskey::caller::{Account, Caller, Grant};
use broker::misskey::note::Visibility;
use broker::misskey::viewer::{Viewer, Visitors};
use broker::topic::{Topic, TopicKind};
use serde_json::value::RawValue;

pub use self::asking::{Asking, News, Question, Reply};
use self::captures::{Captured, Captures, Released};
use self::channel::{Channel, JoinId, MAX_CHANNELS, Name, Permission};
use self::message::{AnyLog, Connect, Log, Message, ToChannel, id_in, object};
pub use self::message::{MessageKind, Outcome};
pub use self::told::Told;
use self::told::{Audience, connected, event};
use self::unconfirmed::Unconfirmed;
use self::waiting::{Check, Waiting};
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
    channels: Vec<Channel>,
    captures: Captures,
    /// Topics that are not confirmed yet, if there are any.
    unconfirmed: Option<Box<Unconfirmed>>,
    /// While a check is under way.
    waiting: Option<Box<Waiting>>,
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
            unconfirmed: None,
            waiting: None,
        }
    }

    /// What the client said, or what waited until now.
    fn hear(&mut self, text: &str, effects: &mut Vec<Effect>) {
        let (kind, message) = Message::read(text);
        let outcome = match message {
            None if kind == MessageKind::Alive => Outcome::Ok,
            None => Outcome::Invalid,
            Some(Message::Connect(connect)) => self.connect(&connect, effects),
            Some(Message::Disconnect(id)) => self.close(&JoinId::new(&id), effects),
            Some(Message::Channel(message)) => self.to_channel(&message, effects),
            Some(Message::Capture(id)) => self.capture(&id, effects),
            Some(Message::Release(id)) => self.release(&id, effects),
            Some(Message::ReadNotification) if self.user.is_some() => {
                effects.push(self.ask(Question::ReadNotifications));
                Outcome::Ok
            }
            Some(Message::ReadNotification) => Outcome::Refused,
        };
        effects.push(Effect::Count(Tally::Said(kind, outcome)));
    }

    /// Hears what waited, until there is another check to wait for.
    fn resume(&mut self, effects: &mut Vec<Effect>) {
        while let Some(waiting) = self.waiting.as_mut().filter(|w| w.check.is_none()) {
            match waiting.next() {
                Some(text) => self.hear(&text, effects),
                None => self.waiting = None,
            }
        }
    }

    fn connect(&mut self, connect: &Connect<'_>, effects: &mut Vec<Effect>) -> Outcome {
        let join = JoinId::new(&connect.id);
        self.close(&join, effects);
        if MAX_CHANNELS <= self.channels.len() {
            return Outcome::Refused;
        }
        let Some(name) = Name::read(&connect.channel).filter(|name| self.permits(*name)) else {
            return Outcome::Refused;
        };
        if name.is_shared() && self.channels.iter().any(|open| open.name == name) {
            return Outcome::Refused;
        }
        let Some((channel, question)) = self.prepare(join, name, connect.params) else {
            return Outcome::Refused;
        };
        let pong = connect.pong == Some(true);
        match question {
            None => self.open_channel(channel, pong, effects),
            Some(question) => {
                let waiting = self.waiting.get_or_insert_default();
                waiting.check = Some(Check::Open(channel, pong));
                effects.push(self.ask(question));
            }
        }
        Outcome::Ok
    }

    /// Whether the caller may have such a channel, as far as can be said without
    /// asking.
    fn permits(&self, name: Name) -> bool {
        match (name.permission(), &self.caller.account) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(permission), Some(account)) => {
                account.grant == Grant::Native || permission != Permission::Moderation
            }
        }
    }

    /// The channel, and what must be asked before it is open; `None` if it cannot be.
    fn prepare(
        &self,
        join: JoinId,
        name: Name,
        params: Option<&RawValue>,
    ) -> Option<(Channel, Option<Question>)> {
        let account = self.caller.account.as_ref();
        let me = || account.map(|account| &*account.user);
        let id = |member: &str| id_in(params, member);
        let (topic, question) = match name {
            Name::Main | Name::ServerStats | Name::QueueStats => (None, None),
            Name::Drive => (Some(self.stream("driveStream", me()?)), None),
            Name::Admin => (Some(self.stream("adminStream", me()?)), None),
            Name::Reversi => (Some(self.stream("reversiStream", me()?)), None),
            Name::ReversiGame => (
                id("gameId").map(|g| self.stream("reversiGameStream", &g)),
                None,
            ),
            Name::ChatUser => {
                let (me, other) = (me()?, id("otherId")?);
                // With a hyphen it could be read as the topic of somebody else.
                if *other == *me || other.contains('-') {
                    return None;
                }
                let topic = self.stream("chatUserStream", &format!("{me}-{other}"));
                let app = account.is_some_and(|account| account.grant == Grant::App);
                (Some(topic), app.then_some(Question::Chat))
            }
            Name::ChatRoom => {
                let room = id("roomId")?;
                let topic = self.stream("chatRoomStream", &room);
                (Some(topic), Some(Question::ChatRoom(room)))
            }
            Name::HomeTimeline
            | Name::LocalTimeline
            | Name::HybridTimeline
            | Name::GlobalTimeline
            | Name::UserList
            | Name::Hashtag
            | Name::RoleTimeline
            | Name::Antenna
            | Name::Channel => return None,
        };
        let channel = Channel { join, name, topic };
        Some((channel, question))
    }

    fn open_channel(&mut self, channel: Channel, pong: bool, effects: &mut Vec<Effect>) {
        let join = channel.join.clone();
        if let Some(topic) = channel.topic.clone().filter(|topic| !self.hears(topic)) {
            self.subscribe(topic, Interest::All, effects);
        }
        if channel.name == Name::Main
            && let Some(user) = &self.user
        {
            effects.push(Effect::Want(user.clone(), Interest::All));
        }
        self.channels.push(channel);
        if pong {
            self.announce(join, effects);
        }
    }

    /// Whether a channel hears this topic already.
    fn hears(&self, topic: &Topic) -> bool {
        self.channels
            .iter()
            .any(|open| open.topic.as_ref() == Some(topic))
    }

    fn close(&mut self, join: &JoinId, effects: &mut Vec<Effect>) -> Outcome {
        let Some(at) = self.channels.iter().position(|open| open.join == *join) else {
            return Outcome::Idle;
        };
        let closed = self.channels.remove(at);
        if let Some(topic) = closed.topic.filter(|topic| !self.hears(topic)) {
            self.unsubscribe(topic, effects);
        }
        if closed.name == Name::Main
            && let Some(user) = &self.user
        {
            effects.push(Effect::Want(user.clone(), Interest::none()));
        }
        Outcome::Ok
    }

    fn to_channel(&self, message: &ToChannel<'_>, effects: &mut Vec<Effect>) -> Outcome {
        let join = JoinId::new(&message.id);
        let Some(open) = self.channels.iter().find(|open| open.join == join) else {
            return Outcome::Idle;
        };
        let body = message.body.get();
        let done = match (open.name, &*message.kind) {
            (Name::ChatUser | Name::ChatRoom, "read") => {
                effects.extend(self.read_chat(open).map(|read| self.ask(read)));
                true
            }
            // Only the host has figures; a log of none is what there is to tell.
            (Name::ServerStats, "requestLog") => object::<AnyLog>(body).is_some(),
            (Name::QueueStats, "requestLog") => object::<Log<'_>>(body).is_some(),
            _ => return Outcome::Idle,
        };
        if !done {
            return Outcome::Invalid;
        }
        if matches!(open.name, Name::ServerStats | Name::QueueStats) {
            effects.push(send(event(&join, "statsLog", "[]")));
        }
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

    /// Whether what becomes of a note may be told.
    fn may_know(&self, audience: Option<&Audience>) -> bool {
        let viewer = &self.viewer;
        let Some(audience) = audience else {
            return self.caller.host.old_bus
                && (viewer.me.is_some() || viewer.visitors != Visitors::None);
        };
        let public = match audience.visibility {
            Visibility::Public | Visibility::Home => true,
            Visibility::Followers | Visibility::Specified => false,
        };
        let Some(me) = &viewer.me else {
            return public && viewer.visitors != Visitors::None;
        };
        let listed = match audience.visibility {
            Visibility::Followers => audience
                .author
                .is_some_and(|a| viewer.following.contains(a)),
            Visibility::Specified => audience.listed.contains(&me.key),
            Visibility::Public | Visibility::Home => true,
        };
        public || listed || audience.author == Some(me.key)
    }

    fn stream(&self, name: &str, id: &str) -> Topic {
        let tenant = &self.caller.host.tenant;
        Topic::new(tenant, TopicKind::Channel, &format!("{name}:{id}"))
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
            effects.extend(ready.iter().map(|join| send(connected(join))));
            if unconfirmed.is_empty() {
                self.unconfirmed = None;
            }
        }
    }

    /// Says that a channel is open, as soon as that is so.
    fn announce(&mut self, join: JoinId, effects: &mut Vec<Effect>) {
        match &mut self.unconfirmed {
            None => effects.push(send(connected(&join))),
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
        let mut own = channels
            .chain(self.user.as_mut())
            .chain([&mut self.broadcast]);
        match own.find(|own| *own == topic) {
            Some(own) => own.clone_from(topic),
            None => self.captures.share(topic),
        }
    }

    /// Reads anew what the user follows, if this is the user's topic.
    fn look_again(&self, topic: &Topic) -> Option<Effect> {
        let user = self.user.as_ref().filter(|user| *user == topic);
        user.map(|_| self.ask(Question::Viewer))
    }

    fn ask(&self, question: Question) -> Effect {
        let caller = Arc::clone(&self.caller);
        Effect::Ask(Errand::Misskey(Box::new(Asking { caller, question })))
    }

    /// What came of the check that is under way.
    fn checked(&mut self, reply: &Reply, effects: &mut Vec<Effect>) {
        let check = self
            .waiting
            .as_mut()
            .and_then(|waiting| waiting.check.take());
        if let (Some(Check::Open(channel, pong)), Reply::Allowed) = (check, reply) {
            self.open_channel(channel, pong, effects);
        }
        self.resume(effects);
    }

    fn look(&mut self, viewer: &Arc<Viewer>) {
        self.viewer = Arc::clone(viewer);
    }
}

impl Dialect for Misskey {
    fn open(&mut self, _now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.subscribe(self.broadcast.clone(), Interest::All, &mut effects);
        if let Some(user) = self.user.clone() {
            self.subscribe(user, Interest::none(), &mut effects);
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

    fn deliver(&mut self, topic: &Topic, delivery: &Rc<Delivery>, _now: Timestamp) -> Vec<Effect> {
        let (told, event) = (Told::of(delivery), &delivery.event);
        if self.user.as_ref() == Some(topic) {
            let main = self.channels.iter().find(|open| open.name == Name::Main);
            return main
                .map(|main| send(told.frame(event, &main.join)))
                .into_iter()
                .collect();
        }
        if *topic == self.broadcast {
            return vec![send(told.broadcast(event))];
        }
        if self.captures.contains(topic) {
            let Some(update) = told.update(topic, event) else {
                return Vec::new();
            };
            if !self.may_know(update.audience.as_ref()) {
                return Vec::new();
            }
            return vec![send(update.frame.clone())];
        }
        let open = self
            .channels
            .iter()
            .filter(|open| open.topic.as_ref() == Some(topic));
        open.map(|open| send(told.frame(event, &open.join)))
            .collect()
    }

    fn answer(&mut self, answer: Answer, _now: Timestamp) -> Vec<Effect> {
        let Answer::Misskey(reply) = answer else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        match reply {
            Reply::Viewer(viewer) => self.look(&viewer),
            Reply::Allowed | Reply::Members(_) | Reply::Refused => {
                self.checked(&reply, &mut effects);
            }
            Reply::Note(..) | Reply::Relay(_) | Reply::Relayed(_) | Reply::RelayEnded => {}
        }
        effects
    }

    fn notice(&mut self, notice: Notice<'_>, _now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match notice {
            Notice::Subscribed(topic) => {
                self.share(topic);
                effects.extend(self.look_again(topic));
                self.settle(topic, &mut effects);
            }
            Notice::Gap(topic) => {
                effects.extend(self.look_again(topic));
                self.settle(topic, &mut effects);
            }
            Notice::News(topic, news) => match news {
                News::Viewer(viewer) => {
                    let ours = self.user.as_ref().unwrap_or(&self.broadcast);
                    if ours == topic {
                        self.look(viewer);
                    }
                }
                News::SignedOut(token) => {
                    let account = self.caller.account.as_ref();
                    let ours =
                        |account: &Account| token.as_ref().is_none_or(|t| *t == account.token);
                    if account.is_some_and(ours) {
                        effects.push(Effect::Close(CloseReason::Revoked));
                    }
                }
                News::RoleClosed | News::AntennaGone => {}
            },
            Notice::Flushed(_) | Notice::Expired(_) | Notice::Woken => {}
        }
        effects
    }
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
