//! What the errands count.

use broker::node::register::Register;
use prometheus::{Error, IntCounter, IntCounterVec};

/// What the errands count.
#[derive(Clone, Debug)]
pub struct ErrandMetrics {
    deliveries: IntCounterVec,
    resumes: IntCounterVec,
    /// Errands that failed and were tried again.
    pub retries: IntCounter,
    /// Errands that can never succeed because of what is stored.
    pub given_up: IntCounter,
    /// Stored messages that cannot be read and were left out.
    pub unreadable: IntCounter,
    /// Messages cancelled for copies of global messages.
    pub crowded_out: IntCounter,
    /// Deliveries of global messages noted.
    pub globals_delivered: IntCounter,
    /// Deliveries that could not be noted because Redis was away for too long.
    pub marks_dropped: IntCounter,
}

impl ErrandMetrics {
    pub(super) fn register(register: Register<'_>) -> Result<Self, Error> {
        Ok(Self {
            resumes: register.counters(
                "resumes_total",
                "Clients of annotations that came, by what was known of what they missed.",
                ["outcome"],
                ["first", "whole", "partial", "failed"].map(|outcome| [outcome]),
            )?,
            deliveries: register.counters(
                "deliveries_total",
                "Deliveries noted in the store, by what the store knew.",
                ["outcome"],
                ["delivered", "already", "cancelled"].map(|outcome| [outcome]),
            )?,
            retries: register.counter(
                "errand_retries_total",
                "Errands that failed and were tried again.",
            )?,
            given_up: register.counter(
                "errands_given_up_total",
                "Errands that can never succeed because of what is stored.",
            )?,
            unreadable: register.counter(
                "unreadable_messages_total",
                "Stored messages that cannot be read and were left out.",
            )?,
            crowded_out: register.counter(
                "messages_crowded_out_total",
                "Pending messages cancelled for a copy of a global message because their recipient had too many.",
            )?,
            globals_delivered: register.counter(
                "global_deliveries_total",
                "Deliveries of global messages noted in the store.",
            )?,
            marks_dropped: register.counter(
                "marks_dropped_total",
                "Deliveries not noted because Redis was away for too long.",
            )?,
        })
    }

    /// A client of annotations has come, of which so much was known.
    pub fn resumed(&self, outcome: &str) {
        self.resumes.with_label_values(&[outcome]).inc();
    }

    /// A delivery has been noted.
    pub fn marked(&self, outcome: &str) {
        self.deliveries.with_label_values(&[outcome]).inc();
    }
}
