//! What every process measures of itself: its build, its phase, its runtime.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::runtime::Handle;

use crate::node::{Node, Phase};

/// The states a condition can be in, as label values.
const STATES: [&str; 3] = ["up", "degraded", "down"];

/// Kept apart from the registry of the process, which may have a prefix.
pub(super) struct ProcessMetrics {
    registry: Registry,
    phase: IntGauge,
    conditions: IntGaugeVec,
    workers: IntGauge,
    tasks: IntGauge,
    queue: IntGauge,
    /// Locked so that two readers at once do not add the same time twice.
    busy: Mutex<Counter>,
}

impl ProcessMetrics {
    pub(super) fn new(role: &'static str) -> Self {
        let registry = Registry::new();
        let build = gauges(
            &registry,
            "carillon_build_info",
            "Always 1; the labels say what runs.",
            &["version", "role"],
        );
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), role])
            .set(1);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(
                prometheus::process_collector::ProcessCollector::for_self(),
            ))
            .expect("the names of process metrics are free");
        Self {
            phase: gauge(
                &registry,
                "carillon_node_phase",
                "0 starting, 1 running, 2 draining, 3 hurrying.",
            ),
            conditions: gauges(
                &registry,
                "carillon_condition",
                "1 for the state that each condition of /ready is in.",
                &["condition", "state"],
            ),
            workers: gauge(
                &registry,
                "carillon_tokio_workers",
                "Threads of the asynchronous runtime.",
            ),
            tasks: gauge(
                &registry,
                "carillon_tokio_alive_tasks",
                "Tasks that have not ended.",
            ),
            queue: gauge(
                &registry,
                "carillon_tokio_global_queue_depth",
                "Tasks that wait for any worker.",
            ),
            busy: {
                let busy = Counter::new(
                    "carillon_tokio_busy_seconds_total",
                    "Time that all workers together were busy.",
                )
                .expect("a valid name");
                registry
                    .register(Box::new(busy.clone()))
                    .expect("a free name");
                Mutex::new(busy)
            },
            registry,
        }
    }

    /// Measures now.
    pub(super) fn gather(&self, node: &Node) -> Vec<MetricFamily> {
        self.phase.set(phase_number(node.phase()));
        for (name, (state, _)) in node.conditions().iter() {
            for label in STATES {
                let is = i64::from(state.as_str() == label);
                self.conditions.with_label_values(&[name, label]).set(is);
            }
        }
        let runtime = Handle::current().metrics();
        let workers = runtime.num_workers();
        self.workers.set(whole(workers));
        self.tasks.set(whole(runtime.num_alive_tasks()));
        self.queue.set(whole(runtime.global_queue_depth()));
        let busy = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker));
        let busy = busy.sum::<Duration>().as_secs_f64();
        {
            let counter = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            counter.inc_by((busy - counter.get()).max(0.0));
        }
        self.registry.gather()
    }
}

const fn phase_number(phase: Phase) -> i64 {
    match phase {
        Phase::Starting => 0,
        Phase::Running => 1,
        Phase::Draining => 2,
        Phase::Hurrying => 3,
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("a valid name");
    registry
        .register(Box::new(gauge.clone()))
        .expect("a free name");
    gauge
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid name");
    registry
        .register(Box::new(gauges.clone()))
        .expect("a free name");
    gauges
}
