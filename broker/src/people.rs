//! Users, groups, and who is in which.

mod group;
mod session;
mod store;
mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use group::{BadGroupId, Group, GroupDraft, GroupPatch, check_group_id};
pub use session::{Session, SessionGroup};
pub use store::{People, Refused};
pub use user::{BadUserid, User, UserPatch, check_userid};

use crate::topic::{Tenant, Topic, TopicKind};

/// The type of an event that carries a [`MembershipChange`].
pub const MEMBERSHIP: &str = "membership";
/// The type of an event that carries a [`SignedOut`].
pub const SIGNED_OUT: &str = "signed-out";

/// Where what concerns one user is told.
pub fn topic(tenant: &Tenant, userid: &str) -> Topic {
    Topic::new(tenant, TopicKind::User, userid)
}

/// What a member may do in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also hides what others wrote.
    Moderator,
    /// Also manages members.
    Admin,
    /// Also made it.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const EVERY: [Self; 4] = [Self::Member, Self::Moderator, Self::Admin, Self::Owner];

    /// Its name, as it is kept and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether it may hide what others wrote, and sees what is hidden.
    pub fn moderates(self) -> bool {
        Self::Moderator <= self
    }
}

/// The groups a user is in, by id, and as what. The group of everybody is not
/// among them.
pub type Memberships = BTreeMap<Arc<str>, Role>;

/// Who may read and write in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// Anybody reads, every user writes.
    Open,
    /// Anybody reads, members write.
    Restricted,
    /// Members read and write.
    Private,
}

impl GroupKind {
    /// Its name, as it is kept and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Restricted => "restricted",
            Self::Private => "private",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Open, Self::Restricted, Self::Private]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Whether anybody reads what is shared with it.
    pub fn is_public(self) -> bool {
        self != Self::Private
    }
}

/// A user joined or left a group, or has another role there. The body of an
/// event on the user's topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MembershipChange {
    /// What clients are told, if they are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<MembershipAction>,
    /// Which group.
    pub group: Arc<str>,
    /// As what the user is in it now; `None` once out of it.
    pub role: Option<Role>,
    /// The user's session as clients know it, after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<RawValue>>,
}

/// A change of membership that clients are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MembershipAction {
    /// The user is in the group now.
    GroupJoin,
    /// The user no longer is.
    GroupLeave,
}

/// An access token of the user was withdrawn. The body of an event on the
/// user's topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedOut {
    /// Which token, by its id; `None` for all of the user's.
    pub token: Option<Arc<str>>,
}
