//! Users, groups, memberships, and the access tokens that name users.

mod input;
mod types;

use async_graphql::{Context, ID, Object};
use broker::Timestamp;
use broker::identity::{AccessTokenInfo, NewAccessToken, NotCreated};
use broker::people::{Refused, User, check_userid};
use broker::sites::Site;

use self::input::{
    CreateAccessTokenInput, CreateGroupInput, CreateUserInput, JoinGroupInput, LeaveGroupInput,
    SetGroupRoleInput, UpdateGroupInput, UpdateUserInput,
};
use self::types::{AccessToken, CreateAccessTokenResponse, Group, UserAccount};
use super::{api, tenant};
use crate::failure::{Code, Failure};

/// The queries about people.
#[derive(Default)]
pub(super) struct PeopleQuery;

/// The mutations of people.
#[derive(Default)]
pub(super) struct PeopleMutation;

#[Object]
impl PeopleQuery {
    /// What is known of a user; null for one who was never made, though another
    /// system's token may name them.
    async fn user(
        &self,
        ctx: &Context<'_>,
        userid: String,
    ) -> Result<Option<UserAccount>, Failure> {
        check_userid(&userid).map_err(|error| Failure::bad("userid", error))?;
        let found = api(ctx).people.user(tenant(ctx), &userid).await?;
        Ok(found.map(UserAccount))
    }

    /// One group; null if there is none of this id.
    async fn group(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Group>, Failure> {
        let found = api(ctx).people.group(tenant(ctx), &id).await?;
        Ok(found.map(Group))
    }

    /// A user's access tokens that open something, oldest first; at most 1000.
    async fn access_tokens(
        &self,
        ctx: &Context<'_>,
        userid: String,
    ) -> Result<Option<Vec<Option<AccessToken>>>, Failure> {
        check_userid(&userid).map_err(|error| Failure::bad("userid", error))?;
        let tokens = api(ctx).access_tokens.list(tenant(ctx), &userid).await?;
        let tokens = tokens.into_iter().map(|token| Some(AccessToken(token)));
        Ok(Some(tokens.collect()))
    }
}

#[Object]
impl PeopleMutation {
    /// Makes a user. Users whom another system's tokens name need not be made.
    async fn create_user(
        &self,
        ctx: &Context<'_>,
        input: CreateUserInput,
    ) -> Result<Option<UserAccount>, Failure> {
        let (userid, known) = input.check()?;
        let made = api(ctx).people.create_user(tenant(ctx), &userid, &known);
        let made = made.await.map_err(refused("input.userid", ""))?;
        Ok(Some(UserAccount(made)))
    }

    /// Changes what is given of a user, and leaves the rest. One who was never
    /// made is made.
    async fn update_user(
        &self,
        ctx: &Context<'_>,
        input: UpdateUserInput,
    ) -> Result<Option<UserAccount>, Failure> {
        let (userid, patch) = input.check()?;
        let changed = api(ctx).people.update_user(tenant(ctx), &userid, &patch);
        let changed = changed.await.map_err(refused("input.userid", ""))?;
        Ok(Some(UserAccount(changed)))
    }

    /// Ends a user for good: their access tokens, sockets and memberships. What
    /// they wrote stays; the userid is not given again.
    async fn delete_user(
        &self,
        ctx: &Context<'_>,
        userid: String,
    ) -> Result<Option<UserAccount>, Failure> {
        let deleted = api(ctx).people.delete_user(tenant(ctx), &userid);
        deleted.await.map_err(refused("userid", ""))?;
        Ok(Some(UserAccount(User {
            deleted: true,
            ..User::unknown(&userid)
        })))
    }

    /// Makes a group. Its creator is its first member, and its owner.
    async fn create_group(
        &self,
        ctx: &Context<'_>,
        input: CreateGroupInput,
    ) -> Result<Option<Group>, Failure> {
        let draft = input.check()?;
        let site = site(ctx, &draft.creator);
        let made = api(ctx).people.create_group(&site, &draft).await;
        let made = made.map_err(refused("input.creator", "input.id"))?;
        Ok(Some(Group(made)))
    }

    /// Changes what is given of a group, and leaves the rest. It holds for what
    /// is shared there from then on.
    async fn update_group(
        &self,
        ctx: &Context<'_>,
        input: UpdateGroupInput,
    ) -> Result<Option<Group>, Failure> {
        let (id, patch) = input.check()?;
        let changed = api(ctx).people.update_group(tenant(ctx), &id, &patch).await;
        Ok(Some(Group(changed.map_err(refused("", "input.id"))?)))
    }

