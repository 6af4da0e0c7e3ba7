//! One thread that owns sockets, their sessions, and the hub between them.
//!
//! A turn: wait, take what arrived (from clients, from the inbox, from timers),
//! let the sessions answer, then write once per socket. Nothing in here is
//! shared, so nothing is locked; a client that does not read holds up nobody.

mod conn;
pub mod inbox;
mod out;
mod timers;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::Timestamp;
use broker::link::{Arrival, Want, Wants};
use broker::topic::Topic;
use mio::event::Event as Readiness;
use mio::{Events, Interest, Poll, Token, Waker};
use rand::seq::SliceRandom;
use slab::Slab;
use tracing::{debug, error};

use self::conn::{Conn, Input, State};
use self::inbox::{Admitted, Inbox, Listening, Mail};
use self::out::{Chain, Fate, Progress, Queue, Turn, write_chain};
use self::timers::{Due, Timers};
use crate::close::CloseReason;
use crate::dialect::{Delivery, Effect, Errand, Mark, Notice, Outgoing, Tag};
use crate::errands::{Asked, Errands};
use crate::hub::{Hub, SessionKey, Subscribed};
use crate::metrics::ShardMetrics;
use crate::session::{Beat, Now, Session, SessionLimits};
use crate::websocket::{Decoder, Frame, Limits, Received};

/// The token of the waker; sockets have their slot.
const WAKE: Token = Token(usize::MAX);
/// Bytes read at once from a socket; one buffer serves all of a shard's.
const READ: usize = 64 << 10;
/// Reads per socket and turn; a client that sends without pause waits its turn like others.
const READS: usize = 8;
/// Frames gathered before sockets are written to: enough for thousands of sockets
/// to get several at once, and a few MiB at most.
const TURN_FRAMES: usize = 1 << 16;
/// How long a client has to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Steps in which a drain closes sockets.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// What holds for every socket of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardSettings {
    /// What a client may do.
    pub session: SessionLimits,
    /// The longest message a client may send, in bytes.
    pub max_frame: usize,
    /// Bytes kept for a client that does not take them; beyond, it is closed.
    pub max_queue: usize,
}

/// A shard that has no thread yet: all that its thread needs, and nothing that
/// may not leave it.
pub struct Berth {
    number: usize,
    poll: Poll,
    inbox: Arc<Inbox>,
    settings: ShardSettings,
    wants: Wants,
    errands: Errands,
    metrics: ShardMetrics,
}

/// One thread's sockets, sessions and topics.
struct Shard {
    /// Its number among the listeners of the link.
    number: usize,
    poll: Poll,
    inbox: Arc<Inbox>,
    settings: ShardSettings,
    conns: Slab<Conn>,
    /// How many sockets there have been.
    turns: u32,
    hub: Hub,
    timers: Timers,
    turn: Turn,
    /// Sockets with frames in this turn.
    dirty: Vec<SessionKey>,
    /// Sockets that had more to read than a turn allows.
    unread: Vec<usize>,
    fates: Vec<(SessionKey, Fate)>,
    buffer: Box<[u8]>,
    scratch: Vec<u8>,
    wants: Wants,
    wishes: Vec<Want>,
    errands: Errands,
    asked: Vec<Asked>,
    marks: Vec<Mark>,
    /// When the events of this turn were published.
    published: Vec<Timestamp>,
    /// A session has ended: its client may already be on its way to another
    /// node, which must not find pending what it has got.
    hurry: bool,
    drain: Option<Drain>,
    /// Its share of the topics that are counted for the whole node.
    topics: i64,
    metrics: ShardMetrics,
}

/// Closing sockets in random order, evenly over a time.
struct Drain {
    left: Vec<SessionKey>,
    all: usize,
    began: Instant,
    window: Duration,
}

