//! What an api process serves, put together from what all of it is made of.

use std::time::Duration;

use axum::Router;
use broker::access::AccessKeys;
use broker::annotation::ingest::{DeadLetters, Ingest};
use broker::annotation::store::{Annotations, Links};
use broker::census::Census;
use broker::control::Control;
use broker::identity::{AccessTokens, Authenticator};
use broker::keys::Keys;
use broker::link::LinkMetrics;
use broker::messages::Messages;
use broker::node::Node;
use broker::people::People;
use broker::quota::Quotas;
use broker::replicas::Replicas;
use broker::token::Keyring;
use broker::topology::Redis;
use broker::trace::Tracing;
use prometheus::Registry;

use crate::annotations::{self, Pages, Surface};
use crate::config::{AppUrl, Config};
use crate::metrics::Metrics;
use crate::router::{Endpoint, router};
use crate::{Api, schema};

/// How often the link that answers to [`Census`] come by proves to be alive.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// What all of a process is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) keyring: Keyring,
    pub(super) node: Node,
    pub(super) registry: Registry,
    pub(super) metrics: Metrics,
    pub(super) redis: Redis,
    pub(super) tracing: Tracing,
}

impl Parts {
    /// All that is served. It may ask the gateways until `served` resolves.
    pub(super) fn routes(&self, served: impl Future<Output = ()> + Send + 'static) -> Router {
        let access_keys = AccessKeys::new(self.redis.clone(), self.keys())
            .with_file(self.config.access_keys.clone());
        let quotas = Quotas::new(self.redis.clone(), self.keys());
        let census = self.census(&access_keys, &quotas, served);
        let surface = self.surface();
        let schema = schema::build(self.api(quotas, census, surface.people.clone()));
        let endpoint = Endpoint::new(
            schema,
            access_keys,
            Ingest::new(self.redis.clone(), self.keys()),
            self.metrics.clone(),
            self.config.limits.body_bytes,
            self.node.name(),
        )
        .traced(&self.tracing);
        router(endpoint).merge(annotations::router(surface))
    }

    /// What asks the gateways, and hears their answers and what changed until `stop`
    /// resolves.
    fn census(
        &self,
        access_keys: &AccessKeys,
        quotas: &Quotas,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Census {
        let metrics = LinkMetrics::without_topics("api", &self.registry);
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
        let (keys, node) = (&self.config.settings.keys, &self.config.settings.node);
        let (census, listening) = Census::open(
            &self.redis,
            keys,
            node,
            PROBE_INTERVAL,
            metrics,
            heard,
            stop,
        );
        self.node.spawn("census", listening);
        census
    }

    /// What resolvers work with.
    fn api(&self, quotas: Quotas, census: Census, people: People) -> Api {
        let (redis, config) = (|| self.redis.clone(), &self.config);
        let messages = Messages::new(redis(), self.keys(), config.limits.of_messages())
            .counting(self.metrics.pushes.crowded_out.clone())
            .within(quotas.clone())
            .traced(self.tracing.clone());
        Api {
            messages,
            replicas: Replicas::new(redis(), self.keys(), config.replication_timeout),
            quotas,
            census,
            dead_letters: DeadLetters::new(redis(), self.keys()),
            people,
            access_tokens: AccessTokens::new(redis(), self.keys()),
            sites: config.settings.sites.clone(),
            keyring: self.keyring.clone(),
            public_url: config.public_url.clone(),
            limits: config.limits.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// What answers clients that annotate.
    fn surface(&self) -> Surface {
        let (redis, config) = (|| self.redis.clone(), &self.config);
        let app = config.app_url.as_str();
        let bouncer = config.bouncer_url.as_ref().map(AppUrl::as_str);
        let links = Links::new(app, bouncer);
        Surface {
            sites: config.settings.sites.clone(),
            authenticator: Authenticator::new(redis(), self.keys(), &config.auth),
            annotations: Annotations::new(redis(), self.keys(), links),
            people: People::new(redis(), self.keys()).with_app_url(app),
            pages: Pages::new(config.app_url.clone(), &config.public_url),
            metrics: annotations::Metrics::new(&self.registry),
            max_body: config.limits.annotation_bytes,
            tracing: self.tracing.clone(),
        }
    }

    /// How things are named in Redis.
    pub(super) fn keys(&self) -> Keys {
        self.config.settings.keys.clone()
    }
}
