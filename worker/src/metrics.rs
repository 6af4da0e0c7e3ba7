//! What a worker counts.

use broker::annotation::ingest::{DEAD_LETTERS, Handled, Outcome};
use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

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
    /// Makes them and adds them to `registry`, which must not have them yet.
    pub(crate) fn register(registry: &Registry) -> Self {
        let sweep_lag = Gauge::new(
            "carillon_worker_sweep_lag_seconds",
            "How long after expiry and grace the last sweep came to its most overdue message; 0 if none was due.",
        );
        let clock_skew = Gauge::new(
            "carillon_worker_clock_skew_seconds",
            "How far this machine's clock is before that of Redis; below 0 if behind.",
        );
        let sweep_seconds = HistogramOpts::new(
            "carillon_worker_sweep_seconds",
            "How long a sweep of all partitions took.",
        )
        .buckets((0..14).map(|n| 0.0005 * f64::from(1 << n)).collect());
        let swept = counters(
            registry,
            "carillon_worker_swept_total",
            "Expiries that were due, by outcome: the message was cancelled, or was past its retention.",
            "outcome",
        );
        let release_lag = Gauge::new(
            "carillon_worker_release_lag_seconds",
            "How late the last look for scheduled messages came to its most overdue one; 0 if none was due.",
        );
        let released = counters(
            registry,
            "carillon_worker_released_total",
            "Scheduled messages that were due, by outcome: published, or gone because they had ended.",
            "outcome",
        );
        let trimmed = counters(
            registry,
            "carillon_worker_trimmed_total",
            "What was removed past its retention, by kind: message, global.",
            "kind",
        );
        let ingest_pending = IntGauge::new(
            "carillon_worker_ingest_pending",
            "Entries of the ingest streams that are not published yet, at the last look.",
        );
        let ingest_lag = Gauge::new(
            "carillon_worker_ingest_lag_seconds",
            "How long the oldest of these entries had been there at the last look.",
        );
        let dead_letters_kept = IntGauge::new(
            "carillon_worker_dead_letters_kept",
            "Dead letters of all tenants at the last look.",
        );
        let ingest_claimed = IntCounter::new(
            "carillon_worker_ingest_claimed_total",
            "Entries of ingest streams taken over from workers that did not finish them.",
        );
        let ingest_dropped = IntCounter::new(
            "carillon_worker_ingest_dropped_total",
            "Entries of ingest streams dropped unpublished because too many waited.",
        );
        let crowded_out = IntCounter::new(
            "carillon_worker_messages_crowded_out_total",
            "Pending messages cancelled because their recipient had too many and one more was pushed by a stream.",
        );
        let ingested = IntCounterVec::new(
            Opts::new(
                "carillon_worker_ingest_events_total",
                "Events taken from ingest streams, by outcome: published, repeated because they had been published before, or pushed to recipients.",
            ),
            &["source", "outcome"],
        );
        let ingested = registered(registry, ingested);
        let dead_letters = counters(
            registry,
            "carillon_worker_dead_letters_total",
            "Entries of ingest streams moved to the dead letters, by what is wrong with them.",
            "why",
        );
        for why in DEAD_LETTERS {
            dead_letters.with_label_values(&[why]);
        }
        let failed = counters(
            registry,
            "carillon_worker_failures_total",
            "Sweeps, releases, trims and rounds of ingest that failed and are tried again.",
            "task",
        );
        Self {
            sweep_lag: registered(registry, sweep_lag),
            sweep_seconds: registered(registry, Histogram::with_opts(sweep_seconds)),
            clock_skew: registered(registry, clock_skew),
            cancelled: swept.with_label_values(&["cancelled"]),
            gone: swept.with_label_values(&["gone"]),
            sweeps_failed: failed.with_label_values(&["sweep"]),
            release_lag: registered(registry, release_lag),
            released: released.with_label_values(&["published"]),
            unreleased: released.with_label_values(&["gone"]),
            releases_failed: failed.with_label_values(&["release"]),
            trimmed_messages: trimmed.with_label_values(&["message"]),
            trimmed_globals: trimmed.with_label_values(&["global"]),
            trims_failed: failed.with_label_values(&["trim"]),
            ingest_pending: registered(registry, ingest_pending),
            ingest_lag: registered(registry, ingest_lag),
            dead_letters_kept: registered(registry, dead_letters_kept),
            ingest_claimed: registered(registry, ingest_claimed),
            ingest_dropped: registered(registry, ingest_dropped),
            ingest_published: ingested.with_label_values(&["redis", "published"]),
            ingest_repeated: ingested.with_label_values(&["redis", "repeated"]),
            ingest_pushed: ingested.with_label_values(&["redis", "pushed"]),
            crowded_out: registered(registry, crowded_out),
            ingests_failed: failed.with_label_values(&["ingest"]),
            dead_letters,
        }
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

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    registered(
        registry,
        IntCounterVec::new(Opts::new(name, help), &[label]),
    )
}

fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect("the names and labels are valid");
    registry
        .register(Box::new(metric.clone()))
        .expect("a registry has the metrics of one worker");
    metric
}
