//! What a socket asks of a Misskey, what it is answered, and what it is told
//! without having asked.

use std::sync::Arc;

use broker::event::Event;
use broker::key::KeySet;
use broker::misskey::caller::{Caller, Token};
use broker::misskey::viewer::Viewer;

use crate::relay::Relay;

/// A question on behalf of a socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Asking {
    /// Whose socket it is.
    pub caller: Arc<Caller>,
    /// What is asked.
    pub question: Question,
}

/// What a socket may ask. Of the checks there is one at a time per socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What the user follows and mutes by now; answered by [`Reply::Viewer`].
    Viewer,
    /// A check: is this list the user's own? Answered by [`Reply::Members`] or
    /// [`Reply::Refused`].
    List(Box<str>),
    /// A check: is this antenna the user's own? Answered by [`Reply::Allowed`] or
    /// [`Reply::Refused`].
    Antenna(Box<str>),
    /// A check: may everybody look at the notes of this role's users? Answered likewise.
    Role(Box<str>),
    /// A check: does the app's token allow to read chats? Answered likewise.
    Chat,
    /// A check: is the user in this chat room, and may the token read it? Answered likewise.
    ChatRoom(Box<str>),
    /// A note as the user may see it; always answered by [`Reply::Note`].
    Note(Box<str>),
    /// All notifications have been read. Not answered.
    ReadNotifications,
    /// A socket to the Misskey itself. Answered by [`Reply::Relay`] or
    /// [`Reply::RelayEnded`]; after the former, by what comes of it.
    Relay,
    /// What another user wrote has been read. Not answered.
    ReadChatUser(Box<str>),
    /// What was written in a room has been read. Not answered.
    ReadChatRoom(Box<str>),
}

/// What came of a question.
#[derive(Clone, Debug)]
pub enum Reply {
    /// What the user follows and mutes.
    Viewer(Arc<Viewer>),
    /// Yes.
    Allowed,
    /// Yes, and these users are on the list.
    Members(KeySet),
    /// No, or nobody can tell.
    Refused,
    /// The note of this id, packed for the user, as a `note` event; `None` if there
    /// is none, the user may not see it, or it cannot be had.
    Note(Box<str>, Option<Arc<Event>>),
    /// The way to the Misskey. It takes messages at once, though they may wait until
    /// it is connected; dropping it ends it, and nothing of it is told after that.
    Relay(Arc<Relay>),
    /// A message from the Misskey, as it came.
    Relayed(Box<str>),
    /// The way has ended, or could not be opened: it is refused, or there are too many.
    RelayEnded,
}

/// What sockets are told without having asked.
#[derive(Clone, Debug)]
pub enum News {
    /// What the user follows and mutes is otherwise than before. To the
    /// listeners of the user's topic; that of visitors, to those of
    /// `channel:broadcast`, which concerns only visitors.
    Viewer(Arc<Viewer>),
    /// The user is suspended or gone, or, if there is one, only this token is.
    /// To the listeners of the user's topic.
    SignedOut(Option<Token>),
    /// The role of this topic may not be looked at any more.
    RoleClosed,
    /// The antenna of this topic is gone.
    AntennaGone,
}
