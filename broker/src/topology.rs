//! Where Redis is, and connections for commands to it.
//!
//! Callers share a few multiplexed connections ("lanes"), each checked out of a
//! pool: the pool connects and checks, sharing makes concurrent commands travel
//! together. A lane that failed is dropped, and all are checked out anew when a
//! connection has ended. Subscriptions never use a lane (see [`crate::link`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::{Manager, Pool, PoolError, Runtime, TimeoutType};
use prometheus::Registry;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, ProtocolVersion, RedisError,
    ScriptInvocation,
};
use tokio::sync::RwLock;

use self::lane::{Ended, Lane, Slot};
use self::metrics::{Counted, Metrics};
use crate::error::Error;
use crate::keys::{Keys, PARTITIONS};
use crate::time::Timestamp;

mod lane;
mod metrics;

/// How long a command may take before its connection is given up.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Shared connections per process. Redis works one command at a time, so more
/// would only cost it memory; two keep a large reply from delaying small ones.
const LANES: usize = 2;
/// What commands count as that run no script.
const NO_SCRIPT: &str = "none";
/// What scripts count as that are not of the message store.
const OTHER_SCRIPT: &str = "other";
/// Version of the layout of keys.
const SCHEMA: &str = "1";

/// How to find Redis.
///
/// * `redis://[user:password@]host:port[/db]`: one server.
/// * `redis+sentinel://[user:password@]host:port,host:port/master-name`
/// * `redis+cluster://[user:password@]host:port,host:port`
#[derive(Clone, PartialEq, Eq)]
pub enum RedisSettings {
    /// One server.
    Standalone {
        /// Its URL, as given.
        url: String,
    },
    /// A master and replicas watched by sentinels.
    Sentinel {
        /// The sentinels, `host:port`.
        sentinels: Vec<String>,
        /// The name under which they know the master.
        master: String,
        /// `user:password`, if the master asks for it.
        credentials: Option<String>,
    },
    /// A Redis Cluster.
    Cluster {
        /// Nodes to ask first, `host:port`.
        nodes: Vec<String>,
        /// `user:password`, if the nodes ask for it.
        credentials: Option<String>,
    },
}

/// The text does not say where Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedisSettings {
    /// No known scheme.
    #[error("expected redis://host:port, redis+sentinel://… or redis+cluster://…")]
    Scheme,
    /// TLS is not available.
    #[error("rediss:// is not supported: connect in clear, or through a local TLS proxy")]
    Tls,
    /// No server named.
    #[error("names no server")]
    NoServer,
    /// A Sentinel URL without the master's name.
    #[error("a Sentinel URL ends in /<name of the master>")]
    NoMaster,
    /// Not a URL that the Redis client understands.
    #[error("not a URL of the form redis://[user:password@]host:port[/db]")]
    Url,
}

impl FromStr for RedisSettings {
    type Err = BadRedisSettings;

    fn from_str(text: &str) -> Result<Self, BadRedisSettings> {
        let (scheme, rest) = text.split_once("://").ok_or(BadRedisSettings::Scheme)?;
        match scheme {
            "redis" => match redis::Client::open(text) {
                Ok(_) => Ok(Self::Standalone {
                    url: text.to_owned(),
                }),
                Err(_) => Err(BadRedisSettings::Url),
            },
            "rediss" => Err(BadRedisSettings::Tls),
            "redis+sentinel" => {
                let (authority, master) = rest.split_once('/').ok_or(BadRedisSettings::NoMaster)?;
                let (credentials, sentinels) = servers(authority)?;
                match master {
                    "" => Err(BadRedisSettings::NoMaster),
                    _ => Ok(Self::Sentinel {
                        sentinels,
                        master: master.to_owned(),
                        credentials,
                    }),
                }
            }
            "redis+cluster" => {
                let (credentials, nodes) = servers(rest.trim_end_matches('/'))?;
                Ok(Self::Cluster { nodes, credentials })
            }
            _ => Err(BadRedisSettings::Scheme),
        }
    }
}

