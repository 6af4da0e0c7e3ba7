//! Storing and publishing messages, in one step each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use redis::{ErrorKind, FromRedisValue, ParsingError, RedisError, Value};

use super::call::{Call, PUSH, PUSH_GLOBAL};
use super::row::{Row, global, label_arg, message, status, time_arg, unhex};
use super::{AT_ONCE, Messages, millis};
use crate::error::Error;
use crate::event::{message_payload, traced_in};
use crate::keys::{Keys, Partition};
use crate::message::{Draft, GlobalMessage, Message};
use crate::topic::{self, Tenant, Topic};
use crate::trace::{self, Kind, PUBLISH};

/// What the push script answers.
enum Pushed {
    /// Stored now: id, state, how many the cap cancelled.
    New(String, String, u64),
    /// The message that this idempotency key made before.
    Before(Row),
}

impl FromRedisValue for Pushed {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match value {
            Value::Array(parts) if parts.len() == 3 => {
                let (id, state, crowded_out) = redis::from_redis_value(Value::Array(parts))?;
                Ok(Self::New(id, state, crowded_out))
            }
            value => redis::from_redis_value(value).map(Self::Before),
        }
    }
}

/// What the global push script answers.
enum PushedGlobal {
    /// Stored now: id.
    New(String),
    /// The message that this idempotency key made before.
    Before(Row),
}

impl FromRedisValue for PushedGlobal {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match value {
            Value::Array(parts) if parts.len() == 1 => {
                let (id,) = redis::from_redis_value(Value::Array(parts))?;
                Ok(Self::New(id))
            }
            value => redis::from_redis_value(value).map(Self::Before),
        }
    }
}

impl Messages {
    /// Stores a message for each recipient and publishes it: one outcome for
    /// each name, in order. A name given twice gets one message. Names are
    /// checked by the caller.
    ///
    /// A message whose expiry has passed is stored as cancelled and not sent; one
    /// that is due later is stored as pending, and sent once it was released.
    pub async fn push(
        &self,
        tenant: &Tenant,
        recipients: &[Arc<str>],
        draft: &Draft,
        idempotency: Option<&str>,
    ) -> Vec<Result<Message, Error>> {
        let mut groups: HashMap<Partition, Vec<(Arc<str>, Topic)>> = HashMap::new();
        let mut seen = HashSet::new();
        for name in recipients {
            if seen.insert(&**name) {
                let topic = Topic::recipient(tenant, name);
                let group = groups.entry(topic.partition()).or_default();
                group.push((Arc::clone(name), topic));
            }
        }
        let publishing = self
            .tracing
            .part(Kind::Producer, PUBLISH, &trace::Span::current());
        publishing.note("carillon.recipients", seen.len() as i64);
        let payload = traced_in(&publishing, message_payload(draft));
        let most = self.most_pending(tenant).await;
        let push = async |(partition, names): (Partition, Vec<(Arc<str>, Topic)>)| {
            let calls = names.iter().map(|(_, topic)| {
                self.push_call(tenant, topic, draft, &payload, idempotency, most)
            });
            let calls: Vec<Call> = calls.collect();
            let asking = self.tracing.script(PUSH.name(), &publishing);
            asking.note("carillon.partition", i64::from(partition.index()));
            let results = Call::run_all(&self.redis, &calls).await;
            if results.is_err() {
                asking.failed("redis");
            }
            drop(asking);
            let results =
                results.unwrap_or_else(|error| names.iter().map(|_| Err(again(&error))).collect());
            let named = names.into_iter().zip(results);
            let made = named.map(|((name, _), pushed)| {
                let made = pushed.and_then(|p| self.pushed(p, &name, draft, partition));
                (name, made)
            });
            made.collect::<Vec<_>>()
        };
        let made: Vec<_> = stream::iter(groups)
            .map(push)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let made: HashMap<Arc<str>, Result<Message, Error>> = made.into_iter().flatten().collect();
        let outcome = |name| match made.get(name) {
            Some(Ok(message)) => Ok(message.clone()),
            Some(Err(error)) => Err(again(error)),
            None => Err(Error::Corrupt("reply")),
        };
        recipients.iter().map(outcome).collect()
    }

