//! Doing what sessions want.

use broker::link::Want;
use broker::topic::Topic;

use super::Shard;
use super::conn::State;
use super::timers::Due;
use crate::close::CloseReason;
use crate::dialect::{Effect, Errand, Notice, Outgoing};
use crate::errands::Asked;
use crate::hub::{SessionKey, Subscribed};
use crate::interest::Interest;
use crate::session::{Now, Session};

/// How far back a mark looks for its like: as many messages as sockets of one
/// recipient commonly get in one write. Beyond, Redis sorts it out.
const ALIKE: usize = 32;

impl Shard {
    pub(super) fn with(
        &mut self,
        key: SessionKey,
        now: Now,
        told: impl FnOnce(&mut Session, Now) -> Vec<Effect>,
    ) {
        if let Some(conn) = self.open_conn(key) {
            let effects = told(&mut conn.session, now);
            let asks = |effect| matches!(effect, &Effect::Want(..) | &Effect::Subscribe(..));
            let may_keep_more = effects.iter().any(asks);
            self.apply(key, effects, now);
            if may_keep_more {
                self.look_at_kept(key, now);
            }
        }
    }

    pub(super) fn apply(&mut self, key: SessionKey, effects: Vec<Effect>, now: Now) {
        for effect in effects {
            match effect {
                Effect::Send(outgoing) => self.send(key, outgoing),
                Effect::Subscribe(topic, interest) => self.subscribe(key, topic, interest, now),
                Effect::Want(topic, interest) => self.hub.replace(&topic, interest, key),
                Effect::Unsubscribe(topic) => self.unsubscribe(key, topic),
                Effect::Ask(Errand::Mark(mark)) => {
                    // Sockets of one recipient flush the same few messages in a row.
                    let known =
                        self.marks.iter().rev().take(ALIKE).any(|m| {
                            m.what.id() == mark.what.id() && m.recipient == mark.recipient
                        });
                    if !known {
                        self.marks.push(mark);
                    }
                }
                Effect::Ask(errand) => self.asked.push(Asked {
                    shard: self.number,
                    key,
                    errand,
                }),
                Effect::Forward(relay, message) => relay.forward(message),
                Effect::WakeAt(at) => {
                    self.timers
                        .add(now.steady + at.since(now.wall), Due::Wake, key);
                }
                Effect::Count(tally) => self.metrics.tally(tally),
                Effect::Close(CloseReason::Missed) => self.close_in_turn(key, now),
                Effect::Close(reason) => self.close(key, reason, now),
            }
        }
    }

    pub(super) fn send(&mut self, key: SessionKey, outgoing: Outgoing) {
        let Some(conn) = self.conns.get_mut(key.slot as usize) else {
            return;
        };
        if conn.turn == key.turn && conn.state == State::Open {
            if conn.chain.is_empty() {
                self.dirty.push(key);
            }
            self.turn.add(&mut conn.chain, outgoing);
        }
    }

    pub(super) fn subscribe(
        &mut self,
        key: SessionKey,
        topic: Topic,
        interest: Interest,
        now: Now,
    ) {
        // What it asked for just before may have ended it.
        if self.open_conn(key).is_none() {
            return;
        }
        let (topic, outcome) = self.hub.subscribe(topic, interest, key);
        if let Some(conn) = self.open_conn(key) {
            conn.session.share(&topic);
        }
        match outcome {
            Subscribed::First => self.wishes.push(Want::Subscribe(self.number, topic)),
            Subscribed::Waiting => {}
            Subscribed::Live => {
                self.with(key, now, |s, now| s.notice(Notice::Subscribed(&topic), now));
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, key: SessionKey, topic: Topic) {
        if self.hub.unsubscribe(&topic, key) {
            self.wishes.push(Want::Unsubscribe(self.number, topic));
        }
    }
}
