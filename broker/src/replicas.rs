//! Whether replicas have what was pushed.
//!
//! `WAIT` counts the replicas that have what its own connection wrote, and it
//! holds that connection up. So it is sent on connections of its own, and never
//! for the push itself: a script finds the messages on that very server, then
//! writes a marker. A replica that has the marker has the messages, as it has all
//! that was written before. Were the messages not looked for, a marker on a server
//! that took over meanwhile would vouch for what it never had.
//!
//! Who asks while others are waiting shares the next question with all who came
//! meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{self, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::error::Error;
use crate::keys::{Keys, PARTITIONS, Partition};
use crate::message::MessageId;
use crate::topic::{Tenant, Topic};
use crate::topology::{OwnConnection, Redis};

const CONFIRM: &str = include_str!("messages/confirm.lua");
/// Messages looked for by one script: about a millisecond of Redis' time.
const PER_SCRIPT: usize = 200;
/// How much longer than a replica may take Redis may take to say so.
const GRACE: Duration = Duration::from_millis(500);

/// Asks the servers that store messages whether replicas have them. Cheap to
/// clone; all clones share the connections.
#[derive(Clone)]
pub struct Replicas {
    redis: Redis,
    keys: Keys,
    within: Duration,
    groups: Arc<[Group]>,
}

/// Why it is not known that a replica has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unconfirmed {
    /// Stored, but in time no replica, or not even its server, said anything.
    #[error("the message is stored, but no replica has confirmed it in time")]
    NotInTime,
    /// The server that stored it is not there any more, and the one that is has
    /// not got it.
    #[error("the message was lost with the server that stored it")]
    Lost,
}

/// What became of each.
type Outcome = Result<(), Unconfirmed>;

/// Those whose messages are on one server, or may be.
#[derive(Default)]
struct Group {
    /// Held by who asks, for all who wait.
    connection: sync::Mutex<Option<OwnConnection>>,
    waiting: Mutex<Vec<Waiting>>,
}

/// Somebody's messages in one log.
struct Waiting {
    marker: String,
    log: String,
    entries: Vec<String>,
    tell: oneshot::Sender<Vec<Outcome>>,
}

impl Replicas {
    /// Replicas of this Redis, which are given so long, more than nothing.
    pub fn new(redis: Redis, keys: Keys, within: Duration) -> Self {
        Self {
            redis,
            keys,
            within,
            groups: (0..PARTITIONS).map(|_| Group::default()).collect(),
        }
    }

    /// Waits until at least one replica has each of these messages of a tenant:
    /// one outcome for each, in order.
    pub async fn have(&self, tenant: &Tenant, ids: &[MessageId]) -> Vec<Outcome> {
        let mut parts: HashMap<Partition, Vec<usize>> = HashMap::new();
        for (at, id) in ids.iter().enumerate() {
            parts.entry(id.partition).or_default().push(at);
        }
        let chunks = parts.iter().flat_map(|(partition, places)| {
            let chunks = places.chunks(PER_SCRIPT);
            chunks.map(move |places| (*partition, places))
        });
        let asked = chunks.map(async |(partition, places)| {
            let entries = places.iter().map(|&at| ids[at].entry()).collect();
            let log = self.keys.log(partition, tenant);
            (places, self.ask(partition, log, entries).await)
        });
        let mut outcomes = vec![Err(Unconfirmed::NotInTime); ids.len()];
        for (places, told) in join_all(asked).await {
            for (&at, outcome) in places.iter().zip(told) {
                outcomes[at] = outcome;
            }
        }
        outcomes
    }

    /// The same of a global message.
    ///
    /// # Errors
    /// If it is not known that a replica has it.
    pub async fn have_global(&self, tenant: &Tenant, id: MessageId) -> Outcome {
        let log = self.keys.global_log(tenant);
        let partition = Topic::all(tenant).partition();
        let told = self.ask(partition, log, vec![id.entry()]).await;
        told.first().copied().unwrap_or(Err(Unconfirmed::NotInTime))
    }

