//! One supervised subscription connection to Redis.
//!
//! A link proves that it is alive, reconnects with jitter, resubscribes in
//! chunks from what is wanted, and tells each listener of a topic when it is
//! subscribed and when events may have been missed. It never drops an event it
//! has read: a listener without room makes it stop reading. Only one that takes
//! nothing for long is given up, so that it does not hold up the others for ever.

mod cause;
mod metrics;
mod probe;
pub mod resp;
mod wanted;

use std::borrow::Borrow;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt;
use redis::ConnectionAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use self::cause::Cause;
pub use self::metrics::LinkMetrics;
use self::probe::{Beat, Probe};
use self::resp::{Push, Reader, command};
use self::wanted::{Listeners, Wanted};
use crate::bus::Bus;
use crate::event::{BadEvent, Event};
use crate::keys::Keys;
use crate::topic::{Topic, TopicKind};
use crate::topology::Redis;

/// Topics asked for per command when resubscribing: large enough that 100,000
/// topics take a fraction of a second, small enough not to hold Redis up.
const CHUNK: usize = 512;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pauses between attempts grow from the first to the second, with full jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// What listeners may have on their hands before the link stops reading: bytes
/// of events, each counted with [`ARRIVAL_COST`].
const ROOM: u32 = 32 << 20;
/// What an arrival costs beside its payload.
const ARRIVAL_COST: usize = 64;
/// How long a listener without room may hold up the others. A busy one makes
/// some at each of its turns, which take milliseconds; this one has hung.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a link brings to one listener.
#[derive(Debug)]
pub enum Arrival {
    /// Redis confirmed the topic: from now on nothing published on it is missed.
    Subscribed(Topic),
    /// The topic is subscribed again; events between may have been missed.
    Resumed(Topic),
    /// Something happened on a topic.
    Event(Topic, Arc<Event>),
}

/// Arrivals on their way to a listener. Dropping it makes room for more.
#[derive(Debug)]
pub struct Batch {
    /// What arrived, in order.
    pub arrivals: Vec<Arrival>,
    _room: OwnedSemaphorePermit,
}

/// Where a link leaves what it has for one listener.
pub trait Outlet: Send + Sync {
    /// Takes a batch. Must not block.
    fn leave(&self, batch: Batch);

    /// The listener made no room for ten seconds: nothing more is left for it.
    fn given_up(&self);
}

/// A frame on one of the channels that are no topics.
#[derive(Debug)]
pub struct Aside {
    /// The channel's name in Redis.
    pub channel: Box<str>,
    /// What was published.
    pub payload: Vec<u8>,
}

/// A listener's wish, in the order in which it came up.
#[derive(Debug)]
pub enum Want {
    /// The listener (by number) wants the topic.
    Subscribe(usize, Topic),
    /// The listener no longer wants the topic.
    Unsubscribe(usize, Topic),
}

/// Takes listeners' wishes to the link. Not bounded itself: a listener has at
/// most one wish per topic and session under way.
#[derive(Clone, Debug, Default)]
pub struct Wants(Arc<(Mutex<Vec<Want>>, Notify)>);

impl Wants {
    /// Hands wishes over, leaving `wishes` empty.
    pub fn send(&self, wishes: &mut Vec<Want>) {
        self.0
            .0
            .lock()
            .expect("no one panics while wishing")
            .append(wishes);
        self.0.1.notify_one();
    }

    fn take(&self) -> Vec<Want> {
        std::mem::take(&mut self.0.0.lock().expect("no one panics while wishing"))
    }
}

/// How a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Connected, everything wanted is subscribed, heard of lately.
    Up,
    /// Not so, and why.
    Down(&'static str),
}

