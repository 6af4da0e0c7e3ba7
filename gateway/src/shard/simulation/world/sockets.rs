//! Clients and their sockets.

use broker::topic::Topic;
use rand::RngExt;

use super::super::client::{Client, Got, Kind};
use super::super::redis::Time;
use super::super::setting::Setting;
use super::super::subject::{NOTES, Of, Subject, marked};
use super::happening::Happening;
use super::{Ready, World};
use crate::client::Client as Newcomer;
use crate::dialect::push::Form;
use crate::session::Now;
use crate::shard::stream::Stream;

/// Something has come for the gateway.
const READABLE: Ready = Ready {
    writable: false,
    readable: true,
    ended: false,
};
/// The client has taken something.
const WRITABLE: Ready = Ready {
    writable: true,
    readable: false,
    ended: false,
};
/// The client is gone.
const ENDED: Ready = Ready {
    writable: false,
    readable: true,
    ended: true,
};

/// Messages to all that a socket remembers, as `push.rs` has it.
const REMEMBERED: usize = 16;
/// Annotations of all and of the club.
const FILTER: &str = r#"{"filter":{"match_policy":"include_any","clauses":[{"field":"/group","operator":"equals","value":"__world__","case_sensitive":true},{"field":"/group","operator":"equals","value":"club","case_sensitive":true}],"actions":{"create":true,"update":true,"delete":true}}}"#;

