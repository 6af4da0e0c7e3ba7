//! Shards before they have threads, and what they share with the rest of a gateway.

use std::sync::Arc;

use broker::link::Wants;
use broker::node::memory::{Memory, Reading};
use broker::trace::Tracing;

use super::StartError;
use super::assembly::{Assembly, whole};
use crate::config::Config;
use crate::errands::Errands;
use crate::shard::inbox::Inbox;
use crate::shard::{Berth, Held};
use crate::threads::{self, ShardOutlet};

/// Bytes that all clients that do not read may hold together, if neither settings
/// nor a memory limit say otherwise.
const MAX_HELD: usize = 1 << 30;

/// The shards to be.
pub(super) struct Shards {
    pub(super) berths: Vec<Berth>,
    /// What reaches them.
    pub(super) inboxes: Vec<Arc<Inbox>>,
    /// The same, for those who bring events and find out who hangs.
    pub(super) outlets: Vec<ShardOutlet>,
    /// What they want to hear of.
    pub(super) wants: Wants,
    /// What they want to have done.
    pub(super) errands: Errands,
    /// What their sockets hold.
    pub(super) held: Held,
}

impl Shards {
    /// # Errors
    /// If the system gives no poll.
    pub(super) fn new(
        assembly: &Assembly<'_>,
        memory: &Memory,
        tracing: &Tracing,
    ) -> Result<Self, StartError> {
        let Assembly { config, node, .. } = *assembly;
        let metrics = &assembly.metrics.shard;
        // The link and the shards know each other: wants and inboxes first.
        let (wants, errands) = (Wants::default(), Errands::default());
        let most_held = max_held(config, memory);
        metrics.held_limit.set(whole(most_held));
        let held = Held::new(most_held);
        let berths = threads::berths(config, &held, &wants, &errands, tracing, metrics);
        let berths = berths.map_err(StartError::Shard)?;
        let inboxes: Vec<_> = berths.iter().map(Berth::inbox).collect();
        let outlets = threads::outlets(node, &inboxes, metrics);
        Ok(Self {
            berths,
            inboxes,
            outlets,
            wants,
            errands,
            held,
        })
    }
}

/// What all clients that do not read may hold together.
fn max_held(config: &Config, memory: &Memory) -> usize {
    let of_limit = |reading: Reading| usize::try_from(reading.limit / 4).unwrap_or(usize::MAX);
    let or = || memory.read().map_or(MAX_HELD, of_limit);
    config.max_held.unwrap_or_else(or)
}
