//! Publishing what was reported, once.
//!
//! That a report was published is remembered in the script that publishes it,
//! so it may come again by any way, and as often as its sender is in doubt.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::join_all;
use redis::Script;

use super::{Report, What};
use crate::error::Error;
use crate::event::{event_json, traced_in};
use crate::keys::{Keys, Partition};
use crate::topic::Tenant;
use crate::topology::Redis;
use crate::trace::{self, Kind, Span, Tracing};
use crate::{annotation, people};

/// How long a report is remembered. Longer than systems repeat.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// The most reports of one script, and the most bytes of their events: Redis
/// does nothing else meanwhile.
const MOST_AT_ONCE: usize = 32;
const MOST_BYTES_AT_ONCE: usize = 512 * 1024;
/// Says that an event goes into the ring of its topic.
const KEPT: &str = "kept";

static PUBLISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("../../ring.lua"),
        include_str!("publish.lua")
    ))
});

/// Publishes what annotation systems report. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    redis: Redis,
    keys: Keys,
    tracing: Tracing,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was published.
    Published,
    /// It had been published before, and was not again.
    Repeated,
}

impl Outcome {
    /// Its name, in answers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Repeated => "repeated",
        }
    }
}

/// How far publishing came.
#[derive(Debug, Default)]
pub struct Progress {
    /// What became of the first reports, in their order.
    pub outcomes: Vec<Outcome>,
    /// Why nobody knows what became of the rest.
    pub failed: Option<Error>,
}

impl Ingest {
    /// Publishes through this Redis.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self {
            redis,
            keys,
            tracing: Tracing::default(),
        }
    }

    /// The same, recording what is published for requests that are recorded.
    #[must_use]
    pub fn traced(mut self, tracing: Tracing) -> Self {
        self.tracing = tracing;
        self
    }

    /// Publishes reports of a tenant's system until Redis fails; those that live
    /// in one partition in their order, as all on one topic do.
    pub async fn publish(&self, tenant: &Tenant, reports: &[&Report]) -> Progress {
        let mut progress = Progress::default();
        if reports.is_empty() {
            return progress;
        }
        let publishing = self
            .tracing
            .part(Kind::Producer, trace::PUBLISH, &Span::current());
        publishing.note("carillon.events", reports.len() as i64);
        let events = reports.iter().map(|report| {
            let event = self.event(tenant, report);
            Event {
                json: traced_in(&publishing, event.json),
                ..event
            }
        });
        let events: Vec<Event> = events.collect();
        let mut rest = events.into_iter().peekable();
        while progress.failed.is_none() && rest.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(event) = rest.next_if(|event| {
                let room =
                    some.len() < MOST_AT_ONCE && bytes + event.json.len() <= MOST_BYTES_AT_ONCE;
                some.is_empty() || room
            }) {
                bytes += event.json.len();
                some.push(event);
            }
            for outcome in self.publish_some(&some, &publishing).await {
                match outcome {
                    Ok(outcome) => progress.outcomes.push(outcome),
                    Err(error) => {
                        progress.failed = error;
                        break;
                    }
                }
            }
        }
        progress
    }

    /// What becomes of each. An error is told once of all that share it.
    async fn publish_some(
        &self,
        events: &[Event],
        publishing: &Span,
    ) -> Vec<Result<Outcome, Option<Error>>> {
        let mut groups = BTreeMap::<Partition, Vec<usize>>::new();
        for (at, event) in events.iter().enumerate() {
            groups.entry(event.partition).or_default().push(at);
        }
        // They travel together.
        let calls = groups.into_values().map(|places| async {
            let mut call = PUBLISH.prepare_invoke();
            call.arg(MEMORY.as_secs());
            for &at in &places {
                let event = &events[at];
                call.key(&event.known).key(&event.ring);
                call.arg(&event.channel).arg(event.mark).arg(&event.json);
            }
            let asking = self.tracing.script("ingest", publishing);
            let answer = self.redis.invoke::<Vec<bool>>(&call).await;
            if answer.is_err() {
                asking.failed("redis");
            }
            drop(asking);
            let answer = answer.and_then(|published| match published.len() == places.len() {
                true => Ok(published),
                false => Err(Error::Corrupt("answer of a script")),
            });
            (places, answer)
        });
        let mut outcomes: Vec<_> = events.iter().map(|_| Err(None)).collect();
        for (places, answer) in join_all(calls).await {
            match answer {
                Ok(published) => {
                    for (at, new) in places.into_iter().zip(published) {
                        outcomes[at] = Ok(match new {
                            true => Outcome::Published,
                            false => Outcome::Repeated,
                        });
                    }
                }
                Err(error) => outcomes[places[0]] = Err(Some(error)),
            }
        }
        outcomes
    }

    fn event(&self, tenant: &Tenant, report: &Report) -> Event {
        let annotations = annotation::topic(tenant);
        let (topic, mark, json) = match &report.what {
            What::Annotation(notification) => {
                let json = event_json(annotation::ANNOTATION, Some(notification), None);
                (annotations.clone(), KEPT, json)
            }
            What::Membership { userid, change } => {
                let json = event_json(people::MEMBERSHIP, Some(change), None);
                // Who was not told of it reads again what groups the user is in.
                (people::topic(tenant, userid), "0-0 ", json)
            }
            What::Told { topic, event } => (topic.clone(), KEPT, event.clone()),
        };
        // One script notes that it was published and publishes it.
        let home = if mark == KEPT { &topic } else { &annotations };
        let partition = home.partition();
        Event {
            partition,
            known: self.keys.ingested(home, &report.id),
            ring: self.keys.ring(home),
            channel: self.keys.channel(&topic),
            mark,
            json,
        }
    }
}

/// A report as the script gets it.
struct Event {
    partition: Partition,
    known: String,
    ring: String,
    channel: String,
    mark: &'static str,
    json: String,
}
