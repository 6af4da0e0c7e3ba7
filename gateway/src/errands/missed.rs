//! What clients that come back missed: read once per tenant for all who come back
//! at the same time, and shared by them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker::Error;
use broker::event::{EntryId, Event};
use broker::replay::{Oldest, Page};
use broker::resumption::{Client, OVERLAP, Resumption};
use broker::ring::LIFE;
use broker::topic::Topic;
use tracing::error;

use super::{Asked, Runner};
use crate::dialect::Answer;
use crate::dialect::hypothesis::Missed;

/// What a ring held is forgotten when nobody has asked for it for this long.
const KEPT: Duration = Duration::from_secs(30);
/// Rings kept in mind at once; each is a megabyte at most, as stored.
const RINGS: usize = 16;

/// What rings of annotations held, as of the last look.
#[derive(Default)]
pub(super) struct Recollection {
    rings: Mutex<HashMap<Topic, Arc<Held>>>,
}

/// One ring, read by one at a time, for all who had asked by then.
struct Held {
    ring: tokio::sync::Mutex<Option<Seen>>,
    asked_at: Mutex<Instant>,
}

/// What a ring held.
#[derive(Clone)]
struct Seen {
    /// When the reading began.
    began: Instant,
    /// Redis' clock then, in Unix milliseconds.
    time: u64,
    oldest: Option<Oldest>,
    missed: Missed,
}

impl Runner {
    /// Finds what clients missed that came back at the same time.
    pub(super) async fn missed(&self, back: Vec<(Asked, Topic, Client)>) {
        let asked_at = Instant::now();
        let resumption = &self.sources.resumption;
        let clients: Vec<Client> = back.iter().map(|(.., client)| client.clone()).collect();
        let points = self.retry("backlog", || resumption.come(&clients)).await;
        let points = points.unwrap_or_else(|error| {
            error!(%error, "where clients are to go on cannot be read");
            vec![None; clients.len()]
        });
        for ((asked, topic, _), point) in back.iter().zip(points) {
            let Some(point) = point else {
                self.metrics.resumed("first");
                self.answer(asked, Answer::Missed(None));
                continue;
            };
            let recollection = &self.recollection;
            let missed = self
                .retry("backlog", || {
                    recollection.since(resumption, topic, point, asked_at)
                })
                .await;
            let missed = missed.inspect_err(|error| {
                error!(%error, %topic, "what clients missed cannot be read");
            });
            self.metrics.resumed(match &missed {
                Ok(missed) if missed.whole => "whole",
                Ok(_) => "partial",
                Err(_) => "failed",
            });
            self.answer(asked, Answer::Missed(missed.ok()));
        }
    }

    /// Notes what clients are known to have. If that fails, they are only sent
    /// more than they need when they come back.
    pub(super) async fn reached(&self, reached: &[(Client, u64)]) {
        if let Err(error) = self.sources.resumption.reach(reached).await {
            self.errands.shared.failed("reached", &error);
        }
    }
}

impl Recollection {
    /// What was published on a topic of annotations since this time, in Unix
    /// milliseconds by Redis' clock, or a little before. Read after `asked_at`,
    /// for whoever that will do.
    pub(super) async fn since(
        &self,
        resumption: &Resumption,
        topic: &Topic,
        point: u64,
        asked_at: Instant,
    ) -> Result<Missed, Error> {
        let held = self.held(topic, asked_at);
        let mut seen = held.ring.lock().await;
        let fresh = seen.as_ref().filter(|seen| asked_at <= seen.began);
        let now = match fresh {
            Some(fresh) => fresh.clone(),
            None => {
                let read = Seen::read(seen.take(), resumption, topic).await?;
                seen.insert(read).clone()
            }
        };
        drop(seen);
        Ok(now.since(point))
    }

    /// Forgets what nobody has asked for of late.
    pub(super) fn tidy(&self) {
        let mut rings = self.rings.lock().expect("nobody panics who holds it");
        rings.retain(|_, held| held.asked_at().elapsed() < KEPT);
    }

    fn held(&self, topic: &Topic, now: Instant) -> Arc<Held> {
        let mut rings = self.rings.lock().expect("nobody panics who holds it");
        if rings.len() == RINGS && !rings.contains_key(topic) {
            let oldest = rings.iter().min_by_key(|(_, held)| held.asked_at());
            let oldest = oldest.map(|(topic, _)| topic.clone());
            oldest.map(|oldest| rings.remove(&oldest));
        }
        let held = rings.entry(topic.clone()).or_insert_with(|| {
            Arc::new(Held {
                ring: tokio::sync::Mutex::new(None),
                asked_at: Mutex::new(now),
            })
        });
        *held.asked_at.lock().expect("nobody panics who holds it") = now;
        Arc::clone(held)
    }
}

