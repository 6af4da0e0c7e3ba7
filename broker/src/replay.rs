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

mod merge;
mod seen;
mod verdict;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use self::seen::{Mark, Seen};
pub use self::verdict::{Oldest, Verdict};
use self::verdict::{Position, verdict};
use crate::annotation;
use crate::event::EntryId;
use crate::keys::{PARTITIONS, Partition};
use crate::ring::{LIFE, Ring};
use crate::topic::{Tenant, Topic, TopicKind, TopicMap};

/// Rings that are read at the same time.
pub const READS: usize = 16;
/// Rings are read from this long before their position on: the clocks of servers
/// differ, and one may have taken another's place.
pub const OVERLAP: Duration = Duration::from_secs(10);
/// What may be parked of all rings, in bytes of events and what each costs beside.
pub const PARKED: usize = 16 << 20;
/// What a parked event costs beside its bytes.
const PARKED_COST: usize = 128;
/// A ring that could not be read is read again after this,
const RETRY: Duration = Duration::from_secs(1);
/// and given up if it could not be read for this long.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A topic on which events came that no ring keeps may have had others while
/// nothing was heard, for this long after the last.
const RAW: Duration = Duration::from_secs(600);

/// A ring to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub ring: Ring,
    /// The oldest entry of interest.
    pub from: EntryId,
    /// Tells this reading from others of the ring.
    ticket: u64,
}

/// What a ring held at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Redis' clock then, in Unix milliseconds.
    pub time: u64,
    /// The oldest entry; `None` if there is no ring.
    pub oldest: Option<Oldest>,
    /// The newest entry.
    pub newest: Option<EntryId>,
    /// All entries from the asked one on, oldest first.
    pub entries: Vec<Entry>,
}

/// An event in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub id: EntryId,
    /// Its topic, `<kind>:<id>`.
    pub topic: Box<str>,
    /// The event, JSON.
    pub json: Box<str>,
}

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
    tenants: HashMap<Tenant, Rings<L>>,
    proofs: [Proof; PARTITIONS as usize],
    /// How far ahead of the time since the start Redis' clock was at most, in
    /// milliseconds.
    ahead: [u64; PARTITIONS as usize],
    /// How often something may have been missed.
    epoch: u32,
    tickets: u64,
    /// To be read, in order, none before its time.
    queue: VecDeque<(Instant, Ring)>,
    reading: usize,
    parked: usize,
    start: Instant,
}

/// What is known of each ring of a tenant, where somebody listens.
type Rings<L> = Box<[Option<Box<State<L>>>]>;

/// Redis was heard to say that it is this late.
#[derive(Clone, Copy, Debug, Default)]
struct Proof {
    millis: u64,
    /// On this connection, and not in doubt since.
    sure: bool,
}

#[derive(Debug)]
struct State<L> {
    partition: Partition,
    topics: TopicMap<Held>,
    seen: Seen,
    /// When all of it was known last, by a reading.
    read: u64,
    behind: Option<Behind<L>>,
}

/// A topic that is listened to.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// By Redis' clock. What happened before concerns nobody.
    since: u64,
    /// The newest event that was handed over.
    newest: EntryId,
    /// Since when, by the count of epochs.
    epoch: u32,
    /// The second in which an event came that no ring keeps; 0 for none.
    raw: u32,
}

/// Something may have been missed.
#[derive(Debug)]
struct Behind<L> {
    position: Position,
    /// Who listens since an earlier epoch than this may have missed events that no
    /// ring keeps; 0 if nobody has.
    raw: u32,
    reading: Option<u64>,
    failing_since: Option<Instant>,
    parked: Vec<Parked<L>>,
    cost: usize,
}

#[derive(Debug)]
struct Parked<L> {
    topic: Topic,
    /// If a ring keeps it.
    mark: Option<Mark>,
    event: L,
}

/// Whether rings keep events of such topics. The others have stores.
pub fn has_ring(kind: TopicKind) -> bool {
    match kind {
        TopicKind::User | TopicKind::Channel | TopicKind::Note => true,
        TopicKind::Recipient | TopicKind::All => false,
    }
}

/// Where what is known of a ring stands among those of its tenant.
fn place(partition: Partition, annotations: bool) -> usize {
    match annotations {
        true => usize::from(PARTITIONS),
        false => usize::from(partition.index()),
    }
}

