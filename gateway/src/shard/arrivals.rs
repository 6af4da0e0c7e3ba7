//! What reaches a shard: mail, bytes from clients, and the time.

use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use broker::link::Arrival;
use mio::Token;
use rand::RngExt;
use tracing::{debug, error};

use super::conn::{Conn, Input, State};
use super::inbox::{Admitted, Mail};
use super::out::Chain;
use super::stream::{Ready, Stream};
use super::timers::Due;
use super::{READ, Shard};
use crate::admission::Permit;
use crate::client::Client;
use crate::close::CloseReason;
use crate::dialect::{Answer, Delivery, Effect, Notice, Outgoing};
use crate::hub::SessionKey;
use crate::session::{Beat, Now, Session};
use crate::websocket::{Decoder, Frame, Limits, Received};

/// Reads per socket and turn; a client that sends without pause waits its turn like others.
const READS: usize = 8;
/// Bytes taken from a client after our close frame: more than was on its way.
const MAX_LATE: usize = 1 << 20;
/// Frames gathered before sockets are written to: enough for thousands of sockets
/// to get several at once, and a few MiB at most.
const TURN_FRAMES: usize = 1 << 16;

impl Shard {
    pub(super) fn open_mail(&mut self, now: Now) {
        // A batch is let go, which makes room for another, only when it is written;
        // until then others join it, so that a socket gets its share in one write.
        let mut held = Vec::new();
        for mail in self.inbox.take() {
            match mail {
                Mail::Open(admitted) => {
                    let Admitted {
                        stream,
                        early,
                        client,
                        permit,
                    } = *admitted;
                    self.open(stream.into(), &early, client, permit, now);
                }
                Mail::Batch(batch) => {
                    for arrival in &batch.arrivals {
                        self.arrived(arrival, now);
                    }
                    held.push(batch);
                    if TURN_FRAMES <= self.turn.len() {
                        self.write_all(now);
                        held.clear();
                    }
                }
                Mail::Answer(key, answer) => {
                    self.with(key, now, |session, now| session.answer(answer, now));
                }
                Mail::Relayed(key, relayed) => {
                    if let Some(reply) = relayed.reply() {
                        let answer = Answer::Misskey(reply);
                        self.with(key, now, |session, now| session.answer(answer, now));
                    }
                }
                Mail::News(topic, news) => {
                    let listeners: Vec<_> = self.hub.listeners(&topic).collect();
                    for key in listeners {
                        self.with(key, now, |s, now| {
                            s.notice(Notice::News(&topic, &news), now)
                        });
                    }
                }
                Mail::Count(topic, asker) => drop(asker.send(self.listening(&topic))),
                Mail::Drain(window) => self.begin_drain(window, now),
                Mail::End => self.last_has_come = true,
                Mail::Relieve(sockets) => self.relieve(sockets, now),
            }
        }
        if !held.is_empty() {
            self.write_all(now);
        }
    }

    pub(super) fn open(
        &mut self,
        mut stream: Stream,
        early: &[u8],
        client: Client,
        permit: Permit,
        now: Now,
    ) {
        let entry = self.conns.vacant_entry();
        if let Err(error) = stream.register(self.poll.registry(), Token(entry.key())) {
            error!(%error, "a socket cannot be watched and is dropped");
            return;
        }
        self.turns = self.turns.wrapping_add(1);
        let slot = u32::try_from(entry.key()).expect("there are fewer sockets than 2^32");
        let key = SessionKey {
            slot,
            turn: self.turns,
        };
        let (protocol, signed_in) = (client.protocol(), client.signed_in());
        if stream.may_hold_bytes() {
            self.unread.push(entry.key());
        }
        let limits = self.settings.limits(protocol);
        entry.insert(Box::new(Conn {
            stream,
            protocol,
            signed_in,
            session: Session::new(client.dialect(), &limits, now),
            decoder: Decoder::new(),
            state: State::Open,
            chain: Chain::EMPTY,
            queue: None,
            opened_at: now.wall,
            missed: false,
            late: 0,
            turn: self.turns,
            _permit: permit,
        }));
        self.metrics.of(protocol).connections.inc();
        if let Some(signed_in) = signed_in {
            self.metrics.viewers(signed_in).inc();
        }
        // Spread over an interval, so that sockets of one storm do not all beat at once.
        let first = limits
            .heartbeat
            .mul_f64(0.5 + self.random.random::<f64>() / 2.0);
        self.timers.add(now.steady + first, Due::Beat, key);
        let max_age = self.settings.max_age;
        if !max_age.is_zero() {
            // Over half of it, so that those that came together do not go together.
            let age = max_age.mul_f64(0.5 + self.random.random::<f64>() / 2.0);
            self.timers.add(now.steady + age, Due::Aged, key);
        }
        self.with(key, now, Session::open);
        for chunk in early.chunks(READ) {
            self.buffer[..chunk.len()].copy_from_slice(chunk);
            self.received(key, chunk.len(), now);
        }
        if self.drain.is_some() {
            self.close(key, CloseReason::Draining, now);
        }
    }

