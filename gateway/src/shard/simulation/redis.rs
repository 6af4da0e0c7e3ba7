//! A simulated Redis: one server or several primaries of a Cluster, what they keep,
//! and the connections that are subscribed to them.
//!
//! What it keeps is as the scripts of the broker keep it: rings of recent events,
//! and messages of recipients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use broker::Timestamp;
use broker::event::EntryId;
use broker::keys::{Keys, PARTITIONS, Partition};
use broker::message::{Message, MessageId, Status};
use broker::replay::{self, Oldest, Page};
use broker::ring::Ring as Named;
use broker::topic::{Topic, TopicKind};

/// Milliseconds since the beginning of the world.
pub(super) type Time = u64;

/// Where the clock of the first Redis stood at the beginning.
pub(super) const EPOCH: i64 = 1_700_000_000_000;
/// How long a ring lives after its last event, as `ring.lua` has it.
pub(super) const RING_LIFE: Time = 600_000;

/// What a connection brings.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Message(Rc<str>, Rc<[u8]>),
    Subscribed(Rc<str>),
    Unsubscribed(Rc<str>),
}

/// A connection for subscriptions.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) server: usize,
    subscribed: BTreeSet<Rc<str>>,
    /// On its way to whoever connected, each due at its time.
    pub(super) coming: VecDeque<(Time, Said)>,
    bytes: usize,
    /// Nothing gets through any more, and nobody says so.
    pub(super) frozen: bool,
    pub(super) closed: bool,
}

/// One primary.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) up: bool,
    /// How far its clock is from that of the world.
    pub(super) clock: i64,
    rings: BTreeMap<Rc<str>, Ring>,
    logs: BTreeMap<Topic, Vec<Stored>>,
    /// Grows whenever another machine is primary, or the same without its data.
    pub(super) term: u32,
}

/// Recent events of a tenant in a partition.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) entries: VecDeque<Entry>,
    /// What made room for others, which a replica may have still.
    trimmed: Vec<Entry>,
    pub(super) last: (u64, u64),
    dies_at: Time,
}

/// An event in a ring.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: (u64, u64),
    /// Without its tenant.
    topic: Rc<str>,
    pub(super) json: Rc<str>,
    pub(super) ordinal: u64,
    pub(super) bytes: u64,
    at: Time,
}

