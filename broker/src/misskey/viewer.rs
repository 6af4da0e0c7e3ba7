//! What a user follows, mutes and is blocked by: a snapshot, shared by all
//! sockets of the user on a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::key::{Key, KeySet};

/// Who looks at notes, and what that depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewer {
    /// Which of several snapshots of the same user, or of visitors, is the later:
    /// the one with more.
    pub version: u64,
    /// The user; `None` for visitors, who have none of the relations either.
    pub me: Option<Me>,
    /// Users whom the user follows.
    pub following: KeySet,
    /// Those of them whose replies to others are wanted too.
    pub with_replies: KeySet,
    /// Users whom the user mutes.
    pub muting: KeySet,
    /// Users who block the user.
    pub blocked_by: KeySet,
    /// Users whose pure renotes the user mutes.
    pub renote_muting: KeySet,
    /// Channels that the user follows.
    pub followed_channels: KeySet,
    /// Channels that the user mutes.
    pub muted_channels: KeySet,
    /// Hosts that the user mutes.
    pub muted_servers: KeySet,
    /// Which timelines the user may see.
    pub policies: Policies,
    /// What visitors may see.
    pub visitors: Visitors,
}

static VERSIONS: AtomicU64 = AtomicU64::new(1);

impl Viewer {
    /// The same, as a later snapshot than all that were made before.
    pub fn later(self) -> Arc<Self> {
        let version = VERSIONS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { version, ..self })
    }
}

/// A user as a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// The user's id.
    pub id: Arc<str>,
    /// What stands for it.
    pub key: Key,
}

/// Which timelines of everybody's notes somebody may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// The local one, and with it the hybrid one.
    pub local: bool,
    /// The global one.
    pub global: bool,
}

/// Both may be seen, as by default.
impl Default for Policies {
    fn default() -> Self {
        Self {
            local: true,
            global: true,
        }
    }
}

/// What those see who are not signed in (`ugcVisibilityForVisitor`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visitors {
    /// Notes of everybody.
    #[default]
    All,
    /// Notes of the host's own users.
    Local,
    /// No notes.
    None,
}
