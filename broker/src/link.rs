//! One supervised subscription connection to Redis.
//!
//! A link proves that it is alive, reconnects with jitter, resubscribes in
//! chunks from what is wanted, and tells each listener of a topic when it is
//! subscribed and when events may have been missed. It never drops an event it
//! has read: a listener without room makes it stop reading. Only one that takes
//! nothing for long is given up, so that it does not hold up the others for ever.

pub(crate) mod cause;
pub(crate) mod connect;
mod metrics;
pub(crate) mod outlets;
pub(crate) mod probe;
pub mod resp;
pub(crate) mod wanted;
pub(crate) mod wants;

use std::borrow::Borrow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::ConnectionInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use self::cause::Cause;
use self::connect::{Backoff, connect, sign_in};
pub use self::metrics::LinkMetrics;
use self::outlets::Outlets;
pub use self::outlets::{Arrival, Batch, Outlet};
use self::probe::{Beat, Probe};
use self::resp::{Push, Reader, command};
use self::wanted::Wanted;
pub use self::wants::{Taken, Want, Wants};
use crate::bus::Bus;
use crate::event::{BadEvent, Event};
use crate::keys::Keys;
use crate::topic::{Topic, TopicKind};
use crate::topology::Redis;

/// Topics asked for per command when resubscribing: large enough that 100,000
/// topics take a fraction of a second, small enough not to hold Redis up.
const CHUNK: usize = 512;
/// A frame on one of the channels that are no topics.
#[derive(Debug)]
pub struct Aside {
    /// The channel's name in Redis.
    pub channel: Box<str>,
    /// What was published.
    pub payload: Vec<u8>,
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
            warn!(%cause, topics = self.wanted.len(), ?pause, "link to redis lost; connecting again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from its first byte to its last.
    async fn connection(&mut self) -> Result<std::convert::Infallible, Cause> {
        self.wanted.lost();
        // Also while no connection can be made: wishes must not pile up.
        self.apply_wants();
        let info = self.redis.connection_info();
        let stream = connect(&info).await?;
        let (mut incoming, mut outgoing) = stream.into_split();
        let mut out = self.greeting(&info);
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
                    self.outlets.hand_over().await;
                    // Nothing is read while listeners have no room; that is not Redis' silence.
                    probe.heard_at = Instant::now();
                    self.note_state();
                }
                written = outgoing.write(&out), if !out.is_empty() => {
                    out.drain(..written?);
                }
                () = wants.changed() => {
                    self.apply_wants();
                    self.outlets.hand_over().await;
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

    /// Who we are, and the channels that do not depend on listeners.
    fn greeting(&self, info: &ConnectionInfo) -> Vec<u8> {
        let mut out = Vec::new();
        sign_in(&mut out, info);
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
                        self.outlets
                            .collect(1 << listener, 0, || Arrival::Subscribed(topic.clone()));
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
            Push::TooLong(_) => self.reject("size"),
            Push::Subscribed(channel) => {
                if let Some(topic) = self.topic_name(channel)
                    && let Some(confirmed) = self.wanted.confirmed(topic)
                {
                    let topic = confirmed.topic;
                    self.metrics.resumed.inc_by(u64::from(confirmed.again != 0));
                    self.outlets
                        .collect(confirmed.first, 0, || Arrival::Subscribed(topic.clone()));
                    self.outlets
                        .collect(confirmed.again, 0, || Arrival::Resumed(topic.clone()));
                }
            }
            Push::Unsubscribed(_) | Push::Done => {}
            Push::Refused(why) => {
                return Err(Cause::refused(why));
            }
        }
        Ok(())
    }

    fn message(&mut self, channel: &[u8], payload: &[u8], probe: &mut Probe) {
        if let Some(name) = self.topic_name(channel) {
            self.metrics.events.inc();
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
                    self.outlets.collect(listeners, payload.len(), || {
                        Arrival::Event(topic.clone(), Arc::clone(&event))
                    });
                }
                Err(BadEvent::Version) => self.reject("version"),
                Err(BadEvent::Json | BadEvent::Entry) => self.reject("json"),
            }
        } else if channel == self.probe_channel.as_bytes() {
            self.metrics.probes.inc();
            if let Some(took) = probe.answered(payload, Instant::now()) {
                self.metrics.probe_seconds.observe(took.as_secs_f64());
            }
        } else {
            self.metrics.controls.inc();
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