impl Berth {
    /// A shard to be, number `number` among the listeners of the link that
    /// `wants` leads to.
    ///
    /// # Errors
    /// If the system gives no poll.
    pub fn new(
        number: usize,
        settings: ShardSettings,
        wants: Wants,
        errands: Errands,
        metrics: ShardMetrics,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), WAKE)?));
        Ok(Self {
            number,
            poll,
            inbox,
            settings,
            wants,
            errands,
            metrics,
        })
    }

    /// What reaches the shard.
    pub fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Lives as a shard, on the thread that calls, until it has been drained.
    ///
    /// # Errors
    /// If the system's poll fails, which leaves no way to serve sockets.
    pub fn run(self) -> io::Result<()> {
        Shard::new(self).run()
    }
}

impl Shard {
    fn new(berth: Berth) -> Self {
        let Berth {
            number,
            poll,
            inbox,
            settings,
            wants,
            errands,
            metrics,
        } = berth;
        Self {
            number,
            poll,
            inbox,
            settings,
            conns: Slab::new(),
            turns: 0,
            hub: Hub::default(),
            timers: Timers::new(Instant::now()),
            turn: Turn::default(),
            dirty: Vec::new(),
            unread: Vec::new(),
            fates: Vec::new(),
            buffer: vec![0; READ].into(),
            scratch: Vec::new(),
            wants,
            wishes: Vec::new(),
            errands,
            asked: Vec::new(),
            marks: Vec::new(),
            published: Vec::new(),
            hurry: false,
            drain: None,
            topics: 0,
            metrics,
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !(self.drain.is_some() && self.conns.is_empty()) {
            let wait = self.wait(Instant::now());
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = now();
            for slot in std::mem::take(&mut self.unread) {
                self.readable(slot, true, now);
            }
            for event in &events {
                match event.token() {
                    WAKE => self.open_mail(now),
                    Token(slot) => self.socket(slot, event, now),
                }
            }
            self.keep_time(now);
            self.finish_turn(now);
        }
        Ok(())
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let step = self.drain.as_ref().map(|_| DRAIN_STEP);
        self.timers.wait(now).into_iter().chain(step).min()
    }

    // What arrives.

    fn open_mail(&mut self, now: Now) {
        // A batch is let go, which makes room for another, only when it is written;
        // until then others join it, so that a socket gets its share in one write.
        let mut held = Vec::new();
        for mail in self.inbox.take() {
            match mail {
                Mail::Open(admitted) => self.open(*admitted, now),
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
                Mail::Count(topic, asker) => drop(asker.send(self.listening(&topic))),
                Mail::Drain(window) => self.begin_drain(window, now),
            }
        }
        if !held.is_empty() {
            self.write_all(now);
        }
    }

    fn open(&mut self, admitted: Admitted, now: Now) {
        let Admitted {
            stream,
            early,
            client,
            permit,
        } = admitted;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let entry = self.conns.vacant_entry();
        let interests = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) =
            self.poll
                .registry()
                .register(&mut stream, Token(entry.key()), interests)
        {
            error!(%error, "a socket cannot be watched and is dropped");
            return;
        }
        self.turns = self.turns.wrapping_add(1);
        let slot = u32::try_from(entry.key()).expect("there are fewer sockets than 2^32");
        let key = SessionKey {
            slot,
            turn: self.turns,
        };
        entry.insert(Conn {
            stream,
            session: Session::new(client.dialect(), &self.settings.session, now),
            decoder: Decoder::new(),
            state: State::Open,
            chain: Chain::EMPTY,
            queue: None,
            opened_at: now.wall,
            turn: self.turns,
            _permit: permit,
        });
        self.metrics.connections.inc();
        // Spread over an interval, so that sockets of one storm do not all beat at once.
        let heartbeat = self.settings.session.heartbeat;
        let first = heartbeat.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        self.timers.add(now.steady + first, Due::Beat, key);
        self.with(key, now, Session::open);
        for chunk in early.chunks(READ) {
            self.buffer[..chunk.len()].copy_from_slice(chunk);
            self.received(key, chunk.len(), now);
        }
        if self.drain.is_some() {
            self.close(key, CloseReason::Draining, now);
        }
    }

