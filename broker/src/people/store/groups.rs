//! Groups: making, changing and removing them.

use std::collections::HashMap;

use redis::cmd;

use super::scripts::{CREATE_GROUP, DELETE_GROUP, UPDATE_GROUP};
use super::{MAX_GROUPS, People, Refused};
use crate::annotation::WORLD;
use crate::error::Error;
use crate::people::group::choose_id;
use crate::people::{Group, GroupDraft, GroupPatch, check_group_id, check_userid};
use crate::sites::Site;
use crate::topic::Tenant;

/// Attempts at an id that no group has; a second is hardly ever needed.
const ATTEMPTS: usize = 3;

impl People {
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
                .key(self.keys.annotations_of_group(tenant, &id))
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

    /// Removes a group. What was shared with it is read by nobody any more: its
    /// id is not given again while any of that is kept.
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
}
