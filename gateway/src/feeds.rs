//! What brings the events of Misskey hosts that publish on a bus of their own.

use broker::Error;
use std::time::Duration;

use broker::link::{LinkState, Wants};
use broker::misskey::feed::{Feed, FeedMetrics, Told};
use broker::topology::Redis;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::threads::ShardOutlet;

/// What hosts' processes told each other and nobody has looked at yet; what finds
/// no room is told as a gap.
pub(crate) const TOLD: usize = 4096;

/// How long the first sockets wait for the buses. Who comes before a bus is heard
/// has missed something once it is.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// The feeds of all hosts that have a bus.
pub(crate) fn open(
    config: &Config,
    redis: &Redis,
    wants: &Wants,
    outlets: &[ShardOutlet],
    told: &mpsc::Sender<Told>,
    metrics: &FeedMetrics,
) -> Result<Vec<Feed>, Error> {
    let boxed = |outlet: &ShardOutlet| Box::new(outlet.clone()) as _;
    let feed = |host| {
        let outlets = outlets.iter().map(boxed).collect();
        let (interval, told) = (config.probe_interval, told.clone());
        Feed::new(host, redis, wants, interval, outlets, told, metrics).transpose()
    };
    config.misskey_hosts.iter().filter_map(feed).collect()
}

/// Resolves when all buses are heard, or some have had their time.
pub(crate) async fn heard(buses: Vec<watch::Receiver<LinkState>>) {
    let all = async {
        for mut bus in buses {
            drop(bus.wait_for(|state| *state == LinkState::Up).await);
        }
    };
    drop(tokio::time::timeout(FIRST_WORD, all).await);
}
