//! What is counted and timed of pushes.

use std::time::Instant;

use broker::node::register::Register;
use broker::quota;
use prometheus::{Error, Histogram, IntCounter, IntCounterVec};

use crate::schema::Durability;

/// Upper bounds of how long a push takes, in seconds.
const SECONDS: [f64; 7] = [0.001, 0.004, 0.016, 0.064, 0.256, 1.0, 4.0];

/// What is pushed.
#[derive(Clone, Copy)]
pub enum Kind {
    /// To named recipients.
    Recipient,
    /// To all.
    Global,
}

/// What is counted and timed of pushes.
#[derive(Clone)]
pub struct Pushes {
    over_quota: IntCounterVec,
    pushed: [[IntCounter; 2]; 2],
    publish_seconds: [Histogram; 2],
    replication_seconds: Histogram,
    unreplicated: IntCounter,
    /// Messages cancelled because their recipients had too many.
    pub crowded_out: IntCounter,
}

impl Pushes {
    pub(super) fn register(register: Register<'_>) -> Result<Self, Error> {
        let pushed = register.counters(
            "messages_pushed_total",
            "Messages stored and published, by kind and by the durability asked for. Repeats under an idempotency key are counted again.",
            ["kind", "durability"],
            [],
        )?;
        let publish_seconds = register.histograms(
            "publish_seconds",
            "Time to store and publish one push to all its recipients, by kind.",
            &SECONDS,
            "kind",
        )?;
        let kinds = ["recipient", "global"];
        Ok(Self {
            over_quota: register.counters(
                "quota_refusals_total",
                "Pushes refused because a quota of their tenant was used up, by quota.",
                ["quota"],
                [quota::Kind::Pushes, quota::Kind::Payload].map(|kind| [kind.as_str()]),
            )?,
            pushed: kinds.map(|kind| {
                ["stored", "replicated"]
                    .map(|durability| pushed.with_label_values(&[kind, durability]))
            }),
            publish_seconds: kinds.map(|kind| publish_seconds.with_label_values(&[kind])),
            replication_seconds: register.histogram(
                "replication_seconds",
                "Time until replicas had what was to be replicated of a request, or none had confirmed.",
                &SECONDS,
            )?,
            unreplicated: register.counter(
                "messages_unreplicated_total",
                "Messages that were to be replicated and that no replica had confirmed in time.",
            )?,
            crowded_out: register.counter(
                "messages_crowded_out_total",
                "Pending messages cancelled by pushes through this api because their recipient had too many.",
            )?,
        })
    }

    /// Counts a push that was refused for a quota of its tenant.
    pub fn over_quota(&self, kind: quota::Kind) {
        self.over_quota.with_label_values(&[kind.as_str()]).inc();
    }

    /// Replicas are waited for.
    pub fn replicating(&self) -> Replicating<'_> {
        Replicating {
            metrics: self,
            since: Instant::now(),
        }
    }

    /// A push begins.
    pub fn publishing(&self, kind: Kind, durability: Durability) -> Publishing<'_> {
        Publishing {
            metrics: self,
            kind,
            durability,
            since: Instant::now(),
        }
    }
}

/// A wait for replicas.
pub struct Replicating<'a> {
    metrics: &'a Pushes,
    since: Instant,
}

impl Replicating<'_> {
    /// It ended; so many messages no replica is known to have.
    pub fn done(self, unconfirmed: usize) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.metrics.replication_seconds.observe(seconds);
        self.metrics.unreplicated.inc_by(unconfirmed as u64);
    }
}

/// A push under way.
pub struct Publishing<'a> {
    metrics: &'a Pushes,
    kind: Kind,
    durability: Durability,
    since: Instant,
}

impl Publishing<'_> {
    /// It ended; this many messages are stored.
    pub fn done(self, messages: usize) {
        let kind = self.kind as usize;
        self.metrics.publish_seconds[kind].observe(self.since.elapsed().as_secs_f64());
        self.metrics.pushed[kind][self.durability as usize].inc_by(messages as u64);
    }
}
