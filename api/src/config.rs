//! What the api reads from its environment.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use broker::access::KeyFile;
use broker::identity::AuthSettings;
use broker::message::rules::Rules;
use broker::node::entrance::TlsFiles;
use broker::node::env::{BadEnv, Bytes, Env, Files, Interval, List, Period};
use broker::node::secrets::SecretFiles;
use broker::node::settings::Settings;
use broker::token::Keyring;
use ipnet::IpNet;
use prometheus::Registry;
use url::Url;

/// Settings of one api process.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every process reads.
    pub settings: Settings,
    /// `CARILLON_API_LISTEN`, default `127.0.0.1:8081`: where GraphQL and the
    /// pages are served. Port 0 takes any free one; the log says which.
    pub listen: SocketAddr,
    /// `CARILLON_API_ADMIN_LISTEN`, default `127.0.0.1:9102`: where `/live`,
    /// `/ready` and `/metrics` are served. Not for the public.
    pub admin_listen: SocketAddr,
    /// `CARILLON_API_TLS_CERT_FILE` with `CARILLON_API_TLS_KEY_FILE`, default none: the
    /// certificate that callers are shown, and its key. None: no TLS.
    pub tls: Option<TlsFiles>,
    /// `CARILLON_API_PROXY_PROTOCOL`, default empty: networks from which every
    /// connection begins with a PROXY header, separated by commas.
    pub proxy_protocol: Vec<IpNet>,
    /// `CARILLON_API_PUBLIC_URL`, default `ws://127.0.0.1:8080/`: how browsers
    /// reach the gateways; every `connectionUri` begins with it.
    pub public_url: PublicUrl,
    /// `CARILLON_API_APP_URL`, default `http://127.0.0.1:8081/`: where clients
    /// that annotate find `api/`, and the application's pages.
    pub app_url: AppUrl,
    /// `CARILLON_API_BOUNCER_URL`, default none: what shows an annotation on the
    /// page that it is on; annotations link there.
    pub bouncer_url: Option<AppUrl>,
    /// `CARILLON_TOKEN_KEYS`, required, secret: what signs recipients' tokens
    /// and `nextToken`s. The first signs, all verify, so keys can be rotated.
    pub token_keys: Option<Keyring>,
    /// `CARILLON_API_ACCESS_KEYS`, default none, secret: keys of backends beside those
    /// in Redis. In a file, which is where they are kept, they can be changed at any time.
    pub access_keys: KeyFile,
    /// Who is asked whom a user's token names.
    pub auth: AuthSettings,
    /// `CARILLON_API_MAX_CONNECTIONS`, default `4096`: open connections of
    /// callers; further ones wait to be accepted.
    pub max_connections: usize,
    /// `CARILLON_SHUTDOWN_DELAY`, default `5s`: how long a draining process
    /// still accepts, so that load balancers can notice that it leaves.
    pub shutdown_delay: Duration,
    /// `CARILLON_API_REPLICATION_TIMEOUT`, default `1s`: how long a push with
    /// `durability: REPLICATED` waits for a replica before it says that none has
    /// confirmed.
    pub replication_timeout: Duration,
    /// What a request may ask for.
    pub limits: Limits,
    /// The files that secrets were read from, to be [watched](Self::secrets).
    pub files: Files,
}

/// What a request may ask for, and for how long what it makes is kept.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `CARILLON_MAX_MESSAGE_BYTES`, default `64KiB`: longest message text.
    /// Each gateway with a listener holds it once per message in flight.
    pub message_bytes: usize,
    /// The tenant's quota, which holds instead of that.
    pub payload: Option<u32>,
    /// `CARILLON_MAX_RECIPIENTS`, default `1000`: recipients named by one
    /// call. Each costs a script run in Redis.
    pub recipients: usize,
    /// `CARILLON_API_MAX_BODY`, default `2MiB`: longest request body.
    pub body_bytes: usize,
    /// `CARILLON_API_MAX_ANNOTATION_BYTES`, default `256KiB`: longest body of a
    /// request about annotations. Each gateway with a reader holds what was
    /// annotated once per event, and each reader's queue must have room for it.
    pub annotation_bytes: usize,
    /// `CARILLON_MAX_PENDING`, default `1000`: messages that wait for one
    /// recipient; the oldest is cancelled for one more.
    pub pending: usize,
    /// `CARILLON_API_TOKEN_LIFE`, default `24h`: how long a recipient's token
    /// opens connections; at most `30d`, because that a recipient was revoked is
    /// remembered for little longer.
    pub token_life: Duration,
    /// `CARILLON_IDEMPOTENCY`, default `24h`: how long an `idempotencyKey`
    /// is remembered.
    pub idempotency: Duration,
    /// `CARILLON_RETENTION`, default `30d`: how long messages are kept, and with
    /// that how far ahead `expiresAt` may lie.
    pub retention: Duration,
    /// `CARILLON_GLOBAL_LIFE`, default `24h`: how long a global message without
    /// `expiresAt` reaches those who connect later; `0s` for not at all.
    pub global_life: Duration,
}

