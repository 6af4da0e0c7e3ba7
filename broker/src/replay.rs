//! What was missed while nothing was heard, found in the rings and handed over
//! once and in order; or known to be lost.
//!
//! It is told what a link hears, when the link is lost and has subscribed again,
//! what the rings hold then and what time it is, and names what is to be read and
//! what follows. It holds no connection and no clock.
//!
//! Up to where everything is known of a ring, its *position*, is the later of the
//! newest event heard and the Redis time that the last answered probe carried.
//! Once all is subscribed again, rings are read from a while before it; repeats are
//! told by the ids and the words of what was handed over. What is heard meanwhile is parked, so
//! that events of a topic stay in order.

mod clocks;
mod merge;
mod reading;
mod rings;
mod seen;
mod verdict;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::clocks::Clocks;
pub use self::reading::{Entry, PATIENCE, Page, READS, Read};
use self::rings::{Behind, Held, Parked, Rings};
use self::seen::Mark;
use self::verdict::LIFE_MILLIS;
pub use self::verdict::{Oldest, Verdict};
use crate::event::EntryId;
use crate::keys::Partition;
use crate::ring::Ring;
use crate::topic::{Topic, TopicKind};

/// Rings are read from this long before their position on: the clocks of servers
/// differ, and one may have taken another's place.
pub const OVERLAP: Duration = Duration::from_secs(10);
/// What may be parked of all rings, in bytes of events and what each costs beside.
pub const PARKED: usize = 16 << 20;
/// What a parked event costs beside its bytes.
const PARKED_COST: usize = 128;

/// What is to be done with an event that was heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<L> {
    /// Hand it over.
    Now(L),
    /// Nothing: it was handed over before.
    Repeated,
    /// Its listeners are to be told that events are lost: what was read of the ring
    /// overtook it, and the ring did not have it any more.
    Late,
    /// Nothing yet.
    Parked,
    /// There is no more room: this comes of its ring.
    Overflow(Recovered<L>),
}

/// What comes of a ring of which something may have been missed.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovered<L> {
    /// Whether something is lost.
    pub verdict: Verdict,
    /// The topics whose listeners are to be told that events are lost, or may be;
    /// before they get what follows.
    pub gaps: Vec<Topic>,
    /// What is to be handed over, in this order.
    pub events: Vec<(Topic, Event<L>)>,
}

/// An event to be handed over.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<L> {
    /// From a ring: its id and its JSON.
    Replayed(EntryId, Box<str>),
    /// As it was heard.
    Parked(L),
}

/// What is known of all rings. `L` is an event as the link hears it.
#[derive(Debug)]
pub struct Replay<L> {
    rings: Rings<L>,
    clocks: Clocks,
    /// How often something may have been missed.
    epoch: u32,
    tickets: u64,
    /// To be read, in order, none before its time.
    queue: VecDeque<(Instant, Ring)>,
    reading: usize,
    parked: usize,
}

/// Whether rings keep events of such topics. The others have stores.
pub fn has_ring(kind: TopicKind) -> bool {
    match kind {
        TopicKind::User | TopicKind::Channel | TopicKind::Note => true,
        TopicKind::Recipient | TopicKind::All => false,
    }
}

impl<L> Replay<L> {
    /// Nothing is listened to yet, and nothing known of Redis' clock.
    pub fn new(now: Instant) -> Self {
        Self {
            rings: Rings::default(),
            clocks: Clocks::new(now),
            epoch: 0,
            tickets: 0,
            queue: VecDeque::new(),
            reading: 0,
            parked: 0,
        }
    }

    /// Whether anything is known of Redis' clock. Before that nothing should be
    /// listened to, as nobody could tell later what came before.
    pub fn has_begun(&self) -> bool {
        self.clocks.have_begun()
    }

    /// By the clock of one server it is this late, and nothing was heard so far.
    pub fn begin(&mut self, millis: u64, now: Instant) {
        self.clocks.begin(millis, now);
    }

    /// What Redis published in these partitions before it was this late, in Unix
    /// milliseconds, has been heard.
    pub fn proved(
        &mut self,
        partitions: impl IntoIterator<Item = Partition>,
        millis: u64,
        now: Instant,
    ) {
        for partition in partitions {
            self.clocks.prove(partition, millis, now);
        }
        let states = self.rings.every().map(|(_, _, state)| state);
        for state in states.filter(|state| state.behind.is_none()) {
            let proved = self.clocks.proved(state.partition);
            state.seen.forget_before(proved);
        }
    }

    /// Up to when, in Unix milliseconds by Redis' clock, all that was published on
    /// any topic here has been handed over; `None` while some may be missing.
    pub fn known_until(&self) -> Option<u64> {
        let proved = self.clocks.all_proved();
        proved.filter(|_| !self.rings.any_behind())
    }

