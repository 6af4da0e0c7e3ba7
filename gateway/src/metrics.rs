//! What is measured of a gateway, beside its link ([`broker::link::LinkMetrics`]).

mod admission;
mod errand;
mod relay;
mod misskey;
mod shard;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Error, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, histogram_opts,
    opts,
};

pub use self::admission::AdmissionMetrics;
pub use self::errand::ErrandMetrics;
pub use self::misskey::MisskeyMetrics;
pub use self::relay::RelayMetrics;
pub use self::shard::{DialectMetrics, ShardMetrics};

/// Everything that a gateway counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// What the shards count.
    pub shard: ShardMetrics,
    /// What the errands count.
    pub errands: ErrandMetrics,
    /// What admission counts.
    pub admission: AdmissionMetrics,
    /// What relays to a Misskey count.
    pub relays: RelayMetrics,
    /// What is counted of what only a Misskey can tell.
    pub misskey: MisskeyMetrics,
    /// Sockets that a drain has still to close.
    pub drain_remaining: IntGauge,
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: Result<C, Error>) -> Result<C, Error> {
        let collector = collector?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.add(IntGauge::new(full(name), help))
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.add(IntCounter::new(full(name), help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.add(IntGaugeVec::new(opts!(full(name), help), labels))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.add(IntCounterVec::new(opts!(full(name), help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, Error> {
        self.add(Histogram::with_opts(histogram_opts!(
            full(name),
            help,
            buckets
        )))
    }
}

fn full(name: &str) -> String {
    format!("carillon_gateway_{name}")
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let register = Register(registry);
        let shard = ShardMetrics::register(&register)?;
        let admission = AdmissionMetrics::register(&register)?;
        registry.register(Box::new(Headroom {
            limit: admission.limit.clone(),
            overloaded: admission.overloaded.clone(),
            shard: shard.clone(),
            shown: IntGauge::new(
                full("headroom"),
                "Sockets that this node can still take; none while memory is scarce.",
            )?,
        }))?;
        Ok(Self {
            shard,
            errands: ErrandMetrics::register(&register)?,
            admission,
            relays: RelayMetrics::register(&register)?,
            misskey: MisskeyMetrics::register(&register)?,
            drain_remaining: register.gauge(
                "drain_remaining",
                "Sockets that a drain has still to close.",
            )?,
        })
    }
}

/// How many sockets more there may be, worked out when somebody asks.
struct Headroom {
    limit: IntGauge,
    overloaded: Arc<AtomicBool>,
    shard: ShardMetrics,
    shown: IntGauge,
}

impl Collector for Headroom {
    fn desc(&self) -> Vec<&Desc> {
        self.shown.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let room = self.limit.get() - self.shard.connections();
        let none = self.overloaded.load(Ordering::Relaxed);
        self.shown.set(if none { 0 } else { room });
        self.shown.collect()
    }
}
