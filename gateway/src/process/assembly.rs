//! The parts of a gateway, put together and started.

use std::sync::Arc;

use broker::link::{Link, LinkMetrics};
use broker::node::Node;
use broker::node::entrance::Entrance;
use broker::node::memory::Memory;
use broker::topology::Redis;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::shards::Shards;
use super::stores::Stores;
use super::{StartError, served};
use crate::admission::late::Late;
use crate::admission::{Admission, Capacity};
use crate::config::Config;
use crate::errands::Sources;
use crate::headroom::Ceilings;
use crate::metrics::Metrics;
use crate::misskey::Misskeys;
use crate::relay::Relays;
use crate::router::Front;
use crate::{busy, control, descriptors, headroom, health, relief};

/// Control frames waiting to be looked at; more are dropped and counted by the link.
const ASIDES: usize = 1024;

/// What every part is made from.
pub(super) struct Assembly<'a> {
    pub(super) config: &'a Config,
    pub(super) node: &'a Node,
    pub(super) redis: &'a Redis,
    pub(super) registry: &'a Registry,
    pub(super) metrics: &'a Metrics,
    /// Cancelled last: what serves sockets outlives the drain of the sockets.
    pub(super) ending: CancellationToken,
}

impl Assembly<'_> {
    /// Resolves when what serves sockets is to end.
    pub(super) fn end(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ending.clone().cancelled_owned()
    }

    /// Has events reach shards and users of Misskey hosts, and answers what other nodes
    /// ask, until the end.
    pub(super) fn start_link(
        &self,
        metrics: LinkMetrics,
        stores: &Stores,
        shards: &Shards,
        misskeys: &Misskeys,
    ) {
        let (config, node) = (self.config, self.node);
        let keys = &config.common.keys;
        let outlets = shards.outlets.iter().cloned();
        let outlets = outlets.map(|outlet| Box::new(outlet) as _);
        let (aside, asides) = mpsc::channel(ASIDES);
        let link = Link::new(
            self.redis,
            keys,
            node.name(),
            config.probe_interval,
            outlets.chain([Box::new(misskeys.clone()) as _]).collect(),
            vec![keys.control_channel()],
            aside,
            metrics,
        )
        .with_wants(shards.wants.clone())
        .with_known(shards.errands.known().clone());
        self.watch_link(stores, &link);
        node.spawn("link", link.run(self.end()));
        let (bus, quotas) = (stores.bus.clone(), stores.quotas.clone());
        let control = control::answer(asides, shards.inboxes.clone(), bus, quotas);
        node.spawn("control", control);
    }

    /// Shows how the link is, and has gateways hear of each other's.
    fn watch_link(&self, stores: &Stores, link: &Link) {
        let (node, redis) = (self.node.clone(), self.redis.clone());
        let (better, elsewhere) = watch::channel(false);
        let grace = self.config.link_grace;
        let health = health::watch(node.clone(), redis, link.state(), elsewhere, grace);
        self.node.spawn("health", health);
        let (bus, end) = (stores.bus.clone(), self.end());
        let announcing = health::announce(node, bus, link.state(), better, end);
        self.node.spawn("announcements", announcing);
    }

    /// Has errands run, and deliveries noted, until the end.
    pub(super) fn start_errands(&self, stores: &Stores, shards: &Shards, misskeys: &Misskeys) {
        let counted = &self.metrics.errands;
        let messages = stores.messages.clone();
        let marking = shards.errands.clone();
        let marking = marking.write_marks(messages.clone(), counted.clone(), self.end());
        self.node.spawn("marks", marking);
        let most = self.config.misskey_max_relays;
        let sources = Sources {
            messages,
            authenticator: stores.authenticator.clone(),
            misskeys: misskeys.clone(),
            relays: Relays::new(most, self.metrics.relays.clone()),
            resumption: stores.resumption.clone(),
        };
        let (errands, inboxes) = (shards.errands.clone(), shards.inboxes.clone());
        let running = errands.run(sources, inboxes, counted.clone(), self.end());
        self.node.spawn("errands", running);
    }

    /// What requests are answered from.
    pub(super) fn front(
        &self,
        entrance: Entrance,
        stores: Stores,
        misskeys: Misskeys,
        shards: &Shards,
    ) -> Arc<Front> {
        let (config, metrics) = (self.config, &self.metrics.admission);
        let capacity = capacity(config);
        metrics.limit.set(whole(capacity.connections));
        metrics.handshakes_limit.set(whole(config.max_handshakes));
        let keyring = config.token_keys.clone();
        Arc::new(Front {
            node: self.node.clone(),
            keyring: keyring.expect("a gateway without keys does not start"),
            messages: stores.messages,
            sites: config.common.sites.clone(),
            authenticator: stores.authenticator,
            misskeys,
            origins: config.origins.clone(),
            strict: config.hypothesis_strict,
            late: Late::new(config.max_handshakes / 4),
            places: stores.places,
            admission: Admission::new(capacity, metrics.clone()),
            entrance,
            trusted_proxies: config.trusted_proxies.clone(),
            shards: shards.inboxes.clone(),
            max_handshakes: config.max_handshakes,
            handshake_timeout: config.handshake_timeout,
            metrics: metrics.clone(),
        })
    }

    /// Shows how much room there is, and acts where it runs out, until the end.
    ///
    /// # Errors
    /// If a metric exists twice.
    pub(super) fn watch_room(
        &self,
        memory: Memory,
        admission: &Arc<Admission>,
        shards: &Shards,
    ) -> Result<(), StartError> {
        let (node, metrics) = (self.node, self.metrics);
        let Shards { inboxes, held, .. } = shards;
        let (pressure, watching) = memory.watch(node, self.registry, self.end())?;
        node.spawn("memory", watching);
        let room = headroom::show(
            pressure.clone(),
            node.clone(),
            ceilings(self.config),
            held.clone(),
            metrics.clone(),
        );
        node.spawn("headroom", room);
        let sockets = metrics.shard.clone();
        let admission = Arc::clone(admission);
        let relief = relief::give(pressure, admission, inboxes.clone(), held.clone(), sockets);
        node.spawn("relief", relief);
        metrics.shard.shards.set(whole(inboxes.len()));
        let busy = busy::watch(inboxes.clone(), metrics.shard.clone(), self.end());
        node.spawn("busy", busy);
        Ok(())
    }
}

/// What bounds the sockets beside memory.
fn ceilings(config: &Config) -> Ceilings {
    Ceilings {
        configured: config.max_connections,
        descriptors: descriptors::most_sockets(config.max_handshakes),
        served: served(config),
    }
}

fn capacity(config: &Config) -> Capacity {
    Capacity {
        connections: descriptors::most_sockets(config.max_handshakes)
            .map_or(config.max_connections, |most| {
                most.min(config.max_connections)
            }),
        per_address: config.max_connections_per_address,
        accept_rate: config.accept_rate,
        // The others are for those who have yet to say what they want.
        waiting: config.max_handshakes / 2,
    }
}

pub(super) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
