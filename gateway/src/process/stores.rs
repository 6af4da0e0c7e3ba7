//! What Redis holds, as a gateway asks for it.

use broker::bus::Bus;
use broker::identity::Authenticator;
use broker::messages::{Limits, Messages};
use broker::quota::{Places, Quotas};
use broker::resumption::Resumption;

use super::assembly::Assembly;

/// Ways to what Redis holds.
pub(super) struct Stores {
    pub(super) bus: Bus,
    pub(super) quotas: Quotas,
    pub(super) places: Places,
    pub(super) messages: Messages,
    pub(super) authenticator: Authenticator,
    pub(super) resumption: Resumption,
}

impl Stores {
    pub(super) fn new(assembly: &Assembly<'_>) -> Self {
        let Assembly { config, redis, .. } = *assembly;
        let (redis, keys) = (|| redis.clone(), || config.common.keys.clone());
        let quotas = Quotas::new(redis(), keys());
        let limits = Limits {
            pending: config.max_pending,
            retention: config.retention,
            global_default_life: config.global_life,
            ..Limits::default()
        };
        let crowded_out = assembly.metrics.errands.crowded_out.clone();
        Self {
            bus: Bus::new(redis(), keys()),
            places: Places::new(quotas.clone(), assembly.node.name()),
            messages: Messages::new(redis(), keys(), limits)
                .counting(crowded_out)
                .within(quotas.clone()),
            authenticator: Authenticator::new(redis(), keys(), &config.auth),
            resumption: Resumption::new(redis(), keys()),
            quotas,
        }
    }
}
