//! Whom users follow and mute, as a Misskey keeps it in its cache in Redis.
//!
//! A key that is not there says nothing: it has run out and was not written
//! again. Profiles hold what nobody else may know; of them one member is read,
//! and nothing else kept.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::Field;
use super::viewer::Viewer;
use crate::error::Error;
use crate::key::KeySet;
use crate::topology::Redis;

/// Users who are asked about in one command: a few hundred KiB of answer, as a
/// rule, so that nobody else waits for long.
const CHUNK: usize = 32;

static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What is kept of each user, in the order in which it is read.
#[derive(Clone, Copy)]
enum Relation {
    Following,
    Muting,
    BlockedBy,
    RenoteMuting,
    FollowedChannels,
    MutedChannels,
    Profile,
}

const RELATIONS: [Relation; 7] = [
    Relation::Following,
    Relation::Muting,
    Relation::BlockedBy,
    Relation::RenoteMuting,
    Relation::FollowedChannels,
    Relation::MutedChannels,
    Relation::Profile,
];

impl Relation {
    const fn name(self) -> &'static str {
        match self {
            Self::Following => "userFollowings",
            Self::Muting => "userMutings",
            Self::BlockedBy => "userBlocked",
            Self::RenoteMuting => "renoteMutings",
            Self::FollowedChannels => "userFollowingChannels",
            Self::MutedChannels => "channelMutingChannels",
            Self::Profile => "userProfile",
        }
    }
}

/// What was found of a user when last read: what stands for each value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen([Option<u64>; RELATIONS.len()]);

impl Seen {
    /// Whether the user's profile has ever been there.
    pub fn has_profile(&self) -> bool {
        self.0[Relation::Profile as usize].is_some()
    }

    /// Whom the user follows has changed otherwise: the next value is read even
    /// if it is the one before.
    pub fn forget_following(&mut self) {
        self.0[Relation::Following as usize] = None;
    }

    /// The same of who blocks the user.
    pub fn forget_blocked_by(&mut self) {
        self.0[Relation::BlockedBy as usize] = None;
    }

    /// The same of the channels that the user follows.
    pub fn forget_followed_channels(&mut self) {
        self.0[Relation::FollowedChannels as usize] = None;
    }

    /// The same of the channels that the user mutes.
    pub fn forget_muted_channels(&mut self) {
        self.0[Relation::MutedChannels as usize] = None;
    }
}

/// What is kept of a user now.
#[derive(Debug)]
pub struct Found([Value; RELATIONS.len()]);

/// One of the relations. A profile is not held: its one member is.
#[derive(Debug)]
enum Value {
    /// Nobody knows.
    Missing,
    /// As it was.
    Same,
    /// Another one.
    Changed(u64, Content),
}

#[derive(Debug)]
enum Content {
    Following { all: KeySet, with_replies: KeySet },
    Set(KeySet),
}

impl Found {
    /// Whether some of it is not there.
    pub fn is_incomplete(&self) -> bool {
        self.0.iter().any(|value| matches!(value, Value::Missing))
    }

    /// Whether nobody knows whom the user follows.
    pub fn lacks_following(&self) -> bool {
        matches!(self.0[Relation::Following as usize], Value::Missing)
    }

    /// Notes it in what is known of the user; what is not there stays as it is.
    pub fn apply(self, seen: &mut Seen, viewer: &mut Viewer) {
        for ((value, relation), seen) in self.0.into_iter().zip(RELATIONS).zip(&mut seen.0) {
            let Value::Changed(mark, content) = value else {
                continue;
            };
            *seen = Some(mark);
            let place = match relation {
                Relation::Following => &mut viewer.following,
                Relation::Muting => &mut viewer.muting,
                Relation::BlockedBy => &mut viewer.blocked_by,
                Relation::RenoteMuting => &mut viewer.renote_muting,
                Relation::FollowedChannels => &mut viewer.followed_channels,
                Relation::MutedChannels => &mut viewer.muted_channels,
                Relation::Profile => &mut viewer.muted_servers,
            };
            match content {
                Content::Following { all, with_replies } => {
                    *place = all;
                    viewer.with_replies = with_replies;
                }
                Content::Set(set) => *place = set,
            }
        }
    }
}

/// The cache of a Misskey. Cheap to clone.
#[derive(Clone)]
pub struct Relations {
    redis: Redis,
    prefix: Arc<str>,
}

/// A value in the cache that nobody understands. It counts as not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreadable(pub u64);

impl Relations {
    /// That in this Redis, whose keys begin with `prefix`.
    pub fn new(redis: Redis, prefix: Arc<str>) -> Self {
        Self { redis, prefix }
    }

    /// What is kept of each of these users, in their order, and how many values
    /// could not be understood.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn read(
        &self,
        users: &[(Arc<str>, Seen)],
    ) -> Result<(Vec<Found>, Unreadable), Error> {
        let mut all = Vec::with_capacity(users.len());
        let mut unreadable = Unreadable::default();
        for chunk in users.chunks(CHUNK) {
            let of = |user: &str| RELATIONS.map(|relation| self.key(relation.name(), user));
            let keys: Vec<String> = chunk.iter().flat_map(|(user, _)| of(user)).collect();
            let values = self.redis.values(&keys).await?;
            let of_each = values.chunks(RELATIONS.len());
            all.extend(of_each.zip(chunk).map(|(values, (_, seen))| {
                Found(std::array::from_fn(|n| {
                    let raw = values.get(n).and_then(Option::as_deref);
                    value(RELATIONS[n], raw, seen.0[n], &mut unreadable)
                }))
            }));
        }
        Ok((all, unreadable))
    }

    fn key(&self, name: &str, id: &str) -> String {
        format!("{}:kvcache:{name}:{id}", self.prefix)
    }
}

fn value(
    relation: Relation,
    raw: Option<&[u8]>,
    seen: Option<u64>,
    wrong: &mut Unreadable,
) -> Value {
    let Some(raw) = raw else {
        return Value::Missing;
    };
    let mark = SEED.hash_one(raw);
    if seen == Some(mark) {
        return Value::Same;
    }
    match content(relation, raw) {
        Some(content) => Value::Changed(mark, content),
        None => {
            wrong.0 += 1;
            Value::Missing
        }
    }
}

fn content(relation: Relation, raw: &[u8]) -> Option<Content> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Follow {
        #[serde(default)]
        with_replies: bool,
    }
    /// All else in it is skipped as it is read.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Profile {
        muted_instances: Vec<String>,
    }
    let field = match relation {
        Relation::Following => {
            let follows: HashMap<String, Follow> = serde_json::from_slice(raw).ok()?;
            let keys = || {
                follows
                    .iter()
                    .map(|(id, follow)| (Field::User.key(id), follow))
            };
            let with_replies = keys().filter(|(_, follow)| follow.with_replies);
            return Some(Content::Following {
                all: keys().map(|(key, _)| key).collect(),
                with_replies: with_replies.map(|(key, _)| key).collect(),
            });
        }
        Relation::Profile => {
            let profile: Profile = serde_json::from_slice(raw).ok()?;
            let hosts = profile.muted_instances.iter();
            return Some(Content::Set(
                hosts.map(|host| Field::Server.key(host)).collect(),
            ));
        }
        Relation::Muting | Relation::BlockedBy | Relation::RenoteMuting => Field::User,
        Relation::FollowedChannels | Relation::MutedChannels => Field::Channel,
    };
    let ids: Vec<String> = serde_json::from_slice(raw).ok()?;
    Some(Content::Set(ids.iter().map(|id| field.key(id)).collect()))
}

#[cfg(test)]
mod tests;