impl World {
    /// A client comes to a node.
    pub(super) fn come(&mut self, kind: u32, node: u32) {
        let node = node as usize % self.nodes.len();
        let shard = self.random.random_range(0..self.nodes[node].shards.len());
        let number = self.clients.len();
        let mut client = match kind % 4 {
            0 => Client::new(Kind::Push { json: false }, node, shard, self.climate.socket),
            1 => Client::new(Kind::Push { json: true }, node, shard, self.climate.socket),
            2 => Client::new(Kind::Hypothesis, node, shard, self.climate.socket),
            _ => Client::new(Kind::Misskey, node, shard, self.climate.socket),
        };
        let of = match client.kind {
            Kind::Push { .. } => Of::Recipient,
            Kind::Hypothesis => Of::Annotations,
            Kind::Misskey => Of::Broadcast,
        };
        let mut own: Vec<_> = (0..self.subjects.len())
            .filter(|&s| self.subjects[s].of == of)
            .collect();
        let own = own.swap_remove((kind / 4) as usize % own.len());
        if of == Of::Recipient {
            if !self.redis.is_up(&self.subjects[own].topic) {
                // Its token cannot be checked.
                return;
            }
            client.hears.entry(self.all()).or_default().asked = true;
        }
        client.hears.entry(own).or_default().asked = true;
        if client.kind == Kind::Hypothesis {
            (client.user, client.tab) = match kind / 4 % 6 {
                0 => (None, None),
                1 => (Some(0), None),
                2 | 3 => (None, Some(0)),
                4 => (Some(0), Some(1)),
                _ => (Some(1), Some(2)),
            };
            if let Some(user) = client.user {
                // As with recipients' tokens.
                let Ok(member) = self.redis.is_member(user) else {
                    return;
                };
                client.was_member = member;
            }
            client.say(FILTER);
            if let Some(tab) = client.tab {
                client.say(&format!(
                    r#"{{"messageType":"client_id","value":"tab{tab}"}}"#
                ));
            }
            client.say(r#"{"type":"ping","id":1}"#);
        }
        client.own = own;
        self.clients.push(client);
        self.nodes[node].shards[shard].coming.push(number);
        self.turn_after(node, shard, 0);
    }

    /// The shard takes a client.
    pub(super) fn let_in(&mut self, number: usize, now: Now) {
        let client = &self.clients[number];
        if !client.is_open() {
            return;
        }
        let subject = &self.subjects[client.own];
        let topic: Topic = subject.topic.clone();
        let newcomer = match client.kind {
            Kind::Push { json } => Newcomer::Push {
                since: self.redis.clock_of(&topic, self.now),
                recipient: topic,
                label: None,
                form: if json { Form::Json } else { Form::Raw },
            },
            Kind::Hypothesis => Newcomer::Hypothesis {
                annotations: topic,
                viewer: client
                    .user
                    .map(|user| Setting::signed_in(user, client.was_member).into()),
                strict: false,
            },
            Kind::Misskey => self.setting.visitor(),
        };
        let permit = self.setting.permit();
        let shard = &mut self.nodes[client.node].shards[client.shard].shard;
        let slot = shard.conns.vacant_key();
        shard.open(
            Stream::Simulated(client.pipe.clone()),
            &[],
            newcomer,
            permit,
            now,
        );
        let key = shard.key(slot);
        shard.socket(slot, READABLE, now);
        let client = &mut self.clients[number];
        client.key = Some(key);
        if let Kind::Push { .. } = client.kind {
            for (subject, hearing) in &mut client.hears {
                hearing.from = Some(self.subjects[*subject].accepted.len());
            }
        }
    }

    /// The topic of messages to all.
    fn all(&self) -> usize {
        let of = |subject: &Subject| subject.of == Of::All;
        self.subjects.iter().position(of).expect("it is there")
    }

    /// What the shard wrote in its turn is read by its clients; what it subscribed
    /// to may be confirmed by now.
    pub(super) fn look_at_clients(&mut self, node: usize, shard: usize) {
        for number in 0..self.clients.len() {
            let delay = self.random.random_range(1..=self.climate.delay);
            let client = &mut self.clients[number];
            if client.node != node || client.shard != shard || !client.is_open() {
                continue;
            }
            if let Some(key) = client.key {
                let conns = &self.nodes[node].shards[shard].shard.conns;
                let there = conns.get(key.slot as usize);
                if there.is_none_or(|conn| conn.turn != key.turn) {
                    client.pipe.end();
                }
            }
            if client.reads
                && !client.will_read
                && (client.pipe.has_more() || client.pipe.is_over())
            {
                client.will_read = true;
                self.enter(delay, Happening::Read { client: number });
            }
            self.look_at_hearings(number);
        }
    }

    /// From when the hub says that a topic is live, its events are counted on.
    pub(super) fn look_at_hearings(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(key) = client.key else { return };
        let node = &self.nodes[client.node];
        let hub = &node.shards[client.shard].shard.hub;
        for (subject, hearing) in &mut client.hears {
            let subject = &self.subjects[*subject];
            // Others say themselves when they are heard.
            let told = matches!(subject.of, Of::Note | Of::Broadcast);
            if hearing.asked
                && hearing.from.is_none()
                && (told || hearing.sure)
                && hub.missed(&subject.topic).contains(&key)
            {
                hearing.from = Some(subject.accepted.len());
                hearing.sure = true;
            }
        }
    }

    pub(super) fn client_reads(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.will_read = false;
        if !client.reads || !client.is_open() {
            return;
        }
        for got in client.read() {
            match got {
                Got::Text(text) => self.got(number, &text),
                Got::Close(code) => {
                    self.clients[number].code = Some(code);
                    self.closed(number);
                }
                Got::Ping => {
                    self.clients[number].pong();
                    self.make_ready(number, READABLE);
                }
            }
        }
        if self.clients[number].pipe.is_over() {
            self.closed(number);
        }
        self.look_at_hearings(number);
        self.make_ready(number, WRITABLE);
    }

    fn got(&mut self, number: usize, text: &str) {
        let client = &mut self.clients[number];
        let own = client.own;
        if client.kind == (Kind::Push { json: true }) {
            let id = text.split('"').nth(3).expect("the id is the first member");
            client.say(&format!(r#"{{"ack":["{id}"]}}"#));
            self.make_ready(number, READABLE);
        } else if text.contains(r#""pong""#) {
            let hearing = client.hears.entry(own).or_default();
            hearing.sure = true;
        } else if let Some(at) = text.find(r#""connected","body":{"id":""#) {
            let join = &text[at + 26..];
            let subject = (2 + NOTES..)
                .zip(["g0", "g1"])
                .find(|(_, name)| join.starts_with(name));
            let (subject, _) = subject.expect("nothing else is opened");
            let hearing = client.hears.entry(subject).or_default();
            // It may have been closed meanwhile.
            if hearing.asked && hearing.opened == 1 {
                hearing.sure = true;
            }
            hearing.opened = hearing.opened.saturating_sub(1);
        }
        if let Some(event) = marked(text) {
            let event = self.events[event];
            // Another socket of a tab may have set a later point in an outage, behind
            // which a link that is back hands over what is older.
            let tab = self.clients[number].tab;
            let sockets = self.clients.iter().filter(|client| client.tab == tab);
            let shared = tab.is_some() && 1 < sockets.count();
            let client = &mut self.clients[number];
            let hearing = client.hears.entry(event.subject).or_default();
            let (got, place) = (&mut hearing.got, event.place);
            // A recipient gets late what was on its way to others before it came, as
            // far as a clock can tell, or what Redis has forgotten meanwhile.
            let counted = hearing.from.unwrap_or(0);
            let push = matches!(client.kind, Kind::Push { .. });
            let late = place < counted
                || shared
                || self.climate.servers > 1
                || push && (event.lost || place < counted || self.redis.went_back);
            // Of what it gave up and asked for again, it may get what it got then.
            let past = hearing.again && hearing.from.is_none_or(|from| place < from);
            // Of what no ring has, nobody knows where it belongs among the rest.
            let accepted = &self.subjects[event.subject].accepted;
            let raw = |place: &usize| self.events[accepted[*place]].raw;
            let mut others = got.iter().filter(|before| !raw(before));
            assert!(
                !event.private || client.user.is_some(),
                "client {number} was told what is not for it"
            );
            // Each gets its own copy of what is for all, whenever that is made, and
            // not all of those are remembered.
            let for_all = self.subjects[event.subject].of == Of::All;
            let since = got.iter().rev().position(|before| *before == place);
            let again = since.is_some_and(|since| !for_all || since < REMEMBERED);
            let in_order =
                past || late || for_all || event.raw || others.all(|before| *before < place);
            assert!(
                in_order && (past || !again),
                "client {number} ({:?}) got {place} of {} after {got:?}",
                client.kind,
                self.subjects[event.subject].name,
            );
            got.push(place);
        }
    }

    /// Something has happened at the client's end.
    fn make_ready(&mut self, number: usize, ready: Ready) {
        let client = &self.clients[number];
        if let Some(key) = client.key {
            let (node, shard) = (client.node, client.shard);
            let floor = &mut self.nodes[node].shards[shard];
            let slot = key.slot as usize;
            if floor
                .shard
                .conns
                .get(slot)
                .is_some_and(|conn| conn.turn == key.turn)
            {
                floor.ready.push((slot, ready));
                self.turn_after(node, shard, 0);
            }
        }
    }

    /// The gateway has closed the connection.
    fn closed(&mut self, number: usize) {
        self.end(number);
        self.clients[number].pipe.break_off();
        self.make_ready(number, ENDED);
    }

    fn end(&mut self, number: usize) {
        let now = self.now;
        self.clients[number].ended.get_or_insert(now);
    }

    /// A client goes away without a word.
    pub(super) fn leave(&mut self, client: u32) {
        if let Some(number) = self.open_client(client) {
            self.closed(number);
        }
    }

    /// One of those that are there.
    pub(super) fn open_client(&self, number: u32) -> Option<usize> {
        let open: Vec<_> = (0..self.clients.len())
            .filter(|&c| self.clients[c].is_open())
            .collect();
        open.get(number as usize % open.len().max(1)).copied()
    }

    fn asker(&self, client: u32, topic: u32) -> Option<(usize, usize)> {
        let client = self
            .open_client(client)
            .filter(|&c| self.clients[c].kind == Kind::Misskey)?;
        let free: Vec<_> = (0..self.subjects.len())
            .filter(|&s| matches!(self.subjects[s].of, Of::Note | Of::Game))
            .collect();
        Some((client, free[topic as usize % free.len()]))
    }

    /// A client asks for a topic, if that is left to it.
    pub(super) fn ask(&mut self, client: u32, topic: u32) {
        let Some((number, subject)) = self.asker(client, topic) else {
            return;
        };
        let name = &self.subjects[subject].name;
        let of = self.subjects[subject].of;
        let client = &mut self.clients[number];
        let hearing = client.hears.entry(subject).or_default();
        if std::mem::replace(&mut hearing.asked, true) {
            return;
        }
        if of == Of::Note {
            client.say(&format!(r#"{{"type":"subNote","body":{{"id":"{name}"}}}}"#));
        } else {
            hearing.opened += 1;
            let params = format!(r#"{{"gameId":"{name}"}}"#);
            client.say(&format!(r#"{{"type":"connect","body":{{"channel":"reversiGame","id":"{name}","pong":true,"params":{params}}}}}"#));
        }
        self.make_ready(number, READABLE);
    }

    /// A client gives a topic up.
    pub(super) fn give_up(&mut self, client: u32, topic: u32) {
        let Some((number, subject)) = self.asker(client, topic) else {
            return;
        };
        let name = &self.subjects[subject].name;
        let of = self.subjects[subject].of;
        let client = &mut self.clients[number];
        let hearing = client.hears.entry(subject).or_default();
        if !std::mem::replace(&mut hearing.asked, false) {
            return;
        }
        (hearing.from, hearing.sure, hearing.again) = (None, false, true);
        if of == Of::Note {
            client.say(&format!(
                r#"{{"type":"unsubNote","body":{{"id":"{name}"}}}}"#
            ));
        } else {
            client.say(&format!(
                r#"{{"type":"disconnect","body":{{"id":"{name}"}}}}"#
            ));
        }
        self.make_ready(number, READABLE);
    }

    /// A client reads no more, for some time.
    pub(super) fn stall(&mut self, client: u32, time: Time) {
        if let Some(number) = self.open_client(client) {
            let client = &mut self.clients[number];
            client.reads = false;
            client.has_stalled = true;
            self.enter(time, Happening::ReadOn { client: number });
        }
    }
}
