//! What admission counts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use broker::node::entrance::EntranceMetrics;
use broker::node::register::Register;
use prometheus::{Error, Histogram, IntCounterVec, IntGauge};

use crate::dialect::Protocol;

/// What came of an attempt to connect.
const OUTCOMES: [&str; 12] = [
    "ok",
    "unauthorized",
    "forbidden_origin",
    "forbidden_ip",
    "suspended",
    "fault",
    "limited",
    "overloaded",
    "quota",
    "draining",
    "unavailable",
    "no_upgrade",
];

/// What admission counts.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    accepts: IntCounterVec,
    /// What is counted of connections before their first request.
    pub entrance: EntranceMetrics,
    /// Connections that have not been upgraded.
    pub handshakes: IntGauge,
    /// Clients that wait for their upgrade.
    pub parked: IntGauge,
    /// How long those waited.
    pub parked_seconds: Histogram,
    /// Sockets this node may have.
    pub limit: IntGauge,
    /// Whether it takes none for want of memory, however many it may have.
    pub overloaded: Arc<AtomicBool>,
}

impl AdmissionMetrics {
    pub(super) fn register(served: &[Protocol], register: Register<'_>) -> Result<Self, Error> {
        let of = |protocol: &Protocol| OUTCOMES.map(|outcome| [protocol.label(), outcome]);
        Ok(Self {
            accepts: register.counters(
                "accepts_total",
                "Attempts to connect, by what came of them.",
                ["dialect", "outcome"],
                served.iter().flat_map(of),
            )?,
            entrance: EntranceMetrics::register(register)?,
            handshakes: register
                .gauge("handshakes", "Connections that have not been upgraded yet.")?,
            parked: register.gauge("parked", "Clients that wait for their upgrade.")?,
            parked_seconds: register.histogram(
                "parked_seconds",
                "How long clients waited that had to wait for their upgrade.",
                &[0.1, 1.0, 2.0, 3.0],
            )?,
            limit: register.gauge("connections_limit", "Sockets that this node may have.")?,
            overloaded: Arc::default(),
        })
    }

    /// Somebody tried to connect.
    pub fn outcome(&self, protocol: Protocol, outcome: &str) {
        self.accepts
            .with_label_values(&[protocol.label(), outcome])
            .inc();
    }
}