    /// A topic is listened to from now on, unless it was already.
    pub fn listen(&mut self, topic: &Topic, now: Instant) {
        if !has_ring(topic.kind()) {
            return;
        }
        let held = Held {
            since: self.clocks.at(topic.partition(), now),
            newest: EntryId::NOWHERE,
            epoch: self.epoch,
            raw: 0,
        };
        self.rings.listen(topic, held);
    }

    /// A topic is not listened to any more.
    pub fn leave(&mut self, topic: &Topic) {
        if let Some(behind) = self.rings.leave(topic).and_then(|state| state.behind) {
            self.parked -= behind.cost;
            self.reading -= usize::from(behind.reading.is_some());
        }
    }

    /// An event, this JSON, was heard on a topic; `entry` is what stands in front of
    /// it. That a ring keeps what is dated far ahead is believed of nobody: all that
    /// follows would seem to be late.
    pub fn hear(
        &mut self,
        topic: &Topic,
        entry: Option<EntryId>,
        json: &str,
        event: L,
        now: Instant,
    ) -> Heard<L> {
        if !has_ring(topic.kind()) {
            return Heard::Now(event);
        }
        let second = self.clocks.second(now);
        let latest = self.clocks.at(topic.partition(), now) + LIFE_MILLIS;
        let entry = entry.filter(|id| id.millis <= latest);
        let Some(state) = self.rings.of(topic) else {
            return Heard::Now(event);
        };
        let mut unheld = Held::default();
        let held = state.topics.get_mut(topic).unwrap_or(&mut unheld);
        if entry.is_none() {
            held.raw = second;
        }
        let id = entry.filter(|id| *id != EntryId::NOWHERE);
        let mark = id.map(|id| Mark::of(id, topic, json));
        if mark.is_some_and(|mark| state.seen.has(mark)) {
            return Heard::Repeated;
        }
        if id.is_some_and(|id| id < held.newest) {
            return Heard::Late;
        }
        let Some(behind) = &mut state.behind else {
            if let Some(mark) = mark {
                state.seen.add(mark);
                held.newest = held.newest.max(mark.id);
            }
            return Heard::Now(event);
        };
        let parked = topic.clone();
        behind.parked.push(Parked {
            topic: parked,
            mark,
            event,
        });
        behind.cost += json.len() + PARKED_COST;
        self.parked += json.len() + PARKED_COST;
        if self.parked <= PARKED {
            return Heard::Parked;
        }
        let (ring, nothing) = (Ring::of(topic), Page::default());
        let recovered = self.recover(&ring, Verdict::Overflow, &nothing, now);
        recovered.map_or(Heard::Parked, Heard::Overflow)
    }

    /// The link is lost: from the positions on, anything may be missed. `in_order`:
    /// what was heard proves that all before it was, as it does of a single server,
    /// while nodes of a Cluster may have been cut off from each other since the last
    /// proof.
    pub fn lose(&mut self, in_order: bool) {
        self.epoch += 1;
        self.queue.clear();
        self.reading = 0;
        self.parked = 0;
        Partition::every().for_each(|partition| self.clocks.doubt(partition));
        for (_, _, state) in self.rings.every() {
            let position = match state.behind.take() {
                Some(behind) => behind.position,
                None => state.position(self.clocks.proved(state.partition)),
            };
            let position = match in_order {
                true => position,
                false => position.only_proved(),
            };
            state.behind = Some(Behind::at(position, self.epoch));
        }
    }

    /// Events of these partitions may not have reached a link that lives: those
    /// since the last proof, even if later ones did. `raw`: also such that no ring keeps,
    /// unless that was said when the link was lost.
    pub fn doubt(
        &mut self,
        partitions: impl IntoIterator<Item = Partition>,
        raw: bool,
        now: Instant,
    ) {
        self.epoch += 1;
        let raw = if raw { self.epoch } else { 0 };
        let doubted: Vec<_> = partitions.into_iter().collect();
        for &partition in &doubted {
            self.clocks.doubt(partition);
        }
        let rings = self.rings.every();
        for (tenant, annotations, state) in rings.filter(|of| doubted.contains(&of.2.partition)) {
            match &mut state.behind {
                Some(behind) => {
                    behind.position = behind.position.only_proved();
                    behind.raw = behind.raw.max(raw);
                }
                None => {
                    let position = state.position(self.clocks.proved(state.partition));
                    state.behind = Some(Behind::at(position.only_proved(), raw));
                    self.queue.push_back((now, state.ring(tenant, annotations)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