    /// Stores a message for every recipient of the tenant and publishes it.
    ///
    /// One whose expiry has passed is stored and not sent; one that is due later
    /// is sent once it was released.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn push_global(
        &self,
        tenant: &Tenant,
        draft: &Draft,
        idempotency: Option<&str>,
    ) -> Result<GlobalMessage, Error> {
        let all = Topic::all(tenant);
        let partition = all.partition();
        let publishing = self
            .tracing
            .part(Kind::Producer, PUBLISH, &trace::Span::current());
        let call = Call::new(&PUSH_GLOBAL)
            .keys(self.keys.global_log(tenant))
            .keys(self.keys.active_globals(tenant))
            .keys(self.keys.tenants(partition))
            .keys(self.keys.scheduled(partition))
            .keys(idempotency.map(|key| self.keys.idempotency(&all, key)))
            .arg(tenant.as_str())
            .arg(self.keys.channel(&all))
            .arg(traced_in(&publishing, message_payload(draft)))
            .arg(time_arg(draft.expires_at))
            .arg(time_arg(draft.deliver_at))
            .arg(millis(self.limits.global_default_life))
            .arg(self.limits.pending)
            .arg(self.retention())
            .arg(millis(self.limits.idempotency))
            .arg(draft.text.len())
            .arg(label_arg(draft.label.as_deref()));
        let call = match draft.deliver_at {
            Some(_) => call.arg("w").arg(millis(self.limits.global_default_life)),
            None => call,
        };
        let asking = self.tracing.script(PUSH_GLOBAL.name(), &publishing);
        let pushed = with_fields(call, draft).run(&self.redis).await;
        if pushed.is_err() {
            asking.failed("redis");
        }
        match pushed? {
            PushedGlobal::Before(row) => global(row, partition),
            PushedGlobal::New(id) => Ok(GlobalMessage {
                id: unhex(&id, partition)?,
                text: Arc::clone(&draft.text),
                label: draft.label.clone(),
                expires_at: draft.expires_at,
                deliver_at: draft.deliver_at,
            }),
        }
    }

    fn push_call(
        &self,
        tenant: &Tenant,
        topic: &Topic,
        draft: &Draft,
        payload: &str,
        idempotency: Option<&str>,
        most_pending: usize,
    ) -> Call {
        let call = Call::new(&PUSH)
            .keys(&self.recipient_keys(topic, tenant))
            .keys(idempotency.map(|key| self.keys.idempotency(topic, key)))
            .arg(Keys::rest(topic))
            .arg(tenant.as_str())
            .arg(self.keys.channel(topic))
            .arg(payload)
            .arg(time_arg(draft.expires_at))
            .arg(time_arg(draft.deliver_at))
            .arg(most_pending)
            .arg(self.retention())
            .arg(millis(self.limits.idempotency))
            .arg("r")
            .arg(&*topic::encode(&topic.id()));
        with_fields(call, draft)
    }

    fn pushed(
        &self,
        pushed: Pushed,
        recipient: &Arc<str>,
        draft: &Draft,
        partition: Partition,
    ) -> Result<Message, Error> {
        match pushed {
            Pushed::Before(row) => message(row, partition),
            Pushed::New(id, state, crowded_out) => {
                self.crowded_out.inc_by(crowded_out);
                Ok(Message {
                    id: unhex(&id, partition)?,
                    recipient: Arc::clone(recipient),
                    text: Arc::clone(&draft.text),
                    label: draft.label.clone(),
                    expires_at: draft.expires_at,
                    status: status(&state)?,
                    global_id: None,
                    deliver_at: draft.deliver_at,
                    place: None,
                })
            }
        }
    }
}

/// Adds the draft as fields of a log's entry.
fn with_fields(call: Call, draft: &Draft) -> Call {
    let call = call.arg("b").arg(&*draft.text);
    let call = match &draft.label {
        Some(label) => call.arg("l").arg(&**label),
        None => call,
    };
    let call = match draft.expires_at {
        Some(at) => call.arg("x").arg(at.millis()),
        None => call,
    };
    match draft.deliver_at {
        Some(at) => call.arg("a").arg(at.millis()),
        None => call,
    }
}

/// The same failure for several names.
fn again(error: &Error) -> Error {
    match error {
        Error::Redis(error) => Error::Redis(error.clone()),
        Error::Corrupt(what) => Error::Corrupt(what),
        error => Error::Redis(RedisError::from((
            ErrorKind::Io,
            "no connection",
            error.to_string(),
        ))),
    }
}
