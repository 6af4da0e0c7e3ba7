//! What admission counts.

use broker::node::entrance::EntranceMetrics;
use broker::node::register::Register;
use prometheus::{Error, Histogram, IntCounterVec, IntGauge};

use crate::admission::Denial;
use crate::dialect::Protocol;

/// What may come of an attempt to connect: no dialect knows all of it.
fn outcomes(protocol: Protocol) -> Vec<&'static str> {
    let (denied, more): (fn(Denial) -> bool, &[&str]) = match protocol {
        Protocol::Push => (|_| true, &[]),
        // Whoever has no good token is let in without a name.
        Protocol::Hypothesis => (
            |denial| !matches!(denial, Denial::Unauthorized | Denial::Address),
            &[],
        ),
        Protocol::Misskey => (
            |denial| !matches!(denial, Denial::Origin | Denial::Address),
            &["suspended", "fault"],
        ),
    };
    let denials = Denial::EVERY.into_iter().filter(|denial| denied(*denial));
    let denials = denials.map(Denial::outcome);
    let all = ["ok", "no_upgrade"].into_iter().chain(denials);
    all.chain(more.iter().copied()).collect()
}

/// What admission counts.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    accepts: IntCounterVec,
    /// What is counted of connections before their first request.
    pub entrance: EntranceMetrics,
    /// Connections that have not been upgraded.
    pub handshakes: IntGauge,
    /// How many there may be.
    pub handshakes_limit: IntGauge,
    /// Clients that wait for their upgrade.
    pub parked: IntGauge,
    /// How long those waited.
    pub parked_seconds: Histogram,
    /// Sockets this node may have.
    pub limit: IntGauge,
    /// Sockets it can still take.
    pub headroom: IntGauge,
}

impl AdmissionMetrics {
    pub(super) fn register(served: &[Protocol], register: Register<'_>) -> Result<Self, Error> {
        let of = |protocol: &Protocol| {
            let label = protocol.label();
            outcomes(*protocol)
                .into_iter()
                .map(move |outcome| [label, outcome])
        };
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
            handshakes_limit: register.gauge(
                "handshakes_limit",
                "Connections that have not been upgraded yet that there may be.",
            )?,
            parked: register.gauge("parked", "Clients that wait for their upgrade.")?,
            parked_seconds: register.histogram(
                "parked_seconds",
                "How long clients waited that had to wait for their upgrade.",
                &[0.1, 1.0, 2.0, 3.0],
            )?,
            limit: register.gauge("connections_limit", "Sockets that this node may have.")?,
            headroom: register.gauge(
                "headroom",
                "Sockets that this node can still take; 0 while it takes none.",
            )?,
        })
    }

    /// Somebody tried to connect.
    pub fn outcome(&self, protocol: Protocol, outcome: &str) {
        self.accepts
            .with_label_values(&[protocol.label(), outcome])
            .inc();
    }
}
