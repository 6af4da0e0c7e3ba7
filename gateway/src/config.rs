//! The settings of a gateway.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use broker::identity::AuthSettings;
use broker::misskey::hosts::Hosts;
use broker::node::entrance::TlsFiles;
use broker::node::env::{Bytes, Env, Files, Interval, List, Period};
use broker::node::secrets::SecretFiles;
use broker::node::settings::Settings;
use broker::token::{Keyring, normal_origin};
use ipnet::IpNet;
use prometheus::Registry;

/// The settings of a gateway.
#[derive(Debug)]
pub struct Config {
    /// What every process has.
    pub common: Settings,
    /// `CARILLON_TOKEN_KEYS`, required, secret: the keys that recipient tokens
    /// are signed with; the same as the api's.
    pub token_keys: Option<Keyring>,
    /// `CARILLON_GATEWAY_LISTEN`, default `127.0.0.1:8080`: where clients connect.
    pub listen: SocketAddr,
    /// `CARILLON_GATEWAY_ADMIN_LISTEN`, default `127.0.0.1:9101`: where operators look.
    pub admin_listen: SocketAddr,
    /// `CARILLON_GATEWAY_SHARDS`, default `0`: threads that hold sockets; 0
    /// means one per core.
    pub shards: usize,
    /// `CARILLON_GATEWAY_MAX_CONNECTIONS`, default `100000`: sockets, never more
    /// than file descriptors allow.
    pub max_connections: usize,
    /// `CARILLON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS`, default `0`: sockets per
    /// client address; 0 means no limit, as many clients may share one address.
    pub max_connections_per_address: usize,
    /// `CARILLON_GATEWAY_ACCEPT_RATE`, default `2000`: upgrades per second;
    /// further ones wait for a while, and some in vain. Sockets that missed something
    /// are closed at this rate too.
    pub accept_rate: u32,
    /// `CARILLON_GATEWAY_MAX_HANDSHAKES`, default `4096`: connections that have
    /// not been upgraded, of which half may wait for it; for a further one, the one
    /// that has been silent longest is ended.
    pub max_handshakes: usize,
    /// `CARILLON_GATEWAY_HANDSHAKE_TIMEOUT`, default `5s`: how long a client has
    /// to send its request, and before that, over TLS, for the handshake.
    pub handshake_timeout: Duration,
    /// `CARILLON_GATEWAY_MAX_FRAME`, default `64KiB`: the longest message that a
    /// client may send; more ends the connection (1009).
    pub max_frame: usize,
    /// `CARILLON_GATEWAY_FRAMES_PER_SECOND`, default `50`: frames a client may
    /// send, fragments included, averaged over five seconds; more ends the
    /// connection (1008). One that acknowledges many messages counts again for
    /// every 64, a long one for every 8 KiB.
    pub frames_per_second: u32,
    /// `CARILLON_GATEWAY_MAX_QUEUE`, default `1MiB`: bytes kept for a client
    /// that does not read; more ends the connection (1013).
    pub max_queue: usize,
    /// `CARILLON_GATEWAY_MAX_HELD`, default empty: bytes kept for all clients that do not read, together with
    /// messages of clients that are not complete; beyond, those that hold most end
    /// (1013). Empty: a quarter of the memory limit, or 1 GiB without one.
    pub max_held: Option<usize>,
    /// `CARILLON_GATEWAY_MAX_AGE`, default `0`: after this, or up to half of it
    /// sooner, a connection is closed (1012), so that after a scale-out sockets come
    /// to new nodes too; 0 means never.
    pub max_age: Duration,
    /// `CARILLON_GATEWAY_HEARTBEAT`, default `25s`: how often a quiet client is
    /// pinged; silent for two of these, it is cut. Below the 30 to 60 s at which
    /// proxies give up on idle connections.
    pub heartbeat: Duration,
    /// `CARILLON_GATEWAY_TRUSTED_PROXIES`, default empty: networks whose
    /// `X-Forwarded-For` is believed, separated by commas.
    pub trusted_proxies: Vec<IpNet>,
    /// `CARILLON_GATEWAY_TLS_CERT_FILE` with `CARILLON_GATEWAY_TLS_KEY_FILE`, default
    /// none: the certificate that clients are shown, and its key. None: no TLS.
    pub tls: Option<TlsFiles>,
    /// `CARILLON_GATEWAY_PROXY_PROTOCOL`, default empty: networks from which every
    /// connection begins with a PROXY header, separated by commas.
    pub proxy_protocol: Vec<IpNet>,
    /// `CARILLON_GATEWAY_ORIGINS`, default empty: web origins whose pages may
    /// open a Hypothesis socket, separated by commas; empty means all. Tokens of
    /// the push protocol say for themselves which origin they are for.
    pub origins: Vec<WebOrigin>,
    /// `CARILLON_HYPOTHESIS_STRICT`, default `false`: do as the original does
    /// also where it does wrong; see [`Hypothesis::new`](crate::dialect::hypothesis::Hypothesis::new).
    pub hypothesis_strict: bool,
    /// `CARILLON_MISSKEY_HOSTS`, default empty, secret: which Misskey hosts are
    /// served, and where each is.
    pub misskey_hosts: Hosts,
    /// `CARILLON_MISSKEY_MAX_RELAYS`, default `1000`: sockets to a Misskey itself
    /// at once, one per client socket that has a channel which only it can serve.
    pub misskey_max_relays: usize,
    /// `CARILLON_MISSKEY_FRAMES_PER_SECOND`, default `500`: as
    /// `CARILLON_GATEWAY_FRAMES_PER_SECOND`, for clients of a Misskey, which capture
    /// hundreds of notes at once when they show a page.
    pub misskey_frames_per_second: u32,
    /// Who is asked whom a user's token names.
    pub auth: AuthSettings,
    /// `CARILLON_GATEWAY_PROBE_INTERVAL`, default `5s`: a link to Redis that is
    /// silent for two of these is given up.
    pub probe_interval: Duration,
    /// `CARILLON_GATEWAY_LINK_GRACE`, default `15s`: a link to Redis may be down
    /// for this long, while Redis answers, before the gateway wants no new
    /// sockets. Not at once: all gateways may lose theirs together, and a load
    /// balancer must not be left without any.
    pub link_grace: Duration,
    /// `CARILLON_MAX_PENDING`, default `1000`: messages that wait for one
    /// recipient. The same as the api's: copies of global messages count too,
    /// and they are made here.
    pub max_pending: usize,
    /// `CARILLON_GLOBAL_LIFE`, default `24h`: how long copies of global messages
    /// without expiry wait. The same as the api's.
    pub global_life: Duration,
    /// `CARILLON_RETENTION`, default `30d`: how long messages can be read. The
    /// same for all: whoever changes a message says how long it is kept.
    pub retention: Duration,
    /// `CARILLON_SHUTDOWN_DELAY`, default `5s`: between turning not ready and
    /// closing, for load balancers to notice. New clients are let in meanwhile.
    pub shutdown_delay: Duration,
    /// `CARILLON_DRAIN_WINDOW`, default `60s`: sockets are closed evenly
    /// over this time, so that other nodes are not stormed; those that missed
    /// something, within it.
    pub drain_window: Duration,
    /// The files that secrets were read from, to be [watched](Self::secrets).
    pub files: Files,
}

