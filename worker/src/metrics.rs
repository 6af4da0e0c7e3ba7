//! What a worker counts.

use broker::annotation::ingest::{DEAD_LETTERS, Handled, Outcome};
use broker::node::register::{LATENCY, Register};
use prometheus::{Error, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

/// A worker's metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// How late the last sweep came to its most overdue message.
    pub sweep_lag: Gauge,
    /// How far this machine's clock is before that of Redis.
    pub clock_skew: Gauge,
    /// Messages that a sweep cancelled.
    pub cancelled: IntCounter,
    /// Expiries of messages that had gone otherwise.
    pub gone: IntCounter,
    /// How long a sweep of all partitions took.
    pub sweep_seconds: Histogram,
    /// Sweeps that failed.
    pub sweeps_failed: IntCounter,
    /// How late the last look for scheduled messages came to its most overdue one.
    pub release_lag: Gauge,
    /// Scheduled messages that were published.
    pub released: IntCounter,
    /// Scheduled messages that had ended otherwise when they were due.
    pub unreleased: IntCounter,
    /// Looks for scheduled messages that failed.
    pub releases_failed: IntCounter,
    /// Messages removed.
    pub trimmed_messages: IntCounter,
    /// Global messages removed.
    pub trimmed_globals: IntCounter,
    /// Trims that failed.
    pub trims_failed: IntCounter,
    /// Entries of the ingest streams, taken or not.
    pub ingest_pending: IntGauge,
    /// How long the oldest of them has been there.
    pub ingest_lag: Gauge,
    /// Dead letters at the last look.
    pub dead_letters_kept: IntGauge,
    /// Entries taken over from other workers.
    pub ingest_claimed: IntCounter,
    /// Entries dropped because too many waited.
    pub ingest_dropped: IntCounter,
    /// Entries that were published.
    pub ingest_published: IntCounter,
    /// Entries that had been published before.
    pub ingest_repeated: IntCounter,
    /// Entries that were pushed to recipients.
    pub ingest_pushed: IntCounter,
    /// Messages that gave way to those.
    pub crowded_out: IntCounter,
    /// Rounds of taking and publishing that failed.
    pub ingests_failed: IntCounter,
    dead_letters: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, Error> {
        let register = Register::new("carillon_worker", registry);
        let by = |name, help, label| register.counters(name, help, [label], []);
        let swept = by(
            "swept_total",
            "Expiries that were due, by outcome: the message was cancelled, or was past its retention.",
            "outcome",
        )?;
        let released = by(
            "released_total",
            "Scheduled messages that were due, by outcome: published, or gone because they had ended.",
            "outcome",
        )?;
        let trimmed = by(
            "trimmed_total",
            "What was removed past its retention, by kind: message, global.",
            "kind",
        )?;
        let failed = by(
            "failures_total",
            "Sweeps, releases, trims and rounds of ingest that failed and are tried again.",
            "task",
        )?;
        let ingested = register.counters(
            "ingest_events_total",
            "Events taken from ingest streams, by outcome: published, repeated because they had been published before, or pushed to recipients.",
            ["source", "outcome"],
            [],
        )?;
        Ok(Self {
            sweep_lag: register.measure(
                "sweep_lag_seconds",
                "How long after expiry and grace the last sweep came to its most overdue message; 0 if none was due.",
            )?,
            sweep_seconds: register.histogram(
                "sweep_seconds",
                "How long a sweep of all partitions took.",
                &LATENCY,
            )?,
            clock_skew: register.measure(
                "clock_skew_seconds",
                "How far this machine's clock is before that of Redis; below 0 if behind.",
            )?,
            cancelled: swept.with_label_values(&["cancelled"]),
            gone: swept.with_label_values(&["gone"]),
            sweeps_failed: failed.with_label_values(&["sweep"]),
            release_lag: register.measure(
                "release_lag_seconds",
                "How late the last look for scheduled messages came to its most overdue one; 0 if none was due.",
            )?,
            released: released.with_label_values(&["published"]),
            unreleased: released.with_label_values(&["gone"]),
            releases_failed: failed.with_label_values(&["release"]),
            trimmed_messages: trimmed.with_label_values(&["message"]),
            trimmed_globals: trimmed.with_label_values(&["global"]),
            trims_failed: failed.with_label_values(&["trim"]),
            ingest_pending: register.gauge(
                "ingest_pending",
                "Entries of the ingest streams that are not published yet, at the last look.",
            )?,
            ingest_lag: register.measure(
                "ingest_lag_seconds",
                "How long the oldest of these entries had been there at the last look.",
            )?,
            dead_letters_kept: register.gauge(
                "dead_letters_kept",
                "Dead letters of all tenants at the last look.",
            )?,
            ingest_claimed: register.counter(
                "ingest_claimed_total",
                "Entries of ingest streams taken over from workers that did not finish them.",
            )?,
            ingest_dropped: register.counter(
                "ingest_dropped_total",
                "Entries of ingest streams dropped unpublished because too many waited.",
            )?,
            ingest_published: ingested.with_label_values(&["redis", "published"]),
            ingest_repeated: ingested.with_label_values(&["redis", "repeated"]),
            ingest_pushed: ingested.with_label_values(&["redis", "pushed"]),
            crowded_out: register.counter(
                "messages_crowded_out_total",
                "Pending messages cancelled because their recipient had too many and one more was pushed by a stream.",
            )?,
            ingests_failed: failed.with_label_values(&["ingest"]),
            dead_letters: register.counters(
                "dead_letters_total",
                "Entries of ingest streams moved to the dead letters, by what is wrong with them.",
                ["why"],
                DEAD_LETTERS.map(|why| [why]),
            )?,
        })
    }

    /// Counts what became of entries.
    pub(crate) fn handled(&self, handled: &Handled) {
        for outcome in &handled.outcomes {
            match outcome {
                Outcome::Published => self.ingest_published.inc(),
                Outcome::Repeated => self.ingest_repeated.inc(),
            }
        }
        self.ingest_pushed.inc_by(handled.pushed);
        for why in &handled.dead {
            self.dead_letters.with_label_values(&[why]).inc();
        }
    }
}
