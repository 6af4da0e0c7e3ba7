//! A world: Redis, nodes with their links and shards, and clients, in which one
//! thing happens after the other.

mod node;
mod floor;
mod happening;
mod errands;
mod trouble;
mod sockets;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::Timestamp;
use broker::link::Arrival;
use broker::link::Want;
use broker::link::course::Course;
use broker::link::{Taken, Wants};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;

use self::happening::Happening;
use super::super::Shard;
use super::super::inbox::Inbox;
use super::super::stream::Ready;
use super::client::Client;
use super::redis::{EPOCH, Redis, Time};
use super::schedule::{Climate, Schedule};
use super::setting::Setting;
use super::subject::{self, Event, Of, Subject};
use crate::errands::Errands;
use crate::session::Now;

/// How often a link proves that it lives.
const PROBE_INTERVAL: Duration = Duration::from_secs(4);

pub(super) struct World {
    now: Time,
    begun: Instant,
    climate: Climate,
    random: SmallRng,
    agenda: BTreeMap<(Time, u64), Box<Happening>>,
    /// How many entries the agenda has had, so that what is due at the same time
    /// happens in the order in which it was entered.
    entered: u64,
    redis: Redis,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    subjects: Vec<Subject>,
    events: Vec<Event>,
    tabs: [Tab; TABS],
    /// The last annotation that only members of the club may hear of.
    private: Option<usize>,
    /// Rings may not hold all that was missed.
    may_miss: bool,
    /// Commands take so much longer until then.
    slow: (Time, Time),
    setting: Setting,
}

/// A client that calls itself something, through all its sockets.
#[derive(Clone, Copy, Debug, Default)]
struct Tab {
    /// From this annotation on it is sent what it missed.
    from: Option<usize>,
}

/// Tabs that may come, and come back. Some are of the same user, some of nobody.
const TABS: usize = 3;

/// One gateway.
struct Node {
    course: Course,
    /// The link's connection, if it has one.
    connection: Option<u32>,
    /// When the last thing that was written to it arrives.
    written: Time,
    /// When it is read next.
    read_at: Option<Time>,
    /// What has been gathered and is being handed over, to which shard.
    handing: VecDeque<(usize, Vec<Arrival>, u32)>,
    /// It is what was read from Redis.
    read: bool,
    /// A tick came while that went on.
    late_tick: bool,
    wishes: Taken,
    wished: Vec<Want>,
    /// It cannot reach Redis until then.
    isolated: Time,
    /// Tells connections of the link from earlier ones.
    epoch: u32,
    shards: Vec<Floor>,
}

/// A shard and what is around it.
struct Floor {
    shard: Shard,
    inbox: Arc<Inbox>,
    errands: Errands,
    room: Arc<Semaphore>,
    /// It does nothing until then.
    asleep: Time,
    /// When its next turn is.
    turn: Option<Time>,
    /// Clients that were let in.
    coming: Vec<usize>,
    ready: Vec<(usize, Ready)>,
}

impl World {
    /// The world of a schedule, before anything has happened.
    pub(super) fn new(schedule: &Schedule, setting: &Setting) -> Self {
        let climate = schedule.climate.clone();
        let mut random = SmallRng::seed_from_u64(climate.seed);
        let begun = setting.begun();
        let redis = Redis::new(climate.servers, climate.ring_entries, climate.output_limit);
        let nodes = (0..climate.nodes)
            .map(|number| {
                let wants = Wants::default();
                let shards = (0..climate.shards).map(|shard| {
                    let seed = SmallRng::seed_from_u64(random.random());
                    Floor::new(shard, &climate, &wants, seed, begun, setting)
                });
                let shards: Vec<_> = shards.collect();
                let (keys, name) = (&redis.keys, format!("node{number}"));
                let metrics = setting.link_metrics();
                Node {
                    course: Course::new(keys, &name, PROBE_INTERVAL, shards.len(), metrics, begun),
                    connection: None,
                    read_at: None,
                    written: 0,
                    handing: VecDeque::new(),
                    read: false,
                    late_tick: false,
                    wishes: wants.listen(|_| true),
                    wished: Vec::new(),
                    isolated: 0,
                    epoch: 0,
                    shards,
                }
            })
            .collect();
        let mut world = Self {
            now: 0,
            begun,
            climate,
            random,
            agenda: BTreeMap::new(),
            entered: 0,
            redis,
            nodes,
            clients: Vec::new(),
            subjects: subject::every(),
            events: Vec::new(),
            tabs: [Tab::default(); TABS],
            private: None,
            may_miss: schedule.is_rough(),
            slow: (0, 0),
            setting: setting.clone(),
        };
        for node in 0..world.nodes.len() {
            world.connect(node);
        }
        world
    }

