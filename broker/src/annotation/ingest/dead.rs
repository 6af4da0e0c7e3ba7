//! What was added to a stream and could not be published: to be read, tried again,
//! or thrown away.
//!
//! A letter that is tried again goes back to the end of its stream under the name
//! it had there first, so what had come of it before does not come a second time.

use std::collections::HashMap;
use std::sync::LazyLock;

use redis::{Script, cmd};

use crate::error::Error;
use crate::event::EntryId;
use crate::keys::Keys;
use crate::time::Timestamp;
use crate::topic::Tenant;
use crate::topology::Redis;

/// Letters read at once, each of which may be as long as a report.
const AT_ONCE: usize = 8;
/// After this many bytes a page ends.
const PAGE_BYTES: usize = 1024 * 1024;

static REPLAY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("dead/replay.lua")));

/// The dead letters of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    redis: Redis,
    keys: Keys,
}

/// One that could not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which one.
    pub id: EntryId,
    /// The kind of what is wrong.
    pub why: String,
    /// The place, and what was expected there.
    pub error: String,
    /// The id of its entry when it was added first.
    pub entry: String,
    /// What its field `type` said.
    pub kind: Option<String>,
    /// What its field `topic` said.
    pub topic: Option<String>,
    /// What its field `data` held; what is no UTF-8 is replaced.
    pub data: String,
    /// Whether some of that was too long to be kept.
    pub cut: bool,
}

/// What became of a letter that was to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is in its stream again.
    Done,
    /// There is none, or no longer.
    Unknown,
    /// It was cut, and would not be what was added.
    Cut,
}

impl DeadLetter {
    /// When it was given up.
    pub fn given_up_at(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.id.millis).unwrap_or(i64::MAX))
    }

    fn read((id, fields): (String, Vec<Vec<u8>>)) -> Result<Self, Error> {
        let id = EntryId::parse(&id).ok_or(Error::Corrupt("dead letter"))?;
        let mut known = HashMap::new();
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            known.insert(name, String::from_utf8_lossy(&value).into_owned());
        }
        let mut field = |name: &str| known.remove(name.as_bytes());
        Ok(Self {
            id,
            why: field("why").unwrap_or_default(),
            error: field("error").unwrap_or_default(),
            entry: field("entry").unwrap_or_default(),
            kind: field("type"),
            topic: field("topic"),
            data: field("data").unwrap_or_default(),
            cut: field("cut").is_some(),
        })
    }
}

impl DeadLetters {
    /// Those kept in this Redis.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    /// A tenant's letters, newest first, from before `before`: at most `limit`, and
    /// fewer if they are long. And whether there are more.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn list(
        &self,
        tenant: &Tenant,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool), Error> {
        let key = self.keys.dead_letters(tenant);
        let (mut letters, mut bytes, mut before) = (Vec::new(), 0, before);
        while letters.len() < limit && bytes < PAGE_BYTES {
            let count = AT_ONCE.min(limit - letters.len());
            let from = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
            let mut range = cmd("XREVRANGE");
            range.arg(&key).arg(from).arg("-").arg("COUNT").arg(count);
            let found: Vec<(String, Vec<Vec<u8>>)> = self.redis.query(&range).await?;
            let last = found.len() < count;
            for told in found {
                let letter = DeadLetter::read(told)?;
                bytes += letter.data.len();
                before = Some(letter.id);
                letters.push(letter);
            }
            if last {
                return Ok((letters, false));
            }
        }
        Ok((letters, true))
    }

    /// One of a tenant's letters, if there is one of this id.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn letter(&self, tenant: &Tenant, id: EntryId) -> Result<Option<DeadLetter>, Error> {
        let mut range = cmd("XRANGE");
        range.arg(self.keys.dead_letters(tenant));
        range.arg(id.to_string()).arg(id.to_string());
        let mut found: Vec<(String, Vec<Vec<u8>>)> = self.redis.query(&range).await?;
        found.pop().map(DeadLetter::read).transpose()
    }

    /// Puts letters back into the tenant's stream, in this order, and says what
    /// became of each.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn replay(&self, tenant: &Tenant, ids: &[EntryId]) -> Result<Vec<Replayed>, Error> {
        let mut outcomes = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            let mut call = REPLAY.prepare_invoke();
            call.key(self.keys.dead_letters(tenant));
            call.key(self.keys.intake(tenant));
            for id in some {
                call.arg(id.to_string());
            }
            let done: Vec<u8> = self.redis.invoke(&call).await?;
            outcomes.extend(done.into_iter().map(|outcome| match outcome {
                1 => Replayed::Done,
                2 => Replayed::Cut,
                _ => Replayed::Unknown,
            }));
        }
        Ok(outcomes)
    }

    /// Throws letters away, and says of each whether it was there.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn discard(&self, tenant: &Tenant, ids: &[EntryId]) -> Result<Vec<bool>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.keys.dead_letters(tenant);
        let mut each = redis::pipe();
        for id in ids {
            each.cmd("XDEL").arg(&key).arg(id.to_string());
        }
        self.redis.pipeline(&each).await
    }
}
