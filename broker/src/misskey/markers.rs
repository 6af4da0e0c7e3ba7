//! What users have read, as a Misskey keeps it in its Redis.

use std::sync::{Arc, LazyLock};

use redis::streams::StreamRangeReply;
use redis::{Script, cmd};

use super::hosts::Host;
use crate::error::Error;
use crate::event::event_json;
use crate::keys::Keys;
use crate::topic::{Topic, TopicKind};
use crate::topology::Redis;

/// What a user's devices are told once all notifications have been read.
const READ_ALL: &str = "readAllNotifications";

/// Notes a notification as read. Tells whether an older one, or none, was so
/// before. Ids are `<milliseconds>-<number>`.
static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local read = redis.call('GET', KEYS[1])
         if read then
             local a, b = string.match(ARGV[1], '^(%d+)-(%d+)$')
             local c, d = string.match(read, '^(%d+)-(%d+)$')
             a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
             if c and (a < c or (a == c and b <= d)) then return 0 end
         end
         redis.call('SET', KEYS[1], ARGV[1])
         return 1",
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
        // Not in the script: whoever runs one must have the right to write to all its keys.
        let mut newest = cmd("XREVRANGE");
        newest.arg(self.key(&["notificationTimeline", user]));
        newest.arg(&["+", "-", "COUNT", "1"]);
        let newest: StreamRangeReply = self.cache.query(&newest).await?;
        let Some(newest) = newest.ids.first() else {
            return Ok(());
        };
        let mut call = READ.prepare_invoke();
        call.key(self.key(&["latestReadNotification", user]))
            .arg(&newest.id);
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
