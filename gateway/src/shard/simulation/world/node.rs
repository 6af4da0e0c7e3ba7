//! A node's link, as `link.rs` drives it, without waiting.

use std::sync::Arc;

use broker::link::course::{Due, Published};
use broker::link::resp::Push;
use broker::link::{Batch, Cause};
use broker::replay::{self, Page};
use rand::RngExt;

use super::super::redis::{Said, Time};
use super::happening::Happening;
use super::{PROBE_INTERVAL, World, channel};
use crate::shard::inbox::Mail;

/// A node's link reads so many things at once.
const READ: usize = 16;

impl World {
    /// A node tries to connect its link.
    pub(super) fn connect(&mut self, node: usize) {
        let now = self.steady();
        let server = self.random.random_range(0..self.redis.servers.len());
        let isolated = self.is_isolated(node);
        self.nodes[node].course.lost();
        self.apply_wants(node);
        let connected = if isolated {
            None
        } else {
            self.redis.connect(server).ok()
        };
        if connected.is_some() && !self.nodes[node].course.has_begun() {
            let time = self.redis.clock(server, self.now).millis();
            let millis = u64::try_from(time).expect("it is after 1970");
            self.nodes[node].course.begin(millis, now);
        }
        let Some(connection) = connected else {
            let pause = self.random.random_range(100..1000);
            return self.enter(pause, Happening::Connect { node });
        };
        let of = &mut self.nodes[node];
        of.connection = Some(connection);
        of.epoch += 1;
        of.read_at = None;
        of.written = self.now;
        of.course.connected(now);
        if 1 < self.redis.servers.len() {
            // It asks first of all, and is not lost by an answer.
            let home = self.redis.name(server);
            drop(of.course.take(&Push::Answer(home.as_bytes()), now));
        }
        let probes = channel(of.course.probe_channel().to_owned());
        let epoch = of.epoch;
        self.write(node, |connection| Happening::Subscribe {
            connection,
            channels: vec![probes],
        });
        self.ask_for_more(node);
        self.enter(0, Happening::Tick { node, epoch });
        self.hand_over(node);
    }

    /// The link's connection is given up, or was lost.
    pub(super) fn lose_link(&mut self, node: usize, _cause: &Cause) {
        let of = &mut self.nodes[node];
        if let Some(connection) = of.connection.take() {
            self.redis.connections.remove(&connection);
        }
        of.epoch += 1;
        of.late_tick = false;
        of.read = false;
        let pause = self.random.random_range(100..1000);
        self.enter(pause, Happening::Connect { node });
    }

    /// Writes to the link's connection; what is written first arrives first.
    fn write(&mut self, node: usize, command: impl FnOnce(u32) -> Happening) {
        let delay = self.delay();
        let of = &mut self.nodes[node];
        let Some(connection) = of.connection else {
            return;
        };
        of.written = of.written.max(self.now + delay);
        let after = of.written - self.now;
        self.enter(after, command(connection));
    }

    fn ask_for_more(&mut self, node: usize) {
        let now = self.steady();
        let of = &mut self.nodes[node];
        let mut topics = of.course.ask_for_more(now);
        if topics.is_empty() {
            return;
        }
        // They come in the order of a table that is another in each process.
        topics.sort();
        let channels = topics
            .iter()
            .map(|t| channel(of.course.channel(t)))
            .collect();
        self.write(node, |connection| Happening::Subscribe {
            connection,
            channels,
        });
    }

    fn apply_wants(&mut self, node: usize) {
        let now = self.steady();
        let of = &mut self.nodes[node];
        of.wished.extend(of.wishes.take());
        let wished = std::mem::take(&mut of.wished);
        of.course.want(wished, now);
    }

    /// Listeners may have made wishes.
    fn heed_wishes(&mut self, node: usize) {
        let of = &mut self.nodes[node];
        of.wished.extend(of.wishes.take());
        if !of.wished.is_empty() && of.connection.is_some() && of.handing.is_empty() {
            self.apply_wants(node);
            self.hand_over(node);
            self.ask_for_more(node);
        }
    }

    pub(super) fn link_reads(&mut self, node: usize) {
        let of = &mut self.nodes[node];
        of.read_at.take_if(|at| *at <= self.now);
        if !of.handing.is_empty() {
            return;
        }
        let (now, at) = (self.now, self.steady());
        let of = &mut self.nodes[node];
        let Some(connection) = of
            .connection
            .and_then(|c| self.redis.connections.get_mut(&c))
        else {
            return;
        };
        if connection.closed && !connection.frozen {
            return self.lose_link(node, &Cause::Closed);
        }
        let mut read = 0;
        let mut result = Ok(None);
        while read < READ
            && result.is_ok()
            && let Some(said) = connection.next(now)
        {
            read += 1;
            let push = match &said {
                Said::Message(channel, payload) => Push::Message {
                    channel: channel.as_bytes(),
                    payload,
                },
                Said::Subscribed(channel) => Push::Subscribed(channel.as_bytes()),
                Said::Unsubscribed(channel) => Push::Unsubscribed(channel.as_bytes()),
            };
            result = of.course.take(&push, at);
        }
        if let Err(cause) = result {
            return self.lose_link(node, &cause);
        }
        if 0 < read {
            of.read = true;
            self.hand_over(node);
            self.read_rings(node);
        }
    }

