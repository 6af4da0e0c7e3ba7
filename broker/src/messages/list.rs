//! Listing messages, newest first, over all partitions.
//!
//! Each partition is walked from new to old; what matches is merged by id. An id
//! is a place in every partition, so one id continues all of them. What was
//! stored before a listing began appears on exactly one of its pages.

use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::call::{Call, SCAN};
use super::row::{hex, label_arg, time_arg, unhex};
use super::{AT_ONCE, GlobalFilter, Listed, Messages, MessagesFilter, Span};
use crate::error::Error;
use crate::keys::Partition;
use crate::message::{GlobalMessage, Message, MessageId};
use crate::time::Timestamp;
use crate::topic::{self, Tenant, Topic};

/// Messages walked per call: bounds what a filter costs that matches little.
const WALKED_PER_CALL: usize = 2000;
/// Messages walked per script, which reads their texts too.
const WALKED_PER_SCRIPT: usize = 200;
/// Ids have 48 bits of milliseconds.
const LAST_MILLISECOND: i64 = (1 << 48) - 1;

/// Where messages are walked, and how far that has come.
struct Walk {
    partition: Partition,
    /// The log, and sorted sets of ids if not the whole log is walked.
    keys: Vec<String>,
    /// Matches not listed yet, newest last.
    found: Vec<MessageId>,
    /// What lies before this has not been walked; none if nothing has been.
    below: Option<MessageId>,
    ended: bool,
}

impl Walk {
    fn new(partition: Partition, keys: Vec<String>) -> Self {
        Self {
            partition,
            keys,
            found: Vec::new(),
            below: None,
            ended: false,
        }
    }

    /// Whether what comes next is not known yet.
    fn starved(&self) -> bool {
        self.found.is_empty() && !self.ended
    }
}

/// What is looked for, as the scan script takes it.
struct Wanted {
    recipient: String,
    global_id: String,
    label: String,
    created: Span,
    expires: Span,
}

impl Messages {
    /// Messages of this tenant, newest first: at most `limit` of those created
    /// before `before`. A call walks a bounded number of messages, so a filter
    /// that matches few gives short pages, even empty ones, before the last.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn list(
        &self,
        tenant: &Tenant,
        filter: &MessagesFilter,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Listed<Message>, Error> {
        let log = |partition| self.keys.log(partition, tenant);
        let walks = match (&filter.recipient, filter.global_id) {
            (Some(recipient), _) => {
                let topic = Topic::recipient(tenant, recipient);
                let (pending, history) = (self.keys.pending(&topic), self.keys.history(&topic));
                let keys = vec![log(topic.partition()), pending, history];
                vec![Walk::new(topic.partition(), keys)]
            }
            (None, Some(id)) => {
                let copies = |p| vec![log(p), self.keys.copy_index(p, tenant, id)];
                Partition::every()
                    .map(|p| Walk::new(p, copies(p)))
                    .collect()
            }
            (None, None) => Partition::every()
                .map(|p| Walk::new(p, vec![log(p)]))
                .collect(),
        };
        let recipient = filter.recipient.as_deref().unwrap_or_default();
        let wanted = Wanted {
            recipient: topic::encode(recipient).into_owned(),
            global_id: filter
                .global_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
            label: label_arg(filter.label.as_deref()),
            created: filter.created,
            expires: filter.expires,
        };
        let listed = self.merge(walks, &wanted, before, limit).await?;
        Ok(Listed {
            items: self.read(tenant, &listed.items).await?,
            next: listed.next,
        })
    }

