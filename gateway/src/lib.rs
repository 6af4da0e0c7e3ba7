//! The process that holds the sockets.
//!
//! In reading order: the bytes ([`websocket`]), the protocols ([`dialect`]) and
//! what surrounds one ([`session`], [`close`], [`client`]), the threads that own
//! sockets ([`shard`], [`hub`]), what takes time ([`errands`], [`mailbox`]), who
//! is let in ([`admission`], [`client_address`], [`router`]), and the process
//! ([`config`], [`metrics`], [`health`], [`control`], [`run`]).

pub mod admission;
pub mod client;
pub mod client_address;
pub mod close;
pub mod config;
pub mod control;
mod descriptors;
pub mod dialect;
pub mod errands;
pub mod health;
pub mod hub;
pub mod mailbox;
pub mod metrics;
pub mod router;
pub mod session;
pub mod shard;
pub mod websocket;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use broker::bus::Bus;
use broker::link::{Batch, Link, LinkMetrics, Outlet};
use broker::messages::{Limits, Messages};
use broker::node::{Node, admin};
use broker::topology::Redis;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admission::{Admission, Capacity};
use crate::config::Config;
use crate::errands::Errands;
use crate::metrics::Metrics;
use crate::router::Front;
use crate::session::SessionLimits;
use crate::shard::inbox::{Inbox, Mail};
use crate::shard::{Berth, ShardSettings};

/// Control frames waiting to be looked at; more are dropped and counted by the link.
const ASIDES: usize = 1024;
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
    Listen(std::net::SocketAddr, std::io::Error),
    /// What is in Redis, or Redis itself, cannot be used.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// A metric exists twice.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The system gives no thread or poll.
    #[error("cannot start a shard: {0}")]
    Shard(std::io::Error),
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
    let metrics = Metrics::register(&registry)?;
    let link_metrics = LinkMetrics::register("gateway", &registry)?;
    let admin = tokio::spawn(admin::serve(admin_listener, node.clone(), registry));
    if let (Ok(address), Ok(admin_address)) = addresses {
        info!(%address, %admin_address, "listening");
    }

    let (redis, keys) = (
        Redis::open(&config.common.redis)?,
        config.common.keys.clone(),
    );
    if node
        .until_drain(reach(&redis, &keys))
        .await
        .transpose()?
        .is_none()
    {
        return Ok(());
    }
    let limits = Limits {
        pending: config.max_pending,
        retention: config.retention,
        ..Limits::default()
    };
    let messages = Messages::new(redis.clone(), keys.clone(), limits);
    let bus = Bus::new(redis.clone(), keys.clone());

    // The link and the shards know each other: inboxes first.
    let errands = Errands::default();
    let asides = mpsc::channel(ASIDES);
    let wants = broker::link::Wants::default();
    let berths = berths(&config, &wants, &errands, &metrics)?;
    let inboxes: Vec<_> = berths.iter().map(Berth::inbox).collect();
    let link = Link::new(
        &redis,
        &keys,
        node.name(),
        config.probe_interval,
        inboxes.iter().map(outlet).collect(),
        vec![keys.control_channel()],
        asides.0,
        link_metrics,
    )
    .with_wants(wants);

    // What serves sockets outlives the drain of the sockets.
    let ending = CancellationToken::new();
    let until_end = || ending.clone().cancelled_owned();
    node.spawn(
        "health",
        health::watch(node.clone(), redis.clone(), link.state(), config.link_grace),
    );
    node.spawn("announcements", health::announce(node.clone(), bus.clone()));
    node.spawn("link", link.run(until_end()));
    node.spawn("control", control::answer(asides.1, inboxes.clone(), bus));
    let serving = (messages.clone(), inboxes.clone(), metrics.errands.clone());
    node.spawn(
        "errands",
        errands
            .clone()
            .run(serving.0, serving.1, serving.2, until_end()),
    );
    let marks = errands
        .clone()
        .write_marks(messages.clone(), metrics.errands.clone(), until_end());
    node.spawn("marks", marks);

    let capacity = capacity(&config);
    metrics
        .admission
        .limit
        .set(i64::try_from(capacity.connections).unwrap_or(i64::MAX));
    let front = Arc::new(Front {
        node: node.clone(),
        keyring: config
            .token_keys
            .expect("a gateway without keys does not start"),
        messages,
        admission: Admission::new(capacity),
        trusted_proxies: config.trusted_proxies,
        shards: inboxes.clone(),
        max_handshakes: config.max_handshakes,
        handshake_timeout: config.handshake_timeout,
        metrics: metrics.admission.clone(),
    });
    let accepting = CancellationToken::new();
    node.spawn(
        "accept",
        router::serve(listener, front, accepting.clone().cancelled_owned()),
    );
    let ended = start(&node, berths)?;
    node.running();

    node.draining().await;
    pause(&node, config.shutdown_delay).await;
    accepting.cancel();
    let remaining = drain(&node, &inboxes, config.drain_window, ended);
    watch_remaining(remaining, &metrics).await;
    errands.finish();
    if tokio::time::timeout(MARKS_TIMEOUT, errands.all_settled())
        .await
        .is_err()
    {
        warn!("not all deliveries could be noted; their messages will be sent again");
    }
    ending.cancel();
    node.finished().await;
    admin.abort();
    Ok(())
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen(address, error))
}

