//! What is measured of the buses of Misskey hosts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::link::cause::Cause;

/// What is measured of the buses of all hosts.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    up: IntGaugeVec,
    lost: IntCounterVec,
    messages: IntCounterVec,
    bytes: IntCounter,
    rejected: IntCounterVec,
}

/// The same, of one host.
#[derive(Clone)]
pub(super) struct OfHost {
    pub(super) up: IntGauge,
    pub(super) bytes: IntCounter,
    pub(super) topic: IntCounter,
    pub(super) internal: IntCounter,
    pub(super) unwanted: IntCounter,
    host: Box<str>,
    lost: IntCounterVec,
    pub(super) rejected: IntCounterVec,
}

impl FeedMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            let shown = registry.register(Box::new(counters.clone()));
            shown.map(|()| counters)
        };
        let up = IntGaugeVec::new(
            Opts::new(
                "carillon_gateway_misskey_bus_up",
                "1 while the bus of a Misskey host is subscribed to.",
            ),
            &["host"],
        )?;
        registry.register(Box::new(up.clone()))?;
        let bytes = IntCounter::new(
            "carillon_gateway_misskey_bus_bytes_total",
            "Bytes received from the buses of Misskey hosts.",
        )?;
        registry.register(Box::new(bytes.clone()))?;
        let metrics = Self {
            up,
            lost: counters(
                "carillon_gateway_misskey_bus_epochs_total",
                "Times the subscription to the bus of a Misskey host was lost, by host and cause.",
                &["host", "cause"],
            )?,
            messages: counters(
                "carillon_gateway_misskey_bus_messages_total",
                "Messages on the buses of Misskey hosts, by whom they concern.",
                &["kind"],
            )?,
            bytes,
            rejected: counters(
                "carillon_gateway_misskey_bus_rejected_total",
                "Messages on the buses of Misskey hosts that were dropped, by reason.",
                &["why"],
            )?,
        };
        // From zero on: a series that begins with its first count hides that one.
        for kind in ["topic", "internal", "unwanted"] {
            metrics.messages.with_label_values(&[kind]);
        }
        for why in ["size", "json", "form", "depth", "overflow"] {
            metrics.rejected.with_label_values(&[why]);
        }
        Ok(metrics)
    }

    pub(super) fn of_host(&self, host: &str) -> OfHost {
        for cause in ["connect", "lost", "closed", "silent", "refused", "garbled"] {
            self.lost.with_label_values(&[host, cause]);
        }
        let of_kind = |kind| self.messages.with_label_values(&[kind]);
        OfHost {
            up: self.up.with_label_values(&[host]),
            bytes: self.bytes.clone(),
            topic: of_kind("topic"),
            internal: of_kind("internal"),
            unwanted: of_kind("unwanted"),
            host: host.into(),
            lost: self.lost.clone(),
            rejected: self.rejected.clone(),
        }
    }
}

impl OfHost {
    /// The subscription was lost.
    pub(super) fn lost(&self, cause: &Cause) {
        self.up.set(0);
        let of_cause = self.lost.with_label_values(&[&*self.host, cause.label()]);
        of_cause.inc();
    }

    /// A message was dropped.
    pub(super) fn reject(&self, why: &str) {
        self.rejected.with_label_values(&[why]).inc();
    }
}
