//! Reading rings in Redis.

use std::sync::LazyLock;

use redis::Script;

use super::{PRELUDE, Ring};
use crate::error::Error;
use crate::event::EntryId;
use crate::keys::Keys;
use crate::replay::{Entry, Oldest, Page, Read};
use crate::topology::Redis;

static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new(&format!("{PRELUDE}{}", include_str!("read.lua"))));

/// The rings in a Redis. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rings {
    redis: Redis,
    keys: Keys,
}

impl Rings {
    /// Those in this Redis.
    pub(crate) fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    /// What a ring holds.
    ///
    /// # Errors
    /// If Redis fails, or holds something else there.
    pub(crate) async fn read(&self, read: &Read) -> Result<Page, Error> {
        self.from(&read.ring, read.from).await
    }

    /// What a ring holds from an entry on.
    ///
    /// # Errors
    /// If Redis fails, or holds something else there.
    pub(crate) async fn from(&self, ring: &Ring, entry: EntryId) -> Result<Page, Error> {
        let mut call = READ.prepare_invoke();
        call.key(self.keys.ring_of(ring));
        call.arg(entry.to_string());
        let found: Vec<Vec<u8>> = self.redis.invoke(&call).await?;
        page(found).ok_or(Error::Corrupt("ring"))
    }
}

fn page(found: Vec<Vec<u8>>) -> Option<Page> {
    let mut words = found.into_iter().map(|word| String::from_utf8(word).ok());
    let mut page = Page {
        time: words.next()??.parse().ok()?,
        ..Page::default()
    };
    let Some(oldest) = words.next() else {
        return Some(page);
    };
    page.oldest = Some(Oldest {
        id: EntryId::parse(&oldest?)?,
        number: words.next()??.parse().ok()?,
    });
    page.newest = Some(EntryId::parse(&words.next()??)?);
    while let Some(id) = words.next() {
        let (id, topic, json) = (id?, words.next()?, words.next()?);
        // What is no text is no event of ours.
        if let (Some(topic), Some(json)) = (topic, json) {
            page.entries.push(Entry {
                id: EntryId::parse(&id)?,
                topic: topic.into(),
                json: json.into(),
            });
        }
    }
    Some(page)
}