fn place_of(topic: &Topic) -> usize {
    place(topic.partition(), annotation::is_topic(topic))
}

impl<L> Replay<L> {
    /// Nothing is listened to yet, and nothing known of Redis' clock.
    pub fn new(now: Instant) -> Self {
        Self {
            tenants: HashMap::new(),
            proofs: [Proof::default(); PARTITIONS as usize],
            ahead: [0; PARTITIONS as usize],
            epoch: 0,
            tickets: 0,
            queue: VecDeque::new(),
            reading: 0,
            parked: 0,
            start: now,
        }
    }

    /// Whether anything is known of Redis' clock. Before that nothing should be
    /// listened to, as nobody could tell later what came before.
    pub fn has_begun(&self) -> bool {
        self.proofs.iter().all(|proof| 0 < proof.millis)
    }

    /// By the clock of one server it is this late, and nothing was heard so far.
    pub fn begin(&mut self, millis: u64, now: Instant) {
        let ahead = millis.saturating_sub(millis_between(self.start, now));
        self.ahead = [ahead; PARTITIONS as usize];
        self.proofs = [Proof {
            millis: millis.saturating_sub(OVERLAP_MILLIS),
            sure: true,
        }; PARTITIONS as usize];
    }

    /// What Redis published in these partitions before it was this late, in Unix
    /// milliseconds, has been heard.
    pub fn proved(
        &mut self,
        partitions: impl IntoIterator<Item = Partition>,
        millis: u64,
        now: Instant,
    ) {
        let ahead = millis.saturating_sub(millis_between(self.start, now));
        for partition in partitions {
            let index = usize::from(partition.index());
            self.ahead[index] = self.ahead[index].max(ahead);
            self.proofs[index] = Proof { millis, sure: true };
        }
        let proofs = self.proofs;
        for (_, _, state) in self.states().filter(|(_, _, state)| state.behind.is_none()) {
            let proof = proofs[usize::from(state.partition.index())].millis;
            state.seen.forget_before(proof);
        }
    }

    /// Up to when, in Unix milliseconds by Redis' clock, all that was published on
    /// any topic here has been handed over; `None` while some may be missing.
    pub fn known_until(&self) -> Option<u64> {
        let mut states = self
            .tenants
            .values()
            .flat_map(|rings| rings.iter().flatten());
        let behind = states.any(|state| state.behind.is_some());
        let sure = self.proofs.iter().all(|proof| proof.sure);
        let proofs = self.proofs.iter().map(|proof| proof.millis);
        proofs.min().filter(|_| sure && !behind)
    }

    /// A topic is listened to from now on, unless it was already.
    pub fn listen(&mut self, topic: &Topic, now: Instant) {
        if !has_ring(topic.kind()) {
            return;
        }
        let partition = topic.partition();
        // Not later than it is there, unless that clock goes back; see `back`.
        let ahead = self.ahead[usize::from(partition.index())];
        let since = ahead + millis_between(self.start, now);
        let epoch = self.epoch;
        let rings = self.tenants.entry(topic.tenant());
        let rings = rings.or_insert_with(|| (0..=PARTITIONS).map(|_| None).collect());
        let state = rings[place_of(topic)].get_or_insert_with(|| {
            Box::new(State {
                partition,
                topics: TopicMap::default(),
                seen: Seen::default(),
                read: since,
                behind: None,
            })
        });
        let held = Held {
            since,
            newest: EntryId::NOWHERE,
            epoch,
            raw: 0,
        };
        state.topics.entry(topic.clone()).or_insert(held);
    }

