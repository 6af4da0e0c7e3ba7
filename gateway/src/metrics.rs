//! What is measured of a gateway, beside its link ([`broker::link::LinkMetrics`]).

mod admission;
mod errand;
mod relay;
mod misskey;
mod shard;
mod tallies;

use broker::misskey::feed::FeedMetrics;
use broker::node::register::Register;
use prometheus::{Error, IntGauge, Registry};

pub use self::admission::AdmissionMetrics;
pub use self::errand::ErrandMetrics;
pub use self::misskey::MisskeyMetrics;
pub use self::relay::RelayMetrics;
pub use self::shard::{DialectMetrics, ShardMetrics};
use crate::dialect::Protocol;

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
    /// What is counted of the buses of Misskey hosts.
    pub buses: FeedMetrics,
    /// Sockets that a drain has still to close.
    pub drain_remaining: IntGauge,
}

/// What all names begin with.
const PREFIX: &str = "carillon_gateway";

impl Metrics {
    /// Registers those of a gateway that serves all dialects.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        Self::of(&Protocol::EVERY, registry)
    }

    /// Registers those of a gateway that serves these dialects. What can only happen
    /// in others is counted where nobody looks.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn of(served: &[Protocol], registry: &Registry) -> Result<Self, Error> {
        let nowhere = Registry::new();
        let for_misskey = match served.contains(&Protocol::Misskey) {
            true => registry,
            false => &nowhere,
        };
        let register = Register::new(PREFIX, registry);
        let of_misskey = Register::new(PREFIX, for_misskey);
        let shard = ShardMetrics::register(served, register)?;
        let admission = AdmissionMetrics::register(served, register)?;
        Ok(Self {
            shard,
            errands: ErrandMetrics::register(register)?,
            admission,
            relays: RelayMetrics::register(of_misskey)?,
            misskey: MisskeyMetrics::register(of_misskey)?,
            buses: FeedMetrics::register(for_misskey)?,
            drain_remaining: register.gauge(
                "drain_remaining",
                "Sockets that a drain has still to close.",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many series a gateway has that serves these dialects.
    fn series(served: &[Protocol]) -> usize {
        let registry = Registry::new();
        Metrics::of(served, &registry).unwrap();
        let text = prometheus::TextEncoder::new();
        let text = text.encode_to_string(&registry.gather()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn a_gateway_has_few_series_for_what_it_does_not_serve() {
        let all = series(&Protocol::EVERY);
        let without_misskey = series(&[Protocol::Push, Protocol::Hypothesis]);
        assert!(without_misskey + 50 < all, "{without_misskey} of {all}");
        let pushes = series(&[Protocol::Push]);
        assert!(pushes + 10 < without_misskey, "{pushes}");
    }
}
