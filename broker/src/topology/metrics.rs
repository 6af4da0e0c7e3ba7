//! What is measured of commands to Redis.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::node::register::ROUND_TRIP;

/// What can go wrong with a command.
const KINDS: [&str; 5] = ["connect", "lost", "timeout", "refused", "unreadable"];

/// What is measured of commands to Redis. Clones measure the same.
#[derive(Clone)]
pub(super) struct Metrics {
    /// By the script that was run.
    pub seconds: HistogramVec,
    pub errors: IntCounterVec,
    pub connections: IntGauge,
    pub under_way: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let seconds = HistogramOpts::new(
            "carillon_redis_command_seconds",
            "Time of round trips to Redis, by the script run; none for plain commands.",
        )
        .buckets(ROUND_TRIP.to_vec());
        let errors = Opts::new(
            "carillon_redis_errors_total",
            "Commands that Redis did not do as asked, or may not have done, by kind.",
        );
        let errors = IntCounterVec::new(errors, &["kind"]).expect("the options are constants");
        for kind in KINDS {
            errors.with_label_values(&[kind]);
        }
        let gauge = |name, help| IntGauge::new(name, help).expect("the options are constants");
        Self {
            seconds: HistogramVec::new(seconds, &["script"]).expect("the options are constants"),
            errors,
            connections: gauge(
                "carillon_redis_connections",
                "Open connections for commands to Redis.",
            ),
            under_way: gauge(
                "carillon_redis_commands_under_way",
                "Round trips to Redis that wait for a connection or for their answer.",
            ),
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let all: [Box<dyn Collector>; 4] = [
            Box::new(self.seconds.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.under_way.clone()),
        ];
        all.into_iter().try_for_each(|one| registry.register(one))
    }

    /// No connection could be had.
    pub(super) fn unconnected(&self) {
        self.errors.with_label_values(&["connect"]).inc();
    }

    /// A command failed.
    pub(super) fn failed(&self, error: &RedisError) {
        let kind = match error.kind() {
            // It is run again with its source.
            ErrorKind::Server(ServerErrorKind::NoScript) => return,
            _ if error.is_timeout() => "timeout",
            _ if error.code().is_some() => "refused",
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => "unreadable",
            _ => "lost",
        };
        self.errors.with_label_values(&[kind]).inc();
    }
}

/// Counts in a gauge while it exists.
pub(super) struct Counted(IntGauge);

impl Counted {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
