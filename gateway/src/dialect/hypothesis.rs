//! The Hypothesis real-time protocol: a browser that shows annotations as they
//! are made.
//!
//! A socket says by a filter which annotations it wants to hear of, and gets
//! those that its user may read. It is told when its user joins or leaves a
//! group. What it asks before its topics are subscribed waits, so that an answer
//! proves that everything asked before it holds.

mod filter;
mod held;
mod message;
mod missed;
mod told;
mod viewer;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker::Timestamp;
use broker::annotation::Notification;
use broker::annotation::readers::ViewerClass;
use broker::identity::SignedIn;
use broker::topic::Topic;
use serde_json::value::RawValue;

pub use self::filter::keys;
use self::filter::{BadFilter, Filter};
use self::held::Held;
use self::message::{Message, NotJson, Reply};
pub use self::message::{MessageKind, Outcome};
pub use self::missed::Missed;
use self::missed::Return;
pub use self::told::Told;
use self::viewer::Viewer;
use super::{Answer, Delivery, Dialect, Effect, Notice, Outgoing, Tally};
use crate::close::CloseReason;
use crate::interest::Interest;
use crate::websocket::Frame;

/// A client id that is longer than this is nobody's: no request carries one.
const MAX_CLIENT_ID: usize = 1 << 10;

/// A socket with a token looks at least this often whether the token has expired,
/// so that sockets that are gone do not leave timers behind for as long as a
/// token may live.
const LOOK: Duration = Duration::from_secs(3600);

/// Why an event that a socket asked for is not sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its own tab caused it.
    Echo,
    /// The author is shadow-banned.
    ShadowBan,
    /// Its user may not read it.
    Permission,
}

/// The protocol for one socket.
#[derive(Debug)]
pub struct Hypothesis {
    /// Where the annotations of its tenant are told.
    annotations: Topic,
    /// Who is signed in on it, if anybody.
    viewer: Option<Box<Viewer>>,
    /// What the client calls itself.
    client: ClientId,
    filter: Filter,
    /// What the client said before its topics were subscribed.
    held: Option<Box<Held>>,
    /// What the client missed before it came.
    back: Return,
    /// What had been published before this was delivered when the client was last
    /// sent a ping that it has not answered (ms); 0 if there is none.
    pinged_at: u64,
    /// Do as the original does, also where it does wrong.
    strict: bool,
}

/// What a tab calls itself, to be spared what it causes itself.
#[derive(Debug, Default)]
enum ClientId {
    /// It has not said.
    #[default]
    None,
    /// Something that no request can carry.
    Odd,
    /// This.
    Name(Box<str>),
}

impl Hypothesis {
    /// A socket for whom `annotations` is the topic of all annotations.
    /// `strict` does as the original does also where it does wrong: it counts two
    /// unknown tabs as the same one, tells anonymous sockets of shadow-banned
    /// authors, keeps the memberships that a user had when the socket was opened,
    /// and says nothing to a malformed clause.
    pub fn new(annotations: Topic, viewer: Option<SignedIn>, strict: bool) -> Self {
        Self {
            annotations,
            viewer: viewer.map(|signed_in| Box::new(Viewer::new(signed_in))),
            client: ClientId::None,
            filter: Filter::default(),
            held: None,
            back: match strict {
                true => Return::Done,
                false => Return::Unknown(Vec::new()),
            },
            pinged_at: 0,
            strict,
        }
    }

    /// What the client said, or kept until now.
    fn hear(&mut self, text: &str) -> Vec<Effect> {
        let message = match Message::read(text) {
            Ok(Some(message)) => message,
            Ok(None) => return vec![heard(MessageKind::Other, Outcome::Ignored)],
            Err(NotJson) => {
                let bad = heard(MessageKind::Other, Outcome::NotJson);
                return vec![bad, Effect::Close(CloseReason::BadMessage)];
            }
        };
        let kind = message.kind;
        let (outcome, mut effects) = match kind {
            MessageKind::Ping => (Outcome::Ok, message.reply(&Reply::Pong)),
            MessageKind::Whoami => {
                let userid = self.viewer.as_ref().map(|viewer| &*viewer.userid);
                (Outcome::Ok, message.reply(&Reply::Whoyouare { userid }))
            }
            MessageKind::ClientId => self.name(&message),
            MessageKind::Filter => self.filter(&message),
            MessageKind::Other => self.unknown(&message),
        };
        effects.push(heard(kind, outcome));
        effects
    }