    fn arrived(&mut self, arrival: &Arrival, now: Now) {
        match arrival {
            Arrival::Event(topic, event) => {
                let listeners = self.hub.listeners(topic).to_vec();
                if listeners.is_empty() {
                    return;
                }
                self.metrics.fanout.observe(listeners.len() as f64);
                self.published.extend(event.published_at);
                let delivery = Rc::new(Delivery::new(Arc::clone(event)));
                for key in listeners {
                    self.with(key, now, |session, now| {
                        session.deliver(topic, &delivery, now)
                    });
                }
            }
            Arrival::Subscribed(topic) => {
                for key in self.hub.confirm(topic).to_vec() {
                    self.with(key, now, |s, now| s.notice(Notice::Subscribed(topic), now));
                }
            }
            Arrival::Resumed(topic) => {
                for key in self.hub.confirm(topic).to_vec() {
                    self.with(key, now, |s, now| s.notice(Notice::Gap(topic), now));
                }
            }
        }
    }

    fn socket(&mut self, slot: usize, event: &Readiness, now: Now) {
        if event.is_writable()
            && self
                .conns
                .get(slot)
                .is_some_and(|conn| conn.queue.is_some())
        {
            let key = self.key(slot);
            self.dirty.push(key);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.readable(slot, event.is_read_closed() || event.is_error(), now);
        }
    }

