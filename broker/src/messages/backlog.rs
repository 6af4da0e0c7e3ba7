//! What waits for a recipient, and what reached it.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::Value;
use tracing::warn;

use super::call::{BACKLOG, CLAIM, Call, MARK, PENDING_COUNT};
use super::row::{hex, label_arg, readable, row_place, time_arg, unhex};
use super::{AT_ONCE, Backlog, Mark, Marked, Messages, Page, Unsent};
use crate::error::Error;
use crate::keys::{Keys, Partition};
use crate::message::{GlobalMessage, MessageId};
use crate::time::Timestamp;
use crate::topic::{self, Tenant, Topic};

/// Marks per script call: about a millisecond of Redis' time.
const MARKS_PER_CALL: usize = 200;
/// Copies made per script call: about a millisecond of Redis' time.
const CLAIMS_PER_CALL: usize = 100;

/// A global message that is still sent to recipients that connect.
struct Active {
    id: MessageId,
    until: String,
    size: String,
    expires_at: String,
    /// As the scripts take it, see [`label_arg`].
    label: String,
}

impl Active {
    /// Reads `<until> <size> <expires or ->`, then `@<due>` if it is to be released
    /// first, which makes it none yet, then `=<label>` if it has one.
    fn parse(id: &str, value: &str, partition: Partition) -> Result<Option<Self>, Error> {
        let corrupt = || Error::Corrupt("active global message");
        let (until, rest) = value.split_once(' ').ok_or_else(corrupt)?;
        let (size, rest) = rest.split_once(' ').ok_or_else(corrupt)?;
        let (expires_at, label) = rest.split_at(rest.find('=').unwrap_or(rest.len()));
        if expires_at.contains('@') {
            return Ok(None);
        }
        // A script that is given something else fails, for everybody.
        let numbers = [until, size, expires_at.trim_end_matches('-')];
        let is_number = |text: &&str| text.parse::<f64>().is_ok();
        if !numbers.iter().filter(|n| !n.is_empty()).all(is_number) {
            return Err(corrupt());
        }
        Ok(Some(Self {
            id: unhex(id, partition)?,
            until: until.to_owned(),
            size: size.to_owned(),
            expires_at: expires_at.trim_end_matches('-').to_owned(),
            label: label.to_owned(),
        }))
    }
}

