//! What a link decides: what to ask of Redis, whom to bring what, and when to
//! give a connection up.
//!
//! It is told what happened and what time it is, and names what follows. It holds
//! no connection and no clock, so that whatever a Redis may do to a link can be
//! tried without one.

mod recovering;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cause::Cause;
use super::gathered::Gathered;
use super::metrics::LinkMetrics;
use super::outlets::Arrival;
pub use super::probe::Published;
use super::probe::{Beat, Probe, Proof};
use super::resp::Push;
use super::wanted::Wanted;
use super::wants::Want;
use crate::event::{BadEvent, Event};
use crate::keys::{Keys, PARTITIONS};
use crate::replay::{Heard, Replay};
use crate::topic::{Topic, TopicKind};

/// Topics asked for per command when resubscribing: large enough that 100,000
/// topics take a fraction of a second, small enough not to hold Redis up.
pub(super) const CHUNK: usize = 512;

/// A frame on one of the channels that are no topics.
#[derive(Debug)]
pub struct Aside {
    /// The channel's name in Redis.
    pub channel: Box<str>,
    /// What was published.
    pub payload: Vec<u8>,
}

/// What a link is to do as time passes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Publish this on the probe's channel by another connection, through every
    /// primary: `<this> <its time in Unix milliseconds> <what it calls itself>`.
    pub probe: Option<u64>,
    /// Topics to unsubscribe from.
    pub abandoned: Vec<Topic>,
}

/// An event as it was heard, and its bytes.
type Live = (Arc<Event>, usize);

/// The decisions of one link, through all its connections.
#[derive(Debug)]
pub struct Course {
    probe_interval: Duration,
    channel_prefix: Box<str>,
    probe_channel: Box<str>,
    wanted: Wanted,
    /// When chunks of topics were asked for that Redis has yet to confirm, and how many
    /// topics of each.
    asked: VecDeque<(Instant, usize)>,
    probe: Probe,
    /// Which primary proved last what was heard of each partition.
    provers: [Option<Box<str>>; PARTITIONS as usize],
    /// Which partitions' primaries did not come back lately.
    missed: [bool; PARTITIONS as usize],
    /// Whether there are primaries that call themselves something.
    cluster: bool,
    /// What the node of a Cluster calls itself on which we listen, if it says so.
    home: Box<str>,
    replay: Replay<Live>,
    gathered: Gathered,
    metrics: LinkMetrics,
}

impl Course {
    /// The course of the link of the node called `node`, for so many listeners (at
    /// most 64). A silent connection is given up within two of `probe_interval`.
    pub fn new(
        keys: &Keys,
        node: &str,
        probe_interval: Duration,
        listeners: usize,
        metrics: LinkMetrics,
        now: Instant,
    ) -> Self {
        Self {
            probe_interval,
            channel_prefix: keys.channel_prefix().into(),
            probe_channel: keys.probe_channel(node).into(),
            wanted: Wanted::default(),
            asked: VecDeque::new(),
            probe: Probe::new(now),
            provers: [const { None }; PARTITIONS as usize],
            missed: [false; PARTITIONS as usize],
            cluster: false,
            home: Box::default(),
            replay: Replay::new(now),
            gathered: Gathered::new(listeners),
            metrics,
        }
    }

    /// How many topics are subscribed or about to be.
    pub fn topics(&self) -> usize {
        self.wanted.len()
    }

    /// Whether everything wanted is subscribed.
    pub fn settled(&self) -> bool {
        self.wanted.settled()
    }

    /// Up to when all that was published has been gathered for the listeners, see
    /// [`Replay::known_until`].
    pub fn known_until(&self) -> Option<u64> {
        self.replay.known_until().filter(|_| self.settled())
    }

    /// The channel on which the link hears itself.
    pub fn probe_channel(&self) -> &str {
        &self.probe_channel
    }

