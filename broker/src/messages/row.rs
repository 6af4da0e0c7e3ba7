//! How scripts name messages and tell what they found.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::{FromRedisValue, ParsingError, Value};
use tracing::warn;

use super::call::{Call, READ};
use super::{AT_ONCE, Messages};
use crate::error::Error;
use crate::keys::Partition;
use crate::message::{GlobalMessage, Message, MessageId, Status};
use crate::time::Timestamp;
use crate::topic::{self, Tenant};

/// A message as a script returns it: id, state, recipient, text, label, expiry,
/// global id, when it is due, and its place if that is another.
pub(super) type Row = (
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<String>,
);

/// The id as scripts spell it: 12 hex digits of milliseconds, 6 of sequence.
pub(super) fn hex(id: MessageId) -> String {
    format!("{:012x}{:06x}", id.millis, id.sequence)
}

/// The inverse of [`hex`].
pub(super) fn unhex(id: &str, partition: Partition) -> Result<MessageId, Error> {
    let parse = || {
        let (millis, sequence) = id.split_at_checked(12)?;
        Some(MessageId {
            millis: u64::from_str_radix(millis, 16).ok()?,
            sequence: u32::from_str_radix(sequence, 16)
                .ok()
                .filter(|s| *s < 1 << 24)?,
            partition,
        })
    };
    parse().ok_or(Error::Corrupt("message id"))
}

/// `P`, `D<ms>` or `C<ms>`.
pub(super) fn status(state: &str) -> Result<Status, Error> {
    let corrupt = || Error::Corrupt("message state");
    let (letter, at) = state.split_at_checked(1).ok_or_else(corrupt)?;
    let at = || {
        at.parse()
            .map(Timestamp::from_millis)
            .map_err(|_| corrupt())
    };
    match letter {
        "P" => Ok(Status::Pending),
        "D" => Ok(Status::Delivered(at()?)),
        "C" => Ok(Status::Cancelled(at()?)),
        _ => Err(corrupt()),
    }
}

/// A label as an argument: nothing if there is none, else `=` and the label.
pub(super) fn label_arg(label: Option<&str>) -> String {
    label.map_or_else(String::new, |label| format!("={label}"))
}

/// An expiry as an argument: nothing if there is none.
pub(super) fn time_arg(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| at.millis().to_string())
}

/// The message of a row; the text of a global message's copy is left empty.
pub(super) fn message(row: Row, partition: Partition) -> Result<Message, Error> {
    let (id, state, recipient, text, label, expires_at, global_id, deliver_at, place) = row;
    let recipient = recipient.ok_or(Error::Corrupt("recipient"))?;
    let global_id = global_id
        .map(|id| id.parse().map_err(|_| Error::Corrupt("global message id")))
        .transpose()?;
    if text.is_none() && global_id.is_none() {
        return Err(Error::Corrupt("message"));
    }
    Ok(Message {
        id: unhex(&id, partition)?,
        recipient: topic::decode(&recipient).into(),
        text: text.unwrap_or_default().into(),
        label: label.map(Arc::from),
        expires_at: expires_at.map(Timestamp::from_millis),
        status: status(&state)?,
        global_id,
        deliver_at: deliver_at.map(Timestamp::from_millis),
        place: place.map(|place| unhex(&place, partition)).transpose()?,
    })
}

/// The messages of those rows that can be read. One that cannot is logged by its
/// id and left out: it must not keep the others from anybody.
pub(super) fn readable(rows: Vec<Value>, partition: Partition) -> Vec<Message> {
    let read = |row: Value| {
        let id = row_id(&row);
        let parsed = redis::from_redis_value::<Row>(row).map_err(|_| Error::Corrupt("row"));
        let read = parsed.and_then(|row| message(row, partition));
        read.inspect_err(|error| {
            warn!(%error, ?partition, id, "a stored message cannot be read and is left out");
        })
        .ok()
    };
    rows.into_iter().filter_map(read).collect()
}

/// The id that a row begins with, as scripts spell it.
fn row_id(row: &Value) -> String {
    field(row, 0).unwrap_or_default()
}

/// Where its message stands among its recipient's: a row ends with that, unless
/// it is the id.
pub(super) fn row_place(row: &Value) -> String {
    field(row, 8).or_else(|| field(row, 0)).unwrap_or_default()
}