/// One supervised subscription connection; made by [`Link::new`], lives in [`Link::run`].
pub struct Link {
    redis: Redis,
    bus: Bus,
    node: Box<str>,
    probe_interval: Duration,
    channel_prefix: Box<str>,
    probe_channel: Box<str>,
    /// Channels beside the topics, always subscribed.
    aside_channels: Vec<String>,
    wants: Wants,
    wanted: Wanted,
    /// None in the place of a listener that was given up.
    outlets: Vec<Option<Roomed>>,
    patience: Duration,
    asides: mpsc::Sender<Aside>,
    state: watch::Sender<LinkState>,
    metrics: LinkMetrics,
    /// What is collected for each listener from one read.
    collected: Vec<Collected>,
}

/// An outlet, and the room that its listener has left.
type Roomed = (Box<dyn Outlet>, Arc<Semaphore>);

#[derive(Default)]
struct Collected {
    arrivals: Vec<Arrival>,
    cost: usize,
}

impl Link {
    /// A link for the node called `node`. `outlets` are its listeners, at most
    /// 64, numbered by their place; `asides` gets what comes on `aside_channels`
    /// (and loses it while full). A silent connection is noticed within two of
    /// `probe_interval`.
    #[expect(clippy::too_many_arguments, reason = "what a link is made of, once")]
    pub fn new(
        redis: &Redis,
        keys: &Keys,
        node: &str,
        probe_interval: Duration,
        outlets: Vec<Box<dyn Outlet>>,
        aside_channels: Vec<String>,
        asides: mpsc::Sender<Aside>,
        metrics: LinkMetrics,
    ) -> Self {
        assert!(outlets.len() <= 64, "a set of listeners has 64 bits");
        let collected = outlets.iter().map(|_| Collected::default()).collect();
        let room = || Arc::new(Semaphore::new(ROOM as usize));
        Self {
            redis: redis.clone(),
            bus: Bus::new(redis.clone(), keys.clone()),
            node: node.into(),
            probe_interval,
            channel_prefix: keys.channel_prefix().into(),
            probe_channel: keys.probe_channel(node).into(),
            aside_channels,
            wants: Wants::default(),
            wanted: Wanted::default(),
            outlets: outlets
                .into_iter()
                .map(|outlet| Some((outlet, room())))
                .collect(),
            patience: PATIENCE,
            asides,
            state: watch::Sender::new(LinkState::Down("starting")),
            metrics,
            collected,
        }
    }

    /// The same, with `wants` as the place where listeners leave their wishes.
    #[must_use]
    pub fn with_wants(mut self, wants: Wants) -> Self {
        self.wants = wants;
        self
    }

