//! What must be true of a world that has come to rest.

use std::collections::BTreeSet;

use broker::people;
use broker::topic::Topic;

use super::super::client::{Client, Hearing, Kind};
use super::super::redis::Time;
use super::super::schedule::PLENTY;
use super::super::subject::{Event, Of, Subject, mark, tenant, userid};
use super::World;
use crate::close::CloseReason;

/// For so long it is known that a topic has events that no ring has; nearly as long
/// as in `replay.rs`, where worlds begin earlier.
const KNOWN: Time = 500_000;

/// From then on, rings may have been left alone for nearly as long as they live.
const DYING: Time = 590_000;

impl World {
    pub(super) fn judge(&mut self) {
        self.all_is_heard();
        self.who_came_back_missed_nothing();
        self.members_and_nobody_else_are_told();
        self.all_is_delivered();
        self.ends_have_reasons();
        self.nothing_is_left();
    }

    /// Whoever may count on an event has it, as long as Redis has.
    fn all_is_heard(&self) {
        for (number, client) in self.clients.iter().enumerate().filter(|(_, c)| c.is_open()) {
            for (subject, hearing) in &client.hears {
                let subject = &self.subjects[*subject];
                assert!(
                    !hearing.asked || hearing.from.is_some(),
                    "client {number} ({:?}) asked for {} and never heard",
                    client.kind,
                    subject.name
                );
                let Some(from) = hearing.from else { continue };
                for place in from..subject.accepted.len() {
                    let event = self.events[subject.accepted[place]];
                    if event.private
                        || self.may_look_old(event)
                        || self.is_another_s(client, event)
                        || self.looks_like_another(subject, place)
                        || self.may_be_unheard(hearing, event)
                    {
                        continue;
                    }
                    assert!(
                        event.lost || hearing.got.contains(&place),
                        "client {number} ({:?}) counted on {} from {from} on and missed {place}: {:?}",
                        client.kind,
                        subject.name,
                        hearing.got,
                    );
                }
            }
        }
    }

    /// Who calls itself something has all that was published since it first said so,
    /// whichever of its sockets heard it.
    fn who_came_back_missed_nothing(&self) {
        if self.climate.ring_entries < PLENTY {
            return;
        }
        for (number, tab) in self.tabs.iter().enumerate() {
            let Some(from) = tab.from else { continue };
            let of = |client: &&Client| client.tab == Some(number);
            let sockets = self.clients.iter().filter(of);
            let hearings = sockets.map(|client| (client, &client.hears[&client.own]));
            let sure = |(client, hearing): (&Client, &Hearing)| client.is_open() && hearing.sure;
            if !hearings.clone().any(sure) {
                continue;
            }
            let subject = self.subjects.iter().find(|s| s.of == Of::Annotations);
            let accepted = &subject.expect("it is there").accepted;
            for (place, event) in accepted.iter().enumerate().skip(from) {
                let event = self.events[*event];
                assert!(
                    event.lost
                        || event.private
                        || self.may_look_old(event)
                        || hearings.clone().any(|(_, h)| h.got.contains(&place)),
                    "tab {number} came back, counted on annotations from {from} on and missed {place}"
                );
            }
        }
    }

    /// By now all know who is in the club.
    fn members_and_nobody_else_are_told(&mut self) {
        let Some(last) = self.private.filter(|_| !self.redis.has_forgotten_people()) else {
            return;
        };
        let event = self.events[last];
        for (number, client) in self.clients.iter().enumerate() {
            let hearing = client.hears.get(&event.subject);
            let Some(hearing) = hearing.filter(|hearing| hearing.sure && client.is_open()) else {
                continue;
            };
            let Some(user) = client.user else { continue };
            let member = self.redis.is_member(user).unwrap_or(false);
            let told = hearing.got.contains(&event.place);
            assert!(
                told == member,
                "client {number} of {user}, who is in the club: {member}, is told of it: {told}"
            );
        }
    }

    /// What was dated by a clock that went back and came again looks older than who
    /// began to listen seconds before. To hand over all of those seconds would tell
    /// others, whenever a link is back, what happened before they listened.
    fn may_look_old(&self, event: Event) -> bool {
        self.redis.lurched.is_some_and(|at| event.at <= at)
    }

    /// What no ring has may be missed, unless it was known that there is such on the
    /// topic: then nobody may stay who missed something.
    fn may_be_unheard(&self, hearing: &Hearing, event: Event) -> bool {
        let accepted = &self.subjects[event.subject].accepted;
        let got = hearing
            .got
            .iter()
            .map(|place| self.events[accepted[*place]]);
        let known = |other: &Event| other.raw && event.at < other.at + KNOWN;
        event.raw
            && !got
                .take_while(|got| got.place < event.place)
                .any(|got| known(&got))
    }

