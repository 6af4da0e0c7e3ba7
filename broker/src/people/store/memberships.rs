//! Who is in which group, and the word of each change.

use std::collections::HashMap;

use redis::{ScriptInvocation, cmd};

use super::scripts::{JOIN, LEAVE, SESSION, SET_ROLE};
use super::{MAX_GROUPS, MAX_MEMBERS, People, Refused};
use crate::error::Error;
use crate::people::{Memberships, Role, Session, check_group_id, check_userid};
use crate::sites::Site;
use crate::topic::Tenant;

impl People {
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
}

fn read_memberships(roles: HashMap<String, String>) -> Result<Memberships, Error> {
    roles
        .into_iter()
        .map(|(group, role)| Some((group.into(), Role::parse(&role)?)))
        .collect::<Option<_>>()
        .ok_or(Error::Corrupt("membership"))
}