    /// How the link is, now and later.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Connects, and connects again, until `stop` resolves.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.reconnect_for_ever() => {}
        }
    }

    async fn reconnect_for_ever(&mut self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let cause = match self.connection().await {
                Ok(never) => match never {},
                Err(cause) => cause,
            };
            self.state.send_replace(LinkState::Down(cause.reason()));
            self.metrics.up.set(0);
            self.metrics
                .epochs
                .with_label_values(&[cause.label()])
                .inc();
            failures = if began.elapsed() < BACKOFF.1 * 5 {
                failures + 1
            } else {
                0
            };
            let longest = BACKOFF
                .1
                .min(BACKOFF.0 * 2u32.saturating_pow(failures.min(8)));
            let pause = rand::rng().random_range(Duration::ZERO..longest);
            warn!(%cause, topics = self.wanted.len(), ?pause, "link to redis lost; connecting again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from its first byte to its last.
    async fn connection(&mut self) -> Result<std::convert::Infallible, Cause> {
        self.wanted.lost();
        // Also while no connection can be made: wishes must not pile up.
        self.apply_wants();
        let stream = self.connect().await?;
        let (mut incoming, mut outgoing) = stream.into_split();
        let mut out = self.greeting();
        let mut reader = Reader::default();
        let mut ticks = tokio::time::interval(self.probe_interval / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probe = Probe::new(Instant::now());
        let wants = self.wants.clone();
        loop {
            if out.is_empty() {
                self.ask_for_more(&mut out);
            }
            tokio::select! {
                read = incoming.read_buf(reader.space()) => {
                    let read = read?;
                    if read == 0 {
                        return Err(Cause::Closed);
                    }
                    self.metrics.bytes.inc_by(read as u64);
                    while let Some(push) = reader.next()? {
                        self.take(&push, &mut probe)?;
                    }
                    self.hand_over().await;
                    // Nothing is read while listeners have no room; that is not Redis' silence.
                    probe.heard_at = Instant::now();
                    self.note_state();
                }
                written = outgoing.write(&out), if !out.is_empty() => {
                    out.drain(..written?);
                }
                () = wants.0.1.notified() => {
                    self.apply_wants();
                    self.hand_over().await;
                }
                now = ticks.tick() => {
                    let now = now.into_std();
                    match probe.tick(now, self.probe_interval) {
                        Beat::Wait => {}
                        Beat::Probe(nonce) => {
                            let (bus, node) = (self.bus.clone(), self.node.clone());
                            probe.sending = Some(Box::pin(async move { bus.probe(&node, nonce).await }));
                        }
                        Beat::GiveUp => return Err(Cause::Silent),
                    }
                    self.drop_abandoned(&mut out, now);
                }
                sent = probe.sent() => {
                    if let Err(error) = sent {
                        debug!(%error, "a probe could not be sent");
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Cause> {
        let info = self.redis.connection_info();
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(Cause::Connect(io::ErrorKind::Unsupported.into()));
        };
        // Names are looked up anew at each attempt: a failover may have moved them.
        let connecting = TcpStream::connect((host.as_str(), *port));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| Cause::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(Cause::Connect)?;
        stream.set_nodelay(true).map_err(Cause::Connect)?;
        Ok(stream)
    }

    /// Who we are, and the channels that do not depend on listeners.
    fn greeting(&self) -> Vec<u8> {
        let info = self.redis.connection_info();
        let settings = info.redis_settings();
        let mut out = Vec::new();
        if let Some(password) = settings.password() {
            let user = settings.username().unwrap_or("default");
            command(
                &mut out,
                ["AUTH", user, password].map(str::as_bytes).into_iter(),
            );
        }
        let mut words = vec![b"SUBSCRIBE".as_slice(), self.probe_channel.as_bytes()];
        words.extend(self.aside_channels.iter().map(String::as_bytes));
        command(&mut out, words.into_iter());
        out
    }

    fn ask_for_more(&mut self, out: &mut Vec<u8>) {
        let chunk = self.wanted.next_chunk(CHUNK);
        if !chunk.is_empty() {
            self.write_topics(out, b"SUBSCRIBE", &chunk);
        }
    }

    fn drop_abandoned(&mut self, out: &mut Vec<u8>, now: Instant) {
        let abandoned = self.wanted.abandoned(now);
        for chunk in abandoned.chunks(CHUNK) {
            self.write_topics(out, b"UNSUBSCRIBE", chunk);
        }
        self.metrics
            .topics
            .set(i64::try_from(self.wanted.len()).unwrap_or(i64::MAX));
    }

    fn write_topics(&self, out: &mut Vec<u8>, verb: &[u8], topics: &[Topic]) {
        let name = |topic| format!("{}{topic}", self.channel_prefix);
        let channels: Vec<String> = topics.iter().map(name).collect();
        let mut words = vec![verb];
        words.extend(channels.iter().map(String::as_bytes));
        command(out, words.into_iter());
    }

    fn apply_wants(&mut self) {
        let now = Instant::now();
        for want in self.wants.take() {
            match want {
                Want::Subscribe(listener, topic) => {
                    if self.wanted.want(topic.clone(), listener) {
                        self.collect(1 << listener, 0, || Arrival::Subscribed(topic.clone()));
                    }
                }
                Want::Unsubscribe(listener, topic) => self.wanted.leave(&topic, listener, now),
            }
        }
    }

    /// Sorts one thing that Redis said to those whom it concerns.
    fn take(&mut self, push: &Push<'_>, probe: &mut Probe) -> Result<(), Cause> {
        match push {
            Push::Message { channel, payload } => self.message(channel, payload, probe),
            Push::Subscribed(channel) => {
                if let Some(topic) = self.topic_name(channel)
                    && let Some(confirmed) = self.wanted.confirmed(topic)
                {
                    let topic = confirmed.topic;
                    self.metrics.resumed.inc_by(u64::from(confirmed.again != 0));
                    self.collect(confirmed.first, 0, || Arrival::Subscribed(topic.clone()));
                    self.collect(confirmed.again, 0, || Arrival::Resumed(topic.clone()));
                }
            }
            Push::Unsubscribed(_) | Push::Done => {}
            Push::Refused(why) => {
                return Err(Cause::Refused(String::from_utf8_lossy(why).into_owned()));
            }
        }
        Ok(())
    }

    fn message(&mut self, channel: &[u8], payload: &[u8], probe: &mut Probe) {
        if let Some(name) = self.topic_name(channel) {
            self.metrics.messages.with_label_values(&["topic"]).inc();
            let Some((topic, listeners)) = self.wanted.listeners(name) else {
                return;
            };
            if listeners == 0 {
                return;
            }
            let topic = topic.clone();
            match Event::parse(payload) {
                Ok(event) if event.entry.is_none() && scripts_only(&topic) => self.reject("forged"),
                Ok(event) => {
                    let event = Arc::new(event);
                    self.collect(listeners, payload.len(), || {
                        Arrival::Event(topic.clone(), Arc::clone(&event))
                    });
                }
                Err(BadEvent::Version) => self.reject("version"),
                Err(BadEvent::Json | BadEvent::Entry) => self.reject("json"),
            }
        } else if channel == self.probe_channel.as_bytes() {
            self.metrics.messages.with_label_values(&["probe"]).inc();
            if let Some(took) = probe.answered(payload, Instant::now()) {
                self.metrics.probe_seconds.observe(took.as_secs_f64());
            }
        } else {
            self.metrics.messages.with_label_values(&["control"]).inc();
            let channel = String::from_utf8_lossy(channel).into();
            if self
                .asides
                .try_send(Aside {
                    channel,
                    payload: payload.to_vec(),
                })
                .is_err()
            {
                self.reject("overflow");
            }
        }
    }

    fn reject(&self, why: &str) {
        self.metrics.rejected.with_label_values(&[why]).inc();
    }

    fn topic_name<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(channel.strip_prefix(self.channel_prefix.as_bytes())?).ok()
    }

    fn collect(&mut self, mut listeners: Listeners, size: usize, arrival: impl Fn() -> Arrival) {
        while listeners != 0 {
            let listener = listeners.trailing_zeros() as usize;
            listeners &= listeners - 1;
            if let Some(collected) = self.collected.get_mut(listener) {
                collected.arrivals.push(arrival());
                collected.cost += size + ARRIVAL_COST;
            }
        }
    }

    /// Hands each listener what was collected for it, waiting for room.
    async fn hand_over(&mut self) {
        for (collected, place) in self.collected.iter_mut().zip(&mut self.outlets) {
            if collected.arrivals.is_empty() {
                continue;
            }
            let Collected { arrivals, cost } = std::mem::take(collected);
            let Some((outlet, room)) = place else {
                continue;
            };
            let cost = u32::try_from(cost).unwrap_or(ROOM).min(ROOM);
            let room = Arc::clone(room).acquire_many_owned(cost);
            if let Ok(room) = tokio::time::timeout(self.patience, room).await {
                outlet.leave(Batch {
                    arrivals,
                    _room: room.expect("the semaphore is never closed"),
                });
            } else {
                outlet.given_up();
                *place = None;
            }
        }
    }

    /// Says so when all that is wanted has been subscribed on this connection.
    fn note_state(&self) {
        if self.wanted.settled() && *self.state.borrow() != LinkState::Up {
            info!(topics = self.wanted.len(), "link to redis up");
            self.metrics.up.set(1);
            self.state.send_replace(LinkState::Up);
        }
    }
}

/// Whether only events published by our own scripts count on the topic.
fn scripts_only(topic: &Topic) -> bool {
    matches!(topic.kind(), TopicKind::Recipient | TopicKind::All)
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests;
