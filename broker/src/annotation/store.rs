//! Where annotations are kept, and every change of them.
//!
//! All that belongs to a tenant is in one partition, so that a change is one
//! script: it stores and indexes the annotation, joins the documents that it
//! says to be one, and publishes what it then holds. Nobody is told of what was
//! not stored, and nothing is stored that nobody is told of. Times are those of
//! Redis' clock. An annotation that was deleted is gone at once; what was
//! learned from it about documents stays.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tracing::warn;

use super::document::{self, Claim};
use super::readers::ViewerClass;
use super::schema::{Draft, Patch};
use super::{Moderation, Notification, WORLD};
use crate::error::Error;
use crate::identity::SignedIn;
use crate::keys::Keys;
use crate::people::check_group_id;
use crate::sites::Site;
use crate::topology::Redis;

mod call;
mod content;
mod refused;
mod search;
#[cfg(test)]
mod tests;

pub use refused::Refused;
pub use search::{Found, Search, Sort};

use call::{CREATE, Call, DELETE, FLAG, MODERATE, READ, UPDATE};
use refused::{CHANGED, MOVED, outcome};

/// How deep a thread may be: each level is an index and a part of every event.
const MAX_REFERENCES: usize = 100;
/// Members of one annotation that the protocol does not know.
const MAX_EXTRA: usize = 100;
/// Users whose flags are kept: each stands in every event of the annotation.
const MAX_FLAGGERS: usize = 1000;
/// How many annotations one script reads at most, and after how many bytes it
/// reads no further: a few milliseconds of Redis, for which everybody else waits.
const READ_AT_ONCE: usize = 200;
const BYTES_AT_ONCE: usize = 512 * 1024;
/// How often a change is tried that others keep forestalling.
const ATTEMPTS: usize = 5;

/// The annotations of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Annotations {
    redis: Redis,
    keys: Keys,
    links: Links,
}

/// Where the pages are that annotations link to.
#[derive(Clone, Debug)]
pub struct Links {
    app: Arc<str>,
    bouncer: Option<Arc<str>>,
}

/// An annotation, for whoever asked for it or changed it. What they may see of
/// it is theirs to ask the notification.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The annotation, as others are told of it; if it was only read, an update
    /// without scope keys.
    pub notification: Notification,
}

/// What must hold of an annotation for a moderator's decision to be about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// When it was last changed, as it was told.
    pub updated: Option<String>,
    /// What moderators thought of it.
    pub status: Option<Moderation>,
}

impl Links {
    /// Pages under `app`, the public address of the application; and, if there is a
    /// `bouncer`, links through it that show annotations where they were made.
    pub fn new(app: &str, bouncer: Option<&str>) -> Self {
        let bare = |url: &str| url.trim_end_matches('/').into();
        Self {
            app: bare(app),
            bouncer: bouncer.map(bare),
        }
    }
}

impl Annotations {
    /// Those kept in this Redis.
    pub fn new(redis: Redis, keys: Keys, links: Links) -> Self {
        Self { redis, keys, links }
    }

