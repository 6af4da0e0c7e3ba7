//! One thread that owns sockets, their sessions, and the hub between them.
//!
//! A turn: wait, take what arrived (from clients, from the inbox, from timers),
//! let the sessions answer, then write once per socket. Nothing in here is
//! shared, so nothing is locked; a client that does not read holds up nobody.

pub mod inbox;
mod timers;
mod stream;
mod encrypted;
mod conn;
mod arrivals;
mod effects;
mod endings;
mod parting;
mod held;
mod out;
mod writing;
mod traced;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::Timestamp;
use broker::link::{Want, Wants};
use broker::topic::Topic;
use broker::trace::Tracing;
use mio::{Events, Poll, Token, Waker};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use slab::Slab;

use self::conn::{Conn, State};
use self::endings::Drain;
pub use self::held::Held;
use self::held::{Holding, WEIGH_INTERVAL};
use self::inbox::{Inbox, Listening};
use self::out::{Fate, Fates, Turn};
use self::parting::Parting;
use self::timers::Timers;
use self::traced::Fanout;
use crate::dialect::{Mark, Protocol};
use crate::errands::{Asked, Errands};
use crate::hub::{Hub, SessionKey};
use crate::metrics::ShardMetrics;
use crate::session::{Now, SessionLimits};

/// The token of the waker; sockets have their slot.
const WAKE: Token = Token(usize::MAX);
/// Bytes read at once from a socket; one buffer serves all of a shard's.
const READ: usize = 64 << 10;
/// Steps in which many sockets are closed.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// What holds for every socket of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardSettings {
    /// What a client may do, by its protocol.
    pub session: [SessionLimits; Protocol::EVERY.len()],
    /// The longest message a client may send, in bytes.
    pub max_frame: usize,
    /// Bytes kept for a client that does not take them; beyond, it is closed.
    pub max_queue: usize,
    /// Over this time sockets are closed in a drain; also, at most, those that missed
    /// something,
    pub drain_window: Duration,
    /// of which so many are closed in a second.
    pub missed_rate: f64,
    /// A socket is closed between half of this and all of it; zero means never.
    pub max_age: Duration,
}

impl ShardSettings {
    /// What a client of this protocol may do.
    pub fn limits(&self, protocol: Protocol) -> SessionLimits {
        self.session[protocol as usize]
    }
}

/// A shard that has no thread yet: all that its thread needs, and nothing that
/// may not leave it.
pub struct Berth {
    number: usize,
    poll: Poll,
    inbox: Arc<Inbox>,
    settings: ShardSettings,
    held: Held,
    wants: Wants,
    errands: Errands,
    tracing: Tracing,
    metrics: ShardMetrics,
}

/// One thread's sockets, sessions and topics.
struct Shard {
    /// Its number among the listeners of the link.
    number: usize,
    poll: Poll,
    inbox: Arc<Inbox>,
    settings: ShardSettings,
    /// Boxed, as a slab that grows has room for up to twice as many.
    conns: Slab<Box<Conn>>,
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
    /// What was written in this turn, by protocol.
    written: [Fates; Protocol::EVERY.len()],
    buffer: Box<[u8]>,
    scratch: Vec<u8>,
    wants: Wants,
    wishes: Vec<Want>,
    errands: Errands,
    asked: Vec<Asked>,
    marks: Vec<Mark>,
    /// When the events of this turn were published.
    published: Vec<Timestamp>,
    tracing: Tracing,
    /// Events of this turn that are recorded.
    fanouts: Vec<Fanout>,
    /// The sessions that an event may concern, while it is handed out.
    concerned: Vec<SessionKey>,
    /// A session has ended: its client may already be on its way to another
    /// node, which must not find pending what it has got.
    hurry: bool,
    parting: Parting,
    drain: Option<Drain>,
    /// Nobody will come any more.
    last_has_come: bool,
    /// Its share of the topics that are counted for the whole node.
    topics: i64,
    /// The same of their listeners.
    subscriptions: i64,
    /// Spreads what would otherwise happen to many sockets at once.
    random: SmallRng,
    /// What its sockets hold.
    holding: Holding,
    metrics: ShardMetrics,
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
        held: Held,
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
            held,
            wants,
            errands,
            tracing: Tracing::default(),
            metrics,
        })
    }

    /// The same, recording what becomes of events that belong to a trace.
    #[must_use]
    pub fn traced(mut self, tracing: Tracing) -> Self {
        self.tracing = tracing;
        self
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
        let random = SmallRng::from_rng(&mut rand::rng());
        Shard::new(self, random, Instant::now()).run()
    }
}

