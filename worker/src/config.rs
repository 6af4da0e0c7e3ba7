//! What can be set for a worker.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use broker::message::rules::Rules;
use broker::messages::Limits;
use broker::node::env::{Bytes, Env, Files, List, Period};
use broker::node::settings::Settings;
use broker::topic::Tenant;

/// A worker's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that every process has.
    pub settings: Settings,
    /// `CARILLON_WORKER_ADMIN_LISTEN`, default `127.0.0.1:9103`: where operators
    /// ask `/live`, `/ready` and `/metrics`. Not public unless told so.
    pub admin_listen: SocketAddr,
    /// `CARILLON_WORKER_SWEEP_INTERVAL`, default `1s`: how often expired
    /// messages are looked for. With the grace it bounds how long one may stay
    /// pending: six seconds of the ten that are promised.
    pub sweep_interval: Duration,
    /// `CARILLON_WORKER_SWEEP_GRACE`, default `5s`: how long after its expiry a
    /// message is cancelled, so that the mark of a frame that was flushed just
    /// in time still counts. Longer than a gateway takes to mark.
    pub sweep_grace: Duration,
    /// `CARILLON_WORKER_RELEASE_INTERVAL`, default `500ms`: how often scheduled
    /// messages that are due are looked for; so late one is sent at most.
    pub release_interval: Duration,
    /// `CARILLON_WORKER_TRIM_INTERVAL`, default `60s`: how often what is past its
    /// retention is removed. Nobody reads it any more, so this is only memory.
    pub trim_interval: Duration,
    /// `CARILLON_WORKER_CLAIM_AFTER`, default `30s`: how long after it was taken
    /// an entry of an ingest stream that is still there is taken over from a
    /// worker that must have died. Longer than publishing a batch takes.
    pub claim_after: Duration,
    /// `CARILLON_WORKER_TENANTS`, default empty: tenants whose ingest streams are
    /// read beside those of the tenants that have a site, separated by commas.
    pub tenants: Vec<Tenant>,
    /// `CARILLON_MAX_MESSAGE_BYTES`, default `64KiB`, and
    /// `CARILLON_MAX_RECIPIENTS`, default `1000`: what a push may ask for that
    /// was added to a stream, the same as of the api.
    pub rules: Rules,
    /// `CARILLON_MAX_PENDING`, default `1000`, `CARILLON_GLOBAL_LIFE`, default
    /// `24h`, and `CARILLON_IDEMPOTENCY`, default `24h`, as in the api; and
    /// `CARILLON_RETENTION`, default `30d`: how long after its creation a message
    /// can be read. The same for api, gateway and worker, or some would remove
    /// what others still show.
    pub limits: Limits,
    /// The files that secrets were read from, to be watched.
    pub files: Files,
}

impl Config {
    /// Reads them.
    pub fn read(env: &mut Env) -> Self {
        let settings = Settings::read(env);
        let admin_listen = admin_listen(env);
        let mut period = |name, default| {
            let Period(period) = env.get(name, default);
            if period.is_zero() {
                env.complain(format!("{name}: must be longer than nothing"));
            }
            period
        };
        let sweep_interval = period("CARILLON_WORKER_SWEEP_INTERVAL", "1s");
        let release_interval = period("CARILLON_WORKER_RELEASE_INTERVAL", "500ms");
        let trim_interval = period("CARILLON_WORKER_TRIM_INTERVAL", "60s");
        let claim_after = period("CARILLON_WORKER_CLAIM_AFTER", "30s");
        let retention = period("CARILLON_RETENTION", "30d");
        let idempotency = period("CARILLON_IDEMPOTENCY", "24h");
        let pending: NonZeroUsize = env.get("CARILLON_MAX_PENDING", "1000");
        let Period(global_default_life) = env.get("CARILLON_GLOBAL_LIFE", "24h");
        let Bytes(text) = env.get("CARILLON_MAX_MESSAGE_BYTES", "64KiB");
        let recipients = env.get("CARILLON_MAX_RECIPIENTS", "1000");
        let List(tenants) = env.get("CARILLON_WORKER_TENANTS", "");
        Self {
            settings,
            admin_listen,
            sweep_interval,
            sweep_grace: env
                .get::<Period>("CARILLON_WORKER_SWEEP_GRACE", "5s")
                .into(),
            release_interval,
            trim_interval,
            claim_after,
            tenants,
            rules: Rules {
                text,
                recipients,
                retention,
            },
            limits: Limits {
                pending: pending.get(),
                retention,
                global_default_life,
                idempotency,
            },
            files: env.files(),
        }
    }
}

/// Where operators look.
pub fn admin_listen(env: &mut Env) -> SocketAddr {
    env.get("CARILLON_WORKER_ADMIN_LISTEN", "127.0.0.1:9103")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_needs_no_settings() {
        let mut env = Env::from_pairs::<&str, &str>([]);
        let config = Config::read(&mut env);
        assert_eq!(env.finish(), Ok(()));
        let pending_after_expiry = config.sweep_interval + config.sweep_grace;
        assert!(pending_after_expiry < Duration::from_secs(10));
    }

    #[test]
    fn an_interval_of_nothing_is_a_mistake_and_a_grace_of_nothing_is_not() {
        let pairs = [
            ("CARILLON_WORKER_SWEEP_INTERVAL", "0"),
            ("CARILLON_WORKER_SWEEP_GRACE", "0"),
            ("CARILLON_RETENTION", "0s"),
        ];
        let mut env = Env::from_pairs(pairs);
        Config::read(&mut env);
        let mistakes = env.finish().unwrap_err().to_string();
        assert!(mistakes.contains("SWEEP_INTERVAL"), "{mistakes}");
        assert!(mistakes.contains("RETENTION"), "{mistakes}");
        assert!(!mistakes.contains("GRACE"), "{mistakes}");
    }
}
