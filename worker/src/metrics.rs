//! What a worker counts.

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

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
    /// Messages removed.
    pub trimmed_messages: IntCounter,
    /// Global messages removed.
    pub trimmed_globals: IntCounter,
    /// Trims that failed.
    pub trims_failed: IntCounter,
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
        let trimmed = counters(
            registry,
            "carillon_worker_trimmed_total",
            "What was removed past its retention, by kind: message, global.",
            "kind",
        );
        let failed = counters(
            registry,
            "carillon_worker_failures_total",
            "Sweeps and trims that failed and are tried again at the next tick.",
            "task",
        );
        Self {
            sweep_lag: registered(registry, sweep_lag),
            sweep_seconds: registered(registry, Histogram::with_opts(sweep_seconds)),
            clock_skew: registered(registry, clock_skew),
            cancelled: swept.with_label_values(&["cancelled"]),
            gone: swept.with_label_values(&["gone"]),
            sweeps_failed: failed.with_label_values(&["sweep"]),
            trimmed_messages: trimmed.with_label_values(&["message"]),
            trimmed_globals: trimmed.with_label_values(&["global"]),
            trims_failed: failed.with_label_values(&["trim"]),
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
