//! What is counted of what only a Misskey, or its cache, can tell.

use broker::misskey::api::ENDPOINTS;
use prometheus::{Error, HistogramVec, IntCounter, IntCounterVec, IntGauge, histogram_opts};

use super::{Register, full};

/// What sockets ask, by kind.
const QUESTIONS: [&str; 7] = [
    "viewer",
    "list",
    "antenna",
    "role",
    "chat",
    "chat_room",
    "note",
];
/// What came of it.
const OUTCOMES: [&str; 3] = ["answered", "refused", "failed"];

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
    /// How long answers of the HTTP API take, by endpoint.
    pub api_seconds: HistogramVec,
}

impl MisskeyMetrics {
    pub(super) fn register(register: &Register<'_>) -> Result<Self, Error> {
        let questions = register.counters(
            "misskey_questions_total",
            "What sockets asked of a Misskey or its cache, by what came of it.",
            &["question", "outcome"],
        )?;
        for question in QUESTIONS {
            for outcome in OUTCOMES {
                questions.with_label_values(&[question, outcome]);
            }
        }
        for mark in ["notifications", "chat_read"] {
            for outcome in ["answered", "failed"] {
                questions.with_label_values(&[mark, outcome]);
            }
        }
        let api_seconds = register.add(HistogramVec::new(
            histogram_opts!(
                full("misskey_api_seconds"),
                "Time that an answer of a Misskey's HTTP API took, by endpoint."
            ),
            &["endpoint"],
        ))?;
        for endpoint in ENDPOINTS {
            api_seconds.with_label_values(&[endpoint]);
        }
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
            questions,
            api_seconds,
        })
    }

    /// A socket asked something, and this came of it.
    pub fn asked(&self, question: &str, outcome: &str) {
        self.questions.with_label_values(&[question, outcome]).inc();
    }
}
