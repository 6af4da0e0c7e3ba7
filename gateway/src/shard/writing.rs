//! The end of a turn: one write per socket, and what comes of it.

use broker::Timestamp;

use super::Shard;
use super::conn::{Conn, State};
use super::out::{Chain, Fate, Progress, queued, write_chain};
use crate::close::CloseReason;
use crate::dialect::{Notice, Protocol, Tag};
use crate::hub::SessionKey;
use crate::session::Now;

impl Shard {
    pub(super) fn finish_turn(&mut self, now: Now) {
        self.write_all(now);
        self.bound_held(now);
        if !self.wishes.is_empty() {
            self.wants.send(&mut self.wishes);
        }
        self.errands.ask(&mut self.asked);
        self.errands.mark(&mut self.marks);
        if std::mem::take(&mut self.hurry) {
            self.errands.hurry();
        }
        let topics = i64::try_from(self.hub.len()).unwrap_or(i64::MAX);
        self.metrics.topics.add(topics - self.topics);
        self.topics = topics;
        let subscriptions = i64::try_from(self.hub.subscriptions()).unwrap_or(i64::MAX);
        let more = subscriptions - self.subscriptions;
        self.metrics.subscriptions.add(more);
        self.subscriptions = subscriptions;
    }

    /// Writes what there is, and what comes of having written it.
    pub(super) fn write_all(&mut self, now: Now) {
        while !self.dirty.is_empty() {
            for key in std::mem::take(&mut self.dirty) {
                self.write(key, now);
            }
            for (key, fate) in std::mem::take(&mut self.fates) {
                self.tell_fate(key, &fate, now);
            }
        }
        self.turn.clear();
        for protocol in Protocol::EVERY {
            let (frames, bytes, dropped) = self.written[protocol as usize].take_counts();
            self.metrics.sent(protocol, frames, bytes, dropped);
        }
        self.inbox.progressed();
        let written_at = Timestamp::now();
        for at in self.published.drain(..) {
            let late = written_at.since(at);
            self.metrics.publish_to_write.observe(late.as_secs_f64());
        }
        if !self.fanouts.is_empty() {
            self.end_fanouts();
        }
    }

    pub(super) fn write(&mut self, key: SessionKey, now: Now) {
        let Some(conn) = self
            .conns
            .get_mut(key.slot as usize)
            .filter(|c| c.turn == key.turn)
        else {
            return;
        };
        let queued_before = queued(conn.queue.as_deref());
        let mut chain = std::mem::replace(&mut conn.chain, Chain::EMPTY);
        let fates = &mut self.written[conn.protocol as usize];
        let result = match &mut conn.queue {
            None => {
                let (turn, scratch) = (&mut self.turn, &mut self.scratch);
                write_chain(&mut conn.stream, turn, &mut chain, scratch, now.wall, fates)
                    .map(|queue| conn.queue = queue.map(Box::new))
            }
            Some(queue) => {
                queue.extend(&mut self.turn, &mut chain);
                queue
                    .write(&mut conn.stream, &mut self.scratch, now.wall, fates)
                    .map(|progress| {
                        if progress == Progress::Done {
                            conn.queue = None;
                        }
                    })
            }
        };
        let tagged = fates.tagged.drain(..).map(|fate| (key, fate));
        self.fates.extend(tagged);
        let queued_after = queued(conn.queue.as_deref());
        let (state, done) = (conn.state, conn.queue.is_none());
        self.queue_changed(queued_before, queued_after);
        match (result, state) {
            (Err(_), _) => self.gone(key, now),
            (Ok(()), State::Open) if self.settings.max_queue < queued_after => {
                self.close(key, CloseReason::TooSlow, now);
            }
            (Ok(()), State::Closing(CloseReason::ClientLeft(_))) if done => self.remove(key),
            (Ok(()), State::Closing(_)) if done => {
                // Fails only if the client is gone, which the next read shows.
                drop(self.conn(key).map(Conn::finish_writing));
            }
            (Ok(()), _) => {}
        }
    }

    pub(super) fn tell_fate(&mut self, key: SessionKey, fate: &Fate, now: Now) {
        match fate {
            Fate::Flushed(tag) => self.flushed(key, tag, now),
            Fate::Expired(tag) => {
                self.with(key, now, |s, now| s.notice(Notice::Expired(tag), now));
            }
        }
    }

    pub(super) fn flushed(&mut self, key: SessionKey, tag: &Tag, now: Now) {
        // Also of a session that ends in this turn: its client has got it.
        if let Some(conn) = self.conn(key) {
            let effects = conn.session.notice(Notice::Flushed(tag), now);
            self.apply(key, effects, now);
        }
    }
}
