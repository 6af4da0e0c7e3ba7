//! What is measured of a link.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::replay::Verdict;

/// What is measured of a link.
#[derive(Clone, Debug)]
pub struct LinkMetrics {
    pub(super) up: IntGauge,
    pub(super) topics: IntGauge,
    pub(super) epochs: IntCounterVec,
    pub(super) resumed: IntCounter,
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
    /// Registers the metrics of the link of `component` (`gateway`, `api`).
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(component: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = |name: &str| format!("carillon_{component}_{name}");
        let counters = |id: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(prometheus::opts!(name(id), help), &[label])?;
            registry
                .register(Box::new(counters.clone()))
                .map(|()| counters)
        };
        let gauge = |id: &str, help: &str| {
            let gauge = IntGauge::new(name(id), help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let counter = |id: &str, help: &str| {
            let counter = IntCounter::new(name(id), help)?;
            registry
                .register(Box::new(counter.clone()))
                .map(|()| counter)
        };
        let probe_seconds = Histogram::with_opts(prometheus::histogram_opts!(
            name("probe_rtt_seconds"),
            "Time from publishing a probe to hearing it on the link.",
            prometheus::exponential_buckets(0.0005, 2.0, 14)?
        ))?;
        registry.register(Box::new(probe_seconds.clone()))?;
        let messages = counters(
            "broker_messages_total",
            "Frames received from Redis, by kind.",
            "kind",
        )?;
        let metrics = Self {
            up: gauge(
                "broker_link_up",
                "1 while the subscription connection to Redis is up.",
            )?,
            topics: gauge(
                "broker_topics",
                "Topics this node is subscribed to in Redis.",
            )?,
            epochs: counters(
                "link_epochs_total",
                "Times the subscription connection was lost, by cause.",
                "cause",
            )?,
            resumed: counter(
                "topics_resumed_total",
                "Topics subscribed again after a lost connection.",
            )?,
            probe_seconds,
            events: messages.with_label_values(&["topic"]),
            probes: messages.with_label_values(&["probe"]),
            controls: messages.with_label_values(&["control"]),
            bytes: counter(
                "broker_bytes_total",
                "Bytes received from Redis by the link.",
            )?,
            rejected: counters(
                "broker_rejected_total",
                "Frames from Redis that were dropped, by reason.",
                "why",
            )?,
            gaps: counters(
                "gap_total",
                "Rings of which events may have been missed, by what came of it.",
                "outcome",
            )?,
            missed: counter(
                "topics_missed_total",
                "Topics whose listeners were told that events are lost, or may be.",
            )?,
            replayed: counter(
                "replayed_total",
                "Events that were missed and found in a ring.",
            )?,
            repeated: counter(
                "repeated_total",
                "Events that came again after a ring had told of them, and were dropped.",
            )?,
            unheard: counter(
                "probes_unheard_total",
                "Probes through a primary of a Cluster that did not come back in time.",
            )?,
        };
        // From zero on: a series that begins with its first count hides that one.
        for cause in [
            "connect", "lost", "closed", "silent", "deaf", "refused", "garbled",
        ] {
            metrics.epochs.with_label_values(&[cause]);
        }
        for why in ["forged", "version", "json", "size", "overflow"] {
            metrics.rejected.with_label_values(&[why]);
        }
        for verdict in Verdict::EVERY {
            metrics.gaps(verdict);
        }
        Ok(metrics)
    }

    /// Rings of which this came.
    pub(super) fn gaps(&self, verdict: Verdict) -> IntCounter {
        self.gaps.with_label_values(&[verdict.label()])
    }
}
