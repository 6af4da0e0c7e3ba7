//! The channels that a client may open, and what each asks of it.

use std::sync::Arc;

use broker::topic::Topic;

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
    pub(super) name: Name,
    /// Where its own events come from, if that is no topic of the whole socket.
    pub(super) topic: Option<Topic>,
}
