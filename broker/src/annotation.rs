//! What was annotated, who may read it, and what is told of it.
//!
//! An annotation event is published once, on the tenant's topic
//! `channel:annotations`; it carries all that a gateway needs to decide who gets
//! it and what each sees, so that no gateway ever asks a store.

pub mod uri;
pub mod document;
pub mod schema;
pub mod readers;
pub mod view;
pub mod store;
pub mod ingest;

pub use readers::ViewerClass;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::topic::{Tenant, Topic, TopicKind};

/// The group of everybody: anyone reads it, every user writes in it.
pub const WORLD: &str = "__world__";

/// The type of an event that carries a [`Notification`].
pub const ANNOTATION: &str = "annotation";

/// Where the annotations of a tenant are told.
pub fn topic(tenant: &Tenant) -> Topic {
    Topic::new(tenant, TopicKind::Channel, "annotations")
}

/// Whether the annotations of a tenant are told there.
pub fn is_topic(topic: &Topic) -> bool {
    topic.as_str()[topic.owner().len()..] == *":channel:annotations"
}

/// What happened to an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was made.
    Create,
    /// It, or what moderators think of it, was changed.
    Update,
    /// It is gone.
    Delete,
}

/// What moderators think of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Moderation {
    /// Everybody who reads the group sees it.
    Approved,
    /// Hidden until somebody has looked.
    Pending,
    /// Hidden: not wanted.
    Denied,
    /// Hidden: spam.
    Spam,
}

impl Moderation {
    /// Its name, as it is kept and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "APPROVED",
            Self::Pending => "PENDING",
            Self::Denied => "DENIED",
            Self::Spam => "SPAM",
        }
    }

    /// The status of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Approved, Self::Pending, Self::Denied, Self::Spam]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// Who reads what is shared with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readable {
    /// Anybody, without signing in too.
    World,
    /// Its members.
    Members,
    /// Nobody any more: the group is gone.
    Nobody,
}

/// A group, as far as it decides who gets an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audience {
    /// The group's id.
    pub id: Arc<str>,
    /// Who reads it.
    pub readable_by: Readable,
}

/// The body of an annotation event.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// What happened.
    pub action: Change,
    /// Which annotation.
    pub id: Arc<str>,
    /// The annotation as a reader sees it who is neither author nor moderator
    /// and from whom nothing is hidden; only `{"id": …}` once it is gone.
    pub annotation: Box<RawValue>,
    /// Its author, `acct:<name>@<authority>`.
    pub author: Arc<str>,
    /// The author is shadow-banned: others get nothing of what they do.
    #[serde(default)]
    pub author_banned: bool,
    /// Where it is.
    pub group: Audience,
    /// Whether it is shared with its group; otherwise it is its author's alone.
    pub shared: bool,
    /// What moderators think of it, if anybody was asked.
    #[serde(default)]
    pub moderation: Option<Moderation>,
    /// What it answers, root first.
    #[serde(default)]
    pub references: Vec<Arc<str>>,
    /// The normalised addresses of what was annotated, with versions: what a
    /// filter on `/uri` is compared with.
    #[serde(default)]
    pub scope_keys: Vec<Arc<str>>,
    /// The tab that caused it, which shows it already.
    #[serde(default)]
    pub source_client_id: Option<Arc<str>>,
    /// The users who flagged it.
    #[serde(default)]
    pub flaggers: Vec<Arc<str>>,
}

impl Notification {
    /// Whether only its author and moderators may see it.
    pub fn hidden(&self) -> bool {
        self.moderation
            .is_some_and(|status| status != Moderation::Approved)
    }
}
