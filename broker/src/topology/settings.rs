//! How it is said where Redis is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::current::Current;

/// Where servers listen that are named without a port.
const PORT: u16 = 6379;
/// Where sentinels do.
const SENTINEL_PORT: u16 = 26_379;

/// How to find Redis, and as whom to speak to it.
///
/// * `redis://[user:password@]host:port[/db]`: one server.
/// * `redis+sentinel://[user:password@]host:port,host:port/master-name[?options]`,
///   the options being `db`, `sentinel_user` and `sentinel_password`.
/// * `redis+cluster://[user:password@]host:port,host:port`
///
/// With `rediss` in place of `redis` all of it goes over TLS, sentinels included.
/// What has a meaning in URLs is written with `%` in user and password.
///
/// All clones share the logins, also when they are [renewed](Self::renew).
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSettings {
    pub(super) shape: Shape,
    pub(super) login: Current<Login>,
    pub(super) sentinel_login: Current<Login>,
    pub(super) db: i64,
    pub(super) tls: bool,
    pub(super) files: TlsFiles,
}

/// How the servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One server.
    Standalone(Address),
    /// A master, known to these sentinels by this name.
    Sentinel(Vec<Address>, Arc<str>),
    /// A Redis Cluster, with nodes to ask first.
    Cluster(Vec<Address>),
}

/// Where a server listens. The host is a name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

/// As whom to speak to a server.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<Arc<str>>,
    pub(crate) password: Option<Arc<str>>,
}

/// The files that TLS needs, all in PEM. They are read at each new connection,
/// so that renewed certificates need no new process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whose certificates are believed; those that the system believes if absent.
    pub authorities: Option<PathBuf>,
    /// Our own certificate and its key, for servers that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// The text does not say where Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedisSettings {
    /// No known scheme.
    #[error(
        "expected redis://host:port, redis+sentinel://… or redis+cluster://…, with rediss for TLS"
    )]
    Scheme,
    /// No server named.
    #[error("names no server")]
    NoServer,
    /// Something that is no address.
    #[error("a server is host:port; an IPv6 address stands in brackets")]
    Server,
    /// Several servers after `redis://`.
    #[error("redis:// names one server; for several, say redis+sentinel:// or redis+cluster://")]
    OneServer,
    /// A Sentinel URL without the master's name.
    #[error("a Sentinel URL ends in /<name of the master>")]
    NoMaster,
    /// A database that is no number, or one of a Cluster, which has one.
    #[error("a database is a number from 0 on, and a Cluster has none to choose")]
    Database,
    /// Something after `?` that is not known.
    #[error("the only options are db, sentinel_user and sentinel_password of a Sentinel URL")]
    Option,
    /// Something after `%` that is no byte of a text.
    #[error("user and password are UTF-8, with %xx for what has a meaning in a URL")]
    Encoding,
}

/// The address of Redis cannot change while a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it leads to another Redis; only user and password can change without a restart")]
pub struct OtherRedis;

impl RedisSettings {
    /// The same, with these files for TLS.
    #[must_use]
    pub fn with_tls_files(mut self, files: TlsFiles) -> Self {
        self.files = files;
        self
    }

    /// Takes user and password from `new`, for all who share these: connections made
    /// from now on use them, those that are open stay.
    ///
    /// # Errors
    /// If it leads elsewhere. Half of a process would go on with the old place.
    pub fn renew(&self, new: &Self) -> Result<(), OtherRedis> {
        if !self.leads_where(new) {
            return Err(OtherRedis);
        }
        self.login.set_as(&new.login);
        self.sentinel_login.set_as(&new.sentinel_login);
        Ok(())
    }

    /// Whether both lead to the same place, whoever asks there.
    pub(crate) fn leads_where(&self, other: &Self) -> bool {
        self.shape == other.shape && self.db == other.db && self.tls == other.tls
    }

