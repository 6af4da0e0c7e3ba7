//! A gateway from its settings to its end.

mod assembly;
mod stores;
mod shards;
mod hosts;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::keys::Keys;
use broker::link::LinkMetrics;
use broker::node::entrance::{BadCertificate, Entrance};
use broker::node::memory::Memory;
use broker::node::{Node, admin};
use broker::sites::Sites;
use broker::topology::Redis;
use broker::trace::Tracing;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::assembly::Assembly;
use self::hosts::Hosts;
use self::shards::Shards;
use self::stores::Stores;
use crate::config::Config;
use crate::dialect::Protocol;
use crate::errands::Errands;
use crate::metrics::Metrics;
use crate::{feeds, leaving, router, threads};

/// How long the marks of a drained node may take. What is not written by then
/// stays pending and is sent again.
const MARKS_TIMEOUT: Duration = Duration::from_secs(8);
/// Pause between attempts to reach Redis at the start.
const START_RETRY: Duration = Duration::from_millis(500);

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// What is in Redis, or Redis itself, cannot be used.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// A metric exists twice.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The certificate for clients cannot be shown.
    #[error("the certificate in CARILLON_GATEWAY_TLS_CERT_FILE cannot be shown: {0}")]
    Certificate(#[from] BadCertificate),
    /// The system gives no thread or poll.
    #[error("cannot start a shard: {0}")]
    Shard(io::Error),
}

/// Lives as a gateway until it has been drained.
///
/// # Errors
/// If it cannot start.
pub async fn run(config: Config, node: Node) -> Result<(), StartError> {
    let listener = listen(config.listen).await?;
    let admin_listener = listen(config.admin_listen).await?;
    let addresses = (listener.local_addr(), admin_listener.local_addr());
    let registry = Registry::new();
    let metrics = Metrics::of(&served(&config), &registry)?;
    let link_metrics = LinkMetrics::register("gateway", &registry)?;
    let mut secrets = config.secrets(&registry)?;
    let certificate = config.tls.as_ref();
    let certificate = certificate.map(|files| files.open(&registry, &mut secrets));
    let entrance = Entrance::new(
        config.proxy_protocol.clone(),
        certificate.transpose()?.as_ref(),
        config.handshake_timeout,
        metrics.admission.entrance.clone(),
    )?;
    let admin = tokio::spawn(admin::serve(admin_listener, node.clone(), registry.clone()));
    if let (Ok(address), Ok(admin_address)) = addresses {
        info!(%address, %admin_address, "listening");
    }
    let secrets = tokio::spawn(secrets.run());
    let trace = &config.common.trace;
    let (tracing, exporting) = Tracing::start(trace, node.role(), node.name(), &registry)?;
    let redis = Redis::open(&config.common.redis)?;
    redis.show(&registry)?;
    let reached = node.until_drain(reach(&redis, &config.common.keys)).await;
    if reached.transpose()?.is_some() {
        let assembly = Assembly {
            config: &config,
            node: &node,
            redis: &redis,
            registry: &registry,
            metrics: &metrics,
            ending: CancellationToken::new(),
        };
        serve(assembly, (listener, entrance), link_metrics, &tracing).await?;
    }
    node.finished().await;
    secrets.abort();
    exporting.finish().await;
    admin.abort();
    Ok(())
}

/// The dialects that the settings have served: annotations where there are sites, and
/// notes where there is a Misskey.
fn served(config: &Config) -> Vec<Protocol> {
    let mut served = vec![Protocol::Push];
    if config.common.sites != Sites::default() {
        served.push(Protocol::Hypothesis);
    }
    if config.misskey_hosts.iter().next().is_some() {
        served.push(Protocol::Misskey);
    }
    served
}

/// Serves clients until the node has been drained.
async fn serve(
    assembly: Assembly<'_>,
    (listener, entrance): (TcpListener, Entrance),
    link_metrics: LinkMetrics,
    tracing: &Tracing,
) -> Result<(), StartError> {
    let Assembly { config, node, .. } = assembly;
    let stores = Stores::new(&assembly);
    let memory = Memory::of_process(config.common.memory);
    let shards = Shards::new(&assembly, &memory, tracing)?;
    let hosts = Hosts::open(&assembly, &stores.authenticator, &shards)?;
    let misskeys = hosts.misskeys.clone();

    node.spawn("places", stores.places.clone().announce(assembly.end()));
    assembly.start_link(link_metrics, &stores, &shards, &misskeys);
    let buses = hosts.start(&assembly);
    assembly.start_errands(&stores, &shards, &misskeys);

    feeds::heard(buses).await;
    let front = assembly.front(entrance, stores, misskeys, &shards);
    let admission = Arc::clone(&front.admission);
    let accepting = CancellationToken::new();
    let accept = router::serve(listener, front, accepting.clone().cancelled_owned());
    // Before anybody comes: there may be no room from the start.
    assembly.watch_room(memory, &admission, &shards)?;
    node.spawn("accept", accept);
    let Shards {
        berths,
        inboxes,
        outlets,
        errands,
        ..
    } = shards;
    let ended = threads::start(node, berths).map_err(StartError::Shard)?;
    node.spawn("shard watch", threads::watch(node.clone(), outlets));
    node.running();

    node.draining().await;
    leaving::until_noticed(node, &admission, config.shutdown_delay).await;
    accepting.cancel();
    let (window, last_call) = (config.drain_window, leaving::LAST_CALL);
    let draining = leaving::drain(node, &admission, &inboxes, window, last_call, ended);
    leaving::watch_remaining(draining, assembly.metrics).await;
    settle(&errands).await;
    assembly.ending.cancel();
    Ok(())
}

/// Waits until the deliveries of a drained node are noted, but not for ever.
async fn settle(errands: &Errands) {
    errands.finish();
    if tokio::time::timeout(MARKS_TIMEOUT, errands.all_settled())
        .await
        .is_err()
    {
        warn!("not all deliveries could be noted; their messages will be sent again");
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen(address, error))
}

/// Waits for Redis, and checks that it holds what this version understands.
async fn reach(redis: &Redis, keys: &Keys) -> Result<(), broker::Error> {
    loop {
        match redis.check_schema(keys).await {
            Ok(()) => return Ok(()),
            Err(error @ broker::Error::Schema { .. }) => return Err(error),
            Err(error) => warn!(%error, "redis cannot be reached yet"),
        }
        tokio::time::sleep(START_RETRY).await;
    }
}
