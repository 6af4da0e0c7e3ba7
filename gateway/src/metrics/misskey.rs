//! What is counted of what only a Misskey, or its cache, can tell.

use broker::node::register::Register;
use prometheus::{Error, Histogram, IntCounter, IntCounterVec, IntGauge};

/// What comes of what sockets ask.
const OUTCOMES: [&str; 3] = ["answered", "refused", "failed"];
/// Upper bounds of the time of an answer, in seconds. At three nobody waits any more.
const API_SECONDS: [f64; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];

/// What is counted of what only a Misskey, or its cache, can tell.
#[derive(Clone, Debug)]
pub struct MisskeyMetrics {
    /// Users whose relations are known here.
    pub viewers: IntGauge,
    /// Users whose relations were read.
    pub reads: IntCounter,
    /// Readings that failed.
    pub reads_failed: IntCounter,
    /// Values in a cache that nobody understands.
    pub unreadable: IntCounter,
    questions: IntCounterVec,
    /// How long answers of the HTTP API take.
    pub api_seconds: Histogram,
}

impl MisskeyMetrics {
    pub(super) fn register(register: Register<'_>) -> Result<Self, Error> {
        Ok(Self {
            viewers: register.gauge(
                "misskey_viewers",
                "Users of a Misskey whose relations are known here.",
            )?,
            reads: register.counter(
                "misskey_viewer_reads_total",
                "Times that a user's relations were read from the cache.",
            )?,
            reads_failed: register.counter(
                "misskey_viewer_reads_failed_total",
                "Times that users' relations could not be read.",
            )?,
            unreadable: register.counter(
                "misskey_unreadable_values_total",
                "Values in the cache of a Misskey that could not be understood.",
            )?,
            questions: register.counters(
                "misskey_questions_total",
                "What sockets asked of a Misskey or its cache, by what came of it.",
                ["outcome"],
                OUTCOMES.map(|outcome| [outcome]),
            )?,
            api_seconds: register.histogram(
                "misskey_api_seconds",
                "Time that an answer of a Misskey's HTTP API took.",
                &API_SECONDS,
            )?,
        })
    }

    /// A socket asked something, and this came of it.
    pub fn asked(&self, outcome: &str) {
        self.questions.with_label_values(&[outcome]).inc();
    }
}
