//! What a schedule says, done.

use super::super::redis::Time;
use super::super::schedule::Action;
use super::super::subject::{Of, USERS};
use super::happening::Happening;
use super::{Node, World};

/// For longer than this no link, socket or topic waits for anything.
const REST: Time = 60_000;

impl World {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Come { kind, node } => self.come(kind, node),
            Action::Leave(client) => self.leave(client),
            Action::Ask { client, topic } => self.ask(client, topic),
            Action::GiveUp { client, topic } => self.give_up(client, topic),
            Action::Stall { client, time } => self.stall(client, time),
            Action::Publish { topic, count } => {
                self.publish_some(topic, count, |of| !matches!(of, Of::Recipient | Of::All));
            }
            Action::Raw(topic) => {
                // What is not of our scripts is not believed of annotations.
                let such =
                    |&s: &usize| matches!(self.subjects[s].of, Of::Note | Of::Game | Of::Broadcast);
                let such: Vec<_> = (0..self.subjects.len()).filter(such).collect();
                self.publish_raw(such[topic as usize % such.len()]);
            }
            Action::Push { recipient, count } => {
                self.publish_some(recipient, count, |of| of == Of::Recipient);
            }
            Action::PushToAll => self.publish_some(0, 1, |of| of == Of::All),
            Action::Private => self.publish_private(),
            Action::Change { user, member } => self.change(user as usize % USERS, member),
            Action::Kill(node) => {
                if let Some(connection) = self.link_of(node) {
                    self.redis
                        .connections
                        .get_mut(&connection)
                        .expect("it is there")
                        .close();
                    self.look_at_links();
                }
            }
            Action::Freeze(node) => {
                if let Some(connection) = self.link_of(node) {
                    self.redis
                        .connections
                        .get_mut(&connection)
                        .expect("it is there")
                        .frozen = true;
                }
            }
            Action::Restart {
                server,
                time,
                with_data,
            } => {
                if let Some(server) = self.down(server) {
                    self.enter(time, Happening::Up { server, with_data });
                }
            }
            Action::Failover {
                server,
                time,
                lag,
                clock,
            } => {
                if let Some(server) = self.down(server) {
                    let until = self.now.saturating_sub(lag);
                    self.enter(
                        time,
                        Happening::Promote {
                            server,
                            until,
                            clock,
                        },
                    );
                }
            }
            Action::Cut { one, other, time } => {
                let server = |n: u32| n as usize % self.redis.servers.len();
                let (one, other) = (server(one), server(other));
                let pair = (one.min(other), one.max(other));
                if one != other && self.redis.cuts.insert(pair) {
                    self.enter(time, Happening::Mend { pair });
                }
            }
            Action::Slow { time, by } => self.slow = (self.now + time, by),
            Action::Sleep { node, shard, time } => {
                let until = self.now + time;
                let node = self.node(node);
                let floors = &mut self.nodes[node].shards;
                let floor = shard as usize % floors.len();
                floors[floor].asleep = until;
            }
            Action::Isolate { node, time } => {
                let until = self.now + time;
                if let Some(connection) = self.link_of(node) {
                    self.redis
                        .connections
                        .get_mut(&connection)
                        .expect("it is there")
                        .close();
                }
                let node = self.node(node);
                self.nodes[node].isolated = until;
                self.look_at_links();
            }
        }
    }

    fn node(&self, number: u32) -> usize {
        number as usize % self.nodes.len()
    }

    fn link_of(&self, node: u32) -> Option<u32> {
        self.nodes[self.node(node)].connection
    }

    fn publish_some(&mut self, number: u32, count: u32, of: impl Fn(Of) -> bool) {
        let such: Vec<_> = (0..self.subjects.len())
            .filter(|&s| of(self.subjects[s].of))
            .collect();
        let subject = such[number as usize % such.len()];
        for _ in 0..count {
            self.publish(subject);
        }
    }

    /// A server ends, unless it is away already.
    fn down(&mut self, server: u32) -> Option<usize> {
        let server = server as usize % self.redis.servers.len();
        if !self.redis.servers[server].up {
            return None;
        }
        self.redis.down(server);
        self.look_at_links();
        Some(server)
    }

    pub(super) fn server_is_back(&mut self, server: usize, with_data: bool) {
        self.redis.up(server, with_data);
        if !with_data {
            self.forget(server, 0);
        }
    }

    pub(super) fn promote(&mut self, server: usize, until: Time, clock: i64) {
        self.redis.promote(server, until, clock, self.now);
        self.forget(server, until + 1);
    }

    /// Everything that is in trouble gets out of it, as the agenda has it, and all
    /// come to rest.
    pub(super) fn settle(&mut self) {
        let last = |world: &Self| {
            let of_trouble = |happening: &Happening| {
                matches!(
                    happening,
                    Happening::Up { .. }
                        | Happening::Promote { .. }
                        | Happening::Mend { .. }
                        | Happening::ReadOn { .. }
                )
            };
            let entries = world
                .agenda
                .iter()
                .filter(|(_, happening)| of_trouble(happening));
            let isolated = world.nodes.iter().map(|node| node.isolated);
            let asleep = world
                .nodes
                .iter()
                .flat_map(|n| &n.shards)
                .map(|floor| floor.asleep);
            let due = entries.map(|((at, _), _)| *at);
            due.chain(isolated)
                .chain(asleep)
                .chain([world.slow.0])
                .max()
        };
        let trouble = last(self).unwrap_or(0).max(self.now);
        for rested in (REST / 3..=REST).step_by(REST as usize / 6) {
            self.go_on(trouble + rested);
            if self.is_at_rest() {
                break;
            }
        }
        // All that is heard is heard anew.
        for subject in 0..self.subjects.len() {
            self.publish(subject);
        }
        self.publish_private();
        self.go_on(self.now + REST / 3);
    }

    /// Whether nothing goes on but what always does: probes, and time that passes.
    fn is_at_rest(&self) -> bool {
        let always = |happening: &Happening| {
            matches!(
                happening,
                Happening::Tick { .. }
                    | Happening::Probe { .. }
                    | Happening::Published { .. }
                    | Happening::LinkReads { .. }
                    | Happening::Turn { .. }
            )
        };
        let knows = |node: &Node| {
            let settled = node.course.settled() && node.course.caught_up();
            settled && node.connection.is_some() && node.handing.is_empty()
        };
        self.nodes.iter().all(knows) && self.agenda.values().all(|happening| always(happening))
    }
}
