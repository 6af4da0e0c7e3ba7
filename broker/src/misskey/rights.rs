//! What users may look at where no Misskey can say so: their programs keep it in
//! Redis, beside whom users follow and mute.

use std::sync::Arc;

use redis::cmd;

use super::Field;
use crate::error::Error;
use crate::key::KeySet;
use crate::topology::Redis;

/// What is kept under one prefix. Cheap to clone. A key that is not there, or
/// cannot be understood, allows nothing.
#[derive(Clone)]
pub struct Rights {
    redis: Redis,
    prefix: Arc<str>,
}

impl Rights {
    /// That in this Redis, whose keys begin with `prefix`.
    pub fn new(redis: Redis, prefix: Arc<str>) -> Self {
        Self { redis, prefix }
    }

    /// Who is on the list, if it is the user's own.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn list(&self, user: &str, list: &str) -> Result<Option<KeySet>, Error> {
        if !self.has("userLists", user, list).await? {
            return Ok(None);
        }
        let members = self.ids("userListMembers", list).await?;
        Ok(Some(members.iter().map(|id| Field::User.key(id)).collect()))
    }

    /// Whether the antenna is the user's own.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn antenna(&self, user: &str, antenna: &str) -> Result<bool, Error> {
        self.has("userAntennas", user, antenna).await
    }

    /// Whether the user is in the chat room.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn room(&self, user: &str, room: &str) -> Result<bool, Error> {
        self.has("userChatRooms", user, room).await
    }

    /// Whether everybody may look at the notes of the role's users.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn role(&self, role: &str) -> Result<bool, Error> {
        self.has("explorableRoles", "all", role).await
    }

    async fn has(&self, name: &str, of: &str, id: &str) -> Result<bool, Error> {
        Ok(self.ids(name, of).await?.iter().any(|known| known == id))
    }

    async fn ids(&self, name: &str, of: &str) -> Result<Vec<String>, Error> {
        let get = cmd("GET")
            .arg(format!("{}:kvcache:{name}:{of}", self.prefix))
            .to_owned();
        let json: Option<Vec<u8>> = self.redis.query(&get).await?;
        let ids = json.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(ids.unwrap_or_default())
    }
}
