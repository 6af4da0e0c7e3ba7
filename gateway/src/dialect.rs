//! What a wire protocol is to the rest of the gateway: a state machine that is
//! told what happened and answers with effects.

pub mod push;
pub mod hypothesis;
pub mod misskey;

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use broker::Timestamp;
use broker::event::Event;
use broker::identity::SignedIn;
use broker::message::{GlobalMessage, Message, MessageId};
use broker::resumption::Client;
use broker::topic::Topic;

use crate::close::CloseReason;
use crate::interest::{Interest, Keys};
use crate::relay::Relay;
use crate::websocket::Frame;

/// Which wire protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Messages pushed to a recipient.
    Push,
    /// Annotations as they are made.
    Hypothesis,
    /// Notes and notifications of a Misskey.
    Misskey,
}

impl Protocol {
    /// All of them, each in its place.
    pub const EVERY: [Self; 3] = [Self::Push, Self::Hypothesis, Self::Misskey];

    /// The name under which it is counted.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Hypothesis => "hypothesis",
            Self::Misskey => "misskey",
        }
    }
}

/// One wire protocol, speaking for one connection.
///
/// A dialect never waits: it is told what happened and answers with effects.
/// It holds no socket, no Redis handle and no clock, so every rule of the
/// protocol can be tested as a conversation.
pub trait Dialect {
    /// The client is connected and identified.
    fn open(&mut self, now: Timestamp) -> Vec<Effect>;

    /// The client sent a text message.
    fn receive(&mut self, frame: &str, now: Timestamp) -> Vec<Effect>;

    /// The client sent a binary message.
    fn receive_binary(&mut self, frame: &[u8], now: Timestamp) -> Vec<Effect>;

    /// The client sent a text message before it had heard that its session is over.
    /// Of what follows from it nothing can be sent.
    fn receive_late(&mut self, _frame: &str) -> Vec<Effect> {
        Vec::new()
    }

    /// An event arrived on a topic this connection subscribed to.
    fn deliver(&mut self, topic: &Topic, delivery: &Rc<Delivery>, now: Timestamp) -> Vec<Effect>;

    /// An errand came back.
    fn answer(&mut self, answer: Answer, now: Timestamp) -> Vec<Effect>;

    /// Something the dialect may care about.
    fn notice(&mut self, notice: Notice<'_>, now: Timestamp) -> Vec<Effect>;

    /// About how many bytes are kept of what the client said, beside the topics that
    /// it listens to.
    fn kept(&self) -> usize {
        0
    }

    /// The session is over: drops what [`kept`](Self::kept) counts. What was sent before
    /// may still be [flushed](Notice::Flushed).
    fn forget(&mut self) {}
}

/// What a dialect wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a frame to the client.
    Send(Outgoing),
    /// Listen to a topic. [`Notice::Subscribed`] follows once Redis confirmed it.
    /// Whoever listens to it already counts twice, and wants of it what was
    /// wanted before.
    Subscribe(Topic, Interest),
    /// Want this of a topic instead. It holds for every event that comes after,
    /// and costs Redis nothing.
    Want(Topic, Interest),
    /// Stop listening to a topic.
    Unsubscribe(Topic),
    /// Have something done that takes time.
    Ask(Errand),
    /// Send a message to the Misskey at the other end. Never waits; see [`Relay::forward`].
    Forward(Arc<Relay>, Box<str>),
    /// Give [`Notice::Woken`] at this time.
    WakeAt(Timestamp),
    /// Note something for the metrics.
    Count(Tally),
    /// End the connection.
    Close(CloseReason),
}

/// What a dialect has counted, as only it understands what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A message from the client, by its kind and what came of it.
    Heard(hypothesis::MessageKind, hypothesis::Outcome),
    /// An event that the client asked for and does not get.
    Suppressed(hypothesis::Reason),
    /// A message from a client of a Misskey, by its kind and what came of it.
    Said(misskey::MessageKind, misskey::Outcome),
    /// An event that such a client asked for and does not get.
    Withheld(misskey::Reason),
}

/// A frame on its way to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Its bytes, shared by all sockets that get the same.
    pub frame: Frame,
    /// It is dropped if it could not be written before this.
    pub expires_at: Option<Timestamp>,
    /// If set, the dialect hears what became of the frame.
    pub tag: Option<Tag>,
}

/// Which message a frame carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Tag {
    /// One of the recipient's own.
    Message(MessageId),
    /// A global one.
    Global(Arc<GlobalMessage>),
}

impl Tag {
    /// The id of the message.
    pub fn id(&self) -> MessageId {
        match self {
            Self::Message(id) => *id,
            Self::Global(global) => global.id,
        }
    }
}