impl Config {
    /// Reads the settings; mistakes are told by [`Env::finish`].
    pub fn read(env: &mut Env) -> Self {
        Self {
            settings: Settings::read(env),
            listen: env.get("CARILLON_API_LISTEN", "127.0.0.1:8081"),
            admin_listen: admin_listen(env),
            tls: TlsFiles::read(
                env,
                "CARILLON_API_TLS_CERT_FILE",
                "CARILLON_API_TLS_KEY_FILE",
            ),
            proxy_protocol: env.get::<List<IpNet>>("CARILLON_API_PROXY_PROTOCOL", "").0,
            public_url: env.get("CARILLON_API_PUBLIC_URL", "ws://127.0.0.1:8080/"),
            app_url: env.get("CARILLON_API_APP_URL", "http://127.0.0.1:8081/"),
            bouncer_url: env.optional("CARILLON_API_BOUNCER_URL"),
            token_keys: env.secret().required("CARILLON_TOKEN_KEYS"),
            access_keys: access_keys(env),
            auth: AuthSettings::read(env),
            max_connections: env
                .get::<std::num::NonZeroUsize>("CARILLON_API_MAX_CONNECTIONS", "4096")
                .get(),
            shutdown_delay: period(env, "CARILLON_SHUTDOWN_DELAY", "5s"),
            replication_timeout: interval(env, "CARILLON_API_REPLICATION_TIMEOUT", "1s"),
            limits: Limits {
                message_bytes: bytes(env, "CARILLON_MAX_MESSAGE_BYTES", "64KiB"),
                payload: None,
                recipients: env.get("CARILLON_MAX_RECIPIENTS", "1000"),
                body_bytes: bytes(env, "CARILLON_API_MAX_BODY", "2MiB"),
                annotation_bytes: bytes(env, "CARILLON_API_MAX_ANNOTATION_BYTES", "256KiB"),
                pending: env
                    .get::<std::num::NonZeroUsize>("CARILLON_MAX_PENDING", "1000")
                    .get(),
                token_life: env.get::<TokenLife>("CARILLON_API_TOKEN_LIFE", "24h").0,
                idempotency: interval(env, "CARILLON_IDEMPOTENCY", "24h"),
                retention: interval(env, "CARILLON_RETENTION", "30d"),
                global_life: period(env, "CARILLON_GLOBAL_LIFE", "24h"),
            },
            files: env.files(),
        }
    }

    /// Keeps what stands in files true to them, while it runs.
    ///
    /// # Errors
    /// If `registry` shows that of another one.
    pub fn secrets(&self, registry: &Registry) -> Result<SecretFiles, prometheus::Error> {
        let mut secrets = SecretFiles::new(registry)?;
        self.settings.watch(&mut secrets, &self.files);
        self.auth.watch(&mut secrets, &self.files);
        if let Some(keys) = self.token_keys.clone() {
            keys.watch(&mut secrets, &self.files);
        }
        self.access_keys.watch(&mut secrets, &self.files);
        Ok(secrets)
    }
}

/// What must hold of a push, by this environment.
///
/// # Errors
/// If its settings cannot be used.
pub fn rules_of_environment() -> Result<Rules, BadEnv> {
    let mut env = Env::from_process();
    let _ = Settings::read(&mut env);
    let rules = Rules {
        text: bytes(&mut env, "CARILLON_MAX_MESSAGE_BYTES", "64KiB"),
        recipients: env.get("CARILLON_MAX_RECIPIENTS", "1000"),
        retention: interval(&mut env, "CARILLON_RETENTION", "30d"),
    };
    env.finish()?;
    Ok(rules)
}

impl Limits {
    /// What must hold of a push.
    pub fn rules(&self) -> Rules {
        Rules {
            text: self
                .payload
                .map_or(self.message_bytes, |bytes| bytes as usize),
            recipients: self.recipients,
            retention: self.retention,
        }
    }

    /// As the broker wants them.
    pub fn of_messages(&self) -> broker::messages::Limits {
        broker::messages::Limits {
            pending: self.pending,
            retention: self.retention,
            global_default_life: self.global_life,
            idempotency: self.idempotency,
        }
    }
}

