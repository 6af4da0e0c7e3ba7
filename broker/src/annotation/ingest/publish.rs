//! Publishing what was reported, once.
//!
//! That a report was published is remembered in the script that publishes it,
//! so it may come again by any way, and as often as its sender is in doubt.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use super::{Report, What};
use crate::error::Error;
use crate::event::event_json;
use crate::keys::Keys;
use crate::topic::Tenant;
use crate::topology::Redis;
use crate::{annotation, people};

/// How long a report is remembered. Longer than systems repeat.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// The most reports of one script, and the most bytes of their events: Redis
/// does nothing else meanwhile.
const MOST_AT_ONCE: usize = 32;
const MOST_BYTES_AT_ONCE: usize = 512 * 1024;

static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("publish.lua")));

/// Publishes what annotation systems report. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    redis: Redis,
    keys: Keys,
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
        Self { redis, keys }
    }

    /// Publishes reports of a tenant's system in their order, until Redis fails.
    pub async fn publish(&self, tenant: &Tenant, reports: &[&Report]) -> Progress {
        let mut progress = Progress::default();
        let events: Vec<Event> = reports.iter().map(|r| self.event(tenant, r)).collect();
        let mut rest = events.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut call, mut count, mut bytes) = (PUBLISH.prepare_invoke(), 0, 0);
            call.arg(MEMORY.as_secs());
            while let Some(event) = rest.next_if(|event| {
                let room = count < MOST_AT_ONCE && bytes + event.json.len() <= MOST_BYTES_AT_ONCE;
                count == 0 || room
            }) {
                count += 1;
                bytes += event.json.len();
                call.key(event.known);
                call.arg(event.channel).arg(event.mark).arg(event.json);
            }
            match self.redis.invoke::<Vec<bool>>(&call).await {
                Ok(published) if published.len() == count => {
                    let outcomes = published.into_iter().map(|new| match new {
                        true => Outcome::Published,
                        false => Outcome::Repeated,
                    });
                    progress.outcomes.extend(outcomes);
                }
                Ok(_) => {
                    progress.failed = Some(Error::Corrupt("answer of a script"));
                    break;
                }
                Err(error) => {
                    progress.failed = Some(error);
                    break;
                }
            }
        }
        progress
    }

    fn event(&self, tenant: &Tenant, report: &Report) -> Event {
        // What stands in front of what only scripts may tell.
        let ours = "0-0 ";
        let (topic, mark, json) = match &report.what {
            What::Annotation(notification) => {
                let json = event_json(annotation::ANNOTATION, Some(notification), None);
                (annotation::topic(tenant), ours, json)
            }
            What::Membership { userid, change } => {
                let json = event_json(people::MEMBERSHIP, Some(change), None);
                (people::topic(tenant, userid), ours, json)
            }
            What::Told { topic, event } => (topic.clone(), "", event.clone()),
        };
        Event {
            known: self.keys.ingested(tenant, &report.id),
            channel: self.keys.channel(&topic),
            mark,
            json,
        }
    }
}

/// A report as the script gets it.
struct Event {
    known: String,
    channel: String,
    mark: &'static str,
    json: String,
}
