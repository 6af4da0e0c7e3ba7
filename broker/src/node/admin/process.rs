//! What every process measures of itself: its build, its phase, its runtime.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Error, IntGauge, IntGaugeVec, Registry};
use tokio::runtime::Handle;

use crate::node::register::Register;
use crate::node::{Node, Phase, State};

/// Kept apart from the registry of the process, which may have a prefix.
pub(super) struct ProcessMetrics {
    registry: Registry,
    phase: IntGauge,
    conditions: IntGaugeVec,
    cpus: IntGauge,
    workers: IntGauge,
    tasks: IntGauge,
    queue: IntGauge,
    /// Locked so that two readers at once do not add the same time twice.
    busy: Mutex<Counter>,
}

impl ProcessMetrics {
    pub(super) fn new(role: &'static str) -> Self {
        Self::register(role).expect("a new registry has no metrics of these names")
    }

    fn register(role: &'static str) -> Result<Self, Error> {
        let registry = Registry::new();
        let register = Register::new("carillon", &registry);
        let build = register.gauges(
            "build_info",
            "Always 1; the labels say what runs.",
            &["version", "role"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), role])
            .set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            phase: register.gauge(
                "node_phase",
                "0 starting, 1 running, 2 draining, 3 hurrying.",
            )?,
            conditions: register.gauges(
                "condition",
                "How each condition of /ready is: 0 up, 1 degraded, 2 down.",
                &["condition"],
            )?,
            cpus: register.gauge("cpus", "CPUs that this process may use.")?,
            workers: register.gauge("tokio_workers", "Threads of the asynchronous runtime.")?,
            tasks: register.gauge("tokio_alive_tasks", "Tasks that have not ended.")?,
            queue: register.gauge(
                "tokio_global_queue_depth",
                "Tasks that wait for any worker.",
            )?,
            busy: Mutex::new(register.sum(
                "tokio_busy_seconds_total",
                "Time that all workers together were busy.",
            )?),
            registry,
        })
    }

    /// Measures now.
    pub(super) fn gather(&self, node: &Node) -> Vec<MetricFamily> {
        self.phase.set(phase_number(node.phase()));
        for (name, (state, _)) in node.conditions().iter() {
            let condition = self.conditions.with_label_values(&[name]);
            condition.set(state_number(state));
        }
        let cpus = std::thread::available_parallelism();
        self.cpus.set(cpus.map_or(0, |cpus| whole(cpus.get())));
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

const fn state_number(state: &State) -> i64 {
    match state {
        State::Up => 0,
        State::Degraded(_) => 1,
        State::Down(_) => 2,
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
