//! The Misskey hosts that a gateway serves: their users, and what their buses bring.

use std::sync::Arc;

use broker::Error;
use broker::identity::Authenticator;
use broker::link::LinkState;
use broker::misskey::feed::{Feed, Told};
use tokio::sync::{mpsc, watch};

use super::assembly::Assembly;
use super::shards::Shards;
use crate::feeds;
use crate::misskey::{Ear, Misskeys};

/// All hosts, nothing of which is heard yet.
pub(super) struct Hosts {
    pub(super) misskeys: Misskeys,
    feeds: Vec<Feed>,
    /// What their processes tell each other.
    told: mpsc::Receiver<Told>,
}

impl Hosts {
    /// # Errors
    /// If another Redis of a host is of a kind that is not served.
    pub(super) fn open(
        assembly: &Assembly<'_>,
        authenticator: &Authenticator,
        shards: &Shards,
    ) -> Result<Self, Error> {
        let Assembly { config, redis, .. } = *assembly;
        let metrics = assembly.metrics;
        let Shards { wants, outlets, .. } = shards;
        let (telling, told) = mpsc::channel(feeds::TOLD);
        let feeds = feeds::open(config, redis, wants, outlets, &telling, &metrics.buses)?;
        let ear = Ear {
            wants: wants.clone(),
            number: shards.inboxes.len(),
        };
        let misskeys = Misskeys::new(
            &config.misskey_hosts,
            (redis, &config.common.keys),
            authenticator,
            &shards.inboxes,
            &ear,
            &metrics.misskey,
        )?;
        Ok(Self {
            misskeys,
            feeds,
            told,
        })
    }

    /// Listens to them until the end; how the bus of each is.
    pub(super) fn start(self, assembly: &Assembly<'_>) -> Vec<watch::Receiver<LinkState>> {
        let Assembly { config, node, .. } = *assembly;
        let buses = self.feeds.iter().map(Feed::state).collect();
        for feed in self.feeds {
            let (host, state) = (Arc::clone(feed.host()), feed.state());
            let misskeys = self.misskeys.clone();
            let watching = misskeys.watch(host, state, config.link_grace);
            node.spawn("misskey bus watch", watching);
            node.spawn("misskey bus", feed.run(assembly.end()));
        }
        let running = self.misskeys.run(self.told, assembly.end());
        node.spawn("misskeys", running);
        buses
    }
}
