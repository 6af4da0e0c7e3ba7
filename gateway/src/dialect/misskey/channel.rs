//! The channels that a client may open, and what each asks of it.

use std::sync::Arc;

use broker::topic::Topic;
use serde_json::value::RawValue;

use super::timeline::Timeline;

/// Channels that one socket may have open; further ones are ignored.
pub(super) const MAX_CHANNELS: usize = 32;

/// What the client calls a channel, as it stands in JSON. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JoinId(Arc<str>);

impl JoinId {
    pub(super) fn new(id: &str) -> Self {
        Self(super::told::quoted(id).into())
    }

    /// With its quotes.
    pub(super) fn json(&self) -> &str {
        &self.0
    }
}

/// The channels of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Main,
    HomeTimeline,
    LocalTimeline,
    HybridTimeline,
    GlobalTimeline,
    UserList,
    Hashtag,
    RoleTimeline,
    Antenna,
    Channel,
    Drive,
    ServerStats,
    QueueStats,
    Admin,
    ChatUser,
    ChatRoom,
    Reversi,
    ReversiGame,
}

/// What a user's app must have been permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Every app that gets a socket has it.
    Account,
    /// The host must be asked.
    Chat,
    /// No app can be given it.
    Moderation,
}

impl Name {
    pub(super) fn read(name: &str) -> Option<Self> {
        Some(match name {
            "main" => Self::Main,
            "homeTimeline" => Self::HomeTimeline,
            "localTimeline" => Self::LocalTimeline,
            "hybridTimeline" => Self::HybridTimeline,
            "globalTimeline" => Self::GlobalTimeline,
            "userList" => Self::UserList,
            "hashtag" => Self::Hashtag,
            "roleTimeline" => Self::RoleTimeline,
            "antenna" => Self::Antenna,
            "channel" => Self::Channel,
            "drive" => Self::Drive,
            "serverStats" => Self::ServerStats,
            "queueStats" => Self::QueueStats,
            "admin" => Self::Admin,
            "chatUser" => Self::ChatUser,
            "chatRoom" => Self::ChatRoom,
            "reversi" => Self::Reversi,
            "reversiGame" => Self::ReversiGame,
            _ => return None,
        })
    }

    /// What an app needs, for channels that need a signed-in user; `None` if the
    /// channel is for everybody.
    pub(super) fn permission(self) -> Option<Permission> {
        match self {
            Self::Main
            | Self::HomeTimeline
            | Self::HybridTimeline
            | Self::Antenna
            | Self::Drive
            | Self::Reversi => Some(Permission::Account),
            Self::ChatUser | Self::ChatRoom => Some(Permission::Chat),
            Self::Admin => Some(Permission::Moderation),
            Self::LocalTimeline
            | Self::GlobalTimeline
            | Self::UserList
            | Self::Hashtag
            | Self::RoleTimeline
            | Self::Channel
            | Self::ServerStats
            | Self::QueueStats
            | Self::ReversiGame => None,
        }
    }

    /// Whether only the host can serve it, or all of it.
    pub(super) fn is_host_s(self) -> bool {
        matches!(
            self,
            Self::ServerStats | Self::QueueStats | Self::ReversiGame
        )
    }

    /// Whether a socket may have it open only once.
    pub(super) fn is_shared(self) -> bool {
        matches!(
            self,
            Self::Main
                | Self::Drive
                | Self::ServerStats
                | Self::QueueStats
                | Self::Admin
                | Self::Reversi
        )
    }
}

/// A channel that is open.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) join: JoinId,
    pub(super) kind: Kind,
    /// Where its own events come from, if that is no topic of the whole socket.
    pub(super) topic: Option<Topic>,
    /// Which notes it shows, if it shows any.
    pub(super) timeline: Option<Box<Timeline>>,
}

/// Who serves a channel.
#[derive(Debug)]
pub(super) enum Kind {
    /// We do.
    Own(Name),
    /// The host does, through a relay.
    Relayed(Box<Relayed>),
}

/// What the host is told to open a channel.
#[derive(Debug)]
pub(super) struct Relayed {
    pub(super) channel: Box<str>,
    pub(super) params: Option<Box<RawValue>>,
    /// Whether the client has still to hear that it is open.
    pub(super) pong: bool,
}

impl Channel {
    /// Its name, if it is one of the protocol's own.
    pub(super) fn name(&self) -> Option<Name> {
        match &self.kind {
            Kind::Own(name) => Some(*name),
            Kind::Relayed(relayed) => Name::read(&relayed.channel),
        }
    }

    /// Whether the host serves it.
    pub(super) fn is_relayed(&self) -> bool {
        matches!(self.kind, Kind::Relayed(_))
    }

    /// Whether it shows notes of the stream of all notes, as it does in the end also
    /// with what antennas find.
    pub(super) fn hears_notes(&self) -> bool {
        self.timeline
            .as_deref()
            .is_some_and(|timeline| !matches!(timeline, Timeline::Role))
    }
}