    /// A message that another socket of the recipient took, and that by a clock which
    /// went back is older than this socket, is not this one's.
    fn is_another_s(&self, client: &Client, event: Event) -> bool {
        let got = |other: &Client| {
            let hearing = other.hears.get(&event.subject);
            hearing.is_some_and(|hearing| hearing.got.contains(&event.place))
        };
        let push = matches!(client.kind, Kind::Push { .. });
        push && self.redis.went_back && self.clients.iter().any(got)
    }

    /// A message is known by its id, by clients as well. A clock that went back may give
    /// one again, to the millisecond, that a message had which was lost with a primary:
    /// it waits for the recipient's next socket.
    fn looks_like_another(&self, subject: &Subject, place: usize) -> bool {
        let text = mark(subject.accepted[place]);
        subject.of == Of::Recipient && self.redis.is_ambiguous(&subject.topic, &text)
    }

    /// No message waits for a recipient who is there, and none is delivered that
    /// nobody got.
    fn all_is_delivered(&self) {
        for (number, subject) in self.subjects.iter().enumerate() {
            if subject.of != Of::Recipient {
                continue;
            }
            let open = |client: &&Client| client.is_open() && client.hears.contains_key(&number);
            let there = self.clients.iter().any(|client| open(&client));
            for (text, delivered) in self.redis.messages(&subject.topic) {
                assert!(
                    delivered || !there || self.redis.is_ambiguous(&subject.topic, text),
                    "{text} waits for {}, who is there",
                    subject.name
                );
            }
        }
    }

    /// Who was closed has been told why, and with reason.
    fn ends_have_reasons(&self) {
        for (number, client) in self.clients.iter().enumerate() {
            let Some(code) = client.code else { continue };
            // A burst may be more than is kept for anybody.
            let slow = Some(code) == CloseReason::TooSlow.code();
            // A ring may not hold all that was missed; or, at the end of its life, seem to
            // have been lost, if what it held was dated by a clock that was ahead.
            let may_miss = self.may_miss || self.redis.went_back && DYING <= self.now;
            let missed = may_miss && Some(code) == CloseReason::Missed.code();
            assert!(
                slow || missed,
                "client {number} ({:?}) was closed with {code}",
                client.kind
            );
        }
    }

    /// What was needed only for a while is gone.
    fn nothing_is_left(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            let mut wanted = BTreeSet::<Topic>::new();
            for (shard_number, floor) in node.shards.iter().enumerate() {
                let shard = &floor.shard;
                let of = |client: &&Client| {
                    client.is_open() && client.node == number && client.shard == shard_number
                };
                let open = self.clients.iter().filter(of);
                let mut topics = BTreeSet::<Topic>::new();
                let mut sockets = 0;
                for client in open {
                    sockets += 1;
                    let asked = client.hears.iter().filter(|(_, hearing)| hearing.asked);
                    topics.extend(asked.map(|(s, _)| self.subjects[*s].topic.clone()));
                    let user = client
                        .user
                        .map(|user| people::topic(&tenant(), &userid(user)));
                    topics.extend(user);
                }
                let (hub, conns) = (shard.hub.len(), shard.conns.len());
                assert_eq!(
                    conns, sockets,
                    "sockets of shard {shard_number} of node {number}"
                );
                assert_eq!(
                    hub,
                    topics.len(),
                    "topics of shard {shard_number} of node {number}"
                );
                let queued = shard.conns.iter().filter(|(_, conn)| conn.queue.is_some());
                assert_eq!(queued.count(), 0, "everybody reads, but frames wait");
                let free = floor.room.available_permits();
                assert_eq!(
                    free, self.climate.room as usize,
                    "nothing arrives, but room is taken"
                );
                wanted.extend(topics);
            }
            let settled = node.course.settled() && node.course.caught_up();
            assert!(settled, "node {number} has not settled");
            assert!(
                node.handing.is_empty(),
                "node {number} has something to hand over"
            );
            assert_eq!(
                node.course.topics(),
                wanted.len(),
                "topics of node {number}"
            );
            let connection = node.connection.and_then(|c| self.redis.connections.get(&c));
            let subscribed = connection.expect("the link is up").subscribed();
            assert_eq!(
                subscribed,
                wanted.len() + 1,
                "channels of node {number} with its probe's"
            );
        }
    }
}
