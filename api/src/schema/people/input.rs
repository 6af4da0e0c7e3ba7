//! What callers say of people, and what must hold of it.

use std::sync::Arc;

use async_graphql::{Enum, ID, InputObject, MaybeUndefined};
use broker::Timestamp;
use broker::people::{self, GroupDraft, GroupPatch, UserPatch};

use crate::failure::Failure;
use crate::schema::input::check_name;
use crate::schema::scalar::DateTime;

/// Most scopes of a group.
const MAX_SCOPES: usize = 64;
/// Longest scope, in bytes.
const MAX_SCOPE: usize = 2048;

/// Who may read and write in a group.
#[derive(Clone, Copy, Enum, PartialEq, Eq)]
#[graphql(remote = "broker::people::GroupKind")]
pub(super) enum GroupKind {
    /// Anybody reads, every user writes.
    Open,
    /// Anybody reads, members write.
    Restricted,
    /// Members read and write.
    Private,
}

/// What a member may do in a group.
#[derive(Clone, Copy, Default, Enum, PartialEq, Eq)]
#[graphql(remote = "broker::people::Role")]
pub(super) enum GroupRole {
    /// Reads and writes.
    #[default]
    Member,
    /// Also hides what others wrote.
    Moderator,
    /// Also manages members.
    Admin,
    /// Also made it.
    Owner,
}

/// A user to be made.
#[derive(InputObject)]
pub(super) struct CreateUserInput {
    /// `acct:<name>@<authority>`.
    userid: String,
    /// What people call them.
    display_name: Option<String>,
    /// Shadow-banned: others see nothing of what they write. False without it.
    banned: Option<bool>,
}

/// What to change of a user; what is not given stays.
#[derive(InputObject)]
pub(super) struct UpdateUserInput {
    /// Which user.
    userid: String,
    /// What people call them; null for nothing.
    display_name: MaybeUndefined<String>,
    /// Shadow-banned: others see nothing of what they write.
    banned: Option<bool>,
}

/// A group to be made.
#[derive(InputObject)]
pub(super) struct CreateGroupInput {
    /// Its id: 1 to 64 letters, digits, `_` or `-`. One is chosen without it.
    id: Option<ID>,
    /// What people call it.
    name: String,
    /// Who may read and write there.
    kind: GroupKind,
    /// The userid of its owner.
    creator: String,
    /// What is shared there is hidden until a moderator approves. False without it.
    pre_moderated: Option<bool>,
    /// Beginnings of the addresses that it is about; at most 64.
    scopes: Option<Vec<String>>,
    /// Nothing else may be annotated there. False without it.
    enforce_scope: Option<bool>,
}

/// What to change of a group; what is not given stays.
#[derive(InputObject)]
pub(super) struct UpdateGroupInput {
    /// Which group.
    id: ID,
    /// What people call it.
    name: Option<String>,
    /// Who may read and write there.
    kind: Option<GroupKind>,
    /// What is shared there is hidden until a moderator approves.
    pre_moderated: Option<bool>,
    /// Beginnings of the addresses that it is about; at most 64.
    scopes: Option<Vec<String>>,
    /// Nothing else may be annotated there.
    enforce_scope: Option<bool>,
}

/// A user to be let into a group.
#[derive(InputObject)]
pub(super) struct JoinGroupInput {
    /// Which group.
    pub(super) group: ID,
    /// Which user.
    pub(super) userid: String,
    /// As what; MEMBER without it.
    pub(super) role: Option<GroupRole>,
}

/// A user to be taken out of a group.
#[derive(InputObject)]
pub(super) struct LeaveGroupInput {
    /// Which group.
    pub(super) group: ID,
    /// Which user.
    pub(super) userid: String,
}

/// A member to be given another role.
#[derive(InputObject)]
pub(super) struct SetGroupRoleInput {
    /// Which group.
    pub(super) group: ID,
    /// Which member.
    pub(super) userid: String,
    /// As what from now on.
    pub(super) role: GroupRole,
}