/// Splits `[user:password@]host:port,host:port`.
fn servers(authority: &str) -> Result<(Option<String>, Vec<String>), BadRedisSettings> {
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (Some(credentials.to_owned()), hosts),
        None => (None, authority),
    };
    let hosts: Vec<_> = hosts
        .split(',')
        .filter(|h| !h.is_empty())
        .map(str::to_owned)
        .collect();
    if hosts.is_empty() {
        Err(BadRedisSettings::NoServer)
    } else {
        Ok((credentials, hosts))
    }
}

/// Never shows credentials.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standalone { url } => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let hosts = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
                write!(f, "{scheme}://{hosts}")
            }
            Self::Sentinel {
                sentinels, master, ..
            } => {
                write!(f, "redis+sentinel://{}/{master}", sentinels.join(","))
            }
            Self::Cluster { nodes, .. } => write!(f, "redis+cluster://{}", nodes.join(",")),
        }
    }
}

/// Runs commands on Redis. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    client: redis::Client,
    lanes: [RwLock<Slot>; LANES],
    next: AtomicUsize,
    ended: Ended,
    metrics: Metrics,
}

impl Redis {
    /// Prepares connections; none is made before the first command.
    ///
    /// # Errors
    /// If this version cannot serve the topology.
    pub fn open(settings: &RedisSettings) -> Result<Self, Error> {
        let RedisSettings::Standalone { url } = settings else {
            return Err(Error::Topology(format!("{settings:?}")));
        };
        let client = redis::Client::open(url.as_str())?;
        let ended = Ended::default();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_push_sender(ended.listener());
        let info = client.get_connection_info().clone();
        // The version that tells of ends; whatever the URL says.
        let as_whom = info.redis_settings().clone();
        let as_whom = as_whom.set_protocol(ProtocolVersion::RESP3);
        let manager = Manager::new_with_config(info.set_redis_settings(as_whom), config)?;
        let pool = Pool::builder(manager)
            .max_size(LANES)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT * 2))
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| Error::Topology(error.to_string()))?;
        let lanes = std::array::from_fn(|_| RwLock::default());
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                client,
                lanes,
                next: AtomicUsize::new(0),
                ended,
                metrics: Metrics::new(),
            }),
        })
    }

    /// Has `registry` show what is measured of commands.
    ///
    /// # Errors
    /// If it shows that of another one already.
    pub fn show(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.inner.metrics.register(registry)
    }

    /// Where and as whom a subscription connects, for [`crate::link`].
    pub(crate) fn connection_info(&self) -> redis::ConnectionInfo {
        self.inner.client.get_connection_info().clone()
    }

    /// A connection of one's own, for a command that waits in Redis: on a lane
    /// it would hold up everybody's. It is given up if Redis says nothing for
    /// `patience`.
    ///
    /// # Errors
    /// If Redis cannot be reached.
    pub(crate) async fn own_connection(
        &self,
        patience: Duration,
    ) -> Result<MultiplexedConnection, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(patience));
        let client = &self.inner.client;
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Box::pin(connection).await?)
    }

    /// Runs one command.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis cannot be reached or refuses.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.query_of(NO_SCRIPT, command).await
    }

    /// The same, for a command that runs this script.
    pub(crate) async fn query_of<T: FromRedisValue>(
        &self,
        script: &'static str,
        command: &Cmd,
    ) -> Result<T, Error> {
        let _under_way = Counted::new(&self.inner.metrics.under_way);
        let (lane, generation, mut connection) = self.lane().await?;
        let began = Instant::now();
        let result = command.query_async(&mut connection).await;
        self.timed(script, began);
        self.settle(lane, generation, result).await
    }

    /// Runs commands in one round trip. In a Cluster all must name keys of one partition.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis cannot be reached or refuses.
    pub async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        self.pipeline_of(NO_SCRIPT, commands).await
    }

    /// The same, for commands that all run this script.
    pub(crate) async fn pipeline_of<T: FromRedisValue>(
        &self,
        script: &'static str,
        commands: &Pipeline,
    ) -> Result<T, Error> {
        let _under_way = Counted::new(&self.inner.metrics.under_way);
        let (lane, generation, mut connection) = self.lane().await?;
        let began = Instant::now();
        let result = commands.query_async(&mut connection).await;
        self.timed(script, began);
        self.settle(lane, generation, result).await
    }

    /// Runs a script, loading it where Redis does not know it yet.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis cannot be reached or refuses.
    pub async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        let _under_way = Counted::new(&self.inner.metrics.under_way);
        let (lane, generation, mut connection) = self.lane().await?;
        let began = Instant::now();
        let result = script.invoke_async(&mut connection).await;
        self.timed(OTHER_SCRIPT, began);
        self.settle(lane, generation, result).await
    }

    /// Counts the failure of one command of a pipeline that went on.
    pub(crate) fn count_failure(&self, error: &RedisError) {
        self.inner.metrics.failed(error);
    }

    fn timed(&self, script: &str, began: Instant) {
        let seconds = self.inner.metrics.seconds.with_label_values(&[script]);
        seconds.observe(began.elapsed().as_secs_f64());
    }

    /// Whether Redis answers commands.
    ///
    /// # Errors
    /// [`Error::Redis`] if it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.query::<String>(&redis::cmd("PING")).await.map(drop)
    }

    /// What time it is by Redis' clock, by which messages live and tokens are revoked.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis does not answer.
    pub async fn time(&self) -> Result<Timestamp, Error> {
        let (seconds, micros): (i64, i64) = self.query(&redis::cmd("TIME")).await?;
        Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
    }

    /// Makes sure that this Redis holds keys laid out as this version expects,
    /// and says so to later ones.
    ///
    /// # Errors
    /// [`Error::Schema`] if it holds keys laid out otherwise.
    pub async fn check_schema(&self, keys: &Keys) -> Result<(), Error> {
        let meta = keys.meta();
        let ours = [
            ("schema", SCHEMA.to_owned()),
            ("partitions", PARTITIONS.to_string()),
        ];
        for (field, value) in ours {
            let mut both = redis::pipe();
            both.hset_nx(&meta, field, &value)
                .ignore()
                .hget(&meta, field);
            let (found,): (String,) = self.pipeline(&both).await?;
            if found != value {
                return Err(Error::Schema {
                    field,
                    found,
                    expected: value,
                });
            }
        }
        Ok(())
    }

    async fn lane(&self) -> Result<(usize, usize, MultiplexedConnection), Error> {
        self.connected_lane().await.inspect_err(|_| {
            self.inner.metrics.unconnected();
        })
    }

    async fn connected_lane(&self) -> Result<(usize, usize, MultiplexedConnection), Error> {
        let asked_at = Instant::now();
        let at = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let index = at % LANES;
        let slot = &self.inner.lanes[index];
        if let Some((generation, connection)) = slot.read().await.usable(&self.inner.ended) {
            return Ok((index, generation, connection));
        }
        let mut slot = slot.write().await;
        if let Some((generation, connection)) = slot.usable(&self.inner.ended) {
            return Ok((index, generation, connection));
        }
        // Back to the pool, which may know better than to hand it out again.
        slot.lane = None;
        // Who waited for an attempt that failed shares what came of it: each
        // trying for itself, the last of a thousand would wait for minutes.
        if slot.failed_at.is_some_and(|at| asked_at <= at) {
            return Err(PoolError::Timeout(TimeoutType::Wait).into());
        }
        // Counted first: what ends while the pool is at work may be this very one.
        let ended = self.inner.ended.count();
        // Connecting is rare and its future large: unboxed, every command would
        // carry it.
        let connection = match Box::pin(self.inner.pool.get()).await {
            Ok(connection) => connection,
            Err(error) => {
                slot.failed_at = Some(Instant::now());
                return Err(error.into());
            }
        };
        let own = connection.as_ref().clone();
        slot.lane = Some(Lane {
            connection,
            generation: at,
            ended,
            _open: Counted::new(&self.inner.metrics.connections),
        });
        Ok((index, at, own))
    }

    /// Drops the lane if the command showed it to be broken, or its server not
    /// to be a writable master any more.
    async fn settle<T>(
        &self,
        lane: usize,
        generation: usize,
        result: Result<T, RedisError>,
    ) -> Result<T, Error> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        self.inner.metrics.failed(&error);
        let demoted = matches!(error.code(), Some("READONLY" | "MASTERDOWN"));
        if error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() || demoted {
            self.inner.lanes[lane].write().await.discard(generation);
        }
        Err(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_three_topologies_are_told_apart() {
        let parse = |text: &str| text.parse::<RedisSettings>();
        let url = "redis://127.0.0.1:6379/2";
        assert_eq!(
            parse(url),
            Ok(RedisSettings::Standalone {
                url: url.to_owned()
            })
        );
        assert_eq!(
            parse("redis+sentinel://u:p@a:1,b:2/main"),
            Ok(RedisSettings::Sentinel {
                sentinels: vec!["a:1".to_owned(), "b:2".to_owned()],
                master: "main".to_owned(),
                credentials: Some("u:p".to_owned()),
            })
        );
        assert!(matches!(
            parse("redis+cluster://a:1"),
            Ok(RedisSettings::Cluster { .. })
        ));
        assert_eq!(
            parse("redis+sentinel://a:1"),
            Err(BadRedisSettings::NoMaster)
        );
        assert_eq!(parse("rediss://a:1"), Err(BadRedisSettings::Tls));
        assert_eq!(parse("localhost:6379"), Err(BadRedisSettings::Scheme));
    }

    #[tokio::test]
    async fn a_redis_that_is_back_is_used_at_the_first_call() {
        let (redis, mut server) = fixture::Own::start();
        for _ in 0..LANES {
            redis.ping().await.unwrap();
        }
        server.restart();
        // The system tells of it whenever it likes.
        while redis.inner.ended.count() < LANES {
            tokio::task::yield_now().await;
        }
        for lane in 0..LANES {
            let answer = redis.ping().await;
            assert!(answer.is_ok(), "lane {lane}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn commands_and_what_fails_are_counted() {
        let (redis, line) = fixture::cuttable().await;
        for _ in 0..LANES {
            redis.ping().await.unwrap();
        }
        let of = |script| redis.inner.metrics.seconds.with_label_values(&[script]);
        let errors = |kind| redis.inner.metrics.errors.with_label_values(&[kind]).get();
        assert_eq!(redis.inner.metrics.connections.get(), LANES as i64);
        assert_eq!(of(NO_SCRIPT).get_sample_count(), LANES as u64);
        let wrong = redis::cmd("GET").arg("a").arg("b").clone();
        assert!(redis.query_of::<()>("wrong", &wrong).await.is_err());
        assert_eq!((of("wrong").get_sample_count(), errors("refused")), (1, 1));
        let text = redis::cmd("ECHO").arg("no number").clone();
        assert!(redis.query::<u64>(&text).await.is_err());
        assert_eq!(errors("unreadable"), 1);

        line.abort();
        assert!(line.await.unwrap_err().is_cancelled());
        for _ in 0..2 * LANES {
            assert!(redis.ping().await.is_err());
        }
        assert_eq!(errors("connect") + errors("lost"), 2 * LANES as u64);
        assert!(LANES as u64 <= errors("connect"));
        assert_eq!(redis.inner.metrics.connections.get(), 0);
        assert_eq!(redis.inner.metrics.under_way.get(), 0);
    }

    #[test]
    fn credentials_are_not_shown() {
        for text in [
            "redis://u:hush@a:1",
            "redis+sentinel://u:hush@a:1/m",
            "redis+cluster://:hush@a:1",
        ] {
            let shown = format!("{:?}", text.parse::<RedisSettings>().unwrap());
            assert!(!shown.contains("hush"), "{shown}");
            assert!(shown.contains("a:1"), "{shown}");
        }
    }
}