    pub(super) fn arrived(&mut self, arrival: &Arrival, now: Now) {
        match arrival {
            Arrival::Event(topic, event) => {
                let delivery = Rc::new(Delivery::new(Arc::clone(event)));
                let mut concerned = std::mem::take(&mut self.concerned);
                self.hub
                    .concerned(topic, || delivery.keys(), &mut concerned);
                if !concerned.is_empty() {
                    self.metrics.fanout.observe(concerned.len() as f64);
                    self.published.extend(event.published_at);
                }
                let (sockets, before) = (concerned.len(), self.turn.len());
                for key in concerned.drain(..) {
                    self.with(key, now, |session, now| {
                        session.deliver(topic, &delivery, now)
                    });
                }
                self.concerned = concerned;
                if event.traced.is_some() {
                    self.fanned_out(event, sockets, before);
                }
            }
            Arrival::Subscribed(topic) => {
                for key in self.hub.confirm(topic) {
                    self.with(key, now, |s, now| s.notice(Notice::Subscribed(topic), now));
                }
            }
            Arrival::Resumed(topic) => {
                for key in self.hub.missed(topic) {
                    self.with(key, now, |s, now| s.notice(Notice::Resumed(topic), now));
                }
            }
            Arrival::Gap(topic) => {
                for key in self.hub.missed(topic) {
                    self.with(key, now, |s, now| s.notice(Notice::Gap(topic), now));
                }
            }
        }
    }

    pub(super) fn socket(&mut self, slot: usize, ready: Ready, now: Now) {
        if ready.writable
            && let Some(conn) = self.conns.get_mut(slot)
        {
            if conn.queue.is_some() {
                let key = self.key(slot);
                self.dirty.push(key);
            } else {
                // Fails only if the client is gone, which the next read shows.
                drop(conn.stream.flush());
            }
        }
        if ready.readable || ready.ended {
            self.readable(slot, ready.ended, now);
        }
    }

    pub(super) fn readable(&mut self, slot: usize, to_end: bool, now: Now) {
        for _ in 0..READS {
            let Some(conn) = self.conns.get_mut(slot) else {
                return;
            };
            let key = SessionKey {
                slot: slot as u32,
                turn: conn.turn,
            };
            match conn.read(&mut self.buffer, to_end) {
                Input::Nothing => {}
                Input::Empty => return,
                Input::Gone => return self.gone(key, now),
                Input::Bytes(read, more) => {
                    self.received(key, read, now);
                    if !more {
                        return;
                    }
                }
            }
        }
        self.unread.push(slot);
    }

    /// The client sent the first `read` bytes of the buffer.
    pub(super) fn received(&mut self, key: SessionKey, read: usize, now: Now) {
        let Some(conn) = self.conns.get_mut(key.slot as usize) else {
            return;
        };
        if conn.state != State::Open {
            conn.late += read;
            if MAX_LATE < conn.late {
                return self.remove(key);
            }
        }
        let Conn {
            session,
            decoder,
            state,
            protocol,
            ..
        } = &mut **conn;
        let limits = Limits {
            max_message: self.settings.max_frame,
        };
        let mut effects = Vec::new();
        let mut frames = 0;
        let unfinished = decoder.held();
        let result = decoder.read(&mut self.buffer[..read], &limits, &mut |received| {
            frames += 1;
            match (&state, received) {
                (State::Open, received) => {
                    effects.extend(session.receive(&received, now));
                }
                // The answer to our close frame.
                (State::Closing(_), Received::Close(_)) => {
                    effects.push(Effect::Close(CloseReason::ClientGone));
                }
                (State::Closing(_), received) => {
                    effects.extend(session.receive_late(&received, now));
                }
            }
        });
        session.heard(now);
        self.holding.unfinished_changed(unfinished, decoder.held());
        self.metrics.of(*protocol).frames_received.inc_by(frames);
        self.apply(key, effects, now);
        self.look_at_kept(key, now);
        if let Err(violation) = result {
            debug!(%violation, "a client broke the WebSocket protocol");
            self.close(key, CloseReason::Garbled(violation.close_code()), now);
        }
    }

    pub(super) fn keep_time(&mut self, now: Now) {
        while let Some((due, key)) = self.timers.next(now.steady) {
            match due {
                Due::Beat => self.beat(key, now),
                Due::Wake => self.with(key, now, |s, now| s.notice(Notice::Woken, now)),
                Due::Closed => self.remove(key),
                Due::Aged => self.close(key, CloseReason::Aged, now),
            }
        }
        let conns = &self.conns;
        self.timers.tidy(|key| {
            let conn = conns.get(key.slot as usize);
            conn.is_some_and(|conn| conn.turn == key.turn)
        });
        self.part(now);
        self.drain_some(now);
    }

    pub(super) fn beat(&mut self, key: SessionKey, now: Now) {
        let settings = self.settings;
        let Some(conn) = self.open_conn(key) else {
            return;
        };
        let limits = settings.limits(conn.protocol);
        let next = match conn.session.beat(&limits, now) {
            Beat::Wait(next) => next,
            Beat::Ping(next) => {
                let frame = Frame::ping(b"");
                self.send(
                    key,
                    Outgoing {
                        frame,
                        expires_at: None,
                        tag: None,
                    },
                );
                let known = self.errands.known().until();
                self.with(key, now, |s, now| s.notice(Notice::Pinged(known), now));
                next
            }
            Beat::GiveUp => return self.close(key, CloseReason::Silent, now),
        };
        self.timers.add(now.steady + next, Due::Beat, key);
    }
}
