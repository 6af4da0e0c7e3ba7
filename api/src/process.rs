//! One api process, from its settings to its end.

mod parts;

use std::process::ExitCode;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use broker::keys::Keys;
use broker::node::entrance::{BadCertificate, Entrance};
use broker::node::memory::{Memory, Pressure};
use broker::node::secrets::SecretFiles;
use broker::node::{Condition, Node, admin, log};
use broker::topology::Redis;
use broker::trace::Tracing;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::sync::watch::Receiver;
use tracing::info;

use self::parts::Parts;
use crate::config::Config;
use crate::function;
use crate::later::{self, Later};
use crate::metrics::Metrics;
use crate::server::{self, Door};

/// How often Redis is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Why an api process could not begin.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// Redis cannot be used.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The certificate for callers cannot be shown.
    #[error("the certificate in CARILLON_API_TLS_CERT_FILE cannot be shown: {0}")]
    Certificate(#[from] BadCertificate),
    /// Settings that were not checked before.
    #[error("CARILLON_TOKEN_KEYS must be set")]
    NoTokenKeys,
}

/// Serves until the process is told to end.
///
/// # Errors
/// If it cannot begin.
pub async fn run(config: Config) -> Result<ExitCode, NotStarted> {
    let settings = &config.settings;
    log::init(settings.log_format, settings.log.as_str());
    let keyring = config.token_keys.clone().ok_or(NotStarted::NoTokenKeys)?;
    let node = Node::new("api", settings.node.clone());
    node.on_signals();
    let registry = Registry::new();
    let metrics = Metrics::new(&registry);
    let secrets = config.secrets(&registry);
    let mut secrets = secrets.expect("the registry shows no other ones");
    let entrance = entrance(&config, &metrics, &registry, &mut secrets)?;
    let secrets = tokio::spawn(secrets.run());
    let redis = Redis::open(&settings.redis)?;
    redis
        .show(&registry)
        .expect("the registry shows no other one");
    let (tracing, exporting) = Tracing::start(&settings.trace, "api", node.name(), &registry)
        .expect("the registry shows no other one");
    let listener = listen(config.listen).await?;
    let admin_listener = listen(config.admin_listen).await?;
    info!(
        address = %listener.local_addr().map_or(config.listen, |at| at),
        admin_address = %admin_listener.local_addr().map_or(config.admin_listen, |at| at),
        "listening"
    );
    let admin = tokio::spawn(admin::serve(admin_listener, node.clone(), registry.clone()));

    let parts = Parts {
        config,
        keyring,
        node: node.clone(),
        registry,
        metrics,
        redis,
        tracing,
    };
    parts.serve(listener, entrance);
    node.running();
    node.draining().await;
    node.finished().await;
    secrets.abort();
    exporting.finish().await;
    admin.abort();
    Ok(node.exit_code())
}

/// What callers pass before their first request.
fn entrance(
    config: &Config,
    metrics: &Metrics,
    registry: &Registry,
    secrets: &mut SecretFiles,
) -> Result<Entrance, NotStarted> {
    let certificate = config.tls.as_ref();
    let certificate = certificate.map(|files| files.open(registry, secrets));
    Ok(Entrance::new(
        config.proxy_protocol.clone(),
        certificate.transpose()?.as_ref(),
        server::HANDSHAKE_TIMEOUT,
        metrics.entrance.clone(),
    )?)
}

impl Parts {
    /// Starts what serves callers, and what has to go on beside it.
    fn serve(&self, listener: TcpListener, entrance: Entrance) {
        let (served, until_served) = oneshot::channel::<()>();
        // Its last request may still ask the gateways something.
        let routes = self.routes(async move { drop(until_served.await) });
        let functions = function::keep(self.redis.clone(), self.metrics.clone(), self.node.clone());
        self.node.spawn("functions", functions);
        self.watch_redis();
        let later = Later {
            memory: self.watch_memory(),
            metrics: self.metrics.clone(),
        };
        let door = Door {
            listener,
            entrance,
            max_connections: self.config.max_connections,
            header_timeout: server::HEADER_TIMEOUT,
        };
        let serve = server::serve(
            door,
            routes.layer(from_fn_with_state(later, later::refuse)),
            self.node.clone(),
            self.metrics.clone(),
            self.config.shutdown_delay,
        );
        self.node.spawn("server", async move {
            serve.await;
            drop(served);
        });
    }

    /// Keeps the condition `redis` true.
    fn watch_redis(&self) {
        let condition = self.node.condition("redis");
        let watching = watch(
            self.redis.clone(),
            self.keys(),
            condition,
            self.node.clone(),
        );
        self.node.spawn("ping", watching);
    }

    /// How much memory there is, as it is kept true until the node drains.
    fn watch_memory(&self) -> Receiver<Pressure> {
        let draining = self.node.clone();
        let until_drain = async move { draining.draining().await };
        let (memory, watching) = Memory::of_process(self.config.settings.memory)
            .watch(&self.node, &self.registry, until_drain)
            .expect("the registry shows no other one");
        self.node.spawn("memory", watching);
        memory
    }
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, NotStarted> {
    TcpListener::bind(address)
        .await
        .map_err(|error| NotStarted::Listen { address, error })
}

/// Keeps the condition `redis` true to what Redis answers, until the node drains.
/// Keys laid out by another version are no passing trouble: the node fails.
async fn watch(redis: Redis, keys: Keys, condition: Condition, node: Node) {
    let mut checked = false;
    let mut ticks = tokio::time::interval(PING_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while node.until_drain(ticks.tick()).await.is_some() {
        let answer = if checked {
            redis.ping().await
        } else {
            redis.check_schema(&keys).await
        };
        match answer {
            Ok(()) => {
                checked = true;
                condition.up();
            }
            Err(error @ broker::Error::Schema { .. }) => return node.fail(&error.to_string()),
            Err(error) => condition.down(error.to_string()),
        }
    }
}