/// Waits for Redis, and checks that it holds what this version understands.
async fn reach(redis: &Redis, keys: &broker::keys::Keys) -> Result<(), broker::Error> {
    loop {
        match redis.check_schema(keys).await {
            Ok(()) => return Ok(()),
            Err(error @ broker::Error::Schema { .. }) => return Err(error),
            Err(error) => warn!(%error, "redis cannot be reached yet"),
        }
        tokio::time::sleep(START_RETRY).await;
    }
}

fn outlet(inbox: &Arc<Inbox>) -> Outlet {
    let inbox = Arc::clone(inbox);
    Box::new(move |batch: Batch| inbox.send(Mail::Batch(batch)))
}

fn berths(
    config: &Config,
    wants: &broker::link::Wants,
    errands: &Errands,
    metrics: &Metrics,
) -> Result<Vec<Berth>, StartError> {
    let settings = ShardSettings {
        session: SessionLimits {
            frames_per_second: config.frames_per_second,
            heartbeat: config.heartbeat,
        },
        max_frame: config.max_frame,
        max_queue: config.max_queue,
    };
    let count = match config.shards {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let berth = |number| {
        Berth::new(
            number,
            settings,
            wants.clone(),
            errands.clone(),
            metrics.shard.clone(),
        )
    };
    (0..count.min(64))
        .map(berth)
        .collect::<Result<_, _>>()
        .map_err(StartError::Shard)
}

/// Gives each shard its thread; each receiver resolves when its shard has ended.
fn start(node: &Node, berths: Vec<Berth>) -> Result<Vec<oneshot::Receiver<()>>, StartError> {
    let mut ended = Vec::new();
    for (number, berth) in berths.into_iter().enumerate() {
        let (end, ending) = oneshot::channel();
        let (watch, node) = (node.watch("shard"), node.clone());
        thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || {
                let _watch = watch;
                if let Err(error) = berth.run() {
                    error!(%error, "a shard's poll failed");
                    node.fail("a shard has ended");
                }
                let _ = end.send(());
            })
            .map_err(StartError::Shard)?;
        ended.push(ending);
    }
    Ok(ended)
}

fn capacity(config: &Config) -> Capacity {
    Capacity {
        connections: descriptors::most_sockets(config.max_handshakes)
            .map_or(config.max_connections, |most| {
                most.min(config.max_connections)
            }),
        per_address: config.max_connections_per_address,
        accept_rate: config.accept_rate,
    }
}

/// Waits, unless the node is told to hurry.
async fn pause(node: &Node, delay: Duration) {
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = node.hurrying() => {}
    }
}

/// Has all sockets closed over the window, or at once if the node hurries.
async fn drain(
    node: &Node,
    inboxes: &[Arc<Inbox>],
    window: Duration,
    ended: Vec<oneshot::Receiver<()>>,
) {
    let begin = |window| {
        inboxes
            .iter()
            .for_each(|inbox| inbox.send(Mail::Drain(window)));
    };
    begin(window);
    let all_ended = async {
        for end in ended {
            // A shard whose thread is gone has ended too.
            let _ = end.await;
        }
    };
    let mut all_ended = std::pin::pin!(all_ended);
    tokio::select! {
        () = &mut all_ended => return,
        () = node.hurrying() => begin(Duration::ZERO),
    }
    all_ended.await;
}

/// Shows how many sockets are left while they are being closed.
async fn watch_remaining(draining: impl Future<Output = ()>, metrics: &Metrics) {
    let mut draining = std::pin::pin!(draining);
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        metrics.drain_remaining.set(metrics.shard.connections.get());
        tokio::select! {
            () = &mut draining => break,
            _ = ticks.tick() => {}
        }
    }
    metrics.drain_remaining.set(0);
}