impl Config {
    /// Reads them.
    pub fn read(env: &mut Env) -> Self {
        Self {
            common: Settings::read(env),
            token_keys: env.secret().required("CARILLON_TOKEN_KEYS"),
            listen: env.get("CARILLON_GATEWAY_LISTEN", "127.0.0.1:8080"),
            admin_listen: admin_listen(env),
            shards: env.get("CARILLON_GATEWAY_SHARDS", "0"),
            max_connections: env.get("CARILLON_GATEWAY_MAX_CONNECTIONS", "100000"),
            max_connections_per_address: env
                .get("CARILLON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "0"),
            accept_rate: env.get("CARILLON_GATEWAY_ACCEPT_RATE", "2000"),
            max_handshakes: env.get("CARILLON_GATEWAY_MAX_HANDSHAKES", "4096"),
            handshake_timeout: interval(env, "CARILLON_GATEWAY_HANDSHAKE_TIMEOUT", "5s"),
            max_frame: size(env, "CARILLON_GATEWAY_MAX_FRAME", "64KiB"),
            frames_per_second: env.get("CARILLON_GATEWAY_FRAMES_PER_SECOND", "50"),
            max_queue: size(env, "CARILLON_GATEWAY_MAX_QUEUE", "1MiB"),
            max_held: env
                .optional::<Bytes>("CARILLON_GATEWAY_MAX_HELD")
                .map(|bytes| bytes.0),
            max_age: period(env, "CARILLON_GATEWAY_MAX_AGE", "0"),
            heartbeat: interval(env, "CARILLON_GATEWAY_HEARTBEAT", "25s"),
            trusted_proxies: env
                .get::<List<IpNet>>("CARILLON_GATEWAY_TRUSTED_PROXIES", "")
                .0,
            tls: TlsFiles::read(
                env,
                "CARILLON_GATEWAY_TLS_CERT_FILE",
                "CARILLON_GATEWAY_TLS_KEY_FILE",
            ),
            proxy_protocol: env
                .get::<List<IpNet>>("CARILLON_GATEWAY_PROXY_PROTOCOL", "")
                .0,
            origins: env.get::<List<WebOrigin>>("CARILLON_GATEWAY_ORIGINS", "").0,
            hypothesis_strict: env.get("CARILLON_HYPOTHESIS_STRICT", "false"),
            misskey_hosts: env.secret().get("CARILLON_MISSKEY_HOSTS", ""),
            misskey_frames_per_second: env.get("CARILLON_MISSKEY_FRAMES_PER_SECOND", "500"),
            misskey_max_relays: env.get("CARILLON_MISSKEY_MAX_RELAYS", "1000"),
            auth: AuthSettings::read(env),
            probe_interval: interval(env, "CARILLON_GATEWAY_PROBE_INTERVAL", "5s"),
            link_grace: period(env, "CARILLON_GATEWAY_LINK_GRACE", "15s"),
            max_pending: env
                .get::<NonZeroUsize>("CARILLON_MAX_PENDING", "1000")
                .get(),
            global_life: period(env, "CARILLON_GLOBAL_LIFE", "24h"),
            retention: interval(env, "CARILLON_RETENTION", "30d"),
            shutdown_delay: period(env, "CARILLON_SHUTDOWN_DELAY", "5s"),
            drain_window: period(env, "CARILLON_DRAIN_WINDOW", "60s"),
            files: env.files(),
        }
    }

    /// Keeps what stands in files true to them, while it runs.
    ///
    /// # Errors
    /// If `registry` shows that of another one.
    pub fn secrets(&self, registry: &Registry) -> Result<SecretFiles, prometheus::Error> {
        let mut secrets = SecretFiles::new(registry)?;
        self.common.watch(&mut secrets, &self.files);
        self.auth.watch(&mut secrets, &self.files);
        if let Some(keys) = self.token_keys.clone() {
            keys.watch(&mut secrets, &self.files);
        }
        let hosts = self.misskey_hosts.clone();
        let renew = move |new: Hosts| hosts.renew(&new);
        secrets.setting(&self.files, "CARILLON_MISSKEY_HOSTS", renew);
        Ok(secrets)
    }
}

/// A web origin, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

/// The text is no web origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected web origins such as https://example.org")]
pub struct BadOrigin;

impl FromStr for WebOrigin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        normal_origin(text).map(Self).ok_or(BadOrigin)
    }
}

impl WebOrigin {
    /// Whether an `Origin` header names it.
    pub fn is(&self, origin: &str) -> bool {
        normal_origin(origin).is_some_and(|origin| origin == self.0)
    }
}

/// Where operators look.
pub fn admin_listen(env: &mut Env) -> SocketAddr {
    env.get("CARILLON_GATEWAY_ADMIN_LISTEN", "127.0.0.1:9101")
}

fn period(env: &mut Env, name: &'static str, default: &str) -> Duration {
    env.get::<Period>(name, default).0
}

fn interval(env: &mut Env, name: &'static str, default: &str) -> Duration {
    env.get::<Interval>(name, default).0
}

fn size(env: &mut Env, name: &'static str, default: &str) -> usize {
    env.get::<Bytes>(name, default).0
}
