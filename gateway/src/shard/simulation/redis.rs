//! A simulated Redis: one server or several primaries of a Cluster, what they keep,
//! and the connections that are subscribed to them.
//!
//! What it keeps is as the scripts of the broker keep it: rings of recent events,
//! messages of recipients and to all, how far clients are that may come back, and
//! who is in a group.

mod connection;
mod rings;
mod store;
mod points;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use broker::Timestamp;
use broker::event::EntryId;
use broker::keys::{Keys, PARTITIONS, Partition};
use broker::replay::Page;
use broker::ring::Ring;
use broker::topic::Topic;

use self::connection::Connection;
pub(super) use self::connection::Said;
use self::people::People;
use self::points::Points;
use self::rings::Rings;
use self::store::Store;

/// Milliseconds since the beginning of the world.
pub(super) type Time = u64;

/// Where the clock of the first Redis stood at the beginning.
pub(super) const EPOCH: i64 = 1_700_000_000_000;

/// One primary.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) up: bool,
    partitions: Vec<Partition>,
    /// How far its clock is from that of the world.
    pub(super) clock: i64,
    rings: Rings,
    store: Store,
    points: Points,
    people: People,
    /// Grows whenever another machine is primary, or the same without its data.
    pub(super) term: u32,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) keys: Keys,
    pub(super) servers: Vec<Server>,
    pub(super) connections: BTreeMap<u32, Connection>,
    next_connection: u32,
    /// Pairs of servers between which nothing is passed on.
    pub(super) cuts: BTreeSet<(usize, usize)>,
    /// How often that was mended.
    mended: BTreeMap<(usize, usize), u32>,
    /// A clock went back, as another machine's was behind.
    pub(super) went_back: bool,
    /// When one changed last after that: what happened before may be dated by a clock
    /// that nobody knew.
    pub(super) lurched: Option<Time>,
    /// Entries that a ring holds.
    ring_entries: usize,
    /// Bytes that may be on their way to a subscriber before it is cut off.
    output_limit: usize,
}

/// Nobody is there to run a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Away;

impl Redis {
    pub(super) fn new(servers: usize, ring_entries: usize, output_limit: usize) -> Self {
        let of = |server| {
            let has = move |partition: &Partition| primary(*partition, servers) == server;
            Partition::every().filter(has).collect()
        };
        let server = |server| Server {
            up: true,
            partitions: of(server),
            clock: 0,
            rings: Rings::default(),
            store: Store::default(),
            points: Points::default(),
            people: People::new(),
            term: 0,
        };
        Self {
            keys: Keys::new("carillon"),
            servers: (0..servers).map(server).collect(),
            connections: BTreeMap::new(),
            next_connection: 0,
            cuts: BTreeSet::new(),
            mended: BTreeMap::new(),
            went_back: false,
            lurched: None,
            ring_entries,
            output_limit,
        }
    }

    /// The primary of a topic's partition.
    pub(super) fn server_of(&self, topic: &Topic) -> usize {
        self.primary(topic.partition())
    }

    fn primary(&self, partition: Partition) -> usize {
        primary(partition, self.servers.len())
    }

    /// The partitions of a server.
    pub(super) fn partitions(&self, server: usize) -> Vec<Partition> {
        self.servers[server].partitions.clone()
    }

    /// What a server calls itself.
    pub(super) fn name(&self, server: usize) -> String {
        match self.servers.len() {
            1 => String::new(),
            _ => format!("{server}.{}", self.servers[server].term),
        }
    }

    /// The same in a probe to whoever listens on the server that calls itself
    /// `home`, as `probe.lua` has it.
    pub(super) fn name_to(&self, server: usize, home: &str) -> String {
        let name = self.name(server);
        let home = (0..self.servers.len()).find(|other| self.name(*other) == home);
        match home.filter(|home| *home != server) {
            None => name,
            Some(home) => {
                let pair = (server.min(home), server.max(home));
                let made = self.mended.get(&pair).copied().unwrap_or(0);
                format!("{name}@{made}")
            }
        }
    }

    /// Two servers hear each other again.
    pub(super) fn mend(&mut self, pair: (usize, usize)) {
        if self.cuts.remove(&pair) {
            *self.mended.entry(pair).or_default() += 1;
        }
    }

    /// What a ring holds, as `read.lua` reads it.
    pub(super) fn ring(&mut self, ring: &Ring, from: EntryId, now: Time) -> Result<Page, Away> {
        let at = self.primary(ring.partition);
        let (clock, key) = (self.millis(at, now), self.keys.ring_of(ring));
        Ok(self.running(at)?.rings.page(&key, from, now, clock))
    }