    /// Whether connections are made over TLS.
    pub fn uses_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for RedisSettings {
    type Err = BadRedisSettings;

    fn from_str(text: &str) -> Result<Self, BadRedisSettings> {
        let (scheme, rest) = text.split_once("://").ok_or(BadRedisSettings::Scheme)?;
        let (secure, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => (
                false,
                scheme
                    .strip_prefix("redis")
                    .ok_or(BadRedisSettings::Scheme)?,
            ),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold a slash, though it should not.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Login::parse(login)?, rest),
            None => (Login::default(), rest),
        };
        let (servers, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut settings = Self {
            shape: Shape::Cluster(Vec::new()),
            login: Current::new(login),
            sentinel_login: Current::default(),
            db: 0,
            tls: secure,
            files: TlsFiles::default(),
        };
        settings.shape = match kind {
            "" => {
                let mut all = addresses(servers, PORT)?;
                let one = all.pop().filter(|_| all.is_empty());
                settings.db = database(path)?;
                Shape::Standalone(one.ok_or(BadRedisSettings::OneServer)?)
            }
            "+sentinel" if path.is_empty() => return Err(BadRedisSettings::NoMaster),
            "+sentinel" => Shape::Sentinel(addresses(servers, SENTINEL_PORT)?, path.into()),
            "+cluster" if path.is_empty() => Shape::Cluster(addresses(servers, PORT)?),
            "+cluster" => return Err(BadRedisSettings::Database),
            _ => return Err(BadRedisSettings::Scheme),
        };
        let mut sentinel_login = Login::default();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let of_sentinel = matches!(settings.shape, Shape::Sentinel(..));
            let (name, value) = option.split_once('=').ok_or(BadRedisSettings::Option)?;
            match name {
                "db" if of_sentinel => settings.db = database(value)?,
                "sentinel_user" if of_sentinel => {
                    sentinel_login.user = Some(decoded(value)?);
                }
                "sentinel_password" if of_sentinel => {
                    sentinel_login.password = Some(decoded(value)?);
                }
                _ => return Err(BadRedisSettings::Option),
            }
        }
        settings.sentinel_login.set(sentinel_login);
        Ok(settings)
    }
}

/// Splits `host:port,host:port`.
fn addresses(servers: &str, port: u16) -> Result<Vec<Address>, BadRedisSettings> {
    let named = servers.split(',').filter(|server| !server.is_empty());
    let all: Vec<_> = named
        .map(|server| Address::parse(server, port).ok_or(BadRedisSettings::Server))
        .collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Err(BadRedisSettings::NoServer);
    }
    Ok(all)
}

fn database(text: &str) -> Result<i64, BadRedisSettings> {
    match text {
        "" => Ok(0),
        _ => text
            .parse::<u32>()
            .map(i64::from)
            .map_err(|_| BadRedisSettings::Database),
    }
}

fn decoded(text: &str) -> Result<Arc<str>, BadRedisSettings> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.ok_or(BadRedisSettings::Encoding)?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(out).map_err(|_| BadRedisSettings::Encoding)?;
    Ok(text.into())
}

impl Address {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Reads `host`, `host:port` or `[host]:port`.
    pub(super) fn parse(text: &str, default: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (
                    host,
                    port.strip_prefix(':').or(port.is_empty().then_some("")),
                )
            }
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, Some("")),
            },
        };
        let port = match port? {
            "" => default,
            port => port.parse().ok()?,
        };
        let fits = !host.is_empty() && !host.contains(['/', '[', ']', ' ']);
        fits.then(|| Self::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Login {
    /// Reads `user:password`, of which either may be empty.
    fn parse(text: &str) -> Result<Self, BadRedisSettings> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let given = |text: &str| match text {
            "" => Ok(None),
            _ => decoded(text).map(Some),
        };
        Ok(Self {
            user: given(user)?,
            password: given(password)?,
        })
    }
}

