//! People, groups and tokens, as callers see them.

use async_graphql::{Context, ID, Object, SimpleObject};
use broker::identity::AccessTokenInfo;
use broker::people;

use super::input::{GroupKind, GroupRole};
use crate::failure::Failure;
use crate::schema::scalar::DateTime;
use crate::schema::{api, tenant};

/// A user of the protocols that have users.
pub(super) struct UserAccount(pub(super) people::User);

/// A user of the protocols that have users.
#[Object(name = "User")]
impl UserAccount {
    /// `acct:<name>@<authority>`.
    async fn userid(&self) -> Option<&str> {
        Some(&self.0.userid)
    }

    /// What people call them.
    async fn display_name(&self) -> Option<&str> {
        self.0.display_name.as_deref()
    }

    /// Shadow-banned: others see nothing of what they write.
    async fn banned(&self) -> Option<bool> {
        Some(self.0.banned)
    }

    /// Gone for good.
    async fn deleted(&self) -> Option<bool> {
        Some(self.0.deleted)
    }

    /// The groups they are in, by id, without that of everybody; at most 1000.
    async fn memberships(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<Option<Membership>>>, Failure> {
        let people = &api(ctx).people;
        let memberships = people.memberships(tenant(ctx), &self.0.userid).await?;
        let memberships = memberships.into_iter().map(|(group, role)| {
            Some(Membership {
                group: Some(ID(group.to_string())),
                role: Some(role.into()),
            })
        });
        Ok(Some(memberships.collect()))
    }
}

/// That a user is in a group.
#[derive(SimpleObject)]
pub(super) struct Membership {
    /// The id of the group.
    group: Option<ID>,
    /// As what.
    role: Option<GroupRole>,
}

/// Users who share what they write with each other, or with everybody.
pub(super) struct Group(pub(super) people::Group);

/// Users who share what they write with each other, or with everybody.
#[Object]
impl Group {
    /// The unique identifier of the group.
    async fn id(&self) -> Option<ID> {
        Some(ID(self.0.id.to_string()))
    }

    /// What people call it.
    async fn name(&self) -> Option<&str> {
        Some(&self.0.name)
    }

    /// Who may read and write there.
    async fn kind(&self) -> Option<GroupKind> {
        Some(self.0.kind.into())
    }

    /// What is shared there is hidden until a moderator approves.
    async fn pre_moderated(&self) -> Option<bool> {
        Some(self.0.pre_moderated)
    }

    /// Beginnings of the addresses that it is about.
    async fn scopes(&self) -> Option<Vec<Option<&str>>> {
        let scopes = self.0.scopes.iter();
        Some(scopes.map(|scope| Some(scope.as_str())).collect())
    }

    /// Nothing else may be annotated there.
    async fn enforce_scope(&self) -> Option<bool> {
        Some(self.0.enforce_scope)
    }

    /// The userid of who made it; null for the group of everybody.
    async fn creator(&self) -> Option<&str> {
        self.0.creator.as_deref()
    }
}

/// An access token with which a client acts as a user; not the token itself.
pub(super) struct AccessToken(pub(super) AccessTokenInfo);

/// An access token with which a client acts as a user; not the token itself.
#[Object]
impl AccessToken {
    /// Names the token, and opens nothing.
    async fn id(&self) -> Option<ID> {
        Some(ID(self.0.id.to_string()))
    }

    /// The user whom it names.
    async fn userid(&self) -> Option<&str> {
        Some(&self.0.userid)
    }

    /// What people call it.
    async fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// When it was made.
    async fn created_at(&self) -> Option<DateTime> {
        Some(self.0.created_at.into())
    }

    /// When it ends; null if it has no end.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(Into::into)
    }
}

/// A new access token.
#[derive(SimpleObject)]
pub(super) struct CreateAccessTokenResponse {
    /// Names the token, and opens nothing.
    pub(super) id: Option<ID>,
    /// What a client sends. Not stored: it cannot be shown again.
    pub(super) token: Option<String>,
    /// When it ends; null if it has no end.
    pub(super) expires_at: Option<DateTime>,
}