/// An access token to be made.
#[derive(InputObject)]
pub(super) struct CreateAccessTokenInput {
    /// The user whom it names.
    userid: String,
    /// What people call it.
    name: Option<String>,
    /// From then on it opens nothing. Without it, it has no end.
    expires_at: Option<DateTime>,
}

impl CreateUserInput {
    /// The userid, and what is known of the user.
    pub(super) fn check(self) -> Result<(String, UserPatch), Failure> {
        let name = self.display_name.map(|name| display_name(&name));
        let known = UserPatch {
            display_name: name.transpose()?.map(Some),
            banned: self.banned,
            preferences: None,
        };
        Ok((self.userid, known))
    }
}

impl UpdateUserInput {
    /// The userid, and what changes.
    pub(super) fn check(self) -> Result<(String, UserPatch), Failure> {
        let name = match self.display_name {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(name) => Some(Some(display_name(&name)?)),
        };
        let patch = UserPatch {
            display_name: name,
            banned: self.banned,
            preferences: None,
        };
        Ok((self.userid, patch))
    }
}

impl CreateGroupInput {
    /// All but what the broker checks itself.
    pub(super) fn check(self) -> Result<GroupDraft, Failure> {
        check_name("input.name", &self.name)?;
        Ok(GroupDraft {
            id: self.id.map(|ID(id)| id),
            name: self.name,
            kind: self.kind.into(),
            pre_moderated: self.pre_moderated.unwrap_or_default(),
            scopes: self.scopes.map(scopes).transpose()?.unwrap_or_default(),
            enforce_scope: self.enforce_scope.unwrap_or_default(),
            creator: self.creator.into(),
        })
    }
}

impl UpdateGroupInput {
    /// The id, and what changes.
    pub(super) fn check(self) -> Result<(String, GroupPatch), Failure> {
        if let Some(name) = &self.name {
            check_name("input.name", name)?;
        }
        let patch = GroupPatch {
            name: self.name,
            kind: self.kind.map(people::GroupKind::from),
            pre_moderated: self.pre_moderated,
            scopes: self.scopes.map(scopes).transpose()?,
            enforce_scope: self.enforce_scope,
        };
        Ok((self.id.0, patch))
    }
}

/// The userid, what people call the token, and when it ends.
type Checked = (Arc<str>, Option<String>, Option<Timestamp>);

impl CreateAccessTokenInput {
    /// All but what the broker checks itself.
    pub(super) fn check(self, now: Timestamp) -> Result<Checked, Failure> {
        if let Some(name) = &self.name {
            check_name("input.name", name)?;
        }
        let at = "input.expiresAt";
        let expires_at = match self.expires_at {
            None => None,
            Some(DateTime(Err(error))) => return Err(Failure::bad(at, error)),
            Some(DateTime(Ok(end))) if end <= now => {
                return Err(Failure::bad(at, "lies in the past"));
            }
            Some(DateTime(Ok(end))) => Some(end),
        };
        Ok((self.userid.into(), self.name, expires_at))
    }
}

fn display_name(name: &str) -> Result<String, Failure> {
    check_name("input.displayName", name).map(|name| name.to_string())
}

fn scopes(scopes: Vec<String>) -> Result<Vec<String>, Failure> {
    let at = "input.scopes";
    let fits = |scope: &String| {
        (1..=MAX_SCOPE).contains(&scope.len()) && !scope.chars().any(char::is_control)
    };
    if MAX_SCOPES < scopes.len() {
        Err(Failure::bad(
            at,
            format!("at most {MAX_SCOPES} are allowed"),
        ))
    } else if !scopes.iter().all(fits) {
        let why = format!("each has 1 to {MAX_SCOPE} bytes and no control characters");
        Err(Failure::bad(at, why))
    } else {
        Ok(scopes)
    }
}
