//! What is measured of commands to Redis.

use prometheus::core::Collector;
use prometheus::{CounterVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::node::register::ROUND_TRIP;

/// What can go wrong with a command.
const KINDS: [&str; 5] = ["connect", "lost", "timeout", "refused", "unreadable"];

/// What is measured of commands to Redis. Clones measure the same.
#[derive(Clone)]
pub(super) struct Metrics {
    pub seconds: Histogram,
    /// Round trips by the script that was run, and how long they took together: two
    /// series for each script, where a histogram would have eight.
    pub scripts: IntCounterVec,
    pub script_seconds: CounterVec,
    pub errors: IntCounterVec,
    pub connections: IntGauge,
    pub under_way: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let seconds = HistogramOpts::new(
            "carillon_redis_command_seconds",
            "Time of round trips to Redis.",
        )
        .buckets(ROUND_TRIP.to_vec());
        let scripts = Opts::new(
            "carillon_redis_scripts_total",
            "Round trips to Redis, by the script run; none for plain commands.",
        );
        let script_seconds = Opts::new(
            "carillon_redis_script_seconds_total",
            "Time that those took together, by script.",
        );
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
            seconds: Histogram::with_opts(seconds).expect("the options are constants"),
            scripts: IntCounterVec::new(scripts, &["script"]).expect("the options are constants"),
            script_seconds: CounterVec::new(script_seconds, &["script"])
                .expect("the options are constants"),
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
        let all: [Box<dyn Collector>; 6] = [
            Box::new(self.seconds.clone()),
            Box::new(self.scripts.clone()),
            Box::new(self.script_seconds.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.under_way.clone()),
        ];
        all.into_iter().try_for_each(|one| registry.register(one))
    }

    /// A round trip that ran this script has ended.
    pub(super) fn ran(&self, script: &str, seconds: f64) {
        self.seconds.observe(seconds);
        self.scripts.with_label_values(&[script]).inc();
        let of_script = self.script_seconds.with_label_values(&[script]);
        of_script.inc_by(seconds);
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