/// Where operators look.
pub fn admin_listen(env: &mut Env) -> SocketAddr {
    env.get("CARILLON_API_ADMIN_LISTEN", "127.0.0.1:9102")
}

/// Keys of backends that do not stand in Redis.
pub fn access_keys(env: &mut Env) -> KeyFile {
    let keys = env.secret().optional(KeyFile::VARIABLE);
    keys.unwrap_or_default()
}

fn period(env: &mut Env, name: &'static str, default: &str) -> Duration {
    env.get::<Period>(name, default).0
}

fn interval(env: &mut Env, name: &'static str, default: &str) -> Duration {
    env.get::<Interval>(name, default).0
}

fn bytes(env: &mut Env, name: &'static str, default: &str) -> usize {
    env.get::<Bytes>(name, default).0
}

/// Longest life of a recipient's token, in days.
const MAX_TOKEN_DAYS: u64 = 30;

struct TokenLife(Duration);

/// The text is no life of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a period of at most {MAX_TOKEN_DAYS}d, such as 24h")]
struct BadTokenLife;

impl FromStr for TokenLife {
    type Err = BadTokenLife;

    fn from_str(text: &str) -> Result<Self, BadTokenLife> {
        let Period(life) = text.parse().map_err(|_| BadTokenLife)?;
        let longest = Duration::from_secs(MAX_TOKEN_DAYS * 24 * 3600);
        if life.is_zero() || longest < life {
            Err(BadTokenLife)
        } else {
            Ok(Self(life))
        }
    }
}

/// The address that browsers connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Url);

/// The text is not such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected ws://host/ or wss://host/, without user, query and fragment")]
pub struct BadPublicUrl;

impl FromStr for PublicUrl {
    type Err = BadPublicUrl;

    fn from_str(text: &str) -> Result<Self, BadPublicUrl> {
        plain_url(text, ["ws", "wss"]).map(Self).ok_or(BadPublicUrl)
    }
}

/// An address of one of these schemes that says nothing beyond where.
fn plain_url(text: &str, schemes: [&str; 2]) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = schemes.contains(&url.scheme())
        && url.host().is_some()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then_some(url)
}

impl PublicUrl {
    /// The address of `path` under this one.
    pub fn under(&self, path: &str) -> String {
        format!("{}/{path}", self.0.as_str().trim_end_matches('/'))
    }

    /// The address with which the holder of `token` connects.
    pub fn with_token(&self, token: &str) -> String {
        format!("{}?token={token}", self.0)
    }
}

/// The address under which an application has its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppUrl(Url);

/// The text is not such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://host/ or https://host/, without user, query and fragment")]
pub struct BadAppUrl;

impl FromStr for AppUrl {
    type Err = BadAppUrl;

    fn from_str(text: &str) -> Result<Self, BadAppUrl> {
        plain_url(text, ["http", "https"])
            .map(Self)
            .ok_or(BadAppUrl)
    }
}

impl AppUrl {
    /// The address itself.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address of `path` under this one.
    pub fn under(&self, path: &str) -> String {
        format!("{}/{path}", self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_uri_is_the_public_address_and_the_token() {
        let uri = |url: &str| url.parse::<PublicUrl>().unwrap().with_token("t");
        assert_eq!(
            uri("wss://push.example.org"),
            "wss://push.example.org/?token=t"
        );
        assert_eq!(uri("ws://[::1]:8080/a"), "ws://[::1]:8080/a?token=t");
    }

    #[test]
    fn addresses_that_cannot_carry_a_token_are_refused() {
        for url in [
            "https://a/",
            "ws://a/?b=c",
            "ws://a/#b",
            "wss://u:p@a/",
            "a",
        ] {
            assert_eq!(url.parse::<PublicUrl>(), Err(BadPublicUrl), "{url}");
        }
        for url in ["ws://a/", "http://a/?b=c", "https://u@a/", "/api/"] {
            assert_eq!(url.parse::<AppUrl>(), Err(BadAppUrl), "{url}");
        }
    }

    #[test]
    fn a_token_lives_no_longer_than_a_revocation_is_remembered() {
        for (life, fine) in [("1h", true), ("30d", true), ("31d", false), ("0s", false)] {
            assert_eq!(life.parse::<TokenLife>().is_ok(), fine, "{life}");
        }
    }

    #[test]
    fn only_the_token_keys_must_be_set() {
        let mut env = Env::from_pairs::<&str, &str>([]);
        Config::read(&mut env);
        let mistakes = env.finish().unwrap_err().to_string();
        assert!(mistakes.contains("CARILLON_TOKEN_KEYS"), "{mistakes}");
        assert_eq!(mistakes.matches("CARILLON_").count(), 1, "{mistakes}");
    }
}