    /// Makes an annotation, in the name of `by`.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn create(
        &self,
        site: &Site,
        draft: Draft,
        by: &SignedIn,
        client_id: Option<&str>,
    ) -> Result<Stored, Refused> {
        if draft.extra.len() > MAX_EXTRA {
            return Err(Refused::TooMuch("members", MAX_EXTRA));
        }
        if draft.references.len() > MAX_REFERENCES {
            return Err(Refused::TooMuch("references", MAX_REFERENCES));
        }
        if let Some(id) = draft.references.iter().find(|id| !is_id(id)) {
            return Err(Refused::UnknownParent(id.clone()));
        }
        let parent = draft.references.first().map_or("", String::as_str);
        if parent.is_empty() && draft.group != WORLD && check_group_id(&draft.group).is_err() {
            return Err(Refused::UnknownGroup(draft.group));
        }
        let claims = document::claims(&draft.uri, draft.document.as_ref());
        let call = self
            .call(&CREATE, site)
            .arg(new_id())
            .arg(&*by.userid)
            .arg(&draft.uri)
            .arg(normalised(&claims))
            .arg(parent)
            .arg(&draft.group)
            .flag(draft.shared)
            .flag(is_native(site, by))
            .arg(content::version(draft.document.as_ref()))
            .arg(content::client(client_id))
            .arg(content::title(draft.document.as_ref()))
            .list(&draft.references)
            .list(content::claims(&claims))
            .list(content::of_draft(&draft))
            .list(by.memberships.keys());
        self.change(&call).await
    }

    /// An annotation; nothing if there is none, or no longer.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn annotation(&self, site: &Site, id: &str) -> Result<Option<Stored>, Error> {
        if is_id(id) {
            Ok(self.read(site, &[id], 1).await?.pop())
        } else {
            Ok(None)
        }
    }

    /// Changes what is given. Only its author may.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn update(
        &self,
        site: &Site,
        id: &str,
        patch: Patch,
        by: &SignedIn,
        client_id: Option<&str>,
    ) -> Result<Stored, Refused> {
        if !is_id(id) {
            return Err(Refused::NotFound);
        }
        for _ in 0..ATTEMPTS {
            // What is claimed of a document depends on the address, which may
            // be the one that is kept.
            let kept = match (&patch.uri, &patch.document) {
                (None, Some(_)) => Some(self.address_of(site, id).await?),
                _ => None,
            };
            let claims = match patch.uri.as_ref().or(kept.as_ref()) {
                Some(uri) => document::claims(uri, patch.document.as_ref()),
                None => Vec::new(),
            };
            let call = self
                .call(&UPDATE, site)
                .arg(id)
                .arg(&*by.userid)
                .arg(patch.uri.as_deref().unwrap_or_default())
                .arg(normalised(&claims))
                .arg(kept.as_deref().unwrap_or_default())
                .arg(content::permissions(&patch))
                .flag(is_native(site, by))
                .arg(content::version(patch.document.as_ref()))
                .arg(content::client(client_id))
                .arg(content::title(patch.document.as_ref()))
                .arg(MAX_EXTRA.to_string())
                .list(content::claims(&claims))
                .list(content::of_patch(&patch))
                .list(by.memberships.keys());
            match self.change(&call).await {
                Err(Refused::Conflict(MOVED)) => {}
                result => return result,
            }
        }
        Err(Refused::Conflict(MOVED))
    }

    /// Removes an annotation. Only its author may.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn delete(
        &self,
        site: &Site,
        id: &str,
        by: &SignedIn,
        client_id: Option<&str>,
    ) -> Result<(), Refused> {
        if !is_id(id) {
            return Err(Refused::NotFound);
        }
        let call = self
            .call(&DELETE, site)
            .arg(id)
            .arg(&*by.userid)
            .arg(content::client(client_id));
        self.change(&call).await.map(drop)
    }

    /// Notes that a reader objects to an annotation. Nobody is told.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn flag(&self, site: &Site, id: &str, by: &SignedIn) -> Result<(), Refused> {
        let stored = self.annotation(site, id).await?.ok_or(Refused::NotFound)?;
        stored.class_for(Some(by)).ok_or(Refused::NotFound)?;
        let call = self
            .call(&FLAG, site)
            .arg(id)
            .arg(&*by.userid)
            .arg(MAX_FLAGGERS.to_string());
        let answer: Vec<String> = self.redis.invoke(call.invocation()).await?;
        outcome(answer).map(drop)
    }

    /// Sets what moderators think of an annotation. Only moderators of its group
    /// may.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn moderate(
        &self,
        site: &Site,
        id: &str,
        status: Moderation,
        by: &SignedIn,
        client_id: Option<&str>,
        expected: &Expected,
    ) -> Result<Stored, Refused> {
        if !is_id(id) {
            return Err(Refused::NotFound);
        }
        let updated = match &expected.updated {
            Some(updated) => micros(updated).ok_or(Refused::Conflict(CHANGED))?,
            None => String::new(),
        };
        let moderated = by.memberships.iter().filter(|(_, role)| role.moderates());
        let groups: Vec<_> = moderated.map(|(group, _)| group).collect();
        let call = self
            .call(&MODERATE, site)
            .arg(id)
            .arg(status.as_str())
            .arg(updated)
            .arg(expected.status.map_or("", Moderation::as_str))
            .arg(content::client(client_id))
            .list(groups);
        self.change(&call).await
    }

    /// Those of these that there are, in the order given, until they come to
    /// `room` bytes. One that cannot be read is logged by its id and left out: it
    /// must not keep the others from anybody.
    async fn read(
        &self,
        site: &Site,
        mut ids: &[impl AsRef<str>],
        room: usize,
    ) -> Result<Vec<Stored>, Error> {
        let (mut read, mut bytes) = (Vec::new(), 0);
        while !ids.is_empty() && bytes < room {
            let some = &ids[..ids.len().min(READ_AT_ONCE)];
            let most = BYTES_AT_ONCE.to_string();
            let call = self.call(&READ, site).arg(most).list(some);
            let found: Vec<Option<String>> = self.redis.invoke(call.invocation()).await?;
            let looked_at = some.get(..found.len()).filter(|some| !some.is_empty());
            let looked_at = looked_at.ok_or(Error::Corrupt("answer"))?;
            ids = &ids[looked_at.len()..];
            for (id, body) in looked_at.iter().zip(found) {
                bytes += body.as_ref().map_or(0, String::len);
                match body.as_deref().map(stored) {
                    Some(Ok(stored)) => read.push(stored),
                    Some(Err(error)) => {
                        let id = id.as_ref();
                        warn!(%error, id, "a stored annotation cannot be read and is left out");
                    }
                    None => {}
                }
            }
        }
        Ok(read)
    }

    async fn address_of(&self, site: &Site, id: &str) -> Result<String, Refused> {
        let key = format!("{}{id}", self.keys.annotations_begin(&site.tenant));
        let uri: Option<String> = self
            .redis
            .query(redis::cmd("HGET").arg(key).arg("uri"))
            .await?;
        uri.ok_or(Refused::NotFound)
    }

    async fn change(&self, call: &Call) -> Result<Stored, Refused> {
        let answer: Vec<String> = self.redis.invoke(call.invocation()).await?;
        let body = outcome(answer)?.ok_or(Error::Corrupt("answer"))?;
        Ok(stored(&body)?)
    }
}

