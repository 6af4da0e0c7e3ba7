//! What is on the agenda of a world, and what comes of it.

use std::rc::Rc;

use broker::link::course::Published;
use broker::replay::{self, Page};

use super::super::redis::Time;
use super::World;
use super::errands::RETRY;
use crate::dialect::{Answer, Mark};
use crate::errands::Asked;
use crate::shard::inbox::Mail;

/// Something that will happen.
pub(super) enum Happening {
    /// A node tries to connect its link.
    Connect {
        node: usize,
    },
    /// What a link wrote reaches Redis.
    Subscribe {
        connection: u32,
        channels: Vec<Rc<str>>,
    },
    Unsubscribe {
        connection: u32,
        channels: Vec<Rc<str>>,
    },
    /// A link reads what has arrived.
    LinkReads {
        node: usize,
        epoch: u32,
    },
    /// A quarter of a probe's interval has passed.
    Tick {
        node: usize,
        epoch: u32,
    },
    /// A probe reaches Redis.
    Probe {
        node: usize,
        nonce: u64,
    },
    /// The link knows where it was published.
    Published {
        node: usize,
        epoch: u32,
        nonce: u64,
        published: Vec<Published>,
    },
    /// A link's wish to read a ring reaches Redis.
    ReadRing {
        node: usize,
        epoch: u32,
        read: replay::Read,
    },
    /// What was in it is back.
    RingRead {
        node: usize,
        epoch: u32,
        read: replay::Read,
        page: Option<Page>,
    },
    /// A shard's turn.
    Turn {
        node: usize,
        shard: usize,
    },
    /// An errand reaches Redis.
    Run {
        node: usize,
        asked: Asked,
    },
    /// Its answer is back.
    Answer {
        node: usize,
        asked: Asked,
        answer: Answer,
    },
    Note {
        node: usize,
        mark: Mark,
    },
    /// A client reads.
    Read {
        client: usize,
    },
    /// A client reads again.
    ReadOn {
        client: usize,
    },
    /// A server is back.
    Up {
        server: usize,
        with_data: bool,
    },
    /// A replica has taken over.
    Promote {
        server: usize,
        until: Time,
        clock: i64,
    },
    /// Two servers hear each other again.
    Mend {
        pair: (usize, usize),
    },
}

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connect { node } => self.connect(node),
            Happening::Subscribe {
                connection,
                channels,
            } => {
                let due = self.now + self.delay();
                self.redis.subscribe(connection, &channels, due);
                self.look_at_links();
            }
            Happening::Unsubscribe {
                connection,
                channels,
            } => {
                let due = self.now + self.delay();
                self.redis.unsubscribe(connection, &channels, due);
                self.look_at_links();
            }
            Happening::LinkReads { node, epoch } if epoch == self.nodes[node].epoch => {
                self.link_reads(node);
            }
            Happening::Tick { node, epoch } if epoch == self.nodes[node].epoch => self.tick(node),
            Happening::LinkReads { .. } | Happening::Tick { .. } => {}
            Happening::Probe { node, nonce } => self.probe(node, nonce),
            Happening::Published {
                node,
                epoch,
                nonce,
                published,
            } => {
                let at = self.steady();
                if epoch == self.nodes[node].epoch {
                    self.nodes[node].course.published(nonce, published, at);
                    self.read_rings(node);
                }
            }
            Happening::ReadRing { node, epoch, read } => {
                let page = match self.is_isolated(node) {
                    true => None,
                    false => self.redis.ring(&read.ring, read.from, self.now).ok(),
                };
                let delay = self.command_delay();
                let back = Happening::RingRead {
                    node,
                    epoch,
                    read,
                    page,
                };
                self.enter(delay, back);
            }
            Happening::RingRead {
                node,
                epoch,
                read,
                page,
            } => self.ring_read(node, epoch, read, page),
            Happening::Turn { node, shard } => self.turn(node, shard),
            Happening::Run { node, asked } => self.run(node, asked),
            Happening::Answer {
                node,
                asked,
                answer,
            } => {
                let shard = asked.shard;
                let floor = &self.nodes[node].shards[shard];
                floor.inbox.send(Mail::Answer(asked.key, answer));
                self.turn_after(node, shard, 0);
            }
            Happening::Note { node, mark } => {
                if self.note(node, &mark).is_err() {
                    self.enter(RETRY, Happening::Note { node, mark });
                }
            }
            Happening::Read { client } => self.client_reads(client),
            Happening::ReadOn { client } => {
                self.clients[client].reads = true;
                self.client_reads(client);
            }
            Happening::Up { server, with_data } => self.server_is_back(server, with_data),
            Happening::Promote {
                server,
                until,
                clock,
            } => self.promote(server, until, clock),
            Happening::Mend { pair } => self.redis.mend(pair),
        }
    }

    pub(super) fn is_isolated(&self, node: usize) -> bool {
        self.now < self.nodes[node].isolated
    }

    /// A server has forgotten what it accepted from then on.
    pub(super) fn forget(&mut self, server: usize, from: Time) {
        for event in &mut self.events {
            let topic = &self.subjects[event.subject].topic;
            if from <= event.at && self.redis.server_of(topic) == server {
                event.lost = true;
                self.may_miss = true;
            }
        }
    }
}