impl Messages {
    /// What a socket of this recipient has not been sent: first claims the
    /// active global messages that the recipient has no copy of yet, then reads
    /// messages, oldest first. What is for another label, or expired, is left out.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn backlog(
        &self,
        recipient: &Topic,
        unsent: Unsent<'_>,
        page: Page,
    ) -> Result<Backlog, Error> {
        let (tenant, partition) = (recipient.tenant(), recipient.partition());
        let mut active = self.active(&tenant).await?;
        let own = label_arg(unsent.label);
        active.retain(|global| global.label.is_empty() || global.label == own);

        let most_pending = self.most_pending(&tenant).await;
        let mut call = Call::new(&BACKLOG)
            .keys(&self.recipient_keys(recipient, &tenant))
            .keys(self.keys.revoked(recipient))
            .arg(Keys::rest(recipient))
            .arg(tenant.as_str())
            .arg(&*topic::encode(&recipient.id()))
            .arg(own)
            .arg(unsent.after.map(hex).unwrap_or_default())
            .arg(page.count)
            .arg(page.bytes)
            .arg(most_pending)
            .arg(self.retention())
            .arg(
                unsent
                    .since
                    .map(|at| at.millis().to_string())
                    .unwrap_or_default(),
            );
        for global in active {
            call = call
                .keys(self.keys.global_copies(partition, &tenant, global.id))
                .keys(self.keys.copy_index(partition, &tenant, global.id))
                .arg(global.id.to_string())
                .arg(global.until)
                .arg(global.size)
                .arg(global.expires_at)
                .arg(global.label);
        }
        let (more, rows, revoked_at, crowded_out): (bool, Vec<Value>, Option<i64>, u64) =
            call.run(&self.redis).await?;
        self.crowded_out.inc_by(crowded_out);
        let place = |row| unhex(&row_place(row), partition).ok();
        let last = rows.iter().rev().filter(|_| more).find_map(place);
        let found = rows.len();
        let messages = readable(rows, partition);
        let unreadable = found - messages.len();
        Ok(Backlog {
            messages: self.fill_in(&tenant, messages).await?,
            more: last,
            unreadable: unreadable as u64,
            revoked_at: revoked_at.map(Timestamp::from_millis),
        })
    }

    /// How many unexpired messages wait for this recipient.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn pending_count(&self, recipient: &Topic) -> Result<u64, Error> {
        let call = Call::new(&PENDING_COUNT)
            .keys(self.keys.pending(recipient))
            .keys(self.keys.expiring(recipient.partition()))
            .arg(Keys::rest(recipient))
            .arg(self.retention());
        call.run(&self.redis).await
    }

    /// Marks messages delivered whose frames were flushed, or that were
    /// acknowledged: one outcome for each, in order.
    ///
    /// # Errors
    /// If Redis fails. Some messages may have been marked; marking them again
    /// is harmless.
    pub async fn mark(&self, marks: &[Mark]) -> Result<Vec<Marked>, Error> {
        let mut groups: HashMap<Partition, Vec<usize>> = HashMap::new();
        for (at, mark) in marks.iter().enumerate() {
            groups
                .entry(mark.recipient.partition())
                .or_default()
                .push(at);
        }
        let run = async |(partition, places): (Partition, Vec<usize>)| {
            let calls = places.chunks(MARKS_PER_CALL).map(|places| {
                let mut call = Call::new(&MARK)
                    .keys(self.keys.expiring(partition))
                    .arg(self.keys.base(partition))
                    .arg(self.retention());
                for &at in places {
                    let mark = &marks[at];
                    call = call.arg(Keys::rest(&mark.recipient)).arg(hex(mark.id));
                }
                call
            });
            let calls: Vec<Call> = calls.collect();
            let mut letters = String::with_capacity(places.len());
            for result in Call::run_all::<String>(&self.redis, &calls).await? {
                letters.push_str(&result?);
            }
            Ok::<_, Error>((places, letters))
        };
        let groups: Vec<_> = stream::iter(groups)
            .map(run)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut marked = vec![None; marks.len()];
        for (places, letters) in groups {
            for (at, letter) in places.into_iter().zip(letters.bytes()) {
                marked[at] = match letter {
                    b'D' => Some(Marked::Delivered),
                    b'A' => Some(Marked::Already),
                    b'C' => Some(Marked::Cancelled),
                    _ => None,
                };
            }
        }
        let marked: Option<Vec<Marked>> = marked.into_iter().collect();
        marked.ok_or(Error::Corrupt("reply to marks"))
    }

    /// Gives recipients, all of the global message's tenant, their own copies of
    /// it, once per recipient, and returns the ids of the copies, in order. With
    /// `delivered` they are delivered as of now, those that wait included.
    ///
    /// # Errors
    /// If Redis fails. Some copies may have been made; claiming again is harmless.
    pub async fn claim(
        &self,
        global: &GlobalMessage,
        recipients: &[Topic],
        delivered: bool,
    ) -> Result<Vec<MessageId>, Error> {
        let Some(tenant) = recipients.first().map(Topic::tenant) else {
            return Ok(Vec::new());
        };
        let tenant = &tenant;
        let mut groups: HashMap<Partition, Vec<usize>> = HashMap::new();
        for (at, recipient) in recipients.iter().enumerate() {
            groups.entry(recipient.partition()).or_default().push(at);
        }
        let mut chunks: Vec<(Partition, Vec<usize>)> = Vec::new();
        for (partition, places) in groups {
            let split = places.chunks(CLAIMS_PER_CALL);
            chunks.extend(split.map(|places| (partition, places.to_vec())));
        }
        let since = global.deliver_at.max(Some(global.id.created_at()));
        let until = since.unwrap_or_default() + self.limits.global_default_life;
        let most_pending = self.most_pending(tenant).await;
        let run = async |(partition, places): (Partition, Vec<usize>)| {
            let names = places.iter().map(|&at| recipients[at].id());
            let names: Vec<_> = names
                .map(|name| topic::encode(&name).into_owned())
                .collect();
            let call = Call::new(&CLAIM)
                .keys(&self.log_keys(partition, tenant))
                .keys(self.keys.tenants(partition))
                .keys(self.keys.global_copies(partition, tenant, global.id))
                .keys(self.keys.copy_index(partition, tenant, global.id))
                .arg(self.keys.base(partition))
                .arg(tenant.as_str())
                .arg(u8::from(delivered))
                .arg(most_pending)
                .arg(self.retention())
                .arg(global.id.to_string())
                .arg(until.millis())
                .arg(global.text.len())
                .arg(time_arg(global.expires_at))
                .arg(label_arg(global.label.as_deref()))
                .arg(names);
            let (crowded_out, ids): (u64, Vec<String>) = call.run(&self.redis).await?;
            self.crowded_out.inc_by(crowded_out);
            let ids = ids.iter().map(|id| unhex(id, partition));
            let placed = places.into_iter().zip(ids).map(|(at, id)| Ok((at, id?)));
            placed.collect::<Result<Vec<_>, Error>>()
        };
        let placed: Vec<_> = stream::iter(chunks)
            .map(run)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut ids = vec![None; recipients.len()];
        for (at, id) in placed.into_iter().flatten() {
            ids[at] = Some(id);
        }
        let ids: Option<Vec<MessageId>> = ids.into_iter().collect();
        ids.ok_or(Error::Corrupt("reply to a claim"))
    }

    /// The global messages that are sent to recipients that connect, oldest first.
    async fn active(&self, tenant: &Tenant) -> Result<Vec<Active>, Error> {
        let partition = Topic::all(tenant).partition();
        let get = redis::Cmd::hgetall(self.keys.active_globals(tenant));
        let all: Vec<(Vec<u8>, Vec<u8>)> = self.redis.query(&get).await?;
        let parse = |(id, value): &(Vec<u8>, Vec<u8>)| {
            let (id, value) = (String::from_utf8_lossy(id), String::from_utf8_lossy(value));
            Active::parse(&id, &value, partition)
                .inspect_err(|error| warn!(%error, %id, "an active global message is left out"))
                .ok()?
        };
        let mut active: Vec<_> = all.iter().filter_map(parse).collect();
        active.sort_unstable_by_key(|global| global.id);
        Ok(active)
    }
}
