//! What admission counts.

use prometheus::{Error, IntCounterVec, IntGauge};

use super::Register;
use crate::dialect::Protocol;

/// What came of an attempt to connect.
const OUTCOMES: [&str; 10] = [
    "ok",
    "unauthorized",
    "forbidden_origin",
    "forbidden_ip",
    "suspended",
    "fault",
    "limited",
    "draining",
    "unavailable",
    "no_upgrade",
];

/// What admission counts.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    accepts: IntCounterVec,
    /// Connections that have not been upgraded.
    pub handshakes: IntGauge,
    /// Sockets this node may have.
    pub limit: IntGauge,
}

impl AdmissionMetrics {
    pub(super) fn register(register: &Register<'_>) -> Result<Self, Error> {
        let accepts = register.counters(
            "accepts_total",
            "Attempts to connect, by what came of them.",
            &["dialect", "outcome"],
        )?;
        for protocol in Protocol::EVERY {
            for outcome in OUTCOMES {
                accepts.with_label_values(&[protocol.label(), outcome]);
            }
        }
        Ok(Self {
            accepts,
            handshakes: register
                .gauge("handshakes", "Connections that have not been upgraded yet.")?,
            limit: register.gauge("connections_limit", "Sockets that this node may have.")?,
        })
    }

    /// Somebody tried to connect.
    pub fn outcome(&self, protocol: Protocol, outcome: &str) {
        self.accepts
            .with_label_values(&[protocol.label(), outcome])
            .inc();
    }
}