    fn name(&mut self, message: &Message<'_>) -> (Outcome, Vec<Effect>) {
        match message.value {
            Some(value) => {
                self.client = ClientId::read(value);
                (Outcome::Ok, self.ask_missed().into_iter().collect())
            }
            None => message.invalid_data("\"value\" is missing"),
        }
    }

    fn filter(&mut self, message: &Message<'_>) -> (Outcome, Vec<Effect>) {
        let Some(filter) = message.filter else {
            return message.invalid_data("\"filter\" is missing");
        };
        match Filter::read(filter.get()) {
            Ok(filter) => {
                let interest = filter.interest();
                self.filter = filter;
                let mut effects = vec![Effect::Want(self.annotations.clone(), interest)];
                effects.extend(self.ask_missed());
                (Outcome::Ok, effects)
            }
            Err(BadFilter::Clause) if self.strict => (Outcome::InvalidData, Vec::new()),
            Err(_) => message.invalid_data("failed to parse filter"),
        }
    }

    fn unknown(&self, message: &Message<'_>) -> (Outcome, Vec<Effect>) {
        let answer = if self.strict && message.has_odd_type() {
            Vec::new()
        } else {
            message.invalid_type()
        };
        (Outcome::InvalidType, answer)
    }

    /// Something happened to an annotation that bears one of our keys, or one
    /// that looks like it.
    fn tell(&self, delivery: &Delivery) -> Option<Effect> {
        let event = &delivery.event;
        let Told::Annotation(annotated) = Told::of(delivery) else {
            return None;
        };
        let notification = event.annotation()?;
        if !self.filter.matches(notification) {
            return None;
        }
        match self.class(notification) {
            Ok((class, flagged)) => annotated.frame(event, class, flagged).map(send),
            Err(reason) => Some(Effect::Count(Tally::Suppressed(reason))),
        }
    }

    /// As what this socket is told of an annotation, and whether its user
    /// flagged it; or why it is told nothing.
    fn class(&self, notification: &Notification) -> Result<(ViewerClass, bool), Reason> {
        if self.caused(notification) {
            return Err(Reason::Echo);
        }
        let viewer = self.viewer.as_deref();
        let userid = viewer.map(|viewer| &*viewer.userid);
        let role = |group: &str| viewer?.role(group);
        let is = |other: &Arc<str>| userid == Some(&**other);
        match notification.class_for(userid, role, self.strict) {
            Some(class) => Ok((class, notification.flaggers.iter().any(is))),
            None if notification.author_banned && !is(&notification.author) => {
                Err(Reason::ShadowBan)
            }
            None => Err(Reason::Permission),
        }
    }

    /// Whether this very tab caused it, which shows it already.
    fn caused(&self, notification: &Notification) -> bool {
        match (&notification.source_client_id, &self.client) {
            (Some(source), ClientId::Name(name)) => **source == **name,
            (None, ClientId::None) => self.strict,
            _ => false,
        }
    }

    /// One of our topics is subscribed; the last lets out what the client said meanwhile.
    fn confirmed(&mut self, topic: &Topic) -> Vec<Effect> {
        let mut effects = Vec::new();
        if *topic == self.annotations {
            // The hub's copy, which all sockets share.
            self.annotations.clone_from(topic);
        } else if let Some(viewer) = self.viewer.as_mut().filter(|v| v.topic == *topic) {
            viewer.topic.clone_from(topic);
            // What was withdrawn since the token was shown was told to nobody here.
            effects.extend(viewer.read_again());
        }
        if let Some(held) = self.held.take_if(|held| held.confirmed(topic)) {
            for text in held.said() {
                effects.extend(self.hear(&text));
            }
        }
        effects
    }

    fn wake(&self, now: Timestamp) -> Option<Effect> {
        let expires_at = self.viewer.as_ref()?.expires_at?;
        Some(if expires_at <= now {
            Effect::Close(CloseReason::Expired)
        } else {
            Effect::WakeAt(expires_at.min(now + LOOK))
        })
    }
}

impl Dialect for Hypothesis {
    fn open(&mut self, now: Timestamp) -> Vec<Effect> {
        let annotations = self.annotations.clone();
        let user = self.viewer.as_ref().map(|viewer| viewer.topic.clone());
        self.held = Some(Box::new(Held::until(&annotations, user.as_ref())));
        let mut effects = vec![Effect::Subscribe(annotations, Interest::none())];
        effects.extend(user.map(|user| Effect::Subscribe(user, Interest::All)));
        effects.extend(self.wake(now));
        effects
    }