    /// Global messages of this tenant; otherwise as [`list`](Self::list).
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn list_globals(
        &self,
        tenant: &Tenant,
        filter: &GlobalFilter,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Listed<GlobalMessage>, Error> {
        let partition = Topic::all(tenant).partition();
        let walk = Walk::new(partition, vec![self.keys.global_log(tenant)]);
        let wanted = Wanted {
            recipient: String::new(),
            global_id: String::new(),
            label: label_arg(filter.label.as_deref()),
            created: filter.created,
            expires: filter.expires,
        };
        let listed = self.merge(vec![walk], &wanted, before, limit).await?;
        let mut globals = match &*listed.items {
            [] => Default::default(),
            ids => self.globals(tenant, ids).await?,
        };
        let items = listed.items.iter().filter_map(|id| globals.remove(id));
        Ok(Listed {
            items: items.collect(),
            next: listed.next,
        })
    }

    /// The newest ids that match, of all walks, before `before`.
    async fn merge(
        &self,
        mut walks: Vec<Walk>,
        wanted: &Wanted,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Listed<MessageId>, Error> {
        let mut items = Vec::with_capacity(limit);
        let mut walked = 0;
        let mut step = (2 * limit).div_ceil(walks.len()) + 2;
        while items.len() < limit {
            let starved: Vec<&mut Walk> = walks.iter_mut().filter(|w| w.starved()).collect();
            if !starved.is_empty() {
                let left = (WALKED_PER_CALL - walked) / starved.len();
                if left == 0 {
                    break;
                }
                let count = step.min(left).min(WALKED_PER_SCRIPT);
                walked += count * starved.len();
                step *= 2;
                let further = starved.into_iter();
                let further = further.map(|walk| self.walk(walk, wanted, before, count));
                stream::iter(further.collect::<Vec<_>>())
                    .buffer_unordered(AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
            // A starved walk may still find what is newer than the others' next.
            let mut floor = unwalked(&walks);
            while items.len() < limit {
                let newest = walks
                    .iter_mut()
                    .max_by_key(|walk| walk.found.last().copied());
                let Some(walk) = newest else { break };
                match walk.found.last() {
                    Some(id) if floor.is_none_or(|floor| floor < *id) => {
                        items.extend(walk.found.pop());
                    }
                    _ => break,
                }
                if walk.starved() {
                    floor = floor.max(walk.below);
                }
            }
            if walks.iter().all(|walk| walk.ended && walk.found.is_empty()) {
                return Ok(Listed { items, next: None });
            }
        }
        let next = if items.len() < limit {
            unwalked(&walks)
        } else {
            items.last().copied()
        };
        Ok(Listed { items, next })
    }

    /// Walks up to `count` further messages.
    async fn walk(
        &self,
        walk: &mut Walk,
        wanted: &Wanted,
        before: Option<MessageId>,
        count: usize,
    ) -> Result<(), Error> {
        let top = |id: MessageId| place_below(id, walk.partition);
        let until = wanted
            .created
            .to
            .map(|to| first_of(to + Duration::from_millis(1)));
        let below = [walk.below.or(before).map(top), until]
            .into_iter()
            .flatten()
            .min();
        let from = first_of(wanted.created.from.unwrap_or_default());
        let call = Call::new(&SCAN)
            .keys(&walk.keys)
            .arg(below.unwrap_or_default())
            .arg(from)
            .arg(count)
            .arg(self.retention())
            .arg(&wanted.recipient)
            .arg(&wanted.global_id)
            .arg(&wanted.label)
            .arg(time_arg(wanted.expires.from))
            .arg(time_arg(wanted.expires.to));
        let reply: Vec<String> = call.run(&self.redis).await?;
        let [last, ended, found @ ..] = &*reply else {
            return Err(Error::Corrupt("reply to a scan"));
        };
        if !last.is_empty() {
            walk.below = Some(unhex(last, walk.partition)?);
        }
        walk.ended = ended == "1";
        let found = found.iter().rev().map(|id| unhex(id, walk.partition));
        walk.found = found.collect::<Result<_, Error>>()?;
        Ok(())
    }
}

/// The id before which something may match that has not been found yet.
fn unwalked(walks: &[Walk]) -> Option<MessageId> {
    let starved = walks.iter().filter(|walk| walk.starved());
    starved.filter_map(|walk| walk.below).max()
}

/// The id, as scripts spell it, below which `partition` holds what comes before `id`.
fn place_below(id: MessageId, partition: Partition) -> String {
    if partition < id.partition {
        // Its message of the same millisecond and sequence comes before `id` too.
        let packed = (u128::from(id.millis) << 24) + u128::from(id.sequence) + 1;
        format!("{packed:018x}")
    } else {
        hex(id)
    }
}

/// The smallest id, as scripts spell it, that may have been made at `at`.
fn first_of(at: Timestamp) -> String {
    format!("{:012x}000000", at.millis().clamp(0, LAST_MILLISECOND))
}
