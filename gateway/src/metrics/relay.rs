//! What relays to a Misskey count.

use broker::node::register::Register;
use prometheus::{Error, IntCounter, IntCounterVec, IntGauge};

use crate::relay::Ending;

/// What relays to a Misskey count.
#[derive(Clone, Debug)]
pub struct RelayMetrics {
    /// Relays there are.
    pub open: IntGauge,
    /// How many there may be.
    pub limit: IntGauge,
    /// Relays opened.
    pub opened: IntCounter,
    /// Relays that could not be opened as there were as many as there may be.
    pub refused: IntCounter,
    ended: IntCounterVec,
}

impl RelayMetrics {
    pub(super) fn register(register: Register<'_>) -> Result<Self, Error> {
        Ok(Self {
            open: register.gauge("relays", "Relayed sockets to a Misskey.")?,
            limit: register.gauge(
                "relays_limit",
                "Relayed sockets to a Misskey that there may be.",
            )?,
            opened: register.counter(
                "relays_opened_total",
                "Relayed sockets to a Misskey that were opened or tried.",
            )?,
            refused: register.counter(
                "relays_refused_total",
                "Relayed sockets not opened because there were as many as there may be.",
            )?,
            ended: register.counters(
                "relays_ended_total",
                "Relayed sockets to a Misskey that ended, by why.",
                ["reason"],
                Ending::EVERY.map(|ending| [ending.label()]),
            )?,
        })
    }

    /// A relay ended.
    pub fn ended(&self, ending: Ending) {
        self.ended.with_label_values(&[ending.label()]).inc();
    }

    /// How many relays ended so.
    #[cfg(test)]
    pub(crate) fn count(&self, ending: Ending) -> u64 {
        self.ended.with_label_values(&[ending.label()]).get()
    }
}
