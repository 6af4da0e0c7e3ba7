//! What is measured of the buses of Misskey hosts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::link::cause::Cause;
use crate::node::register::Register;

/// Why a subscription can be lost.
const CAUSES: [&str; 6] = ["connect", "lost", "closed", "silent", "refused", "garbled"];

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
    lost: IntCounterVec,
    pub(super) rejected: IntCounterVec,
}

impl FeedMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let register = Register::new("carillon_gateway_misskey_bus", registry);
        Ok(Self {
            up: register.gauges(
                "up",
                "1 while the bus of a Misskey host is subscribed to.",
                &["host"],
            )?,
            lost: register.counters(
                "epochs_total",
                "Times the subscription to the bus of a Misskey host was lost, by cause.",
                ["cause"],
                CAUSES.map(|cause| [cause]),
            )?,
            messages: register.counters(
                "messages_total",
                "Messages on the buses of Misskey hosts, by whom they concern.",
                ["kind"],
                ["topic", "internal", "unwanted"].map(|kind| [kind]),
            )?,
            bytes: register.counter(
                "bytes_total",
                "Bytes received from the buses of Misskey hosts.",
            )?,
            rejected: register.counters(
                "rejected_total",
                "Messages on the buses of Misskey hosts that were dropped, by reason.",
                ["why"],
                ["size", "json", "form", "depth", "overflow"].map(|why| [why]),
            )?,
        })
    }

    pub(super) fn of_host(&self, host: &str) -> OfHost {
        let of_kind = |kind| self.messages.with_label_values(&[kind]);
        OfHost {
            up: self.up.with_label_values(&[host]),
            bytes: self.bytes.clone(),
            topic: of_kind("topic"),
            internal: of_kind("internal"),
            unwanted: of_kind("unwanted"),
            lost: self.lost.clone(),
            rejected: self.rejected.clone(),
        }
    }
}

impl OfHost {
    /// The subscription was lost.
    pub(super) fn lost(&self, cause: &Cause) {
        self.up.set(0);
        self.lost.with_label_values(&[cause.label()]).inc();
    }

    /// A message was dropped.
    pub(super) fn reject(&self, why: &str) {
        self.rejected.with_label_values(&[why]).inc();
    }
}