impl Stored {
    /// Who somebody is to it; `None` if it is not theirs to see. `by`: nobody,
    /// for one who is not signed in.
    pub fn class_for(&self, by: Option<&SignedIn>) -> Option<ViewerClass> {
        class_for(&self.notification, by)
    }
}

fn class_for(notification: &Notification, by: Option<&SignedIn>) -> Option<ViewerClass> {
    let role = |group: &str| by?.memberships.get(group).copied();
    notification.class_for(by.map(|by| &*by.userid), role, false)
}

fn stored(body: &str) -> Result<Stored, Error> {
    serde_json::from_str(body)
        .map(|notification| Stored { notification })
        .map_err(|_| Error::Corrupt("annotation"))
}

/// That of the annotation's own address, which claims begin with.
fn normalised(claims: &[Claim]) -> &str {
    claims.first().map_or("", |claim| &claim.normalised)
}

/// Whether the user is one of the site's own.
fn is_native(site: &Site, by: &SignedIn) -> bool {
    let authority = by.userid.rsplit_once('@').map(|(_, authority)| authority);
    authority == Some(&*site.authority)
}

/// A random UUID, as it is written in addresses.
fn new_id() -> String {
    let mut uuid: [u8; 16] = rand::random();
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    URL_SAFE_NO_PAD.encode(uuid)
}

/// Whether this can be the id of an annotation.
fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (20..=22).contains(&text.len()) && text.bytes().all(fits)
}

/// A time as it was told, as scripts spell it.
fn micros(text: &str) -> Option<String> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(at.as_microsecond().to_string())
}
