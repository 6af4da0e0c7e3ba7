//! One api process, from its settings to its end.

use std::process::ExitCode;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use broker::access::AccessKeys;
use broker::annotation::ingest::{DeadLetters, Ingest};
use broker::annotation::store::{Annotations, Links};
use broker::census::Census;
use broker::control::Control;
use broker::identity::{AccessTokens, Authenticator};
use broker::link::LinkMetrics;
use broker::messages::Messages;
use broker::node::entrance::{BadCertificate, Entrance};
use broker::node::memory::Memory;
use broker::node::settings::Settings;
use broker::node::{Condition, Node, admin, log};
use broker::people::People;
use broker::quota::Quotas;
use broker::replicas::Replicas;
use broker::topology::Redis;
use broker::trace::Tracing;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::info;

use crate::annotations::{self, Pages, Surface};
use crate::config::{AppUrl, Config};
use crate::later::{self, Later};
use crate::metrics::Metrics;
use crate::router::{Endpoint, router};
use crate::server::{self, Door};
use crate::{Api, function, schema};

/// How often Redis is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How often the link that answers to [`Census`] come by proves to be alive.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

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
    let certificate = config.tls.as_ref();
    let certificate = certificate.map(|files| files.open(&registry, &mut secrets));
    let entrance = Entrance::new(
        config.proxy_protocol.clone(),
        certificate.transpose()?.as_ref(),
        server::HANDSHAKE_TIMEOUT,
        metrics.entrance.clone(),
    )?;
    let secrets = tokio::spawn(secrets.run());
    let redis = Redis::open(&settings.redis)?;
    redis
        .show(&registry)
        .expect("the registry shows no other one");
    let (tracing, exporting) = Tracing::start(&settings.trace, "api", node.name(), &registry)
        .expect("the registry shows no other one");
    let access_keys =
        AccessKeys::new(redis.clone(), settings.keys.clone()).with_file(config.access_keys.clone());
    let listener = listen(config.listen).await?;
    let admin_listener = listen(config.admin_listen).await?;
    info!(
        address = %listener.local_addr().map_or(config.listen, |at| at),
        admin_address = %admin_listener.local_addr().map_or(config.admin_listen, |at| at),
        "listening"
    );
    let admin = tokio::spawn(admin::serve(admin_listener, node.clone(), registry.clone()));

    let quotas = Quotas::new(redis.clone(), settings.keys.clone());
    let (served, until_served) = oneshot::channel::<()>();
    // Its last request may still ask the gateways something.
    let until_served = async move { drop(until_served.await) };
    let (census, listen_to_others) = open_census(
        &redis,
        settings,
        &access_keys,
        &quotas,
        &registry,
        until_served,
    );
    node.spawn("census", listen_to_others);

    let messages = Messages::new(
        redis.clone(),
        settings.keys.clone(),
        config.limits.of_messages(),
    )
    .counting(metrics.pushes.crowded_out.clone())
    .within(quotas.clone())
    .traced(tracing.clone());
    let replicas = Replicas::new(
        redis.clone(),
        settings.keys.clone(),
        config.replication_timeout,
    );
    let surface = surface(&config, &redis, &registry, tracing.clone());
    let schema = schema::build(Api {
        messages,
        replicas,
        quotas,
        census,
        dead_letters: DeadLetters::new(redis.clone(), settings.keys.clone()),
        people: surface.people.clone(),
        access_tokens: AccessTokens::new(redis.clone(), settings.keys.clone()),
        sites: settings.sites.clone(),
        keyring,
        public_url: config.public_url.clone(),
        limits: config.limits.clone(),
        metrics: metrics.clone(),
    });
    let endpoint = Endpoint::new(
        schema,
        access_keys,
        Ingest::new(redis.clone(), settings.keys.clone()),
        metrics.clone(),
        config.limits.body_bytes,
        node.name(),
    )
    .traced(&tracing);
    let functions = function::keep(redis.clone(), metrics.clone(), node.clone());
    node.spawn("functions", functions);
    let keys = settings.keys.clone();
    let condition = node.condition("redis");
    node.spawn("ping", watch(redis, keys, condition, node.clone()));
    let draining = node.clone();
    let until_drain = async move { draining.draining().await };
    let (memory, watching) = Memory::of_process(settings.memory)
        .watch(&node, &registry, until_drain)
        .expect("the registry shows no other one");
    node.spawn("memory", watching);
    let later = Later {
        memory,
        metrics: metrics.clone(),
    };
    let routes = router(endpoint).merge(annotations::router(surface));
    let door = Door {
        listener,
        entrance,
        max_connections: config.max_connections,
        header_timeout: server::HEADER_TIMEOUT,
    };
    let serve = server::serve(
        door,
        routes.layer(from_fn_with_state(later, later::refuse)),
        node.clone(),
        metrics,
        config.shutdown_delay,
    );
    node.spawn("server", async move {
        serve.await;
        drop(served);
    });
    node.running();
    node.draining().await;
    node.finished().await;
    secrets.abort();
    exporting.finish().await;
    admin.abort();
    Ok(node.exit_code())
}

/// What asks the gateways, and the task that hears their answers and what changed,
/// until `stop` resolves.
fn open_census(
    redis: &Redis,
    settings: &Settings,
    access_keys: &AccessKeys,
    quotas: &Quotas,
    registry: &Registry,
    stop: impl Future<Output = ()> + Send + 'static,
) -> (Census, impl Future<Output = ()> + Send + 'static) {
    let metrics = LinkMetrics::without_topics("api", registry);
    let metrics = metrics.expect("the registry has no other link");
    let (access_keys, quotas) = (access_keys.clone(), quotas.clone());
    let heard = move |control| match control {
        Control::KeyChanged { id } => access_keys.forget(&id),
        Control::QuotaChanged { tenant } => {
            if let Ok(tenant) = tenant.parse() {
                quotas.forget(&tenant);
            }
        }
        Control::RecipientStatus { .. } => {}
    };
    let (keys, node) = (&settings.keys, &settings.node);
    Census::open(redis, keys, node, PROBE_INTERVAL, metrics, heard, stop)
}

/// What answers clients that annotate.
fn surface(config: &Config, redis: &Redis, registry: &Registry, tracing: Tracing) -> Surface {
    let settings = &config.settings;
    let keys = || settings.keys.clone();
    let app = config.app_url.as_str();
    let bouncer = config.bouncer_url.as_ref().map(AppUrl::as_str);
    let links = Links::new(app, bouncer);
    Surface {
        sites: settings.sites.clone(),
        authenticator: Authenticator::new(redis.clone(), keys(), &config.auth),
        annotations: Annotations::new(redis.clone(), keys(), links),
        people: People::new(redis.clone(), keys()).with_app_url(app),
        pages: Pages::new(config.app_url.clone(), &config.public_url),
        metrics: annotations::Metrics::new(registry),
        max_body: config.limits.annotation_bytes,
        tracing,
    }
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, NotStarted> {
    TcpListener::bind(address)
        .await
        .map_err(|error| NotStarted::Listen { address, error })
}

/// Keeps the condition `redis` true to what Redis answers, until the node drains.
/// Keys laid out by another version are no passing trouble: the node fails.
async fn watch(redis: Redis, keys: broker::keys::Keys, condition: Condition, node: Node) {
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
