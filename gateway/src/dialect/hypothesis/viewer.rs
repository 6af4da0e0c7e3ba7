//! Who is signed in on a socket, as of now.

use std::sync::Arc;

use broker::Timestamp;
use broker::identity::SignedIn;
use broker::people::{self, MembershipChange, Memberships, Role};
use broker::topic::Topic;

use super::super::{Effect, Errand};

/// The user of a socket.
#[derive(Debug)]
pub(super) struct Viewer {
    /// `acct:<name>@<authority>`.
    pub(super) userid: Arc<str>,
    /// Where what concerns the user is told.
    pub(super) topic: Topic,
    /// The token, by its id.
    pub(super) token: Arc<str>,
    /// From then on the token opens nothing.
    pub(super) expires_at: Option<Timestamp>,
    /// Groups and roles, by group: a map would take ten times the memory.
    memberships: Box<[(Arc<str>, Role)]>,
    /// The groups that the token speaks for.
    vouched: Arc<[Arc<str>]>,
    reading: Reading,
}

/// Whether the user is being read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Not,
    /// Asked for.
    Asked,
    /// Asked for, but something changed since, so that the answer may be of before.
    Outdated,
}

impl Viewer {
    /// A user who has shown a token.
    pub(super) fn new(signed_in: SignedIn) -> Self {
        Self {
            topic: people::topic(&signed_in.tenant, &signed_in.userid),
            userid: signed_in.userid,
            token: signed_in.token,
            expires_at: signed_in.expires_at,
            memberships: sorted(signed_in.memberships),
            vouched: signed_in.vouched,
            reading: Reading::Not,
        }
    }

    /// What the user is in a group.
    pub(super) fn role(&self, group: &str) -> Option<Role> {
        let at = self.place(group).ok()?;
        Some(self.memberships[at].1)
    }

    /// The user joined or left a group, or has another role there.
    pub(super) fn change(&mut self, change: &MembershipChange) {
        let mut memberships = std::mem::take(&mut self.memberships).into_vec();
        memberships.retain(|(group, _)| *group != change.group);
        if let Some(role) = change.role {
            let at = memberships.partition_point(|(group, _)| *group < change.group);
            memberships.insert(at, (Arc::clone(&change.group), role));
        } else if self.vouched.contains(&change.group) {
            // What the token said is older.
            let vouched = self.vouched.iter().filter(|group| **group != change.group);
            self.vouched = vouched.cloned().collect();
        }
        self.memberships = memberships.into();
        if self.reading == Reading::Asked {
            self.reading = Reading::Outdated;
        }
    }

    /// Events of the user may have been missed: asks for what holds now, unless
    /// that is being done; then once more.
    pub(super) fn read_again(&mut self) -> Option<Effect> {
        if self.reading != Reading::Not {
            self.reading = Reading::Outdated;
            return None;
        }
        self.reading = Reading::Asked;
        Some(Effect::Ask(Errand::Identity(Box::new(SignedIn {
            tenant: self.topic.tenant(),
            userid: Arc::clone(&self.userid),
            memberships: Memberships::new(),
            vouched: Arc::clone(&self.vouched),
            token: Arc::clone(&self.token),
            expires_at: self.expires_at,
        }))))
    }

    /// Whether what holds now is not known yet.
    pub(super) fn is_being_read(&self) -> bool {
        self.reading != Reading::Not
    }

    /// What holds now, if nothing changed since it was asked for; else it is
    /// asked for again. A `frozen` user stays in the groups of the beginning.
    pub(super) fn read(&mut self, signed_in: SignedIn, frozen: bool) -> Option<Effect> {
        let outdated = self.reading == Reading::Outdated;
        self.reading = Reading::Not;
        if outdated {
            return self.read_again();
        }
        self.expires_at = signed_in.expires_at;
        if !frozen {
            self.memberships = sorted(signed_in.memberships);
        }
        None
    }

    fn place(&self, group: &str) -> Result<usize, usize> {
        self.memberships
            .binary_search_by(|(known, _)| (**known).cmp(group))
    }
}

fn sorted(memberships: Memberships) -> Box<[(Arc<str>, Role)]> {
    memberships.into_iter().collect()
}
