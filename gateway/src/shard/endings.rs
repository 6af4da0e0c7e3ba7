//! How connections end: one by one, and all of them in a drain.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::seq::SliceRandom;

use super::Shard;
use super::conn::State;
use super::out::queued;
use super::timers::Due;
use crate::close::CloseReason;
use crate::dialect::Outgoing;
use crate::hub::SessionKey;
use crate::session::Now;
use crate::websocket::Frame;

/// How long a client has to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same, for clients that are to free memory by it.
const HURRIED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Closing sockets in random order, evenly over a time.
pub(super) struct Drain {
    left: Vec<SessionKey>,
    all: usize,
    began: Instant,
    window: Duration,
}

impl Shard {
    /// Ends a session, and its connection as the reason asks.
    pub(super) fn close(&mut self, key: SessionKey, reason: CloseReason, now: Now) {
        let Some(conn) = self.conn(key) else { return };
        if conn.state != State::Open {
            if reason == CloseReason::ClientGone {
                self.remove(key);
            }
            return;
        }
        let Some(code) = reason.code() else {
            self.end_session(key, reason, now);
            return self.remove(key);
        };
        if matches!(reason, CloseReason::TooSlow | CloseReason::Overloaded) {
            self.let_go(key);
        }
        let frame = Frame::close(code, reason.text());
        self.send(
            key,
            Outgoing {
                frame,
                expires_at: None,
                tag: None,
            },
        );
        self.end_session(key, reason, now);
        let patience = match reason {
            CloseReason::Overloaded => HURRIED_CLOSE_TIMEOUT,
            _ => CLOSE_TIMEOUT,
        };
        self.timers.add(now.steady + patience, Due::Closed, key);
    }

    /// Drops what waits for a client, as it will not be read in time while the close
    /// frame may be, and what the client has not said to its end.
    fn let_go(&mut self, key: SessionKey) {
        let Some(conn) = self.conn(key) else { return };
        let before = queued(conn.queue.as_deref());
        if let Some(queue) = &mut conn.queue {
            queue.cut_short();
        }
        let after = queued(conn.queue.as_deref());
        let unfinished = conn.decoder.held();
        conn.decoder.give_up();
        self.queue_changed(before, after);
        self.holding.unfinished_changed(unfinished, 0);
    }

    pub(super) fn end_session(&mut self, key: SessionKey, reason: CloseReason, now: Now) {
        let Some(conn) = self.conn(key) else { return };
        conn.state = State::Closing(reason);
        let (kept, topics) = (conn.session.kept(), conn.session.end());
        let age = now.wall.since(conn.opened_at);
        for topic in topics {
            self.unsubscribe(key, topic);
        }
        self.holding.kept_changed(kept, 0);
        self.metrics.closed(reason, age);
        self.hurry = true;
    }

    /// The client is not there any more.
    pub(super) fn gone(&mut self, key: SessionKey, now: Now) {
        self.close(key, CloseReason::ClientGone, now);
    }

    pub(super) fn remove(&mut self, key: SessionKey) {
        if self.conn(key).is_some() {
            let mut conn = self.conns.remove(key.slot as usize);
            // A socket that cannot be taken off the poll is taken off by closing it.
            drop(conn.stream.deregister(self.poll.registry()));
            self.metrics.of(conn.protocol).connections.dec();
            if let Some(signed_in) = conn.signed_in {
                self.metrics.viewers(signed_in).dec();
            }
            self.holding.unfinished_changed(conn.decoder.held(), 0);
            self.queue_changed(queued(conn.queue.as_deref()), 0);
            if conn.state == State::Closing(CloseReason::Overloaded) {
                // If it fails, the kernel frees it later.
                drop(conn.stream.forget_unsent());
            }
        }
    }

    /// Ends a session that missed something, when its turn comes.
    pub(super) fn close_in_turn(&mut self, key: SessionKey, now: Now) {
        let Some(conn) = self.open_conn(key) else {
            return;
        };
        if !std::mem::replace(&mut conn.missed, true) {
            self.parting.add(key, now.steady);
        }
    }

    /// Closes those whose turn has come among those that missed something.
    pub(super) fn part(&mut self, now: Now) {
        while let Some(key) = self.next_to_part(now) {
            self.close(key, CloseReason::Missed, now);
        }
    }

    fn next_to_part(&mut self, now: Now) -> Option<SessionKey> {
        let random = &mut self.random;
        self.parting
            .next(now.steady, |among| random.random_range(..among))
    }

    pub(super) fn begin_drain(&mut self, window: Duration, now: Now) {
        let mut left: Vec<_> = self.conns.iter().map(|(slot, _)| self.key(slot)).collect();
        left.shuffle(&mut self.random);
        self.drain = Some(Drain {
            all: left.len(),
            left,
            began: now.steady,
            window,
        });
    }

    pub(super) fn drain_some(&mut self, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        let elapsed = now.steady.saturating_duration_since(drain.began);
        let share = if elapsed < drain.window {
            elapsed.as_secs_f64() / drain.window.as_secs_f64()
        } else {
            1.0
        };
        let keep = drain.all - (drain.all as f64 * share) as usize;
        let closing = drain.left.split_off(keep.min(drain.left.len()));
        for key in closing {
            self.close(key, CloseReason::Draining, now);
        }
    }
}