fn field(row: &Value, at: usize) -> Option<String> {
    match row {
        Value::Array(fields) => match fields.get(at) {
            Some(Value::BulkString(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// The global message of a row.
pub(super) fn global(row: Row, partition: Partition) -> Result<GlobalMessage, Error> {
    let (id, _, _, text, label, expires_at, _, deliver_at, _) = row;
    Ok(GlobalMessage {
        id: unhex(&id, partition)?,
        text: text.ok_or(Error::Corrupt("global message"))?.into(),
        label: label.map(Arc::from),
        expires_at: expires_at.map(Timestamp::from_millis),
        deliver_at: deliver_at.map(Timestamp::from_millis),
    })
}

/// The entry of a stream, its fields by name.
struct Entry(HashMap<String, String>);

impl FromRedisValue for Entry {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (_, fields): (String, HashMap<String, String>) = redis::from_redis_value(value)?;
        Ok(Self(fields))
    }
}

impl Messages {
    /// Those messages of `ids` that there are, in the order of `ids`.
    pub(super) async fn read(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, Error> {
        let mut groups: HashMap<Partition, Vec<MessageId>> = HashMap::new();
        for id in ids {
            groups.entry(id.partition).or_default().push(*id);
        }
        let read = async |(partition, ids): (Partition, Vec<MessageId>)| {
            let ids: Vec<_> = ids.into_iter().map(hex).collect();
            let call = Call::new(&READ)
                .keys(self.keys.log(partition, tenant))
                .arg(self.keys.base(partition))
                .arg(tenant.as_str())
                .arg(self.retention())
                .arg(ids);
            let rows: Vec<Value> = call.run(&self.redis).await?;
            Ok::<_, Error>(readable(rows, partition))
        };
        let groups: Vec<Vec<Message>> = stream::iter(groups)
            .map(read)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let found = groups.into_iter().flatten().map(|m| (m.id, m));
        let mut found: HashMap<MessageId, Message> = found.collect();
        let messages = ids.iter().filter_map(|id| found.remove(id)).collect();
        self.fill_in(tenant, messages).await
    }

    /// Gives copies of global messages their text; one whose global message is
    /// gone is left out.
    pub(super) async fn fill_in(
        &self,
        tenant: &Tenant,
        mut messages: Vec<Message>,
    ) -> Result<Vec<Message>, Error> {
        let mut wanted: Vec<_> = messages.iter().filter_map(|m| m.global_id).collect();
        if wanted.is_empty() {
            return Ok(messages);
        }
        wanted.sort_unstable();
        wanted.dedup();
        let globals = self.globals(tenant, &wanted).await?;
        messages.retain_mut(|message| {
            let Some(id) = message.global_id else {
                return true;
            };
            match globals.get(&id) {
                Some(global) => {
                    message.text = Arc::clone(&global.text);
                    true
                }
                None => false,
            }
        });
        Ok(messages)
    }

    /// The global messages of these ids that there are.
    pub(super) async fn globals(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<HashMap<MessageId, GlobalMessage>, Error> {
        let log = self.keys.global_log(tenant);
        let mut pipeline = redis::Pipeline::with_capacity(ids.len());
        for id in ids {
            let entry = id.entry();
            pipeline.xrange(&log, &entry, &entry);
        }
        let found: Vec<Value> = self.redis.pipeline(&pipeline).await?;
        let mut globals = HashMap::with_capacity(ids.len());
        for (&id, entries) in ids.iter().zip(found) {
            match stored_global(id, entries) {
                Ok(global) => globals.extend(global.map(|global| (id, global))),
                Err(error) => {
                    warn!(%error, %id, "a stored global message cannot be read and is left out");
                }
            }
        }
        Ok(globals)
    }
}

/// The global message in the entry of its id, if there is one.
fn stored_global(id: MessageId, entries: Value) -> Result<Option<GlobalMessage>, Error> {
    let entries: Vec<Entry> =
        redis::from_redis_value(entries).map_err(|_| Error::Corrupt("entry"))?;
    let Some(Entry(mut fields)) = entries.into_iter().next() else {
        return Ok(None);
    };
    let time = |field: &str, what: &'static str| {
        let at = fields.get(field).map(|at| at.parse());
        let at = at.transpose().map_err(|_| Error::Corrupt(what))?;
        Ok::<_, Error>(at.map(Timestamp::from_millis))
    };
    let (expires_at, deliver_at) = (time("x", "expiry")?, time("a", "time of delivery")?);
    Ok(Some(GlobalMessage {
        id,
        text: fields
            .remove("b")
            .ok_or(Error::Corrupt("global message"))?
            .into(),
        label: fields.remove("l").map(Arc::from),
        expires_at,
        deliver_at,
    }))
}