    /// The topic's channel.
    pub fn channel(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.channel_prefix)
    }

    /// What the node on which the link listens calls itself, if it is one of a
    /// Cluster and has said so.
    pub fn home(&self) -> &str {
        &self.home
    }

    /// What was gathered for the listeners and is to be handed over.
    pub fn gathered(&mut self) -> &mut Gathered {
        &mut self.gathered
    }

    /// The connection is gone, or the first is to be made.
    pub fn lost(&mut self) {
        self.asked.clear();
        self.replay.lose(!self.cluster);
        for topic in self.wanted.lost() {
            self.replay.leave(&topic);
        }
    }

    /// There is a connection, on which nothing has been asked for.
    pub fn connected(&mut self, now: Instant) {
        self.probe = Probe::new(now);
        self.provers.fill(None);
        self.missed.fill(false);
        self.home = Box::default();
        if self.wanted.resubscribed() {
            self.replay.resume(now);
        }
    }

    /// Listeners made wishes, in this order.
    pub fn want(&mut self, wants: Vec<Want>, now: Instant) {
        for want in wants {
            match want {
                Want::Subscribe(listener, topic) => {
                    if self.wanted.want(topic.clone(), listener) {
                        self.gathered
                            .collect(1 << listener, 0, || Arrival::Subscribed(topic.clone()));
                    }
                }
                Want::Unsubscribe(listener, topic) => self.wanted.leave(&topic, listener, now),
            }
        }
    }

    /// Topics to subscribe to now, if any. To be asked when all that was asked for
    /// before is on its way.
    pub fn ask_for_more(&mut self, now: Instant) -> Vec<Topic> {
        let chunk = self.wanted.next_chunk(CHUNK);
        if !chunk.is_empty() {
            self.asked.push_back((now, chunk.len()));
        }
        chunk
    }

    /// Sorts one thing that Redis said to those whom it concerns. What is said on
    /// a channel that is no topic's comes back.
    ///
    /// # Errors
    /// If it means the end of the connection.
    pub fn take(&mut self, push: &Push<'_>, now: Instant) -> Result<Option<Aside>, Cause> {
        match push {
            Push::Message { channel, payload } => return Ok(self.message(channel, payload, now)),
            Push::TooLong(_) => self.reject("size"),
            Push::Subscribed(channel) => self.subscribed(channel, now),
            Push::Unsubscribed(_) | Push::Done => {}
            Push::Answer(home) => self.home = String::from_utf8_lossy(home).into(),
            Push::Refused(why) if why.starts_with(b"NOPERM") && names_cluster(why) => {
                tracing::warn!(
                    "we may not ask a node who it is: a short cut between nodes goes unnoticed"
                );
            }
            Push::Refused(why) => return Err(Cause::refused(why)),
        }
        Ok(None)
    }

    /// Everything that was read has been handed over. While listeners have no room
    /// nothing is read, which is not Redis' silence.
    pub fn heard(&mut self, now: Instant) {
        self.probe.heard_at = now;
    }

    /// Time has passed. To be called at least four times within a probe interval.
    ///
    /// # Errors
    /// If nothing was heard for too long.
    pub fn tick(&mut self, now: Instant) -> Result<Due, Cause> {
        let mut missed = Vec::new();
        let beat = self.probe.tick(now, self.probe_interval, &mut missed);
        self.missed(missed, now);
        let probe = match beat {
            Beat::Wait => None,
            Beat::Probe(nonce) => Some(nonce),
            Beat::GiveUp => return Err(Cause::Silent),
            Beat::Deaf => return Err(Cause::Deaf),
        };
        let abandoned = self.wanted.abandoned(now);
        for topic in &abandoned {
            self.replay.leave(topic);
        }
        self.metrics
            .topics
            .set(i64::try_from(self.wanted.len()).unwrap_or(i64::MAX));
        Ok(Due { probe, abandoned })
    }

    fn subscribed(&mut self, channel: &[u8], now: Instant) {
        if channel == self.probe_channel.as_bytes() {
            self.probe.listens();
        }
        let Some(topic) = topic_name(&self.channel_prefix, channel) else {
            return;
        };
        self.confirmed(now);
        let again = !self.wanted.resubscribed();
        let confirmed = self.wanted.confirmed(topic);
        if again && self.wanted.resubscribed() {
            self.replay.resume(now);
        }
        let Some(confirmed) = confirmed else { return };
        let topic = confirmed.topic;
        self.replay.listen(&topic, now);
        self.metrics.resumed.inc_by(u64::from(confirmed.again != 0));
        self.gathered
            .collect(confirmed.first, 0, || Arrival::Subscribed(topic.clone()));
        self.gathered
            .collect(confirmed.again, 0, || Arrival::Resumed(topic.clone()));
    }

    /// Redis has confirmed one more topic, in the order in which it was asked.
    fn confirmed(&mut self, now: Instant) {
        if let Some((asked_at, left)) = self.asked.front_mut() {
            *left -= 1;
            if *left == 0 {
                let took = now.saturating_duration_since(*asked_at);
                self.asked.pop_front();
                let seconds = &self.metrics.subscribe_seconds;
                seconds.observe(took.as_secs_f64());
            }
        }
    }

    fn message(&mut self, channel: &[u8], payload: &[u8], now: Instant) -> Option<Aside> {
        if let Some(name) = topic_name(&self.channel_prefix, channel) {
            self.metrics.events.inc();
            self.event(name, payload, now);
            None
        } else if channel == self.probe_channel.as_bytes() {
            self.metrics.probes.inc();
            if let Some((took, proofs)) = self.probe.answered(payload, now) {
                self.metrics.probe_seconds.observe(took.as_secs_f64());
                self.proved(proofs, now);
            }
            None
        } else {
            self.metrics.controls.inc();
            let channel = String::from_utf8_lossy(channel).into();
            let payload = payload.to_vec();
            Some(Aside { channel, payload })
        }
    }

    fn event(&mut self, name: &str, payload: &[u8], now: Instant) {
        let Some((topic, listeners)) = self.wanted.listeners(name) else {
            return;
        };
        if listeners == 0 {
            return;
        }
        match Event::parse(payload) {
            Ok(event) if event.entry.is_none() && scripts_only(topic) => self.reject("forged"),
            Ok(event) => {
                let (entry, bytes) = (event.entry, payload.len());
                let live = (Arc::new(event), bytes);
                let json = Event::json_of(payload);
                match self.replay.hear(topic, entry, json, live, now) {
                    Heard::Now((event, bytes)) => self.gathered.collect(listeners, bytes, || {
                        Arrival::Event(topic.clone(), Arc::clone(&event))
                    }),
                    Heard::Parked => {}
                    Heard::Repeated => self.metrics.repeated.inc(),
                    Heard::Late => {
                        self.metrics.missed.inc();
                        let gap = || Arrival::Gap(topic.clone());
                        self.gathered.collect(listeners, 0, gap);
                    }
                    Heard::Overflow(recovered) => self.recovered(recovered),
                }
            }
            Err(BadEvent::Version) => self.reject("version"),
            Err(BadEvent::Json | BadEvent::Entry) => self.reject("json"),
        }
    }

    /// Counts a frame that is dropped.
    fn reject(&self, why: &str) {
        self.metrics.rejected.with_label_values(&[why]).inc();
    }
}

/// Whether a refusal is that of a question to a Cluster.
fn names_cluster(why: &[u8]) -> bool {
    why.windows(8).any(|word| word == b"cluster|")
}

/// The name of the topic whose channel it is.
fn topic_name<'a>(prefix: &str, channel: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(channel.strip_prefix(prefix.as_bytes())?).ok()
}

/// Whether only events published by our own scripts count on the topic.
fn scripts_only(topic: &Topic) -> bool {
    matches!(topic.kind(), TopicKind::Recipient | TopicKind::All)
}

#[cfg(test)]
mod tests;