/// Shows nothing.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Never shows credentials.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let list = |all: &[Address]| {
            let all: Vec<_> = all.iter().map(Address::to_string).collect();
            all.join(",")
        };
        match &self.shape {
            Shape::Standalone(server) if self.db == 0 => write!(f, "{scheme}://{server}"),
            Shape::Standalone(server) => write!(f, "{scheme}://{server}/{}", self.db),
            Shape::Sentinel(sentinels, master) => {
                write!(f, "{scheme}+sentinel://{}/{master}", list(sentinels))
            }
            Shape::Cluster(nodes) => write!(f, "{scheme}+cluster://{}", list(nodes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RedisSettings, BadRedisSettings> {
        text.parse()
    }

    #[test]
    fn the_three_topologies_are_told_apart() {
        let one = parse("redis://127.0.0.1/2").unwrap();
        assert_eq!(
            one.shape,
            Shape::Standalone(Address::new("127.0.0.1", 6379))
        );
        assert_eq!((one.db, one.tls), (2, false));
        let watched =
            parse("rediss+sentinel://u:p%40@a:1,b/main?db=3&sentinel_password=q").unwrap();
        let sentinels = vec![Address::new("a", 1), Address::new("b", SENTINEL_PORT)];
        assert_eq!(watched.shape, Shape::Sentinel(sentinels, "main".into()));
        assert_eq!(watched.login.get().user.as_deref(), Some("u"));
        assert_eq!(watched.login.get().password.as_deref(), Some("p@"));
        assert_eq!(watched.sentinel_login.get().password.as_deref(), Some("q"));
        assert_eq!((watched.db, watched.tls), (3, true));
        let nodes = vec![Address::new("::1", 7), Address::new("b", 8)];
        let cluster = parse("redis+cluster://:p@[::1]:7,b:8/").unwrap();
        assert_eq!(cluster.shape, Shape::Cluster(nodes));
        assert_eq!(cluster.login.get().user, None);
    }

    #[test]
    fn who_shares_settings_sees_a_new_password_and_no_other_place() {
        let settings = parse("redis+sentinel://u:old@a:1/main?sentinel_password=old").unwrap();
        let shared = settings.clone().with_tls_files(TlsFiles::default());
        let new = parse("redis+sentinel://u:new@a:1/main?sentinel_password=other").unwrap();
        assert_eq!(settings.renew(&new), Ok(()));
        assert_eq!(shared.login.get().password.as_deref(), Some("new"));
        assert_eq!(
            shared.sentinel_login.get().password.as_deref(),
            Some("other")
        );
        for elsewhere in ["redis://u:p@a:1", "redis+sentinel://u:p@b:1/main"] {
            assert_eq!(settings.renew(&parse(elsewhere).unwrap()), Err(OtherRedis));
        }
        assert_eq!(shared.login.get().password.as_deref(), Some("new"));
    }

    #[test]
    fn what_says_nothing_useful_is_refused_with_the_reason() {
        use BadRedisSettings::*;
        for (text, why) in [
            ("localhost:6379", Scheme),
            ("http://a", Scheme),
            ("redisx://a", Scheme),
            ("redis://", NoServer),
            ("redis+cluster://,", NoServer),
            ("redis://a:b", Server),
            ("redis://:1", Server),
            ("redis://[::1", Server),
            ("redis://a,b", OneServer),
            ("redis+sentinel://a:1", NoMaster),
            ("redis+sentinel://a:1/", NoMaster),
            ("redis://a/x", Database),
            ("redis+cluster://a/1", Database),
            ("redis://a?db=1", Option),
            ("redis+sentinel://a/m?colour=red", Option),
            ("redis://u:%zz@a", Encoding),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for text in [
            "redis://u:hush@a:1",
            "redis+sentinel://u:hush@a:1/m?sentinel_password=hush",
            "rediss+cluster://:hush@a:1",
        ] {
            let shown = format!("{:?}", parse(text).unwrap());
            assert!(!shown.contains("hush"), "{shown}");
            assert!(shown.contains("a:1"), "{shown}");
        }
    }
}
