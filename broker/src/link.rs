//! One supervised subscription connection to Redis.
//!
//! A link proves that it is alive, reconnects with jitter, resubscribes in
//! chunks from what is wanted, and tells each listener of a topic when it is
//! subscribed and when events may have been missed. It never drops an event it
//! has read: a listener without room makes it stop reading. Only one that takes
//! nothing for long is given up, so that it does not hold up the others for ever.

pub(crate) mod cause;
pub(crate) mod connect;
pub mod course;
pub(crate) mod gathered;
mod metrics;
pub(crate) mod outlets;
pub(crate) mod probe;
pub mod resp;
pub(crate) mod wanted;
pub(crate) mod wants;

use std::borrow::Borrow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

pub use self::cause::Cause;
use self::connect::{Backoff, send, sign_in};
pub use self::course::Aside;
use self::course::{CHUNK, Course, Due, Published};
pub use self::gathered::Gathered;
pub use self::metrics::LinkMetrics;
use self::outlets::Outlets;
pub use self::outlets::{Arrival, Batch, Outlet};
use self::resp::{Push, Reader, command};
pub use self::wants::{Taken, Want, Wants};
use crate::bus::Bus;
use crate::error::Error;
use crate::keys::Keys;
use crate::replay::{Page, Read};
use crate::ring::Rings;
use crate::topic::Topic;
use crate::topology::{Address, Login, Redis};

/// A probe that is being published.
type Sending = Pin<Box<dyn Future<Output = (u64, Result<Vec<Published>, Error>)> + Send>>;
/// A ring that is being read.
type Reading = Pin<Box<dyn Future<Output = (Read, Result<Page, Error>)> + Send>>;

/// Up to when, by Redis' clock, all that was published on topics that are listened
/// to has been handed to the listeners. Cheap to clone; all clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<AtomicU64>);