    /// A topic is not listened to any more.
    pub fn leave(&mut self, topic: &Topic) {
        let Some(rings) = self.tenants.get_mut(topic.owner()) else {
            return;
        };
        let place = &mut rings[place_of(topic)];
        let Some(state) = place else { return };
        state.topics.remove(topic);
        if !state.topics.is_empty() {
            return;
        }
        if let Some(behind) = place.take().and_then(|state| state.behind) {
            self.parked -= behind.cost;
            self.reading -= usize::from(behind.reading.is_some());
        }
        if rings.iter().all(Option::is_none) {
            self.tenants.remove(topic.owner());
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
        let second = self.second(now);
        let ahead = self.ahead[usize::from(topic.partition().index())];
        let latest = ahead + millis_between(self.start, now) + LIFE_MILLIS;
        let entry = entry.filter(|id| id.millis <= latest);
        let Some(state) = self.state(topic.owner(), place_of(topic)) else {
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

    /// The link is lost: from the positions on, anything may be missed.
    pub fn lose(&mut self) {
        self.epoch += 1;
        let epoch = self.epoch;
        self.queue.clear();
        self.reading = 0;
        self.parked = 0;
        self.proofs.iter_mut().for_each(|proof| proof.sure = false);
        let proofs = self.proofs;
        for (_, _, state) in self.states() {
            let behind = state.behind.take();
            let proof = proofs[usize::from(state.partition.index())].millis;
            let position = behind.map_or_else(|| state.position(proof), |behind| behind.position);
            state.behind = Some(Behind::at(position, epoch));
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
        for partition in &doubted {
            self.proofs[usize::from(partition.index())].sure = false;
        }
        let proofs = self.proofs;
        let mut queue = std::mem::take(&mut self.queue);
        for (tenant, annotations, state) in self.states() {
            if !doubted.contains(&state.partition) {
                continue;
            }
            let proof = proofs[usize::from(state.partition.index())].millis;
            match &mut state.behind {
                Some(behind) => {
                    behind.position = behind.position.only_proved();
                    behind.raw = behind.raw.max(raw);
                }
                None => {
                    let position = state.position(proof).only_proved();
                    state.behind = Some(Behind::at(position, raw));
                    queue.push_back((now, state.ring(tenant, annotations)));
                }
            }
        }
        self.queue = queue;
    }

    /// All that was listened to when the link was lost is listened to again.
    pub fn resume(&mut self, now: Instant) {
        let mut queue = VecDeque::new();
        for (tenant, annotations, state) in self.states() {
            let behind = state.behind.as_ref();
            if behind.is_some_and(|behind| behind.reading.is_none()) {
                queue.push_back((now, state.ring(tenant, annotations)));
            }
        }
        self.queue = queue;
    }

    /// A ring to read now, if there is one and not enough are read already.
    pub fn next_read(&mut self, now: Instant) -> Option<Read> {
        if READS <= self.reading {
            return None;
        }
        loop {
            let due = self.queue.iter().position(|(at, _)| *at <= now)?;
            let (_, ring) = self.queue.remove(due)?;
            let ticket = self.tickets + 1;
            // Nobody may listen there any more.
            if let Some(behind) = self.behind(&ring)
                && behind.reading.is_none()
            {
                behind.reading = Some(ticket);
                let from = behind.position.from();
                self.tickets = ticket;
                self.reading += 1;
                return Some(Read { ring, from, ticket });
            }
        }
    }

    /// This was in a ring. Nothing comes of it if it is not of interest any more.
    pub fn page(&mut self, read: &Read, page: &Page, now: Instant) -> Option<Recovered<L>> {
        let back = self.back(read.ring.partition, page.time, now);
        let behind = self.being_read(read)?;
        let verdict = verdict(&behind.position, page, back);
        self.recover(&read.ring, verdict, page, now)
    }

    /// A ring could not be read. If that has been so for long, it is given up.
    pub fn failed(&mut self, read: &Read, now: Instant) -> Option<Recovered<L>> {
        let behind = self.being_read(read)?;
        let since = *behind.failing_since.get_or_insert(now);
        if PATIENCE <= now.saturating_duration_since(since) {
            return self.recover(&read.ring, Verdict::Unread, &Page::default(), now);
        }
        behind.reading = None;
        self.reading -= 1;
        self.queue.push_back((now + RETRY, read.ring.clone()));
        None
    }

    /// Whether nothing is to be read any more.
    pub fn settled(&self) -> bool {
        self.queue.is_empty() && self.reading == 0
    }

    fn being_read(&mut self, read: &Read) -> Option<&mut Behind<L>> {
        let behind = self.behind(&read.ring)?;
        (behind.reading == Some(read.ticket)).then_some(behind)
    }

    /// Ends being behind.
    fn recover(
        &mut self,
        ring: &Ring,
        verdict: Verdict,
        page: &Page,
        now: Instant,
    ) -> Option<Recovered<L>> {
        let (epoch, second) = (self.epoch, self.second(now));
        let raw_since = second.saturating_sub(RAW.as_secs() as u32);
        let back = self.back(ring.partition, page.time, now);
        let behind = self.state_of(ring)?.behind.take()?;
        self.reading -= usize::from(behind.reading.is_some());
        self.parked -= behind.cost;
        let state = self.state_of(ring)?;
        // Who listens since later has missed nothing.
        let missed = |held: &Held| {
            let raw = held.epoch < behind.raw && 0 < held.raw && raw_since <= held.raw;
            raw || held.epoch < epoch && verdict != Verdict::Whole
        };
        let gaps = state.topics.iter().filter(|(_, held)| missed(held));
        let mut gaps: Vec<_> = gaps.map(|(topic, _)| topic.clone()).collect();
        if verdict != Verdict::Whole {
            // What stood there is not what stands there now.
            state.seen.forget_newest();
        }
        if !matches!(
            verdict,
            Verdict::Whole | Verdict::Trimmed | Verdict::Overflow
        ) {
            // Ids may begin anew.
            let held = state.topics.values_mut();
            held.for_each(|held| held.newest = EntryId::NOWHERE);
        }
        let merged = merge::merge(
            &ring.tenant,
            state,
            page,
            back,
            &behind.position,
            behind.parked,
        );
        let (holes, events) = merged;
        if verdict == Verdict::Whole {
            gaps.extend(holes);
        }
        state.read = state.read.max(page.time);
        state.seen.reach(page.newest);
        Some(Recovered {
            verdict,
            gaps,
            events,
        })
    }

    /// How far Redis' clock may be behind what it was: another has taken its place,
    /// or its answer was long on its way. Not more than what is read before a position.
    fn back(&self, partition: Partition, millis: u64, now: Instant) -> u64 {
        let ahead = millis.saturating_sub(millis_between(self.start, now));
        let was = self.ahead[usize::from(partition.index())];
        was.saturating_sub(ahead).min(OVERLAP_MILLIS)
    }

    fn state(&mut self, tenant: &str, place: usize) -> Option<&mut State<L>> {
        self.tenants.get_mut(tenant)?[place].as_deref_mut()
    }

    fn state_of(&mut self, ring: &Ring) -> Option<&mut State<L>> {
        let place = place(ring.partition, ring.annotations);
        self.state(ring.tenant.as_str(), place)
    }

    fn behind(&mut self, ring: &Ring) -> Option<&mut Behind<L>> {
        self.state_of(ring)?.behind.as_mut()
    }

    /// All there are, with whose they are and whether they are of annotations.
    fn states(&mut self) -> impl Iterator<Item = (&Tenant, bool, &mut State<L>)> {
        self.tenants.iter_mut().flat_map(|(tenant, rings)| {
            let places = rings.iter_mut().enumerate();
            places.filter_map(move |(place, state)| {
                let annotations = place == usize::from(PARTITIONS);
                Some((tenant, annotations, state.as_deref_mut()?))
            })
        })
    }

    /// Seconds since the start, from 1 on.
    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.start).as_secs() + 1;
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

impl<L> State<L> {
    fn ring(&self, tenant: &Tenant, annotations: bool) -> Ring {
        Ring {
            tenant: tenant.clone(),
            partition: self.partition,
            annotations,
        }
    }

    fn position(&self, proof: u64) -> Position {
        let proved = proof.max(self.read);
        let newest = self.seen.newest();
        let proved_id = EntryId {
            millis: proved,
            sequence: 0,
        };
        Position {
            proved,
            known: newest.map_or(proved_id, |newest| newest.max(proved_id)),
            newest,
            in_order: true,
        }
    }
}

impl<L> Behind<L> {
    fn at(position: Position, raw: u32) -> Self {
        Self {
            position,
            raw,
            reading: None,
            failing_since: None,
            parked: Vec::new(),
            cost: 0,
        }
    }
}

fn millis_between(from: Instant, to: Instant) -> u64 {
    let millis = to.saturating_duration_since(from).as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// The same in milliseconds.
const LIFE_MILLIS: u64 = LIFE.as_millis() as u64;
const OVERLAP_MILLIS: u64 = OVERLAP.as_millis() as u64;

#[cfg(test)]
mod tests;