impl Held {
    fn asked_at(&self) -> Instant {
        *self.asked_at.lock().expect("nobody panics who holds it")
    }
}

impl Seen {
    /// Reads what has been added, if what was seen before is still there; else all.
    async fn read(
        before: Option<Self>,
        resumption: &Resumption,
        topic: &Topic,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        if let Some(before) = before
            && let Some((last, _)) = before.missed.entries.last()
        {
            let page = resumption.ring(topic, *last).await?;
            // A ring that was made anew does not begin with what we know last.
            if page.entries.first().is_some_and(|first| first.id == *last) {
                let known = before.missed.entries.iter();
                let kept = known.filter(|(id, _)| page.oldest.is_some_and(|o| o.id <= *id));
                let kept = kept.filter(|(id, _)| id != last).cloned().collect();
                return Ok(Self::of(began, kept, page));
            }
        }
        let page = resumption.ring(topic, EntryId::default()).await?;
        Ok(Self::of(began, Vec::new(), page))
    }

    fn of(began: Instant, mut entries: Vec<(EntryId, Arc<Event>)>, page: Page) -> Self {
        for entry in page.entries {
            // What is no event was told to nobody when it came, either.
            if let Ok(event) = Event::stored(entry.id, &entry.json) {
                entries.push((entry.id, Arc::new(event)));
            }
        }
        Self {
            began,
            time: page.time,
            oldest: page.oldest,
            missed: Missed::of(entries),
        }
    }

    /// Those since a point, and whether that is all.
    fn since(&self, point: u64) -> Missed {
        let from = point.saturating_sub(OVERLAP.as_millis() as u64);
        let life = LIFE.as_millis() as u64;
        let young = self.time.saturating_sub(point) < life;
        let whole = match self.oldest {
            Some(oldest) => oldest.id.millis <= from || oldest.number == 1 && young,
            None => young,
        };
        let entries = &self.missed.entries;
        Missed {
            next: entries.partition_point(|(id, _)| id.millis < from),
            whole,
            ..self.missed.clone()
        }
    }
}

/// What a ring that was read as a whole holds since a point.
#[cfg(test)]
pub(crate) fn since(page: Page, point: u64) -> Missed {
    Seen::of(Instant::now(), Vec::new(), page).since(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    /// A ring with events of these seconds ago, and how many there had been with
    /// the first.
    fn seen(ago: &[u64], number: u64) -> Seen {
        let at = |ago: &u64| EntryId {
            millis: NOW - ago * 1000,
            sequence: 0,
        };
        let event = |id| Arc::new(Event::stored(id, r#"{"v":1,"type":"x"}"#).unwrap());
        let entries: Vec<_> = ago.iter().map(at).map(|id| (id, event(id))).collect();
        Seen {
            began: Instant::now(),
            time: NOW,
            oldest: entries.first().map(|(id, _)| Oldest { id: *id, number }),
            missed: Missed::of(entries),
        }
    }

    #[test]
    fn what_was_missed_begins_a_little_before_the_point() {
        let missed = seen(&[100, 50, 20, 5], 7).since(NOW - 30_000);
        assert_eq!((missed.next, missed.whole), (2, true));
        let missed = seen(&[100, 50, 39, 5], 7).since(NOW - 30_000);
        assert_eq!((missed.next, missed.whole), (2, true));
        let missed = seen(&[100], 7).since(NOW);
        assert_eq!((missed.next, missed.whole), (1, true));
    }

    #[test]
    fn a_ring_that_lost_what_was_missed_is_not_whole() {
        let whole = |ago: &[u64], number: u64, seconds: u64| {
            let point = NOW - seconds * 1000;
            seen(ago, number).since(point).whole
        };
        assert!(!whole(&[100, 50], 7, 100), "there was more before");
        assert!(whole(&[100, 50], 1, 100), "nothing was before");
        assert!(whole(&[], 0, 100), "nothing happened");
        assert!(!whole(&[], 0, 600), "what happened may be gone");
        assert!(!whole(&[100], 1, 700), "another ring may have been before");
    }
}
