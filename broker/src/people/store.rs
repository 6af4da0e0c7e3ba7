//! Where users, groups and memberships are kept.
//!
//! All that belongs to a tenant is in one partition, that of its annotations, so
//! that a change and the word of it are one script, and nobody is told of what
//! did not happen. What a socket has to know at once is told on the user's topic.

mod groups;
mod memberships;
mod scripts;

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Script, ScriptInvocation, cmd};

use self::scripts::{DELETE_USER, PUT_USER};
use super::{BadGroupId, BadUserid, SIGNED_OUT, SignedOut, User, UserPatch, check_userid, topic};
use crate::error::Error;
use crate::event::event_json;
use crate::keys::Keys;
use crate::sites::Site;
use crate::topic::Tenant;
use crate::topology::Redis;

/// Most groups of one user: each is read for every session, and kept by every
/// socket of the user.
const MAX_GROUPS: usize = 1000;
/// Most members of one group: who deletes it waits for all of them.
const MAX_MEMBERS: usize = 50_000;

/// Why a change of people or groups was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not the id of a user.
    #[error(transparent)]
    BadUserid(#[from] BadUserid),
    /// Not the id of a group that can be changed.
    #[error(transparent)]
    BadGroupId(#[from] BadGroupId),
    /// There is one of this id.
    #[error("exists already")]
    Exists,
    /// A group of this id was removed, and what was shared with it is still kept.
    #[error("was a group's whose annotations are still kept")]
    Used,
    /// There is no such group.
    #[error("there is no such group")]
    NoGroup,
    /// The user is not in that group.
    #[error("the user is not a member of the group")]
    NoMember,
    /// The user was deleted.
    #[error("the user was deleted; the userid is not given again")]
    Deleted,
    /// The user is in as many groups, or the group has as many members, as can be.
    #[error(
        "a user can be in at most {MAX_GROUPS} groups, and a group have at most {MAX_MEMBERS} members"
    )]
    Full,
    /// Redis failed.
    #[error(transparent)]
    Broker(#[from] Error),
}

/// The users and groups of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct People {
    redis: Redis,
    keys: Keys,
    pages: Arc<str>,
}

impl People {
    /// Those kept in this Redis. Sessions name no pages of groups.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self {
            redis,
            keys,
            pages: "".into(),
        }
    }

    /// The same, but that sessions name pages of groups, which are under
    /// `<app_url>/groups/`.
    pub fn with_app_url(self, app_url: &str) -> Self {
        let pages = format!("{}/groups/", app_url.trim_end_matches('/'));
        Self {
            pages: pages.into(),
            ..self
        }
    }

    /// What is known of a user; `None` for one who was never made, which does
    /// not keep other systems from naming them ([`User::unknown`]).
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn user(&self, tenant: &Tenant, userid: &str) -> Result<Option<User>, Error> {
        let key = self.keys.user(tenant, userid);
        let fields: HashMap<String, String> = self.redis.query(cmd("HGETALL").arg(key)).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        User::from_fields(userid, fields)
            .map(Some)
            .ok_or(Error::Corrupt("user"))
    }

    /// Makes a user.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn create_user(
        &self,
        tenant: &Tenant,
        userid: &str,
        known: &UserPatch,
    ) -> Result<User, Refused> {
        self.put_user(tenant, userid, known, "new").await
    }

    /// Changes what is known of a user, who need not have been made.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn update_user(
        &self,
        tenant: &Tenant,
        userid: &str,
        patch: &UserPatch,
    ) -> Result<User, Refused> {
        self.put_user(tenant, userid, patch, "any").await
    }

    async fn put_user(
        &self,
        tenant: &Tenant,
        userid: &str,
        patch: &UserPatch,
        mode: &str,
    ) -> Result<User, Refused> {
        check_userid(userid)?;
        let mut call = self.call(&PUT_USER, tenant, None);
        call.key(self.keys.user(tenant, userid)).arg(mode);
        for (field, value) in patch.fields() {
            call.arg(field).arg(value);
        }
        self.run(&call).await?;
        let user = self.user(tenant, userid).await?;
        Ok(user.ok_or(Error::Corrupt("user"))?)
    }

    /// Ends a user for good: none of their tokens opens anything, their sockets
    /// are closed, they are in no group, and their id is not given again. What
    /// they wrote stays. To delete one again does no harm.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn delete_user(&self, tenant: &Tenant, userid: &str) -> Result<(), Refused> {
        check_userid(userid)?;
        let everywhere = SignedOut { token: None };
        let mut call = self.call(&DELETE_USER, tenant, None);
        call.key(self.keys.user(tenant, userid))
            .key(self.keys.groups_of(tenant, userid))
            .arg(userid)
            .arg(event_json(SIGNED_OUT, Some(&everywhere), None));
        self.run(&call).await?;
        // Nobody's by now; what is left is not to be kept for ever.
        let tokens = self.keys.access_tokens(tenant, userid);
        let ids: Vec<String> = self
            .redis
            .query(cmd("ZRANGE").arg(&tokens).arg(0).arg(-1))
            .await?;
        for id in ids {
            let key = self.keys.access_token(&id);
            self.redis.query::<()>(cmd("DEL").arg(key)).await?;
        }
        self.redis.query::<()>(cmd("DEL").arg(tokens)).await?;
        Ok(())
    }

    /// The beginning of a call, which all scripts have.
    fn call<'a>(
        &self,
        script: &'a Script,
        tenant: &Tenant,
        site: Option<&Site>,
    ) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        // A topic without an id is what the topics of users begin with.
        let topics = self.keys.channel(&topic(tenant, ""));
        call.arg(self.keys.groups_begin(tenant))
            .arg(self.keys.members_begin(tenant))
            .arg(self.keys.groups_of_begin(tenant))
            .arg(topics)
            .arg(&*self.pages)
            .arg(site.map_or("", |site| &site.authority));
        call
    }

    /// Whether anything changed.
    async fn run(&self, call: &ScriptInvocation<'_>) -> Result<bool, Refused> {
        let how: String = self.redis.invoke(call).await?;
        match how.as_str() {
            "done" => Ok(true),
            "same" => Ok(false),
            "exists" => Err(Refused::Exists),
            "used" => Err(Refused::Used),
            "no group" => Err(Refused::NoGroup),
            "no member" => Err(Refused::NoMember),
            "deleted" => Err(Refused::Deleted),
            "full" => Err(Refused::Full),
            _ => Err(Error::Corrupt("answer of a script").into()),
        }
    }
}

#[cfg(test)]
mod tests;
