//! What a Misskey publishes, brought to those who listen here.
//!
//! One supervised subscription per host: it proves that it is alive, connects
//! again with jitter, and says so to everybody who may have missed something. It
//! parses what somebody here wants, and nothing else. Whatever comes on a host's
//! channel concerns topics of the host's own tenant alone.

mod metrics;
mod silence;
mod talk;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

pub use self::metrics::FeedMetrics;
use self::metrics::OfHost;
use self::silence::{Beat, Silence};
use self::talk::Talk;
pub use self::talk::Told;
use super::hosts::Host;
use super::internal::Internal;
use super::wire::{self, INTERNAL, MAX_MESSAGE};
use crate::annotation;
use crate::error::Error;
use crate::link::cause::Cause;
use crate::link::connect::{Backoff, send, sign_in};
use crate::link::gathered::Gathered;
use crate::link::outlets::Outlets;
use crate::link::resp::{Push, Reader, command};
use crate::link::wanted::Listeners;
use crate::link::{Arrival, LinkState, Outlet, Taken, Want, Wants};
use crate::topic::{Tenant, Topic, TopicKind};
use crate::topology::{Address, Redis};

/// Room kept for topics, however few are wanted.
const SPARE: usize = 1024;

/// One supervised subscription to a host's bus; made by [`Feed::new`], lives in
/// [`Feed::run`].
pub struct Feed {
    host: Arc<Host>,
    bus: Arc<str>,
    redis: Redis,
    /// Where the last connection led to.
    last: Option<Address>,
    probe_interval: Duration,
    wants: Taken,
    /// Who listens to which of the host's topics.
    wanted: HashMap<Topic, Listeners>,
    gathered: Gathered,
    outlets: Outlets,
    talk: Talk,
    state: watch::Sender<LinkState>,
    metrics: OfHost,
    /// Where names of topics are written, one after the other.
    name: String,
}

impl Feed {
    /// A feed of this host for the listeners that `outlets` lead to, at most 64,
    /// numbered by their place, whose wishes go through `wants`. What the host's
    /// processes tell each other is told through `told`. A silent connection is
    /// noticed within two of `probe_interval`. `None` if the host has no bus.
    ///
    /// # Errors
    /// If the Redis of the bus cannot be one.
    pub fn new(
        host: &Arc<Host>,
        ours: &Redis,
        wants: &Wants,
        probe_interval: Duration,
        outlets: Vec<Box<dyn Outlet>>,
        told: mpsc::Sender<Told>,
        metrics: &FeedMetrics,
    ) -> Result<Option<Self>, Error> {
        let Some(bus) = &host.bus else {
            return Ok(None);
        };
        let redis = match &host.bus_redis {
            Some(settings) => ours.beside(settings)?,
            None => ours.clone(),
        };
        let metrics = metrics.of_host(&host.name);
        let streams = Streams::of(&host.tenant);
        Ok(Some(Self {
            host: Arc::clone(host),
            bus: Arc::clone(bus),
            redis,
            last: None,
            probe_interval,
            wants: wants.listen(move |topic| streams.have(topic)),
            wanted: HashMap::new(),
            gathered: Gathered::new(outlets.len()),
            outlets: Outlets::new(outlets),
            talk: Talk::new(host, told, metrics.clone()),
            state: watch::Sender::new(LinkState::Down("starting")),
            metrics,
            name: String::new(),
        }))
    }

