//! The settings that every process has.

use std::str::FromStr;

use super::env::{Env, Files};
use super::log::{LogFilter, LogFormat};
use super::memory::MemoryLimit;
use super::secrets::SecretFiles;
use crate::keys::Keys;
use crate::sites::Sites;
use crate::topology::{RedisSettings, TlsFiles};
use crate::trace::TraceSettings;

/// What gateway, api and worker all read from their environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `CARILLON_REDIS_URL`, default `redis://127.0.0.1:6379`: where Redis is. Over
    /// TLS, `CARILLON_REDIS_CA_FILE` names whose certificates are believed, and
    /// `CARILLON_REDIS_CERT_FILE` with `CARILLON_REDIS_KEY_FILE` our own.
    pub redis: RedisSettings,
    /// `CARILLON_PREFIX`, default `carillon`: what all names in Redis begin
    /// with, so that several clusters can share one server.
    pub keys: Keys,
    /// `CARILLON_NODE`, default `<host name>-<process id>`: what the other
    /// processes call this one. Two of one name would answer for each other.
    pub node: String,
    /// `CARILLON_SITES`, default empty: which host leads to which tenant, for
    /// the protocols whose clients name none.
    pub sites: Sites,
    /// `CARILLON_MEMORY_LIMIT`, default `auto`: memory that this process may use;
    /// near it, it takes nothing new.
    pub memory: MemoryLimit,
    /// Where traces go, and how many.
    pub trace: TraceSettings,
    /// `CARILLON_LOG`, default `info`: which log lines are written.
    pub log: LogFilter,
    /// `CARILLON_LOG_FORMAT`, default `auto`: how they are written.
    pub log_format: LogFormat,
}

impl Settings {
    /// Reads them.
    pub fn read(env: &mut Env) -> Self {
        Self {
            redis: redis(env),
            keys: env.get::<Prefix>("CARILLON_PREFIX", "carillon").0,
            node: env
                .optional::<NodeName>("CARILLON_NODE")
                .map_or_else(host_and_process, |name| name.0),
            sites: env.get("CARILLON_SITES", ""),
            memory: env.get("CARILLON_MEMORY_LIMIT", "auto"),
            trace: TraceSettings::read(env),
            log: env.get("CARILLON_LOG", "info"),
            log_format: env.get("CARILLON_LOG_FORMAT", "auto"),
        }
    }
}

impl Settings {
    /// Has `secrets` renew what may change, if it is one of `files`.
    pub fn watch(&self, secrets: &mut SecretFiles, files: &Files) {
        let redis = self.redis.clone();
        let renew = move |new: RedisSettings| redis.renew(&new);
        secrets.setting(files, "CARILLON_REDIS_URL", renew);
        self.trace.watch(secrets, files);
    }
}

fn redis(env: &mut Env) -> RedisSettings {
    let redis: RedisSettings = env
        .address()
        .get("CARILLON_REDIS_URL", "redis://127.0.0.1:6379");
    let certificate = env.optional("CARILLON_REDIS_CERT_FILE");
    let key = env.optional("CARILLON_REDIS_KEY_FILE");
    if certificate.is_some() != key.is_some() {
        env.complain("CARILLON_REDIS_CERT_FILE and CARILLON_REDIS_KEY_FILE come together");
    }
    redis.with_tls_files(TlsFiles {
        authorities: env.optional("CARILLON_REDIS_CA_FILE"),
        own: certificate.zip(key),
    })
}

/// The text cannot be part of a name in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 64 letters, digits, '-', '_' or '.'")]
struct BadName;

/// Neither `:` (it parts our names) nor braces (they decide the hash slot).
fn plain(text: &str) -> Result<&str, BadName> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text)
    } else {
        Err(BadName)
    }
}

struct Prefix(Keys);

impl FromStr for Prefix {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        plain(text).map(|prefix| Self(Keys::new(prefix)))
    }
}

struct NodeName(String);

impl FromStr for NodeName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        plain(text).map(|name| Self(name.to_owned()))
    }
}

fn host_and_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = plain(host.trim()).unwrap_or("node");
    format!("{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_needs_no_settings_to_start() {
        let mut env = Env::from_pairs::<&str, &str>([]);
        let settings = Settings::read(&mut env);
        assert_eq!(env.finish(), Ok(()));
        assert!(plain(&settings.node).is_ok(), "{}", settings.node);
        assert_eq!(settings.keys.meta(), "carillon:meta");
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let mut env = Env::from_pairs([("CARILLON_REDIS_CERT_FILE", "/a.pem")]);
        Settings::read(&mut env);
        assert!(env.finish().is_err());
    }

    #[test]
    fn a_prefix_cannot_move_keys_to_another_slot() {
        for prefix in ["{a}", "a:b", "a b", "ä"] {
            let mut env = Env::from_pairs([("CARILLON_PREFIX", prefix)]);
            Settings::read(&mut env);
            assert!(env.finish().is_err(), "{prefix}");
        }
    }
}
