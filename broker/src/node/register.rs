//! Metrics, each made and shown at once.

use prometheus::core::Collector;
use prometheus::{
    Counter, Error, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

/// Upper bounds of how long something takes that goes over the network, in seconds.
/// Few: each costs a series, and a label as many as it has values.
pub const ROUND_TRIP: [f64; 4] = [0.001, 0.01, 0.1, 1.0];

/// Upper bounds of times whose percentiles are looked at, in seconds: half a
/// millisecond, doubled up to four seconds.
pub const LATENCY: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048,
    4.096,
];

/// Makes metrics whose names begin alike, and shows them in a registry. Each of its
/// methods fails if the registry has a metric of that name already.
#[derive(Clone, Copy)]
pub struct Register<'a> {
    registry: &'a Registry,
    prefix: &'a str,
}

impl<'a> Register<'a> {
    /// Names begin with `prefix` and `_`.
    pub const fn new(prefix: &'a str, registry: &'a Registry) -> Self {
        Self { registry, prefix }
    }

    /// Shows what was made.
    pub fn show<C: Collector + Clone + 'static>(&self, made: Result<C, Error>) -> Result<C, Error> {
        let made = made?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    /// The whole name of a metric.
    pub fn full(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    /// Something that is counted up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.show(IntGauge::new(self.full(name), help))
    }

    /// The same by labels.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.show(IntGaugeVec::new(Opts::new(self.full(name), help), labels))
    }

    /// Something that is measured, such as seconds.
    pub fn measure(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.show(Gauge::new(self.full(name), help))
    }

    /// Something that only grows.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.show(IntCounter::new(self.full(name), help))
    }

    /// The same in parts of one, such as seconds.
    pub fn sum(&self, name: &str, help: &str) -> Result<Counter, Error> {
        self.show(Counter::new(self.full(name), help))
    }

    /// The same by labels. Those `from_zero` are there before anything has happened:
    /// a series that begins with its first count hides that one.
    pub fn counters<'v, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        from_zero: impl IntoIterator<Item = [&'v str; N]>,
    ) -> Result<IntCounterVec, Error> {
        let options = Opts::new(self.full(name), help);
        let counters = self.show(IntCounterVec::new(options, &labels))?;
        for values in from_zero {
            counters.with_label_values(&values);
        }
        Ok(counters)
    }

    /// How often something was up to each of these bounds.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, Error> {
        let options = HistogramOpts::new(self.full(name), help);
        self.show(Histogram::with_opts(options.buckets(bounds.to_vec())))
    }

    /// The same by a label.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        bounds: &[f64],
        label: &str,
    ) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::new(self.full(name), help).buckets(bounds.to_vec());
        self.show(HistogramVec::new(options, &[label]))
    }
}