    /// Whether commands on this topic are run.
    pub(super) fn is_up(&self, topic: &Topic) -> bool {
        self.servers[self.server_of(topic)].up
    }

    /// What time it is where the topic's keys are.
    pub(super) fn clock_of(&self, topic: &Topic, now: Time) -> Timestamp {
        self.clock(self.server_of(topic), now)
    }

    pub(super) fn clock(&self, server: usize, now: Time) -> Timestamp {
        Timestamp::from_millis(EPOCH + now as i64 + self.servers[server].clock)
    }

    /// The same in Unix milliseconds.
    pub(super) fn millis(&self, server: usize, now: Time) -> u64 {
        u64::try_from(self.clock(server, now).millis()).expect("it is after 1970")
    }

    /// A server that runs commands.
    fn running(&mut self, server: usize) -> Result<&mut Server, Away> {
        let server = &mut self.servers[server];
        if server.up { Ok(server) } else { Err(Away) }
    }

    /// Somebody connects to subscribe.
    pub(super) fn connect(&mut self, server: usize) -> Result<u32, Away> {
        if !self.servers[server].up {
            return Err(Away);
        }
        self.next_connection += 1;
        let connection = Connection::to(server);
        self.connections.insert(self.next_connection, connection);
        Ok(self.next_connection)
    }

    pub(super) fn subscribe(&mut self, connection: u32, channels: &[Rc<str>], due: Time) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            for channel in channels {
                connection.subscribed.insert(Rc::clone(channel));
                connection.bring(due, Said::Subscribed(Rc::clone(channel)));
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, connection: u32, channels: &[Rc<str>], due: Time) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            for channel in channels {
                connection.subscribed.remove(channel);
                connection.bring(due, Said::Unsubscribed(Rc::clone(channel)));
            }
        }
    }

    /// `PUBLISH` on a server; `due` says when each connection gets it.
    pub(super) fn publish(
        &mut self,
        server: usize,
        channel: &str,
        payload: &[u8],
        mut due: impl FnMut() -> Time,
    ) -> Result<(), Away> {
        if !self.servers[server].up {
            return Err(Away);
        }
        let payload: Rc<[u8]> = payload.into();
        for connection in self.connections.values_mut() {
            let there = connection.server;
            let pair = (server.min(there), server.max(there));
            if self.cuts.contains(&pair) {
                continue;
            }
            if let Some(channel) = connection.subscribed.get(channel).cloned() {
                connection.bring(due(), Said::Message(channel, Rc::clone(&payload)));
                if self.output_limit < connection.bytes {
                    connection.close();
                }
            }
        }
        Ok(())
    }

    /// What the script that publishes an event does, on a topic that has a ring.
    pub(super) fn publish_in_ring(
        &mut self,
        topic: &Topic,
        json: &str,
        now: Time,
        due: impl FnMut() -> Time,
    ) -> Result<(), Away> {
        let at = self.server_of(topic);
        let (clock, most) = (self.millis(at, now), self.ring_entries);
        let key = self.keys.ring(topic).into();
        let name = &topic.as_str()[topic.owner().len() + 1..];
        let rings = &mut self.running(at)?.rings;
        let id = rings.append(key, (name, json), now, clock, most);
        let payload = format!("{id} {json}");
        let channel = self.keys.channel(topic);
        self.publish(at, &channel, payload.as_bytes(), due)
    }

    /// A server ends, or is cut off from everybody: with what it was about to say.
    pub(super) fn down(&mut self, server: usize) {
        self.servers[server].up = false;
        for connection in self.connections.values_mut() {
            if connection.server == server {
                connection.close();
            }
        }
    }

    /// It is back, as it was or empty.
    pub(super) fn up(&mut self, server: usize, with_data: bool) {
        let server = &mut self.servers[server];
        server.up = true;
        if !with_data {
            server.term += 1;
            server.rings = Rings::default();
            server.store.clear();
            server.points = Points::default();
            server.people.clear();
        }
    }

    /// A replica that has not heard what happened after `until` takes over, with a
    /// clock of its own.
    pub(super) fn promote(&mut self, server: usize, until: Time, clock: i64, now: Time) {
        let server = &mut self.servers[server];
        server.rings.as_heard(until, self.ring_entries);
        server.store.as_heard(until);
        server.points.as_heard(until);
        server.people.as_heard(until);
        if self.went_back && clock != server.clock {
            self.lurched = Some(now);
        }
        self.went_back |= clock < server.clock;
        server.clock = clock;
        server.term += 1;
        server.up = true;
    }
}

/// Which of so many servers has a partition, as an even division of the slots has it.
fn primary(partition: Partition, servers: usize) -> usize {
    usize::from(partition.index()) * servers / usize::from(PARTITIONS)
}