    fn receive(&mut self, frame: &str, _now: Timestamp) -> Vec<Effect> {
        match &mut self.held {
            None => self.hear(frame),
            Some(held) => {
                let kept = held.hold(frame);
                let close = (!kept).then_some(Effect::Close(CloseReason::TooMuch));
                close.into_iter().collect()
            }
        }
    }

    /// The same as text, if it is text.
    fn receive_binary(&mut self, frame: &[u8], now: Timestamp) -> Vec<Effect> {
        match str::from_utf8(frame) {
            Ok(text) => self.receive(text, now),
            // Not JSON, whatever it is.
            Err(_) => self.receive("", now),
        }
    }

    fn deliver(&mut self, topic: &Topic, delivery: &Rc<Delivery>, _now: Timestamp) -> Vec<Effect> {
        match Told::of(delivery) {
            // Elsewhere producers say what they like.
            Told::Annotation(_) if *topic == self.annotations => {
                self.annotated(delivery).into_iter().collect()
            }
            Told::Membership(change, frame) => {
                let Some(viewer) = &mut self.viewer else {
                    return Vec::new();
                };
                if !self.strict {
                    viewer.change(change);
                }
                frame.iter().cloned().map(send).collect()
            }
            Told::SignedOut(out) => {
                let viewer = self.viewer.as_ref();
                let ours = viewer.is_some_and(|v| out.token.as_ref().is_none_or(|t| *t == v.token));
                let close = ours.then_some(Effect::Close(CloseReason::SignedOut));
                close.into_iter().collect()
            }
            Told::Annotation(_) | Told::Nothing => Vec::new(),
        }
    }

    fn answer(&mut self, answer: Answer, now: Timestamp) -> Vec<Effect> {
        let identity = match answer {
            Answer::Identity(identity) => identity,
            Answer::Missed(missed) => return self.missed(missed),
            _ => return Vec::new(),
        };
        let Some(viewer) = &mut self.viewer else {
            return Vec::new();
        };
        let Some(signed_in) = identity else {
            return vec![Effect::Close(CloseReason::SignedOut)];
        };
        let again = viewer.read(signed_in, self.strict);
        let mut effects: Vec<Effect> = again.into_iter().chain(self.wake(now)).collect();
        effects.extend(self.go_on());
        effects
    }

    fn notice(&mut self, notice: Notice<'_>, now: Timestamp) -> Vec<Effect> {
        match notice {
            Notice::Subscribed(topic) => self.confirmed(topic),
            // What the user may read must not be missed.
            Notice::Resumed(topic) => {
                let viewer = self.viewer.as_mut().filter(|v| v.topic == *topic);
                let again = viewer.and_then(|viewer| viewer.read_again());
                again.into_iter().collect()
            }
            // Who comes back reads again what was annotated. Who asked for nothing
            // misses nothing.
            Notice::Gap(topic) => {
                let missed = *topic == self.annotations && !self.filter.is_empty();
                let close = missed.then_some(Effect::Close(CloseReason::Missed));
                close.into_iter().collect()
            }
            Notice::Woken => self.wake(now).into_iter().collect(),
            Notice::Flushed(tag) => self.flushed(tag),
            Notice::Pinged(until) => {
                self.pinged_at = until;
                self.settled(until);
                Vec::new()
            }
            Notice::Answered => self.reached().into_iter().collect(),
            Notice::Expired(_) | Notice::News(..) => Vec::new(),
        }
    }

    fn kept(&self) -> usize {
        self.filter.kept() + self.held.as_deref().map_or(0, Held::bytes)
    }

    fn forget(&mut self) {
        self.filter = Filter::default();
        self.held = None;
    }
}

impl ClientId {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::None | Self::Odd => None,
        }
    }

    fn read(value: &RawValue) -> Self {
        match serde_json::from_str::<Option<Box<str>>>(value.get()) {
            Ok(None) => Self::None,
            Ok(Some(name)) if name.len() <= MAX_CLIENT_ID => Self::Name(name),
            Ok(Some(_)) | Err(_) => Self::Odd,
        }
    }
}

fn send(frame: Frame) -> Effect {
    Effect::Send(Outgoing {
        frame,
        expires_at: None,
        tag: None,
    })
}

fn heard(kind: MessageKind, outcome: Outcome) -> Effect {
    Effect::Count(Tally::Heard(kind, outcome))
}

#[cfg(test)]
mod tests;