    /// Lives through the schedule, comes to rest, and is judged.
    pub(super) fn live(mut self, schedule: &Schedule) {
        let mut at = 0;
        for (pause, action) in &schedule.actions {
            at += pause;
            self.go_on(at);
            self.act(*action);
        }
        self.settle();
        self.judge();
    }

    /// Everything happens that is due until then.
    fn go_on(&mut self, until: Time) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= until
        {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(*happening);
        }
        self.now = until;
    }

    fn enter(&mut self, after: Time, happening: Happening) {
        self.entered += 1;
        self.agenda
            .insert((self.now + after, self.entered), Box::new(happening));
    }

    fn steady(&self) -> Instant {
        self.begun + Duration::from_millis(self.now)
    }

    fn clock(&self) -> Now {
        Now {
            wall: Timestamp::from_millis(EPOCH + self.now as i64),
            steady: self.steady(),
        }
    }

    /// How long something is on its way.
    fn delay(&mut self) -> Time {
        self.random.random_range(1..=self.climate.delay)
    }

    /// How long a command takes, there and back.
    fn command_delay(&mut self) -> Time {
        let (until, by) = self.slow;
        self.delay() + if self.now < until { by } else { 0 }
    }

    /// Publishes an event past all scripts.
    fn publish_raw(&mut self, subject: usize) {
        let (number, now) = (self.events.len(), self.now);
        let json = self.subjects[subject].json(number);
        let topic = &self.subjects[subject].topic;
        let (server, channel) = (self.redis.server_of(topic), self.redis.keys.channel(topic));
        let (random, most) = (&mut self.random, self.climate.delay);
        let due = || now + random.random_range(1..=most);
        let result = self.redis.publish(server, &channel, json.as_bytes(), due);
        self.accept(subject, Told::Raw, result.is_ok());
    }

    /// Publishes an event on a topic that has a ring; whoever published it knows
    /// whether it was accepted.
    fn publish(&mut self, subject: usize) {
        let number = self.events.len();
        let json = self.subjects[subject].json(number);
        let topic = self.subjects[subject].topic.clone();
        let (random, most, now) = (&mut self.random, self.climate.delay, self.now);
        let due = || now + random.random_range(1..=most);
        let text = || subject::mark(number);
        let result = match self.subjects[subject].of {
            Of::Recipient => self.redis.push(&topic, &text(), &json, now, due),
            Of::All => self.redis.push_to_all(&topic, &text(), &json, now, due),
            _ => self.redis.publish_in_ring(&topic, &json, now, due),
        };
        self.accept(subject, Told::InRing, result.is_ok());
    }

    /// Publishes an annotation that only members of the club may hear of.
    fn publish_private(&mut self) {
        let (number, now) = (self.events.len(), self.now);
        let of = |subject: &Subject| subject.of == Of::Annotations;
        let subject = self.subjects.iter().position(of).expect("it is there");
        let topic = self.subjects[subject].topic.clone();
        let (random, most) = (&mut self.random, self.climate.delay);
        let due = || now + random.random_range(1..=most);
        let json = subject::private(number);
        let result = self.redis.publish_in_ring(&topic, &json, now, due);
        if result.is_ok() {
            self.private = Some(number);
        }
        self.accept(subject, Told::Private, result.is_ok());
    }

    /// A user joins the club or leaves it.
    fn change(&mut self, user: usize, member: bool) {
        let (random, most, now) = (&mut self.random, self.climate.delay, self.now);
        let due = || now + random.random_range(1..=most);
        // Whoever asked for it knows if it could not be done.
        let _ = self.redis.change(user, member, now, due);
        self.look_at_links();
    }

    fn accept(&mut self, subject: usize, told: Told, accepted: bool) {
        let number = self.events.len();
        if accepted {
            let place = self.subjects[subject].accepted.len();
            self.subjects[subject].accepted.push(number);
            self.events.push(Event {
                subject,
                place,
                raw: told == Told::Raw,
                private: told == Told::Private,
                at: self.now,
                lost: false,
            });
        }
        self.look_at_links();
    }

    /// What links got is read when it is due.
    fn look_at_links(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(connection) = self.nodes[node].connection else {
                continue;
            };
            let Some(connection) = self.redis.connections.get(&connection) else {
                continue;
            };
            let due = connection.coming.front().map(|(due, _)| *due);
            let due = if connection.closed { Some(0) } else { due };
            let Some(due) = due.map(|due| due.max(self.now)) else {
                continue;
            };
            let of = &mut self.nodes[node];
            if of.read_at.is_none_or(|at| due < at) {
                of.read_at = Some(due);
                let epoch = of.epoch;
                self.enter(due - self.now, Happening::LinkReads { node, epoch });
            }
        }
    }
}

/// How an event is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// To all who ask, by a script.
    InRing,
    /// To members of the club.
    Private,
    /// Past all scripts and rings.
    Raw,
}

/// A channel's name, shared by all who are told of it.
fn channel(name: String) -> Rc<str> {
    name.into()
}
