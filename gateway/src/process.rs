//! A gateway from its settings to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::bus::Bus;
use broker::identity::Authenticator;
use broker::keys::Keys;
use broker::link::{Link, LinkMetrics, Wants};
use broker::messages::{Limits, Messages};
use broker::misskey::feed::Feed;
use broker::node::entrance::{BadCertificate, Entrance};
use broker::node::memory::{Memory, Reading};
use broker::node::{Node, admin};
use broker::quota::{Places, Quotas};
use broker::resumption::Resumption;
use broker::sites::Sites;
use broker::topology::Redis;
use broker::trace::Tracing;
use prometheus::{IntCounter, Registry};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admission::late::Late;
use crate::admission::{Admission, Capacity};
use crate::config::Config;
use crate::dialect::Protocol;
use crate::errands::{Errands, Sources};
use crate::headroom::Ceilings;
use crate::metrics::{ErrandMetrics, Metrics};
use crate::misskey::{Ear, Misskeys};
use crate::relay::Relays;
use crate::router::Front;
use crate::shard::inbox::Inbox;
use crate::shard::{Berth, Held};
use crate::{
    busy, control, descriptors, feeds, headroom, health, leaving, relief, router, threads,
};

/// Control frames waiting to be looked at; more are dropped and counted by the link.
const ASIDES: usize = 1024;
/// How long the marks of a drained node may take. What is not written by then
/// stays pending and is sent again.
const MARKS_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes that all clients that do not read may hold together, if neither settings
/// nor a memory limit say otherwise.
const MAX_HELD: usize = 1 << 30;
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
        let measured = (metrics, link_metrics, tracing);
        let door = (listener, entrance);
        serve(config, &node, &redis, door, &registry, measured).await?;
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
    config: Config,
    node: &Node,
    redis: &Redis,
    (listener, entrance): (TcpListener, Entrance),
    registry: &Registry,
    (metrics, link_metrics, tracing): (Metrics, LinkMetrics, Tracing),
) -> Result<(), StartError> {
    let keys = &config.common.keys;
    let quotas = Quotas::new(redis.clone(), keys.clone());
    let places = Places::new(quotas.clone(), node.name());
    let messages = messages(&config, redis, metrics.errands.crowded_out.clone());
    let messages = messages.within(quotas.clone());
    let bus = Bus::new(redis.clone(), keys.clone());
    // The link and the shards know each other: wants and inboxes first.
    let (wants, errands) = (Wants::default(), Errands::default());
    let memory = Memory::of_process(config.common.memory);
    let most_held = max_held(&config, &memory);
    metrics.shard.held_limit.set(whole(most_held));
    let held = Held::new(most_held);
    let berths = threads::berths(&config, &held, &wants, &errands, &tracing, &metrics.shard);
    let berths = berths.map_err(StartError::Shard)?;
    let inboxes: Vec<_> = berths.iter().map(Berth::inbox).collect();
    let outlets = threads::outlets(node, &inboxes, &metrics.shard);
    let watched = outlets.clone();
    let (telling, told) = mpsc::channel(feeds::TOLD);
    let feeds = feeds::open(&config, redis, &wants, &outlets, &telling, &metrics.buses)?;
    let authenticator = Authenticator::new(redis.clone(), keys.clone(), &config.auth);
    let ear = Ear {
        wants: wants.clone(),
        number: inboxes.len(),
    };
    let misskeys = Misskeys::new(
        &config.misskey_hosts,
        (redis, keys),
        &authenticator,
        &inboxes,
        &ear,
        &metrics.misskey,
    )?;
    let to_shards = outlets.into_iter().map(|outlet| Box::new(outlet) as _);
    let (aside, asides) = mpsc::channel(ASIDES);
    let link = Link::new(
        redis,
        keys,
        node.name(),
        config.probe_interval,
        to_shards.chain([Box::new(misskeys.clone()) as _]).collect(),
        vec![keys.control_channel()],
        aside,
        link_metrics,
    )
    .with_wants(wants)
    .with_known(errands.known().clone());

    // What serves sockets outlives the drain of the sockets.
    let ending = CancellationToken::new();
    let until_end = || ending.clone().cancelled_owned();
    watch_link(node, redis, &bus, &link, config.link_grace);
    node.spawn("places", places.clone().announce(until_end()));
    node.spawn("link", link.run(until_end()));
    let buses = feeds.iter().map(Feed::state).collect();
    for feed in feeds {
        let (host, state) = (Arc::clone(feed.host()), feed.state());
        let watching = misskeys.clone().watch(host, state, config.link_grace);
        node.spawn("misskey bus watch", watching);
        node.spawn("misskey bus", feed.run(until_end()));
    }
    drop(telling);
    let control = control::answer(asides, inboxes.clone(), bus, quotas);
    node.spawn("control", control);
    node.spawn("misskeys", misskeys.clone().run(told, until_end()));
    let sources = Sources {
        messages: messages.clone(),
        authenticator: authenticator.clone(),
        misskeys: misskeys.clone(),
        relays: Relays::new(config.misskey_max_relays, metrics.relays.clone()),
        resumption: Resumption::new(redis.clone(), keys.clone()),
    };
    run_errands(node, &errands, sources, &inboxes, &metrics.errands, &ending);

    feeds::heard(buses).await;
    let front = front(
        &config,
        (node, entrance),
        (messages, places),
        authenticator,
        misskeys,
        &inboxes,
        &metrics,
    );
    let admission = Arc::clone(&front.admission);
    let accepting = CancellationToken::new();
    let accept = router::serve(listener, front, accepting.clone().cancelled_owned());
    node.spawn("accept", accept);
    let (pressure, watching) = memory.watch(node, registry, until_end())?;
    let sockets = metrics.shard.clone();
    node.spawn("memory", watching);
    let ceilings = ceilings(&config);
    let room = headroom::show(
        pressure.clone(),
        node.clone(),
        ceilings,
        held.clone(),
        metrics.clone(),
    );
    node.spawn("headroom", room);
    let relief = relief::give(
        pressure,
        Arc::clone(&admission),
        inboxes.clone(),
        held,
        sockets,
    );
    node.spawn("relief", relief);
    metrics.shard.shards.set(whole(inboxes.len()));
    let busy = busy::watch(inboxes.clone(), metrics.shard.clone(), until_end());
    node.spawn("busy", busy);
    let ended = threads::start(node, berths).map_err(StartError::Shard)?;
    node.spawn("shard watch", threads::watch(node.clone(), watched));
    node.running();

    node.draining().await;
    leaving::until_noticed(node, &admission, config.shutdown_delay).await;
    accepting.cancel();
    let draining = leaving::drain(
        node,
        &admission,
        &inboxes,
        config.drain_window,
        leaving::LAST_CALL,
        ended,
    );
    leaving::watch_remaining(draining, &metrics).await;
    settle(&errands).await;
    ending.cancel();
    Ok(())
}