/// A message in the store.
#[derive(Debug)]
struct Stored {
    id: MessageId,
    text: Rc<str>,
    at: Time,
    delivered: Option<Time>,
    /// It was, and that is forgotten.
    forgotten: bool,
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
        let server = |_| Server {
            up: true,
            clock: 0,
            rings: BTreeMap::new(),
            logs: BTreeMap::new(),
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
            ring_entries,
            output_limit,
        }
    }

    /// The primary of a topic's partition.
    pub(super) fn server_of(&self, topic: &Topic) -> usize {
        self.primary(topic.partition())
    }

    fn primary(&self, partition: Partition) -> usize {
        // As an even division of the slots has it.
        usize::from(partition.index()) * self.servers.len() / usize::from(PARTITIONS)
    }

    /// The partitions of a server.
    pub(super) fn partitions(&self, server: usize) -> Vec<Partition> {
        let has = |partition: &Partition| self.primary(*partition) == server;
        Partition::every().filter(has).collect()
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
    pub(super) fn ring(&mut self, read: &replay::Read, now: Time) -> Result<Page, Away> {
        let at = self.primary(read.ring.partition);
        let time = self.clock(at, now).millis();
        let server = &mut self.servers[at];
        if !server.up {
            return Err(Away);
        }
        server.rings.retain(|_, ring| now < ring.dies_at);
        let mut page = Page {
            time: u64::try_from(time).expect("it is after 1970"),
            ..Page::default()
        };
        let key = self.keys.ring_of(&read.ring);
        let Some(ring) = server.rings.get(&*key) else {
            return Ok(page);
        };
        let id = |entry: &Entry| EntryId {
            millis: entry.id.0,
            sequence: entry.id.1,
        };
        page.oldest = ring.entries.front().map(|entry| Oldest {
            id: id(entry),
            number: entry.ordinal,
        });
        page.newest = ring.entries.back().map(id);
        let wanted = ring.entries.iter().filter(|entry| read.from <= id(entry));
        let entry = |entry: &Entry| replay::Entry {
            id: id(entry),
            topic: (&*entry.topic).into(),
            json: (&*entry.json).into(),
        };
        page.entries = wanted.map(entry).collect();
        Ok(page)
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

    /// Somebody connects to subscribe.
    pub(super) fn connect(&mut self, server: usize) -> Result<u32, Away> {
        if !self.servers[server].up {
            return Err(Away);
        }
        self.next_connection += 1;
        let connection = Connection {
            server,
            subscribed: BTreeSet::new(),
            coming: VecDeque::new(),
            bytes: 0,
            frozen: false,
            closed: false,
        };
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
        let clock = self.clock(at, now);
        let server = &mut self.servers[at];
        if !server.up {
            return Err(Away);
        }
        let key: Rc<str> = self.keys.ring_of(&Named::of(topic)).into();
        let name = &topic.as_str()[topic.owner().len() + 1..];
        server.rings.retain(|_, ring| now < ring.dies_at);
        let ring = server.rings.entry(key).or_default();
        let id = ring.append(name, json, now, clock, self.ring_entries);
        let payload = format!("{}-{} {json}", id.0, id.1);
        let channel = self.keys.channel(topic);
        self.publish(at, &channel, payload.as_bytes(), due)
    }

    /// What the script that stores and announces a message does.
    pub(super) fn push(
        &mut self,
        recipient: &Topic,
        text: &str,
        json: &str,
        now: Time,
        due: impl FnMut() -> Time,
    ) -> Result<(), Away> {
        assert_eq!(recipient.kind(), TopicKind::Recipient);
        let at = self.server_of(recipient);
        let clock = self.clock(at, now);
        let server = &mut self.servers[at];
        if !server.up {
            return Err(Away);
        }
        // The log is one stream for all recipients of the partition.
        let last = server
            .logs
            .values()
            .flatten()
            .map(|m| (m.id.millis, m.id.sequence));
        let last = last.max().unwrap_or_default();
        let millis = clock.millis().max(0) as u64;
        let (millis, sequence) = if last.0 < millis {
            (millis, 0)
        } else {
            (last.0, last.1 + 1)
        };
        let id = MessageId {
            millis,
            sequence,
            partition: recipient.partition(),
        };
        let stored = Stored {
            id,
            text: text.into(),
            at: now,
            delivered: None,
            forgotten: false,
        };
        server
            .logs
            .entry(recipient.clone())
            .or_default()
            .push(stored);
        let payload = format!("{} {json}", id.entry());
        let channel = self.keys.channel(recipient);
        self.publish(at, &channel, payload.as_bytes(), due)
    }

    /// What a socket has not been sent, oldest first, as `backlog.lua` reads it.
    pub(super) fn backlog(
        &self,
        recipient: &Topic,
        since: Timestamp,
        after: Option<MessageId>,
        count: usize,
    ) -> Result<(Vec<Message>, Option<MessageId>), Away> {
        let server = &self.servers[self.server_of(recipient)];
        if !server.up {
            return Err(Away);
        }
        let log = server.logs.get(recipient).map_or(&[][..], Vec::as_slice);
        let unsent = |m: &&Stored| m.delivered.is_none() || since <= m.id.created_at();
        let younger = |m: &&Stored| after.is_none_or(|after| after < m.id);
        let mut found = log.iter().filter(unsent).filter(younger);
        let message = |m: &Stored| Message {
            id: m.id,
            place: None,
            deliver_at: None,
            recipient: recipient.id().into(),
            text: (&*m.text).into(),
            label: None,
            expires_at: None,
            status: Status::Pending,
            global_id: None,
        };
        let page: Vec<_> = found.by_ref().take(count).map(message).collect();
        let more = found.next().and_then(|_| page.last().map(|m| m.id));
        Ok((page, more))
    }

    pub(super) fn mark(&mut self, recipient: &Topic, id: MessageId, now: Time) -> Result<(), Away> {
        let at = self.server_of(recipient);
        let server = &mut self.servers[at];
        if !server.up {
            return Err(Away);
        }
        let log = server.logs.get_mut(recipient);
        if let Some(message) = log.and_then(|log| log.iter_mut().find(|m| m.id == id)) {
            message.delivered.get_or_insert(now);
        }
        Ok(())
    }

    /// The texts of a recipient's messages, and whether each was delivered, as far as
    /// Redis had heard.
    pub(super) fn messages(&self, recipient: &Topic) -> impl Iterator<Item = (&str, bool)> {
        let log = self.servers[self.server_of(recipient)].logs.get(recipient);
        let all = log.into_iter().flatten();
        all.map(|m| (&*m.text, m.delivered.is_some() || m.forgotten))
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
            server.rings.clear();
            server.logs.clear();
        }
    }

    /// A replica that has not heard what happened after `until` takes over, with a
    /// clock of its own.
    pub(super) fn promote(&mut self, server: usize, until: Time, clock: i64) {
        let server = &mut self.servers[server];
        for ring in server.rings.values_mut() {
            let mut heard = std::mem::take(&mut ring.trimmed);
            heard.extend(ring.entries.drain(..));
            heard.retain(|entry| entry.at <= until);
            let held = heard.len().saturating_sub(self.ring_entries);
            ring.entries.extend(heard.drain(held..));
            ring.trimmed = heard;
            ring.last = ring.entries.back().map_or((0, 0), |entry| entry.id);
        }
        server.rings.retain(|_, ring| !ring.entries.is_empty());
        for log in server.logs.values_mut() {
            log.retain(|message| message.at <= until);
            for message in log {
                message.forgotten |= message.delivered.take_if(|at| until < *at).is_some();
            }
        }
        self.went_back |= clock < server.clock;
        server.clock = clock;
        server.term += 1;
        server.up = true;
    }
}

