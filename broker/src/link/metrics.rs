//! What is measured of a link.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::node::register::{ROUND_TRIP, Register};
use crate::replay::Verdict;

/// Why a subscription can be lost.
const CAUSES: [&str; 7] = [
    "connect", "lost", "closed", "silent", "deaf", "refused", "garbled",
];

/// What is measured of a link.
#[derive(Clone, Debug)]
pub struct LinkMetrics {
    pub(super) up: IntGauge,
    pub(super) topics: IntGauge,
    pub(super) epochs: IntCounterVec,
    pub(super) resumed: IntCounter,
    pub(super) subscribe_seconds: Histogram,
    pub(super) probe_seconds: Histogram,
    /// Frames on topics; resolved once, as there is one for each event.
    pub(super) events: IntCounter,
    pub(super) probes: IntCounter,
    pub(super) controls: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) rejected: IntCounterVec,
    /// Rings that were read again, by what came of it.
    gaps: IntCounterVec,
    /// Topics of which events are lost, or may be.
    pub(super) missed: IntCounter,
    pub(super) replayed: IntCounter,
    pub(super) repeated: IntCounter,
    /// Probes of primaries that did not come back.
    pub(super) unheard: IntCounter,
}

impl LinkMetrics {
    /// Registers the metrics of the link of `component`.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(component: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        Self::of(component, registry, registry)
    }

    /// The same of a link that subscribes to no topics: what can only happen to these
    /// is counted where nobody looks.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn without_topics(component: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        Self::of(component, registry, &Registry::new())
    }

    fn of(
        component: &str,
        registry: &Registry,
        of_topics: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let prefix = format!("carillon_{component}");
        let register = Register::new(&prefix, registry);
        let of_topics = Register::new(&prefix, of_topics);
        let messages = register.counters(
            "broker_messages_total",
            "Frames received from Redis, by kind.",
            ["kind"],
            [],
        )?;
        Ok(Self {
            up: register.gauge(
                "broker_link_up",
                "1 while the subscription connection to Redis is up.",
            )?,
            topics: of_topics.gauge(
                "broker_topics",
                "Topics this node is subscribed to in Redis.",
            )?,
            epochs: register.counters(
                "link_epochs_total",
                "Times the subscription connection was lost, by cause.",
                ["cause"],
                CAUSES.map(|cause| [cause]),
            )?,
            resumed: of_topics.counter(
                "topics_resumed_total",
                "Topics subscribed again after a lost connection.",
            )?,
            subscribe_seconds: of_topics.histogram(
                "subscribe_seconds",
                "Time from asking Redis for topics to hearing that they are subscribed.",
                &ROUND_TRIP,
            )?,
            probe_seconds: register.histogram(
                "probe_rtt_seconds",
                "Time from publishing a probe to hearing it on the link.",
                &ROUND_TRIP,
            )?,
            events: messages.with_label_values(&["topic"]),
            probes: messages.with_label_values(&["probe"]),
            controls: messages.with_label_values(&["control"]),
            bytes: register.counter(
                "broker_bytes_total",
                "Bytes received from Redis by the link.",
            )?,
            rejected: register.counters(
                "broker_rejected_total",
                "Frames from Redis that were dropped, by reason.",
                ["why"],
                ["forged", "version", "json", "size", "overflow"].map(|why| [why]),
            )?,
            gaps: of_topics.counters(
                "gap_total",
                "Rings of which events may have been missed, by what came of it.",
                ["outcome"],
                Verdict::EVERY.map(|verdict| [verdict.label()]),
            )?,
            missed: of_topics.counter(
                "topics_missed_total",
                "Topics whose listeners were told that events are lost, or may be.",
            )?,
            replayed: of_topics.counter(
                "replayed_total",
                "Events that were missed and found in a ring.",
            )?,
            repeated: of_topics.counter(
                "repeated_total",
                "Events that came again after a ring had told of them, and were dropped.",
            )?,
            unheard: register.counter(
                "probes_unheard_total",
                "Probes through a primary of a Cluster that did not come back in time.",
            )?,
        })
    }

    /// Rings of which this came.
    pub(super) fn gaps(&self, verdict: Verdict) -> IntCounter {
        self.gaps.with_label_values(&[verdict.label()])
    }
}
