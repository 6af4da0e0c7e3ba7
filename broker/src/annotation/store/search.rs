//! Finding annotations: those that the viewer may see, in an order, by pages.

use std::collections::{HashMap, HashSet};

use redis::Value;
use tracing::warn;

use super::call::{EXPAND, ROWS};
use super::{Annotations, Stored, class_for};
use crate::annotation::uri;
use crate::error::Error;
use crate::identity::SignedIn;
use crate::sites::Site;

mod order;
mod row;

pub use order::Sort;
use row::{Page, Row};

/// After how many bytes a page ends early, and the replies to it: anybody may ask
/// for the longest there are.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most annotations that a search looks at: the newest of those that meet
/// its narrowest condition.
const MAX_SEEN: usize = 5000;
/// The most replies that come with a page, oldest first.
const MAX_REPLIES: usize = 1000;
/// How many annotations one script looks at: about two milliseconds of Redis,
/// for which everybody else waits.
const AT_ONCE: usize = 250;
/// How many ids are read from an index at once: about a millisecond.
const IDS_AT_ONCE: usize = 1000;

/// Which annotations to find: those that meet every condition. A condition
/// without values is none; with several, one of them is to be met. Of more than
/// [`Search::MAX_VALUES`] only the first count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// About these addresses, which may end in versions: `…:v2`, `…:all`.
    pub uris: Vec<String>,
    /// In these groups.
    pub groups: Vec<String>,
    /// By these users.
    pub users: Vec<String>,
    /// Below these in a thread.
    pub references: Vec<String>,
    /// By what to order them.
    pub sort: Sort,
    /// The greatest first.
    pub descending: bool,
    /// How many, at most [`Search::MAX_LIMIT`]; fewer if they come to 4 MiB before.
    pub limit: usize,
    /// After leaving out so many.
    pub offset: usize,
    /// Only what comes after this value of what they are ordered by; a time in
    /// RFC 3339, or in milliseconds since 1970. What [cannot be
    /// followed](Sort::can_follow) is ignored.
    pub after: Option<String>,
    /// Whether replies are found only along with what they answer.
    pub separate_replies: bool,
}

impl Search {
    /// The most that one page holds.
    pub const MAX_LIMIT: usize = 200;
    /// The most values of one condition.
    pub const MAX_VALUES: usize = 32;
}

impl Default for Search {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            groups: Vec::new(),
            users: Vec::new(),
            references: Vec::new(),
            sort: Sort::default(),
            descending: true,
            limit: 20,
            offset: 0,
            after: None,
            separate_replies: false,
        }
    }
}

/// A page of what was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How many there are on all pages, of those that were looked at.
    pub total: u64,
    /// The page.
    pub rows: Vec<Stored>,
    /// The replies to it, oldest first, if they were to be separate; 1,000 or 4 MiB
    /// at most.
    pub replies: Vec<Stored>,
}