impl Known {
    /// In Unix milliseconds; 0 if nothing is known.
    pub fn until(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// All that was published before this time, in Unix milliseconds by Redis'
    /// clock, has been told.
    pub fn reach(&self, until: u64) {
        self.0.fetch_max(until, Ordering::AcqRel);
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
    /// Where the last connection led to.
    last: Option<Address>,
    bus: Bus,
    rings: Rings,
    node: Box<str>,
    probe_interval: Duration,
    /// Channels beside the topics, always subscribed.
    aside_channels: Vec<String>,
    wants: Wants,
    known: Known,
    course: Course,
    outlets: Outlets,
    asides: mpsc::Sender<Aside>,
    state: watch::Sender<LinkState>,
    metrics: LinkMetrics,
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
        let (listeners, now) = (outlets.len(), Instant::now());
        Self {
            redis: redis.clone(),
            last: None,
            bus: Bus::new(redis.clone(), keys.clone()),
            rings: Rings::new(redis.clone(), keys.clone()),
            node: node.into(),
            probe_interval,
            aside_channels,
            wants: Wants::default(),
            known: Known::default(),
            course: Course::new(keys, node, probe_interval, listeners, metrics.clone(), now),
            outlets: Outlets::new(outlets),
            asides,
            state: watch::Sender::new(LinkState::Down("starting")),
            metrics,
        }
    }

    /// The same, with `wants` as the place where listeners leave their wishes.
    #[must_use]
    pub fn with_wants(mut self, wants: Wants) -> Self {
        self.wants = wants;
        self
    }

    /// The same, saying in `known` how much its listeners have been told.
    #[must_use]
    pub fn with_known(mut self, known: Known) -> Self {
        self.known = known;
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
        let mut backoff = Backoff::default();
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
            let pause = backoff.pause(began.elapsed());
            warn!(%cause, topics = self.course.topics(), ?pause, "link to redis lost; connecting again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from its first byte to its last.
    async fn connection(&mut self) -> Result<std::convert::Infallible, Cause> {
        self.course.lost();
        // Also while no connection can be made: wishes must not pile up.
        self.apply_wants();
        if !self.course.has_begun() {
            let time = self.redis.time().await.map_err(Cause::unknown_time)?;
            let millis = u64::try_from(time.millis()).unwrap_or(0);
            self.course.begin(millis, Instant::now());
        }
        let server = self.redis.server(self.last.as_ref()).await;
        let server = server.map_err(Cause::Connect)?;
        self.last = Some(server.address.clone());
        let stream = server.dial().await.map_err(Cause::Connect)?;
        let (mut incoming, mut outgoing) = tokio::io::split(stream);
        let mut out = self.greeting(&server.access.login.get());
        let mut unsent = true;
        let mut reader = Reader::default();
        let mut ticks = tokio::time::interval(self.probe_interval / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.course.connected(Instant::now());
        let mut sending = None;
        let mut readings = FuturesUnordered::<Reading>::new();
        let wants = self.wants.clone();
        loop {
            if out.is_empty() {
                let more = self.course.ask_for_more(Instant::now());
                self.write_topics(&mut out, b"SUBSCRIBE", &more);
            }
            while let Some(read) = self.course.next_read(Instant::now()) {
                readings.push(self.start_reading(read));
            }
            tokio::select! {
                read = incoming.read_buf(reader.space()) => {
                    let read = read?;
                    if read == 0 {
                        return Err(Cause::Closed);
                    }
                    self.metrics.bytes.inc_by(read as u64);
                    let now = Instant::now();
                    while let Some(push) = reader.next()? {
                        self.take(&push, now)?;
                    }
                    self.outlets.hand_over(self.course.gathered()).await;
                    self.course.heard(Instant::now());
                    self.note_state();
                    if let Some(until) = self.course.known_until() {
                        self.known.reach(until);
                    }
                }
                sent = send(&mut outgoing, &out), if unsent || !out.is_empty() => {
                    unsent = !out.is_empty();
                    out.drain(..sent?);
                }
                () = wants.changed() => {
                    self.apply_wants();
                    self.outlets.hand_over(self.course.gathered()).await;
                }
                now = ticks.tick() => {
                    let Due { probe, abandoned } = self.course.tick(now.into_std())?;
                    if let Some(nonce) = probe {
                        sending = Some(self.send_probe(nonce));
                    }
                    self.write_topics(&mut out, b"UNSUBSCRIBE", &abandoned);
                }
                (nonce, published) = sent(&mut sending) => {
                    sending = None;
                    let published = published.unwrap_or_else(|error| {
                        debug!(%error, "a probe could not be sent");
                        Vec::new()
                    });
                    self.course.published(nonce, published, Instant::now());
                }
                Some((read, page)) = readings.next() => {
                    let page = page.inspect_err(|error| debug!(%error, "a ring cannot be read"));
                    self.course.read(&read, page.as_ref().ok(), Instant::now());
                    self.outlets.hand_over(self.course.gathered()).await;
                }
            }
        }
    }

    /// Who we are, and the channels that do not depend on listeners.
    fn greeting(&self, login: &Login) -> Vec<u8> {
        let mut out = Vec::new();
        sign_in(&mut out, login);
        if self.redis.is_cluster() {
            let ask = [b"CLUSTER".as_slice(), b"MYID"];
            command(&mut out, ask.into_iter());
        }
        let probe_channel = self.course.probe_channel().as_bytes();
        let mut words = vec![b"SUBSCRIBE".as_slice(), probe_channel];
        words.extend(self.aside_channels.iter().map(String::as_bytes));
        command(&mut out, words.into_iter());
        out
    }

    fn send_probe(&self, nonce: u64) -> Sending {
        let (bus, node) = (self.bus.clone(), self.node.clone());
        let home: Box<str> = self.course.home().into();
        Box::pin(async move { (nonce, bus.probe(&node, nonce, &home).await) })
    }

    fn start_reading(&self, read: Read) -> Reading {
        let rings = self.rings.clone();
        Box::pin(async move {
            let page = rings.read(&read).await;
            (read, page)
        })
    }

    fn write_topics(&self, out: &mut Vec<u8>, verb: &[u8], topics: &[Topic]) {
        for chunk in topics.chunks(CHUNK) {
            let channels: Vec<_> = chunk.iter().map(|t| self.course.channel(t)).collect();
            let mut words = vec![verb];
            words.extend(channels.iter().map(String::as_bytes));
            command(out, words.into_iter());
        }
    }

    fn apply_wants(&mut self) {
        self.course.want(self.wants.take(), Instant::now());
    }

    fn take(&mut self, push: &Push<'_>, now: Instant) -> Result<(), Cause> {
        if let Some(aside) = self.course.take(push, now)?
            && self.asides.try_send(aside).is_err()
        {
            self.metrics.rejected.with_label_values(&["overflow"]).inc();
        }
        Ok(())
    }

    /// Says so when all that is wanted has been subscribed on this connection.
    fn note_state(&self) {
        if self.course.settled() && *self.state.borrow() != LinkState::Up {
            info!(topics = self.course.topics(), "link to redis up");
            self.metrics.up.set(1);
            self.state.send_replace(LinkState::Up);
        }
    }
}

/// Resolves when the probe under way has been published; never if there is none.
async fn sent(sending: &mut Option<Sending>) -> (u64, Result<Vec<Published>, Error>) {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests;