    fn readable(&mut self, slot: usize, to_end: bool, now: Now) {
        for _ in 0..READS {
            let Some(conn) = self.conns.get_mut(slot) else {
                return;
            };
            let key = SessionKey {
                slot: slot as u32,
                turn: conn.turn,
            };
            match conn.read(&mut self.buffer, to_end) {
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
    fn received(&mut self, key: SessionKey, read: usize, now: Now) {
        let Some(conn) = self.conns.get_mut(key.slot as usize) else {
            return;
        };
        let Conn {
            session,
            decoder,
            state,
            ..
        } = conn;
        let limits = Limits {
            max_message: self.settings.max_frame,
        };
        let session_limits = self.settings.session;
        let mut effects = Vec::new();
        let mut frames = 0;
        let result = decoder.read(&mut self.buffer[..read], &limits, &mut |received| {
            frames += 1;
            match (&state, received) {
                (State::Open, received) => {
                    effects.extend(session.receive(&received, &session_limits, now));
                }
                // The answer to our close frame; nothing else counts any more.
                (State::Closing(_), Received::Close(_)) => {
                    effects.push(Effect::Close(CloseReason::ClientGone));
                }
                (State::Closing(_), _) => {}
            }
        });
        session.heard(now);
        self.metrics.frames_received.inc_by(frames);
        self.apply(key, effects, now);
        if let Err(violation) = result {
            debug!(%violation, "a client broke the WebSocket protocol");
            self.close(key, CloseReason::Garbled(violation.close_code()), now);
        }
    }

    fn keep_time(&mut self, now: Now) {
        while let Some((due, key)) = self.timers.next(now.steady) {
            match due {
                Due::Beat => self.beat(key, now),
                Due::Wake => self.with(key, now, |s, now| s.notice(Notice::Woken, now)),
                Due::Closed => self.remove(key),
            }
        }
        self.drain_some(now);
    }

    fn beat(&mut self, key: SessionKey, now: Now) {
        let limits = self.settings.session;
        let Some(conn) = self.open_conn(key) else {
            return;
        };
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
                next
            }
            Beat::GiveUp => return self.close(key, CloseReason::Silent, now),
        };
        self.timers.add(now.steady + next, Due::Beat, key);
    }

    // What sessions want.

    fn with(
        &mut self,
        key: SessionKey,
        now: Now,
        told: impl FnOnce(&mut Session, Now) -> Vec<Effect>,
    ) {
        if let Some(conn) = self.open_conn(key) {
            let effects = told(&mut conn.session, now);
            self.apply(key, effects, now);
        }
    }

    fn apply(&mut self, key: SessionKey, effects: Vec<Effect>, now: Now) {
        for effect in effects {
            match effect {
                Effect::Send(outgoing) => self.send(key, outgoing),
                Effect::Subscribe(topic) => self.subscribe(key, topic, now),
                Effect::Unsubscribe(topic) => self.unsubscribe(key, topic),
                Effect::Ask(Errand::Mark(mark)) => {
                    // Sockets of one recipient flush the same message in a row.
                    if self.marks.last() != Some(&mark) {
                        self.marks.push(mark);
                    }
                }
                Effect::Ask(errand) => self.asked.push(Asked {
                    shard: self.number,
                    key,
                    errand,
                }),
                Effect::WakeAt(at) => {
                    self.timers
                        .add(now.steady + at.since(now.wall), Due::Wake, key);
                }
                Effect::Close(reason) => self.close(key, reason, now),
            }
        }
    }

    fn send(&mut self, key: SessionKey, outgoing: Outgoing) {
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

    fn subscribe(&mut self, key: SessionKey, topic: Topic, now: Now) {
        let (topic, outcome) = self.hub.subscribe(topic, key);
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

    fn unsubscribe(&mut self, key: SessionKey, topic: Topic) {
        if self.hub.unsubscribe(&topic, key) {
            self.wishes.push(Want::Unsubscribe(self.number, topic));
        }
    }

    // How connections end.

    /// Ends a session, and its connection as the reason asks.
    fn close(&mut self, key: SessionKey, reason: CloseReason, now: Now) {
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
        if reason == CloseReason::TooSlow
            && let Some(queue) = &mut conn.queue
        {
            // What is queued will not be read in time, the close frame may be.
            let dropped = queue.cut_short();
            self.metrics
                .queue_bytes
                .sub(i64::try_from(dropped).unwrap_or(i64::MAX));
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
        self.timers
            .add(now.steady + CLOSE_TIMEOUT, Due::Closed, key);
    }

    fn end_session(&mut self, key: SessionKey, reason: CloseReason, now: Now) {
        let Some(conn) = self.conn(key) else { return };
        conn.state = State::Closing(reason);
        let age = now.wall.since(conn.opened_at);
        let topics: Vec<_> = conn.session.topics().cloned().collect();
        for topic in topics {
            self.unsubscribe(key, topic);
        }
        self.metrics.closed(reason, age);
        self.hurry = true;
    }

    /// The client is not there any more.
    fn gone(&mut self, key: SessionKey, now: Now) {
        self.close(key, CloseReason::ClientGone, now);
    }

    fn remove(&mut self, key: SessionKey) {
        if self.conn(key).is_some() {
            let mut conn = self.conns.remove(key.slot as usize);
            // A socket that cannot be taken off the poll is taken off by closing it.
            drop(self.poll.registry().deregister(&mut conn.stream));
            self.metrics.connections.dec();
            self.metrics.queue_bytes.sub(queued(conn.queue.as_deref()));
        }
    }

    fn begin_drain(&mut self, window: Duration, now: Now) {
        let mut left: Vec<_> = self.conns.iter().map(|(slot, _)| self.key(slot)).collect();
        left.shuffle(&mut rand::rng());
        self.drain = Some(Drain {
            all: left.len(),
            left,
            began: now.steady,
            window,
        });
    }

    fn drain_some(&mut self, now: Now) {
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

    // The end of a turn.

    fn finish_turn(&mut self, now: Now) {
        self.write_all(now);
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
    }

    /// Writes what there is, and what comes of having written it.
    fn write_all(&mut self, now: Now) {
        while !self.dirty.is_empty() {
            for key in std::mem::take(&mut self.dirty) {
                self.write(key, now);
            }
            for (key, fate) in std::mem::take(&mut self.fates) {
                self.tell_fate(key, &fate, now);
            }
        }
        self.turn.clear();
        let written_at = Timestamp::now();
        for at in self.published.drain(..) {
            let late = written_at.since(at);
            self.metrics.publish_to_write.observe(late.as_secs_f64());
        }
    }

    fn write(&mut self, key: SessionKey, now: Now) {
        let Some(conn) = self
            .conns
            .get_mut(key.slot as usize)
            .filter(|c| c.turn == key.turn)
        else {
            return;
        };
        let queued_before = queued(conn.queue.as_deref());
        let mut chain = std::mem::replace(&mut conn.chain, Chain::EMPTY);
        let mut fates = Vec::new();
        let result = match &mut conn.queue {
            None => {
                let (turn, scratch) = (&mut self.turn, &mut self.scratch);
                write_chain(
                    &mut conn.stream,
                    turn,
                    &mut chain,
                    scratch,
                    now.wall,
                    &mut fates,
                )
                .map(|queue| conn.queue = queue.map(Box::new))
            }
            Some(queue) => {
                queue.extend(&mut self.turn, &mut chain);
                queue
                    .write(&mut conn.stream, &mut self.scratch, now.wall, &mut fates)
                    .map(|progress| {
                        if progress == Progress::Done {
                            conn.queue = None;
                        }
                    })
            }
        };
        self.fates.extend(fates.into_iter().map(|fate| (key, fate)));
        let queued_after = queued(conn.queue.as_deref());
        self.metrics.queue_bytes.add(queued_after - queued_before);
        let (state, done) = (conn.state, conn.queue.is_none());
        match (result, state) {
            (Err(_), _) => self.gone(key, now),
            (Ok(()), State::Open) if self.settings.max_queue < queued_after as usize => {
                self.close(key, CloseReason::TooSlow, now);
            }
            (Ok(()), State::Closing(CloseReason::ClientLeft(_))) if done => self.remove(key),
            (Ok(()), State::Closing(_)) if done => {
                // Fails only if the client is gone, which the next read shows.
                drop(self.conn(key).map(|conn| conn.finish_writing()));
            }
            (Ok(()), _) => {}
        }
    }

    fn tell_fate(&mut self, key: SessionKey, fate: &Fate, now: Now) {
        match fate {
            Fate::Flushed(tag) => self.flushed(key, tag, now),
            Fate::Expired(tag) => {
                self.metrics.dropped_expired.inc();
                self.with(key, now, |s, now| s.notice(Notice::Expired(tag), now));
            }
        }
    }

    fn flushed(&mut self, key: SessionKey, tag: &Tag, now: Now) {
        // Also of a session that ends in this turn: its client has got it.
        if let Some(conn) = self.conn(key) {
            let effects = conn.session.notice(Notice::Flushed(tag), now);
            self.metrics.delivered.inc();
            self.apply(key, effects, now);
        }
    }

    // Finding things.

    fn key(&self, slot: usize) -> SessionKey {
        SessionKey {
            slot: slot as u32,
            turn: self.conns[slot].turn,
        }
    }

    fn conn(&mut self, key: SessionKey) -> Option<&mut Conn> {
        self.conns
            .get_mut(key.slot as usize)
            .filter(|conn| conn.turn == key.turn)
    }

    fn open_conn(&mut self, key: SessionKey) -> Option<&mut Conn> {
        self.conn(key).filter(|conn| conn.state == State::Open)
    }

    fn listening(&self, topic: &Topic) -> Listening {
        let listeners = self.hub.listeners(topic);
        let opened = listeners
            .iter()
            .filter_map(|key| self.conns.get(key.slot as usize).map(|conn| conn.opened_at));
        Listening {
            sockets: listeners.len() as u64,
            since: opened.min(),
        }
    }
}

fn queued(queue: Option<&Queue>) -> i64 {
    queue.map_or(0, |queue| i64::try_from(queue.bytes()).unwrap_or(i64::MAX))
}

fn now() -> Now {
    Now {
        wall: Timestamp::now(),
        steady: Instant::now(),
    }
}