/// Something that takes time, done beside the shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// Read what a socket has not been sent; answered by [`Answer::Backlog`].
    Backlog {
        /// The recipient.
        recipient: Topic,
        /// The label its socket was registered with.
        label: Option<Arc<str>>,
        /// When the socket was asked for, by Redis' clock: what was created
        /// from then on is its own even if another socket took it.
        since: Timestamp,
        /// Only what is younger than this.
        after: Option<MessageId>,
    },
    /// Note that a message was delivered. Not answered.
    Mark(Mark),
    /// Make the recipient's own copy of a live global message; answered by [`Answer::Claimed`].
    Claim {
        /// The recipient.
        recipient: Topic,
        /// The global message.
        global: Arc<GlobalMessage>,
    },
    /// Find what was published on a topic of annotations while a client was away,
    /// and expect it to come back; answered by [`Answer::Missed`].
    Missed {
        /// The topic.
        annotations: Topic,
        /// The client.
        client: Box<Client>,
    },
    /// Note that a client has all that was published before a time. Not answered.
    Reached {
        /// The client.
        client: Box<Client>,
        /// In Unix milliseconds by Redis' clock.
        until: u64,
    },
    /// Read once more whom an access token names; answered by [`Answer::Identity`].
    /// What is known so far may lack the groups.
    Identity(Box<SignedIn>),
    /// Ask what only a Misskey, or what it keeps, can tell; answered by
    /// [`Answer::Misskey`] where the question says so.
    Misskey(Box<misskey::Asking>),
}

/// A delivery to be noted.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// To whom.
    pub recipient: Topic,
    /// What.
    pub what: Tag,
}

/// What came of an errand.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A page of what waited, oldest first.
    Backlog {
        /// The messages.
        messages: Vec<Message>,
        /// If there are further ones: what to read on after.
        more: Option<MessageId>,
    },
    /// The recipient was revoked after this socket was asked for; nobody heard of
    /// it, as the link was down or the topic not subscribed yet.
    Revoked,
    /// The recipient's own copy of a global message.
    Claimed {
        /// The global message.
        global: Arc<GlobalMessage>,
        /// The id of the copy.
        id: MessageId,
    },
    /// What was published while a client was away; `None` if it was not here of
    /// late, or if that cannot be told.
    Missed(Option<hypothesis::Missed>),
    /// Whom the token names now; `None` if it opens nothing any more.
    Identity(Option<SignedIn>),
    /// What a Misskey, or what it keeps, tells.
    Misskey(misskey::Reply),
}

/// Something a dialect may care about.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// The topic is subscribed: nothing published on it from now on is missed.
    Subscribed(&'a Topic),
    /// The topic is subscribed again: what is kept elsewhere is to be read again.
    /// Events in between follow, or [`Notice::Gap`] does.
    Resumed(&'a Topic),
    /// Events on the topic are lost for good, or may be.
    Gap(&'a Topic),
    /// A tagged frame has been handed to the kernel.
    Flushed(&'a Tag),
    /// A tagged frame was dropped because it expired before it could be written.
    Expired(&'a Tag),
    /// Something is otherwise than before: of the user of this topic, or of what is
    /// looked at.
    News(&'a Topic, &'a misskey::News),
    /// The client was sent a ping. All that was published before this time, in Unix
    /// milliseconds by Redis' clock, has been delivered before; 0 if nobody knows.
    Pinged(u64),
    /// The client answered a ping: it has what was sent before the last.
    Answered,
    /// The time of a [`Effect::WakeAt`] has come.
    Woken,
}

/// An event on its way to the sessions of one shard, with what each dialect
/// makes of it once for all of them.
#[derive(Debug)]
pub struct Delivery {
    /// What happened.
    pub event: Arc<Event>,
    /// As the push dialect reads it.
    pub pushed: OnceCell<Option<push::Pushed>>,
    /// As the Hypothesis dialect reads it.
    pub told: OnceCell<hypothesis::Told>,
    /// As that of Misskey reads it.
    pub misskey: OnceCell<Box<misskey::Told>>,
}

impl Delivery {
    /// A delivery that no dialect has looked at yet.
    pub fn new(event: Arc<Event>) -> Self {
        Self {
            event,
            pushed: OnceCell::new(),
            told: OnceCell::new(),
            misskey: OnceCell::new(),
        }
    }

    /// What sessions with keys are found by. An event has keys if it tells of an
    /// annotation or of a note.
    pub fn keys(&self) -> Keys {
        let annotation = self.event.annotation().map(hypothesis::keys);
        annotation
            .or_else(|| self.event.note().map(misskey::timeline::keys))
            .unwrap_or_default()
    }
}
