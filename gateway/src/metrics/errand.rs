//! What the errands count.

use prometheus::{
    Error, Histogram, HistogramVec, IntCounter, IntCounterVec, exponential_buckets, histogram_opts,
};

use super::{Register, full};

/// What the errands count.
#[derive(Clone, Debug)]
pub struct ErrandMetrics {
    seconds: HistogramVec,
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
    pub(super) fn register(register: &Register<'_>) -> Result<Self, Error> {
        let buckets = exponential_buckets(0.0005, 2.0, 14)?;
        let seconds = register.add(HistogramVec::new(
            histogram_opts!(
                full("errand_seconds"),
                "Time that a successful call to the store took, by what it was for.",
                buckets
            ),
            &["errand"],
        ))?;
        let deliveries = register.counters(
            "deliveries_total",
            "Deliveries noted in the store, by what the store knew.",
            &["outcome"],
        )?;
        for outcome in ["delivered", "already", "cancelled"] {
            deliveries.with_label_values(&[outcome]);
        }
        let resumes = register.counters(
            "resumes_total",
            "Clients of annotations that came, by what was known of what they missed.",
            &["outcome"],
        )?;
        for outcome in ["first", "whole", "partial", "failed"] {
            resumes.with_label_values(&[outcome]);
        }
        for errand in ["backlog", "claim", "mark", "identity"] {
            seconds.with_label_values(&[errand]);
        }
        Ok(Self {
            seconds,
            resumes,
            deliveries,
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

    /// How long errands of a kind take.
    pub fn seconds(&self, errand: &str) -> Histogram {
        self.seconds.with_label_values(&[errand])
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