impl Shard {
    fn new(berth: Berth, random: SmallRng, now: Instant) -> Self {
        let Berth {
            number,
            poll,
            inbox,
            settings,
            held,
            wants,
            errands,
            tracing,
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
            timers: Timers::new(now),
            turn: Turn::default(),
            dirty: Vec::new(),
            unread: Vec::new(),
            fates: Vec::new(),
            written: Default::default(),
            buffer: vec![0; READ].into(),
            scratch: Vec::new(),
            wants,
            wishes: Vec::new(),
            errands,
            asked: Vec::new(),
            marks: Vec::new(),
            published: Vec::new(),
            tracing,
            fanouts: Vec::new(),
            concerned: Vec::new(),
            hurry: false,
            parting: Parting::new(settings.missed_rate, settings.drain_window, now),
            drain: None,
            last_has_come: false,
            topics: 0,
            subscriptions: 0,
            random,
            holding: Holding::new(held),
            metrics,
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut began = Instant::now();
        while !(self.last_has_come && self.conns.is_empty()) {
            let ended = Instant::now();
            self.inbox.works(ended.saturating_duration_since(began));
            let wait = self.wait(ended);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = now();
            began = now.steady;
            self.begin_turn(now);
            for event in &events {
                match event.token() {
                    WAKE => self.open_mail(now),
                    Token(slot) => self.socket(slot, event.into(), now),
                }
            }
            self.end_turn(now);
        }
        Ok(())
    }

    fn begin_turn(&mut self, now: Now) {
        for slot in std::mem::take(&mut self.unread) {
            self.readable(slot, true, now);
        }
    }

    fn end_turn(&mut self, now: Now) {
        self.keep_time(now);
        self.finish_turn(now);
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let step = self.drain.as_ref().map(|_| DRAIN_STEP);
        let weigh = self.holding.is_too_much().then_some(WEIGH_INTERVAL);
        let timer = self.timers.wait(now);
        let parting = self.parting.wait(now);
        let all = timer.into_iter().chain(step).chain(weigh).chain(parting);
        all.min()
    }

    fn key(&self, slot: usize) -> SessionKey {
        SessionKey {
            slot: slot as u32,
            turn: self.conns[slot].turn,
        }
    }

    fn conn(&mut self, key: SessionKey) -> Option<&mut Conn> {
        self.conns
            .get_mut(key.slot as usize)
            .map(Box::as_mut)
            .filter(|conn| conn.turn == key.turn)
    }

    fn open_conn(&mut self, key: SessionKey) -> Option<&mut Conn> {
        self.conn(key).filter(|conn| conn.state == State::Open)
    }

    fn listening(&self, topic: &Topic) -> Listening {
        let listeners = self.hub.listeners(topic);
        let opened = listeners.map(|key| Some(self.conns.get(key.slot as usize)?.opened_at));
        opened.fold(Listening::default(), |all, opened| Listening {
            sockets: all.sockets + 1,
            since: all.since.into_iter().chain(opened).min(),
        })
    }
}

fn now() -> Now {
    Now {
        wall: Timestamp::now(),
        steady: Instant::now(),
    }
}

#[cfg(test)]
mod simulation;