    async fn ask(&self, partition: Partition, log: String, entries: Vec<String>) -> Vec<Outcome> {
        let deadline = Instant::now() + self.within + GRACE;
        let unanswered = vec![Err(Unconfirmed::NotInTime); entries.len()];
        // In a Cluster nobody vouches that two partitions stay together.
        let group = match self.redis.is_cluster() {
            true => &self.groups[usize::from(partition.index())],
            false => &self.groups[0],
        };
        let marker = self.keys.replicated(partition);
        let share = async {
            loop {
                let (tell, mut told) = oneshot::channel();
                let (marker, log, entries) = (marker.clone(), log.clone(), entries.clone());
                let own = Waiting {
                    marker,
                    log,
                    entries,
                    tell,
                };
                group.join(own);
                let mut connection = group.connection.lock().await;
                match told.try_recv() {
                    Ok(outcomes) => return outcomes,
                    // Who asked for us has gone away in the middle of it.
                    Err(oneshot::error::TryRecvError::Closed) => continue,
                    Err(oneshot::error::TryRecvError::Empty) => {}
                }
                let all = std::mem::take(&mut *group.waiting());
                self.ask_for(&mut connection, all).await;
                if let Ok(outcomes) = told.try_recv() {
                    return outcomes;
                }
            }
        };
        timeout_at(deadline, share).await.unwrap_or(unanswered)
    }

    /// Asks once for all of these, on this connection or a new one.
    async fn ask_for(&self, connection: &mut Option<OwnConnection>, all: Vec<Waiting>) {
        // Given back only if it is sound: a late answer would be taken for the next.
        let own = connection.take();
        let asked = Box::pin(self.round(own, &all)).await;
        let asked = asked.inspect_err(|error| debug!(%error, "replicas cannot be asked for"));
        let (found, replicas) = match asked {
            Ok((own, found, replicas)) => {
                *connection = Some(own);
                (found, replicas)
            }
            Err(_) => (Vec::new(), 0),
        };
        for (at, one) in all.into_iter().enumerate() {
            let entry = |n: usize| match found.get(at).and_then(|found| found.get(n)) {
                Some(0) => Err(Unconfirmed::Lost),
                Some(_) if 0 < replicas => Ok(()),
                _ => Err(Unconfirmed::NotInTime),
            };
            let outcomes = (0..one.entries.len()).map(entry).collect();
            // Who does not wait any more has had its answer.
            let _ = one.tell.send(outcomes);
        }
    }

    async fn round(
        &self,
        connection: Option<OwnConnection>,
        all: &[Waiting],
    ) -> Result<(OwnConnection, Vec<Vec<u8>>, u64), Error> {
        let mut own = match connection {
            Some(own) => own,
            None => {
                let marker = &all.first().ok_or(Error::Corrupt("question"))?.marker;
                let patience = self.within + GRACE;
                self.redis.own_connection_of(marker, patience).await?
            }
        };
        let mut commands = redis::Pipeline::with_capacity(all.len() + 1);
        for one in all {
            commands
                .cmd("EVAL")
                .arg(CONFIRM)
                .arg(2)
                .arg(&one.marker)
                .arg(&one.log)
                .arg(&one.entries);
        }
        // No time at all would mean for ever.
        let within = self.within.as_millis().max(1);
        let wait = commands.cmd("WAIT");
        wait.arg(1).arg(u64::try_from(within).unwrap_or(u64::MAX));
        let mut answers: Vec<redis::Value> = own.pipeline(&commands).await?;
        let replicas = answers.pop().ok_or(Error::Corrupt("reply to WAIT"))?;
        let corrupt = |_| Error::Corrupt("reply to WAIT");
        let replicas = redis::from_redis_value(replicas).map_err(corrupt)?;
        let found = answers.into_iter().map(redis::from_redis_value);
        let found = found.collect::<Result<_, _>>().map_err(corrupt)?;
        Ok((own, found, replicas))
    }
}

impl Group {
    /// Waits with those who do; who does not any more is forgotten.
    fn join(&self, one: Waiting) {
        let mut waiting = self.waiting();
        waiting.retain(|other| !other.tell.is_closed());
        waiting.push(one);
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().expect("nobody panics who holds it")
    }
}

#[cfg(test)]
mod tests;
