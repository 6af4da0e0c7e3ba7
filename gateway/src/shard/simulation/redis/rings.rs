//! The rings of a simulated server: what they hold, how long they live, and what a
//! replica knows of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use broker::event::EntryId;
use broker::replay::{self, Oldest, Page};
use broker::ring::LIFE;

use self::model::{Id, Limits, Ring};
use super::Time;

/// As the broker's tests hold it to `ring.lua`.
#[path = "../../../../../broker/src/ring/model.rs"]
mod model;

/// The most bytes of a ring, as `ring.lua` has it.
const BYTES: u64 = 1 << 20;

/// The rings of a server, by their keys.
#[derive(Debug, Default)]
pub(super) struct Rings(BTreeMap<Rc<str>, Kept>);

#[derive(Debug, Default)]
struct Kept {
    ring: Ring,
    dies_at: Time,
}

fn place((millis, sequence): Id) -> EntryId {
    EntryId { millis, sequence }
}

impl Rings {
    /// Adds an event to a ring of so many entries, at this time by the server's clock.
    pub(super) fn append(
        &mut self,
        key: Rc<str>,
        (topic, json): (&str, &str),
        now: Time,
        clock: u64,
        entries: usize,
    ) -> EntryId {
        self.bury(now);
        let kept = self.0.entry(key).or_default();
        let limits = Limits {
            entries,
            bytes: BYTES,
        };
        kept.dies_at = now + LIFE.as_millis() as Time;
        place(kept.ring.append(topic, json, clock, limits, now))
    }

    /// What a ring holds from an entry on, at this time by the server's clock.
    pub(super) fn page(&mut self, key: &str, from: EntryId, now: Time, clock: u64) -> Page {
        self.bury(now);
        let mut page = Page {
            time: clock,
            ..Page::default()
        };
        let Some(Kept { ring, .. }) = self.0.get(key) else {
            return page;
        };
        page.oldest = ring.entries.front().map(|entry| Oldest {
            id: place(entry.id),
            number: entry.ordinal,
        });
        page.newest = ring.entries.back().map(|entry| place(entry.id));
        let since = ring.since((from.millis, from.sequence));
        let entries = since.map(|entry| replay::Entry {
            id: place(entry.id),
            topic: (&*entry.topic).into(),
            json: (&*entry.json).into(),
        });
        page.entries = entries.collect();
        page
    }

    /// They are as a replica has them that has not heard what came after `until`.
    pub(super) fn as_heard(&mut self, until: Time, entries: usize) {
        for Kept { ring, .. } in self.0.values_mut() {
            let mut heard = std::mem::take(&mut ring.gone);
            heard.extend(ring.entries.drain(..));
            heard.retain(|entry| entry.at <= until);
            let held = heard.len().saturating_sub(entries);
            ring.entries.extend(heard.drain(held..));
            ring.gone = heard;
            ring.last = ring.entries.back().map_or((0, 0), |entry| entry.id);
        }
        self.0.retain(|_, kept| !kept.ring.entries.is_empty());
    }

    /// Those are gone that have not been added to for long.
    fn bury(&mut self, now: Time) {
        self.0.retain(|_, kept| now < kept.dies_at);
    }
}
