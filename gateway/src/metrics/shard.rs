//! What the shards count.

use std::time::Duration;

use broker::node::register::{LATENCY, Register};
use prometheus::{
    Counter, Error, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::tallies::Tallies;
use crate::close::CloseReason;
use crate::dialect::{Protocol, Tally};

/// Upper bounds of the listeners of an event.
const FANOUT: [f64; 6] = [1.0, 3.0, 10.0, 100.0, 1e3, 1e4];
/// Upper bounds of a connection's age, in seconds.
const AGES: [f64; 5] = [10.0, 60.0, 600.0, 3600.0, 86_400.0];

/// What the shards count, each label resolved once.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    dialects: [DialectMetrics; Protocol::EVERY.len()],
    /// Topics with a listener, counted once for each shard that has one.
    pub topics: IntGauge,
    /// Listeners of all of them.
    pub subscriptions: IntGauge,
    dropped_expired: IntCounter,
    /// Sockets for which something waits.
    pub queued_sockets: IntGauge,
    /// Bytes waiting for clients to take them.
    pub queue_bytes: IntGauge,
    /// Bytes of messages of clients that are not complete.
    pub unfinished_bytes: IntGauge,
    /// How much of both there may be.
    pub held_limit: IntGauge,
    /// Listeners per event.
    pub fanout: Histogram,
    /// From publishing to the last write of its turn, by the publisher's clock.
    pub publish_to_write: Histogram,
    closes: IntCounterVec,
    slow_closed: IntCounter,
    /// Shards there are.
    pub shards: IntGauge,
    /// Time that they had something to do.
    pub busy_seconds: Counter,
    /// The share of its time that the busiest had.
    pub busiest: Gauge,
    /// Shards that did nothing for so long that their process ends.
    pub hung: IntCounter,
    age: Histogram,
    viewers: IntGaugeVec,
    tallies: Tallies,
}

/// What the shards count of the sockets of one dialect.
#[derive(Clone, Debug)]
pub struct DialectMetrics {
    /// Open sockets.
    pub connections: IntGauge,
    /// Frames from clients.
    pub frames_received: IntCounter,
    frames_sent: IntCounter,
    bytes_sent: IntCounter,
}

impl ShardMetrics {
    pub(super) fn register(served: &[Protocol], register: Register<'_>) -> Result<Self, Error> {
        let dropped = register.counters(
            "dropped_total",
            "Frames dropped instead of written, by reason.",
            ["why"],
            [],
        )?;
        let viewers = register.gauges(
            "viewers",
            "Open sockets of protocols in which clients may sign in, by whether they have.",
            &["identity"],
        )?;
        for signed_in in [false, true] {
            viewers.with_label_values(&[identity(signed_in)]);
        }
        Ok(Self {
            dialects: DialectMetrics::register(register)?,
            viewers,
            tallies: Tallies::register(served, register)?,
            topics: register.gauge(
                "topics",
                "Topics with a listener, counted once for each shard that has one.",
            )?,
            subscriptions: register.gauge(
                "topic_subscriptions",
                "Sockets that listen to a topic, counted once for each of theirs.",
            )?,
            dropped_expired: dropped.with_label_values(&["expired"]),
            queued_sockets: register.gauge(
                "queued_sockets",
                "Sockets for which something waits that they have not taken.",
            )?,
            queue_bytes: register.gauge(
                "queue_bytes",
                "Bytes waiting for clients that have not taken them.",
            )?,
            unfinished_bytes: register.gauge(
                "unfinished_bytes",
                "Bytes of messages of clients that are not complete.",
            )?,
            held_limit: register.gauge(
                "held_limit_bytes",
                "Bytes that may wait for clients, or be of messages that are not complete.",
            )?,
            fanout: register.histogram("fanout_size", "Listeners per event.", &FANOUT)?,
            publish_to_write: register.histogram(
                "publish_to_write_seconds",
                "From publishing an event to writing it to the last of its sockets.",
                &LATENCY,
            )?,
            closes: register.counters(
                "closes_total",
                "Connections ended, by reason.",
                ["reason"],
                CloseReason::EVERY.map(|reason| [reason.label()]),
            )?,
            slow_closed: register.counter(
                "slow_closed_total",
                "Sockets closed because they read too slowly.",
            )?,
            shards: register.gauge("shards", "Threads that serve sockets.")?,
            busy_seconds: register.sum(
                "shards_busy_seconds_total",
                "Time that all shards together had something to do.",
            )?,
            busiest: register.measure(
                "shard_busiest_ratio",
                "The share of the last seconds that the busiest shard had something to do.",
            )?,
            hung: register.counter(
                "shards_hung_total",
                "Shards that did nothing for so long that their process ends.",
            )?,
            age: register.histogram(
                "connection_age_seconds",
                "Age of connections when they ended.",
                &AGES,
            )?,
        })
    }

    /// What is counted of one dialect.
    pub fn of(&self, protocol: Protocol) -> &DialectMetrics {
        &self.dialects[protocol as usize]
    }

    /// Open sockets of all dialects.
    pub fn connections(&self) -> i64 {
        self.dialects.iter().map(|d| d.connections.get()).sum()
    }

    /// Open sockets whose clients have signed in, or have not.
    pub fn viewers(&self, signed_in: bool) -> IntGauge {
        self.viewers.with_label_values(&[identity(signed_in)])
    }

    /// So many frames and bytes have been written, and so many frames dropped.
    pub fn sent(&self, protocol: Protocol, frames: u64, bytes: u64, dropped: u64) {
        let of = self.of(protocol);
        of.frames_sent.inc_by(frames);
        of.bytes_sent.inc_by(bytes);
        self.dropped_expired.inc_by(dropped);
    }

    /// A dialect has counted something.
    pub fn tally(&self, tally: Tally) {
        self.tallies.count(tally);
    }

    /// A connection has ended.
    pub fn closed(&self, reason: CloseReason, age: Duration) {
        self.closes.with_label_values(&[reason.label()]).inc();
        self.age.observe(age.as_secs_f64());
        if reason == CloseReason::TooSlow {
            self.slow_closed.inc();
        }
    }
}

impl DialectMetrics {
    /// Those of each dialect, in its place.
    fn register(register: Register<'_>) -> Result<[Self; Protocol::EVERY.len()], Error> {
        let connections = register.gauges("connections", "Open sockets.", &["dialect"])?;
        let counters = |name, help| register.counters(name, help, ["dialect"], []);
        let frames_received = counters("frames_received_total", "Frames from clients.")?;
        let frames_sent = counters(
            "frames_sent_total",
            "Frames handed to the kernel, pings and close frames included.",
        )?;
        let bytes_sent = counters("bytes_sent_total", "Bytes of frames handed to the kernel.")?;
        Ok(Protocol::EVERY.map(|protocol| {
            let label = [protocol.label()];
            Self {
                connections: connections.with_label_values(&label),
                frames_received: frames_received.with_label_values(&label),
                frames_sent: frames_sent.with_label_values(&label),
                bytes_sent: bytes_sent.with_label_values(&label),
            }
        }))
    }
}

fn identity(signed_in: bool) -> &'static str {
    if signed_in { "signed_in" } else { "anonymous" }
}