/// Shows how the link is, and has gateways hear of each other's.
fn watch_link(node: &Node, redis: &Redis, bus: &Bus, link: &Link, grace: Duration) {
    let (better, elsewhere) = watch::channel(false);
    let health = health::watch(node.clone(), redis.clone(), link.state(), elsewhere, grace);
    node.spawn("health", health);
    let announcing = health::announce(node.clone(), bus.clone(), link.state(), better);
    node.spawn("announcements", announcing);
}

/// Has errands run, and deliveries noted, until `ending`.
fn run_errands(
    node: &Node,
    errands: &Errands,
    sources: Sources,
    inboxes: &[Arc<Inbox>],
    counted: &ErrandMetrics,
    ending: &CancellationToken,
) {
    let until_end = || ending.clone().cancelled_owned();
    let messages = sources.messages.clone();
    let marking = errands.clone();
    let marking = marking.write_marks(messages, counted.clone(), until_end());
    node.spawn("marks", marking);
    let errands = errands.clone();
    let running = errands.run(sources, inboxes.to_vec(), counted.clone(), until_end());
    node.spawn("errands", running);
}

/// What requests are answered from.
fn front(
    config: &Config,
    (node, entrance): (&Node, Entrance),
    (messages, places): (Messages, Places),
    authenticator: Authenticator,
    misskeys: Misskeys,
    inboxes: &[Arc<Inbox>],
    metrics: &Metrics,
) -> Arc<Front> {
    let capacity = capacity(config);
    metrics.admission.limit.set(whole(capacity.connections));
    let handshakes = whole(config.max_handshakes);
    metrics.admission.handshakes_limit.set(handshakes);
    let keyring = config.token_keys.clone();
    Arc::new(Front {
        node: node.clone(),
        keyring: keyring.expect("a gateway without keys does not start"),
        messages,
        sites: config.common.sites.clone(),
        authenticator,
        misskeys,
        origins: config.origins.clone(),
        strict: config.hypothesis_strict,
        late: Late::new(config.max_handshakes / 4),
        places,
        admission: Admission::new(capacity, metrics.admission.clone()),
        entrance,
        trusted_proxies: config.trusted_proxies.clone(),
        shards: inboxes.to_vec(),
        max_handshakes: config.max_handshakes,
        handshake_timeout: config.handshake_timeout,
        metrics: metrics.admission.clone(),
    })
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

fn messages(config: &Config, redis: &Redis, crowded_out: IntCounter) -> Messages {
    let limits = Limits {
        pending: config.max_pending,
        retention: config.retention,
        global_default_life: config.global_life,
        ..Limits::default()
    };
    Messages::new(redis.clone(), config.common.keys.clone(), limits).counting(crowded_out)
}

/// What all clients that do not read may hold together.
fn max_held(config: &Config, memory: &Memory) -> usize {
    let of_limit = |reading: Reading| usize::try_from(reading.limit / 4).unwrap_or(usize::MAX);
    let or = || memory.read().map_or(MAX_HELD, of_limit);
    config.max_held.unwrap_or_else(or)
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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