    /// Removes a group. What was shared there is read by its authors only.
    async fn delete_group(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Group>, Failure> {
        let people = &api(ctx).people;
        let found = people.group(tenant(ctx), &id).await?;
        let deleted = people.delete_group(tenant(ctx), &id).await;
        deleted.map_err(refused("", "id"))?;
        Ok(found.map(Group))
    }

    /// Lets a user into a group, and tells their sockets. One who is in it
    /// stays as what they are.
    async fn join_group(
        &self,
        ctx: &Context<'_>,
        input: JoinGroupInput,
    ) -> Result<Option<Group>, Failure> {
        let (people, site) = (&api(ctx).people, site(ctx, &input.userid));
        let role = input.role.unwrap_or_default().into();
        let joined = people.join(&site, &input.group, &input.userid, role).await;
        joined.map_err(refused("input.userid", "input.group"))?;
        Ok(people.group(tenant(ctx), &input.group).await?.map(Group))
    }

    /// Takes a user out of a group, and tells their sockets. One who is not in
    /// it stays out.
    async fn leave_group(
        &self,
        ctx: &Context<'_>,
        input: LeaveGroupInput,
    ) -> Result<Option<Group>, Failure> {
        let (people, site) = (&api(ctx).people, site(ctx, &input.userid));
        let found = people.group(tenant(ctx), &input.group).await?;
        let left = people.leave(&site, &input.group, &input.userid).await;
        left.map_err(refused("input.userid", "input.group"))?;
        found
            .map(|group| Some(Group(group)))
            .ok_or_else(|| refused("", "input.group")(Refused::NoGroup))
    }

    /// Gives a member of a group another role, which their sockets keep to at once.
    async fn set_group_role(
        &self,
        ctx: &Context<'_>,
        input: SetGroupRoleInput,
    ) -> Result<Option<Group>, Failure> {
        let (people, site) = (&api(ctx).people, site(ctx, &input.userid));
        let role = input.role.into();
        let set = people.set_role(&site, &input.group, &input.userid, role);
        set.await.map_err(refused("input.userid", "input.group"))?;
        Ok(people.group(tenant(ctx), &input.group).await?.map(Group))
    }

    /// Makes an access token with which a client acts as a user. The token is
    /// shown now or never. At most 1000 of one user open something.
    async fn create_access_token(
        &self,
        ctx: &Context<'_>,
        input: CreateAccessTokenInput,
    ) -> Result<Option<CreateAccessTokenResponse>, Failure> {
        let (userid, name, expires_at) = input.check(Timestamp::now())?;
        let new = NewAccessToken {
            tenant: tenant(ctx).clone(),
            userid,
            name,
            expires_at,
        };
        let made = api(ctx).access_tokens.create(&new).await;
        let made = made.map_err(|error| match error {
            NotCreated::BadUserid(error) => Failure::bad("input.userid", error),
            NotCreated::Deleted => Failure::bad("input.userid", error),
            NotCreated::Full => Failure::new(Code::Limited, error.to_string()),
            NotCreated::Broker(error) => error.into(),
        })?;
        Ok(Some(CreateAccessTokenResponse {
            id: Some(made.id.into()),
            token: Some(made.token),
            expires_at: expires_at.map(Into::into),
        }))
    }

    /// Ends an access token, and the sockets that were opened with it within a
    /// second. Returns what it was.
    async fn revoke_access_token(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> Result<Option<AccessToken>, Failure> {
        let revoked: Option<AccessTokenInfo> =
            api(ctx).access_tokens.revoke(tenant(ctx), &id).await?;
        match revoked {
            Some(token) => Ok(Some(AccessToken(token))),
            None => Err(Failure::new(
                Code::NotFound,
                "id: there is no access token of this id",
            )),
        }
    }
}

/// Where a user is at home: the tenant's site, or without any the user's own.
fn site(ctx: &Context<'_>, userid: &str) -> Site {
    let tenant = tenant(ctx);
    let own = || Site {
        tenant: tenant.clone(),
        authority: userid.rsplit('@').next().unwrap_or_default().into(),
    };
    let found = api(ctx).sites.of_tenant(tenant);
    found.cloned().unwrap_or_else(own)
}

/// In words for the caller, who named the user and the group in these arguments.
fn refused(user: &'static str, group: &'static str) -> impl Fn(Refused) -> Failure {
    move |refused| match refused {
        Refused::BadUserid(error) => Failure::bad(user, error),
        Refused::BadGroupId(error) => Failure::bad(group, error),
        Refused::Exists if group.is_empty() => Failure::bad(user, refused),
        Refused::Exists | Refused::Used => Failure::bad(group, refused),
        Refused::Deleted => Failure::bad(user, refused),
        Refused::NoGroup => Failure::new(Code::NotFound, format!("{group}: {refused}")),
        Refused::NoMember => Failure::new(Code::NotFound, format!("{user}: {refused}")),
        Refused::Full => Failure::new(Code::Limited, refused.to_string()),
        Refused::Broker(error) => error.into(),
    }
}