    /// Hands over what was gathered, as far as there is room.
    fn hand_over(&mut self, node: usize) {
        let room = self.climate.room;
        let of = &mut self.nodes[node];
        for shard in 0..of.shards.len() {
            let (arrivals, cost) = of.course.gathered().take(shard);
            if !arrivals.is_empty() {
                let cost = u32::try_from(cost).unwrap_or(room).min(room);
                of.handing.push_back((shard, arrivals, cost));
            }
        }
        self.go_on_handing_over(node);
    }

    pub(super) fn go_on_handing_over(&mut self, node: usize) {
        let delay = self.delay().min(5);
        let at = self.steady();
        let of = &mut self.nodes[node];
        let mut turns = Vec::new();
        while let Some((shard, _, cost)) = of.handing.front() {
            let room = Arc::clone(&of.shards[*shard].room);
            let Ok(room) = room.try_acquire_many_owned(*cost) else {
                break;
            };
            if let Some((shard, arrivals, _)) = of.handing.pop_front() {
                of.shards[shard]
                    .inbox
                    .send(Mail::Batch(Batch::new(arrivals, room)));
                turns.push(shard);
            }
        }
        let done = of.handing.is_empty();
        for shard in turns {
            self.turn_after(node, shard, delay);
        }
        if !done {
            return;
        }
        let of = &mut self.nodes[node];
        if std::mem::take(&mut of.read) && of.connection.is_some() {
            of.course.heard(at);
            if let Some(until) = of.course.known_until() {
                let each = of.shards.iter();
                each.for_each(|floor| floor.errands.known().reach(until));
            }
        }
        if std::mem::take(&mut of.late_tick) {
            self.tick(node);
        }
        self.heed_wishes(node);
        self.look_at_links();
    }

    pub(super) fn tick(&mut self, node: usize) {
        let at = self.steady();
        let of = &mut self.nodes[node];
        if of.connection.is_none() {
            return;
        }
        if !of.handing.is_empty() {
            of.late_tick = true;
            return;
        }
        let epoch = of.epoch;
        match of.course.tick(at) {
            Err(cause) => return self.lose_link(node, &cause),
            Ok(Due { probe, abandoned }) => {
                let name = |topic| channel(of.course.channel(topic));
                let channels: Vec<_> = abandoned.iter().map(name).collect();
                if !channels.is_empty() {
                    self.write(node, |connection| Happening::Unsubscribe {
                        connection,
                        channels,
                    });
                }
                if let Some(nonce) = probe {
                    let delay = self.command_delay();
                    self.enter(delay, Happening::Probe { node, nonce });
                }
            }
        }
        self.read_rings(node);
        let quarter = PROBE_INTERVAL.as_millis() as Time / 4;
        self.enter(quarter, Happening::Tick { node, epoch });
    }

    pub(super) fn probe(&mut self, node: usize, nonce: u64) {
        let (epoch, isolated) = (self.nodes[node].epoch, self.is_isolated(node));
        let channel = self.nodes[node].course.probe_channel().to_owned();
        let home = self.nodes[node].course.home().to_owned();
        let mut published = Vec::new();
        for server in 0..self.redis.servers.len() {
            let due = self.now + self.delay();
            let name = self.redis.name_to(server, &home);
            let time = self.redis.clock(server, self.now).millis();
            let probe = format!("{nonce} {time} {name}");
            let due = || due;
            let done = !isolated
                && self
                    .redis
                    .publish(server, &channel, probe.as_bytes(), due)
                    .is_ok();
            published.push(Published {
                server: name.into(),
                partitions: self.redis.partitions(server),
                done,
            });
        }
        self.look_at_links();
        let delay = self.command_delay();
        let back = Happening::Published {
            node,
            epoch,
            nonce,
            published,
        };
        self.enter(delay, back);
    }

    /// Reads the rings that the link wants to be read.
    pub(super) fn read_rings(&mut self, node: usize) {
        let at = self.steady();
        while self.nodes[node].connection.is_some()
            && self.nodes[node].handing.is_empty()
            && let Some(read) = self.nodes[node].course.next_read(at)
        {
            let (delay, epoch) = (self.delay(), self.nodes[node].epoch);
            self.enter(delay, Happening::ReadRing { node, epoch, read });
        }
    }

    pub(super) fn ring_read(
        &mut self,
        node: usize,
        epoch: u32,
        read: replay::Read,
        page: Option<Page>,
    ) {
        let at = self.steady();
        let of = &mut self.nodes[node];
        if of.epoch != epoch {
            return;
        }
        if !of.handing.is_empty() {
            // The link does one thing after the other.
            return self.enter(
                1,
                Happening::RingRead {
                    node,
                    epoch,
                    read,
                    page,
                },
            );
        }
        of.course.read(&read, page.as_ref(), at);
        self.hand_over(node);
        self.read_rings(node);
    }
}
