//! What users have read, as a Misskey keeps it in its Redis.

use std::sync::{Arc, LazyLock};

use redis::{Script, cmd};

use super::hosts::Host;
use crate::error::Error;
use crate::event::event_json;
use crate::keys::Keys;
use crate::topic::{Topic, TopicKind};
use crate::topology::Redis;

/// What a user's devices are told once all notifications have been read.
const READ_ALL: &str = "readAllNotifications";

/// Notes the newest notification as read. Tells whether an older one, or none,
/// was so before; nothing if there is no notification at all. Ids are
/// `<milliseconds>-<number>`.
static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
         if not newest then return 0 end
         local read = redis.call('GET', KEYS[2])
         redis.call('SET', KEYS[2], newest[1])
         if not read then return 1 end
         local a, b = string.match(newest[1], '^(%d+)-(%d+)$')
         local c, d = string.match(read, '^(%d+)-(%d+)$')
         if not c then return 1 end
         a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
         if c < a or (c == a and d < b) then return 1 end
         return 0",
    )
});

/// What users of a host have read. Cheap to clone.
#[derive(Clone)]
pub struct Markers {
    host: Arc<Host>,
    cache: Redis,
    bus: Redis,
    keys: Keys,
}

impl Markers {
    /// Those in `cache`; what changes is published on the host's bus in `bus`, or
    /// on our own topics there if it has none.
    pub fn new(host: &Arc<Host>, cache: Redis, bus: Redis, keys: Keys) -> Self {
        Self {
            host: Arc::clone(host),
            cache,
            bus,
            keys,
        }
    }

    /// The user has read all notifications. The user's sockets are told, unless
    /// that was known.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn read_notifications(&self, user: &str) -> Result<(), Error> {
        let mut call = READ.prepare_invoke();
        call.key(self.key(&["notificationTimeline", user]))
            .key(self.key(&["latestReadNotification", user]));
        if !self.cache.invoke::<bool>(&call).await? {
            return Ok(());
        }
        let (channel, frame) = self.word(user);
        let publish = cmd("PUBLISH").arg(channel).arg(frame).to_owned();
        self.bus.query::<()>(&publish).await
    }

    /// The user has read what `other` wrote to them.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn read_chat_user(&self, user: &str, other: &str) -> Result<(), Error> {
        let marker = self.key(&["newUserChatMessageExists", user, other]);
        self.read_chat(user, marker, format!("user:{other}")).await
    }

    /// The user has read what was written in the room.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn read_chat_room(&self, user: &str, room: &str) -> Result<(), Error> {
        let marker = self.key(&["newRoomChatMessageExists", user, room]);
        self.read_chat(user, marker, format!("room:{room}")).await
    }

    async fn read_chat(&self, user: &str, marker: String, member: String) -> Result<(), Error> {
        let mut both = redis::pipe();
        both.del(marker).ignore();
        both.srem(self.key(&["newChatMessagesExists", user]), member)
            .ignore();
        self.cache.pipeline(&both).await
    }

    /// Where the user's sockets are told, and what.
    fn word(&self, user: &str) -> (String, String) {
        let Some(bus) = &self.host.bus else {
            let topic = Topic::new(&self.host.tenant, TopicKind::User, user);
            let event = event_json(READ_ALL, None::<&()>, None);
            return (self.keys.channel(&topic), event);
        };
        // In this order, as a Misskey writes it.
        let stream = serde_json::Value::from(format!("mainStream:{user}"));
        let message = format!(r#"{{"type":"{READ_ALL}","body":null}}"#);
        let word = format!(r#"{{"channel":{stream},"message":{message}}}"#);
        (bus.to_string(), word)
    }

    fn key(&self, parts: &[&str]) -> String {
        format!("{}:{}", self.host.prefix, parts.join(":"))
    }
}

#[cfg(test)]
mod tests;