impl Ring {
    fn append(
        &mut self,
        topic: &str,
        json: &str,
        now: Time,
        clock: Timestamp,
        most: usize,
    ) -> (u64, u64) {
        let millis = clock.millis().max(0) as u64;
        self.last = if self.last.0 < millis {
            (millis, 0)
        } else {
            (self.last.0, self.last.1 + 1)
        };
        let before = self.entries.back();
        let ordinal = before.map_or(0, |entry| entry.ordinal) + 1;
        let bytes = before.map_or(0, |entry| entry.bytes) + json.len() as u64;
        self.entries.push_back(Entry {
            id: self.last,
            topic: topic.into(),
            json: json.into(),
            ordinal,
            bytes,
            at: now,
        });
        if most < self.entries.len() {
            self.trimmed.extend(self.entries.pop_front());
        }
        self.dies_at = now + RING_LIFE;
        self.last
    }
}

impl Connection {
    fn bring(&mut self, due: Time, said: Said) {
        if self.frozen || self.closed {
            return;
        }
        // What is said first arrives first.
        let due = self.coming.back().map_or(due, |(last, _)| due.max(*last));
        self.bytes += size(&said);
        self.coming.push_back((due, said));
    }

    /// What has arrived by now.
    pub(super) fn next(&mut self, now: Time) -> Option<Said> {
        if self.frozen {
            return None;
        }
        let (due, _) = self.coming.front()?;
        if now < *due {
            return None;
        }
        let (_, said) = self.coming.pop_front()?;
        self.bytes -= size(&said);
        Some(said)
    }

    /// To how many channels it is subscribed.
    pub(super) fn subscribed(&self) -> usize {
        self.subscribed.len()
    }

    /// It ends; what was on its way is gone.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.coming.clear();
        self.bytes = 0;
    }
}

fn size(said: &Said) -> usize {
    match said {
        Said::Message(_, payload) => payload.len(),
        Said::Subscribed(_) | Said::Unsubscribed(_) => 0,
    }
}