impl Annotations {
    /// Finds annotations that `viewer` may see; `None` is one who is not signed
    /// in.
    ///
    /// At most 5,000 annotations are looked at, the newest of those that meet
    /// the condition that the fewest meet; older ones are not found.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn search(
        &self,
        site: &Site,
        search: &Search,
        viewer: Option<&SignedIn>,
    ) -> Result<Found, Error> {
        let pages = self.pages(site, first(&search.uris)).await?;
        let ids = self.candidates(site, search, &pages).await?;
        let mut rows = self.rows(site, &ids).await?;
        rows.retain(|row| row.meets(search, &pages) && class_for(&row.seen, viewer).is_some());
        let total = rows.len() as u64;
        search.arrange(&mut rows);
        let ids: Vec<_> = rows.into_iter().map(|row| row.id).collect();
        let replies = if search.separate_replies {
            self.replies(site, &ids, viewer).await?
        } else {
            Vec::new()
        };
        Ok(Found {
            total,
            rows: self.visible(site, &ids, viewer).await?,
            replies: self.visible(site, &replies, viewer).await?,
        })
    }

    /// What addresses stand for.
    async fn pages(&self, site: &Site, uris: &[String]) -> Result<Vec<Page>, Error> {
        if uris.is_empty() {
            return Ok(Vec::new());
        }
        let mut versions = Vec::with_capacity(uris.len());
        let mut asked = Vec::with_capacity(uris.len() * 2);
        for uri in uris {
            let (base, named) = uri::versions(uri).unwrap_or((uri, Vec::new()));
            // What cannot be normalised is kept as it is written.
            let normalised = uri::normalise(base).unwrap_or_else(|_| base.to_owned());
            asked.extend([base.to_owned(), normalised]);
            versions.push(named);
        }
        let call = self.call(&EXPAND, site).list(asked);
        let found: Vec<HashSet<String>> = self.redis.invoke(call.invocation()).await?;
        let page = |(normalised, versions)| Page {
            normalised,
            versions,
        };
        Ok(found.into_iter().zip(versions).map(page).collect())
    }

    /// The newest that meet the condition that the fewest meet.
    async fn candidates(
        &self,
        site: &Site,
        search: &Search,
        pages: &[Page],
    ) -> Result<Vec<String>, Error> {
        let begin = self.keys.annotation_indexes_begin(&site.tenant);
        let named = |kind: &str, values: &[String]| -> Vec<String> {
            let name = |value| format!("{begin}{kind}:{value}");
            first(values).iter().map(name).collect()
        };
        let addresses: HashSet<&String> = pages.iter().flat_map(|p| &p.normalised).collect();
        let addresses = addresses.into_iter().map(|a| format!("{begin}w:{a}"));
        let mut conditions = vec![
            addresses.collect(),
            named("g", &search.groups),
            named("u", &search.users),
            named("r", &search.references),
        ];
        conditions.retain(|names: &Vec<String>| !names.is_empty());
        if conditions.is_empty() {
            conditions.push(vec![format!("{begin}all")]);
        }
        let narrowest = if conditions.len() == 1 {
            conditions.pop()
        } else {
            let mut sizes = redis::pipe();
            for name in conditions.iter().flatten() {
                sizes.zcard(name);
            }
            let sizes: Vec<u64> = self.redis.pipeline(&sizes).await?;
            let mut sizes = sizes.into_iter();
            conditions
                .into_iter()
                .min_by_key(|names| sizes.by_ref().take(names.len()).sum::<u64>())
        };
        self.newest(&narrowest.unwrap_or_default(), MAX_SEEN).await
    }

    /// The newest in any of these indexes, each once.
    async fn newest(&self, indexes: &[String], most: usize) -> Result<Vec<String>, Error> {
        let mut found: HashMap<String, f64> = HashMap::new();
        for index in indexes {
            for start in (0..most).step_by(IDS_AT_ONCE) {
                let end = most.min(start + IDS_AT_ONCE) - 1;
                let mut range = redis::cmd("ZREVRANGE");
                range.arg(index).arg(start).arg(end).arg("WITHSCORES");
                let ids: Vec<(String, f64)> = self.redis.query(&range).await?;
                let more = ids.len() == IDS_AT_ONCE;
                found.extend(ids);
                if !more {
                    break;
                }
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
        found.truncate(most);
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }

    async fn rows(&self, site: &Site, ids: &[String]) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            let call = self.call(&ROWS, site).list(some);
            let found: Vec<Value> = self.redis.invoke(call.invocation()).await?;
            for row in found {
                match Row::read(row) {
                    Some(row) => rows.push(row),
                    None => warn!("a stored annotation cannot be read and is not found"),
                }
            }
        }
        Ok(rows)
    }

    /// The ids of what is below these in their threads, oldest first.
    async fn replies(
        &self,
        site: &Site,
        ids: &[String],
        viewer: Option<&SignedIn>,
    ) -> Result<Vec<String>, Error> {
        let begin = self.keys.annotation_indexes_begin(&site.tenant);
        let mut all = redis::pipe();
        for id in ids {
            let most = isize::try_from(MAX_REPLIES).unwrap_or(isize::MAX);
            all.zrange(format!("{begin}r:{id}"), 0, most - 1);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let found: Vec<HashSet<String>> = self.redis.pipeline(&all).await?;
        let found: HashSet<String> = found.into_iter().flatten().take(MAX_SEEN).collect();
        let found: Vec<_> = found.into_iter().collect();
        let mut rows = self.rows(site, &found).await?;
        rows.retain(|row| class_for(&row.seen, viewer).is_some());
        rows.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        rows.truncate(MAX_REPLIES);
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// Those of these that there are and that the viewer may see by now, until
    /// they are as long as a page may be.
    async fn visible(
        &self,
        site: &Site,
        ids: &[String],
        viewer: Option<&SignedIn>,
    ) -> Result<Vec<Stored>, Error> {
        let mut found = self.read(site, ids, MAX_BYTES).await?;
        found.retain(|stored| stored.class_for(viewer).is_some());
        Ok(found)
    }
}

/// As many values as count.
fn first(values: &[String]) -> &[String] {
    values.get(..Search::MAX_VALUES).unwrap_or(values)
}
