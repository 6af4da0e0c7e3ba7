//! Where users, groups and memberships are kept.
//!
//! All that belongs to a tenant is in one partition, that of its annotations, so
//! that a change and the word of it are one script, and nobody is told of what
//! did not happen. What a socket has to know at once is told on the user's topic.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use redis::{Script, ScriptInvocation, cmd};

use super::group::choose_id;
use super::{
    BadGroupId, BadUserid, Group, GroupDraft, GroupPatch, Memberships, Role, SIGNED_OUT, Session,
    SignedOut, User, UserPatch, check_group_id, check_userid, topic,
};
use crate::annotation::WORLD;
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
/// Attempts at an id that no group has; a second is hardly ever needed.
const ATTEMPTS: usize = 3;

/// Declares scripts, each after what all of them agree on.
macro_rules! scripts {
    ($($name:ident = $file:literal;)+) => {$(
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("store/common.lua"), include_str!($file)))
        });
    )+};
}

scripts! {
    CREATE_GROUP = "store/create_group.lua";
    DELETE_GROUP = "store/delete_group.lua";
    DELETE_USER = "store/delete_user.lua";
    JOIN = "store/join.lua";
    LEAVE = "store/leave.lua";
    PUT_USER = "store/put_user.lua";
    SESSION = "store/session.lua";
    SET_ROLE = "store/set_role.lua";
    UPDATE_GROUP = "store/update_group.lua";
}

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

    /// A group, the one of everybody too.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn group(&self, tenant: &Tenant, id: &str) -> Result<Option<Group>, Error> {
        Ok(self.groups(tenant, &[id]).await?.pop())
    }

    /// The groups of these ids that there are, in the order given.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn groups(&self, tenant: &Tenant, ids: &[&str]) -> Result<Vec<Group>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = redis::pipe();
        for id in ids {
            all.hgetall(self.keys.group(tenant, id));
        }
        let found: Vec<HashMap<String, String>> = self.redis.pipeline(&all).await?;
        let mut groups = Vec::with_capacity(found.len());
        for (id, fields) in ids.iter().zip(found) {
            if *id == WORLD {
                groups.push(Group::world());
            } else if !fields.is_empty() {
                let group = Group::from_fields(id, fields);
                groups.push(group.ok_or(Error::Corrupt("group"))?);
            }
        }
        Ok(groups)
    }

    /// The groups that anybody reads, without that of everybody.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn public_groups(&self, tenant: &Tenant) -> Result<Vec<Group>, Error> {
        let key = self.keys.groups(tenant);
        let ids: Vec<String> = self.redis.query(cmd("SMEMBERS").arg(key)).await?;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut groups = self.groups(tenant, &ids).await?;
        groups.retain(|group| group.kind.is_public());
        groups.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(groups)
    }

    /// Makes a group. Its creator enters it as its owner, and is told so.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn create_group(&self, site: &Site, draft: &GroupDraft) -> Result<Group, Refused> {
        let (tenant, creator) = (&site.tenant, &*draft.creator);
        check_userid(creator)?;
        for attempt in 1.. {
            let id = draft.id.clone().unwrap_or_else(choose_id);
            check_group_id(&id)?;
            let mut call = self.call(&CREATE_GROUP, tenant, Some(site));
            call.key(self.keys.group(tenant, &id))
                .key(self.keys.groups(tenant))
                .key(self.keys.user(tenant, creator))
                .arg(&id)
                .arg(creator)
                .arg(MAX_GROUPS);
            for (field, value) in draft.fields() {
                call.arg(field).arg(value);
            }
            match self.run(&call).await {
                Err(Refused::Exists) if draft.id.is_none() && attempt < ATTEMPTS => {}
                Err(refused) => return Err(refused),
                Ok(_) => {
                    let made = self.group(tenant, &id).await?;
                    return Ok(made.ok_or(Error::Corrupt("group"))?);
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Changes a group. Nobody is told; what is shared there from now on keeps
    /// to its new rules.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn update_group(
        &self,
        tenant: &Tenant,
        id: &str,
        patch: &GroupPatch,
    ) -> Result<Group, Refused> {
        check_group_id(id)?;
        let mut call = self.call(&UPDATE_GROUP, tenant, None);
        call.key(self.keys.group(tenant, id));
        for (field, value) in patch.fields() {
            call.arg(field).arg(value);
        }
        self.run(&call).await?;
        self.group(tenant, id).await?.ok_or(Refused::NoGroup)
    }

    /// Removes a group. What was shared with it is read by nobody any more.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn delete_group(&self, tenant: &Tenant, id: &str) -> Result<(), Refused> {
        check_group_id(id)?;
        let mut call = self.call(&DELETE_GROUP, tenant, None);
        call.key(self.keys.group(tenant, id))
            .key(self.keys.members(tenant, id))
            .key(self.keys.groups(tenant))
            .arg(id);
        self.run(&call).await?;
        Ok(())
    }

    /// The groups a user is in.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn memberships(&self, tenant: &Tenant, userid: &str) -> Result<Memberships, Error> {
        let key = self.keys.groups_of(tenant, userid);
        read_memberships(self.redis.query(cmd("HGETALL").arg(key)).await?)
    }

    /// The groups of a user whom a token names; `None` if the user was deleted.
    ///
    /// # Errors
    /// If Redis fails.
    pub(crate) async fn present(
        &self,
        tenant: &Tenant,
        userid: &str,
    ) -> Result<Option<Memberships>, Error> {
        let mut both = redis::pipe();
        both.hexists(self.keys.user(tenant, userid), "deleted");
        both.hgetall(self.keys.groups_of(tenant, userid));
        let (deleted, roles): (bool, _) = self.redis.pipeline(&both).await?;
        if deleted {
            Ok(None)
        } else {
            read_memberships(roles).map(Some)
        }
    }

    /// Lets a user into a group, and tells their sockets. `false`: they are in
    /// it already, and stay as what they are.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn join(
        &self,
        site: &Site,
        group: &str,
        userid: &str,
        role: Role,
    ) -> Result<bool, Refused> {
        check_group_id(group)?;
        check_userid(userid)?;
        let mut call = self.call(&JOIN, &site.tenant, Some(site));
        call.key(self.keys.group(&site.tenant, group));
        self.name_membership(&mut call, &site.tenant, group, userid);
        call.arg(role.as_str()).arg(MAX_GROUPS).arg(MAX_MEMBERS);
        self.run(&call).await
    }

    /// Takes a user out of a group, and tells their sockets. `false`: they were
    /// not in it.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn leave(&self, site: &Site, group: &str, userid: &str) -> Result<bool, Refused> {
        check_group_id(group)?;
        check_userid(userid)?;
        let mut call = self.call(&LEAVE, &site.tenant, Some(site));
        self.name_membership(&mut call, &site.tenant, group, userid);
        self.run(&call).await
    }

    /// Gives a member another role. Gateways are told, clients are not. `false`:
    /// they have it already.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn set_role(
        &self,
        site: &Site,
        group: &str,
        userid: &str,
        role: Role,
    ) -> Result<bool, Refused> {
        check_group_id(group)?;
        check_userid(userid)?;
        let mut call = self.call(&SET_ROLE, &site.tenant, Some(site));
        self.name_membership(&mut call, &site.tenant, group, userid);
        call.arg(role.as_str());
        self.run(&call).await
    }

    /// A user's session, as changes of memberships tell it.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn session(&self, site: &Site, userid: &str) -> Result<Session, Error> {
        let mut call = self.call(&SESSION, &site.tenant, Some(site));
        call.key(self.keys.user(&site.tenant, userid)).arg(userid);
        let json: String = self.redis.invoke(&call).await?;
        serde_json::from_str(&json).map_err(|_| Error::Corrupt("session"))
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

    fn name_membership(
        &self,
        call: &mut ScriptInvocation<'_>,
        tenant: &Tenant,
        group: &str,
        userid: &str,
    ) {
        call.key(self.keys.members(tenant, group))
            .key(self.keys.groups_of(tenant, userid))
            .key(self.keys.user(tenant, userid))
            .arg(group)
            .arg(userid);
    }

    /// Whether anything changed.
    async fn run(&self, call: &ScriptInvocation<'_>) -> Result<bool, Refused> {
        let how: String = self.redis.invoke(call).await?;
        match how.as_str() {
            "done" => Ok(true),
            "same" => Ok(false),
            "exists" => Err(Refused::Exists),
            "no group" => Err(Refused::NoGroup),
            "no member" => Err(Refused::NoMember),
            "deleted" => Err(Refused::Deleted),
            "full" => Err(Refused::Full),
            _ => Err(Error::Corrupt("answer of a script").into()),
        }
    }
}

fn read_memberships(roles: HashMap<String, String>) -> Result<Memberships, Error> {
    roles
        .into_iter()
        .map(|(group, role)| Some((group.into(), Role::parse(&role)?)))
        .collect::<Option<_>>()
        .ok_or(Error::Corrupt("membership"))
}

#[cfg(test)]
mod tests;