    /// Whose feed it is.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// How the subscription is, now and later.
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
            self.metrics.lost(&cause);
            let pause = backoff.pause(began.elapsed());
            let host = &*self.host.name;
            warn!(%cause, host, ?pause, "bus of a misskey host lost; connecting again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from its first byte to its last.
    async fn connection(&mut self) -> Result<std::convert::Infallible, Cause> {
        // Also while no connection can be made: wishes must not pile up.
        self.apply_wants();
        let server = self.redis.server(self.last.as_ref()).await;
        let server = server.map_err(Cause::Connect)?;
        self.last = Some(server.address.clone());
        let stream = server.dial().await.map_err(Cause::Connect)?;
        let (mut incoming, mut outgoing) = tokio::io::split(stream);
        let (mut out, mut unsent) = (Vec::new(), true);
        sign_in(&mut out, &server.access.login.get());
        let words = [b"SUBSCRIBE", self.bus.as_bytes()];
        command(&mut out, words.into_iter());
        let mut reader = Reader::up_to(MAX_MESSAGE);
        let mut ticks = tokio::time::interval(self.probe_interval / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Silence::new(Instant::now());
        loop {
            tokio::select! {
                read = incoming.read_buf(reader.space()) => {
                    let read = read?;
                    if read == 0 {
                        return Err(Cause::Closed);
                    }
                    self.metrics.bytes.inc_by(read as u64);
                    // Whoever published this after a wish was fulfilled counts on it.
                    self.apply_wants();
                    while let Some(push) = reader.next()? {
                        self.take(&push)?;
                    }
                    self.outlets.hand_over(&mut self.gathered).await;
                    // Nothing is read while listeners have no room; that is not Redis' silence.
                    silence.heard_at = Instant::now();
                }
                sent = send(&mut outgoing, &out), if unsent || !out.is_empty() => {
                    unsent = !out.is_empty();
                    out.drain(..sent?);
                }
                () = self.wants.changed() => self.apply_wants(),
                now = ticks.tick() => {
                    match silence.tick(now.into_std(), self.probe_interval) {
                        Beat::Wait => {}
                        Beat::Ask => command(&mut out, [b"PING".as_slice()].into_iter()),
                        Beat::GiveUp => return Err(Cause::Silent),
                    }
                    self.talk.go_on();
                    self.let_go();
                }
            }
        }
    }

    fn apply_wants(&mut self) {
        for want in self.wants.take() {
            match want {
                Want::Subscribe(listener, topic) => {
                    *self.wanted.entry(topic).or_default() |= 1 << listener;
                }
                Want::Unsubscribe(listener, topic) => {
                    if let Some(listeners) = self.wanted.get_mut(&topic) {
                        *listeners &= !(1 << listener);
                        if *listeners == 0 {
                            self.wanted.remove(&topic);
                        }
                    }
                }
            }
        }
    }

    /// Gives back the room of topics that were wanted only in a storm.
    fn let_go(&mut self) {
        let needed = self.wanted.len().max(SPARE);
        if 4 * needed < self.wanted.capacity() {
            self.wanted.shrink_to(needed);
        }
    }

    /// Sorts one thing that Redis said to those whom it concerns.
    fn take(&mut self, push: &Push<'_>) -> Result<(), Cause> {
        let ours = |channel: &[u8]| channel == self.bus.as_bytes();
        match *push {
            Push::Message { channel, payload } if ours(channel) => self.message(payload),
            Push::TooLong(channel) if ours(channel) => self.metrics.reject("size"),
            Push::Subscribed(channel) if ours(channel) => self.subscribed(),
            Push::Refused(why) => return Err(Cause::refused(why)),
            _ => {}
        }
        Ok(())
    }

    /// From now on nothing is missed; whatever came before may have been, and a bus
    /// tells nothing twice.
    fn subscribed(&mut self) {
        for (topic, listeners) in &self.wanted {
            let resumed = || Arrival::Resumed(topic.clone());
            self.gathered.collect(*listeners, 0, resumed);
            let gap = || Arrival::Gap(topic.clone());
            self.gathered.collect(*listeners, 0, gap);
        }
        self.talk.missed();
        let (host, topics) = (&*self.host.name, self.wanted.len());
        info!(host, topics, "bus of a misskey host up");
        self.metrics.up.set(1);
        self.state.send_replace(LinkState::Up);
    }

    fn message(&mut self, payload: &[u8]) {
        let routed = match wire::route(payload) {
            Ok(routed) => routed,
            Err(bad) => return self.metrics.reject(bad.label()),
        };
        if routed.stream == INTERNAL {
            self.metrics.internal.inc();
            return match routed.message().and_then(Internal::read) {
                Ok(Some(what)) => self.talk.tell(what),
                Ok(None) => {}
                Err(bad) => self.metrics.reject(bad.label()),
            };
        }
        wire::name_topic(&mut self.name, &self.host.tenant, &routed.stream);
        let Some((topic, listeners)) = self.wanted.get_key_value(&*self.name) else {
            return self.metrics.unwanted.inc();
        };
        self.metrics.topic.inc();
        match routed.event() {
            Ok(event) => {
                let event = Arc::new(event);
                let arrival = || Arrival::Event(topic.clone(), Arc::clone(&event));
                self.gathered.collect(*listeners, payload.len(), arrival);
            }
            Err(bad) => self.metrics.reject(bad.label()),
        }
    }
}

/// The topics that streams of a Misskey can have.
struct Streams {
    tenant: Tenant,
    annotations: Topic,
}

impl Streams {
    fn of(tenant: &Tenant) -> Self {
        Self {
            tenant: tenant.clone(),
            annotations: annotation::topic(tenant),
        }
    }

    /// Not those of people and annotations, whom a bus that is away is no loss to.
    fn have(&self, topic: &Topic) -> bool {
        let of_kind = match topic.kind() {
            TopicKind::User => !topic.id().starts_with("acct:"),
            TopicKind::Channel => *topic != self.annotations,
            TopicKind::Note => true,
            TopicKind::Recipient | TopicKind::All => false,
        };
        of_kind && topic.is_of(&self.tenant)
    }
}

#[cfg(test)]
mod tests;
