//! Where Redis is, and connections for commands to it.
//!
//! Redis is one server, a master that sentinels watch, or a Cluster; what follows
//! from that ends here. Callers share a few multiplexed connections to each server
//! ("lanes"), each checked out of a pool: the pool connects and checks, sharing
//! makes concurrent commands travel together. A lane that failed is dropped, and
//! all are checked out anew when a connection has ended. Subscriptions never use
//! a lane (see [`crate::link`]).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use prometheus::Registry;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, ScriptInvocation};

use self::cluster::{Cluster, Primary};
use self::connector::Place;
use self::dial::Access;
pub(crate) use self::dial::Server;
use self::lane::Lanes;
use self::metrics::{Counted, Metrics};
pub use self::own::OwnConnection;
use self::route::Route;
use self::routed::Routed;
use self::sentinel::Sentinels;
use self::settings::Shape;
pub(crate) use self::settings::{Address, Login};
pub use self::settings::{BadRedisSettings, OtherRedis, RedisSettings, TlsFiles};
use self::tls::Tls;
use crate::error::Error;
use crate::keys::{Keys, PARTITIONS, Partition, slot};
use crate::time::Timestamp;

mod settings;
mod tls;
mod dial;
mod sentinel;
mod connector;
mod lane;
mod cluster;
mod route;
mod routed;
mod own;
mod metrics;

/// How often a slot may move while one of its scripts is made known.
const MOVES: usize = 2;
/// A map of the slots that is older is asked for anew before something is done on
/// every primary.
const MAP_AGE: Duration = Duration::from_secs(2);
/// What commands count as that run no script.
const NO_SCRIPT: &str = "none";
/// What scripts count as that are not of the message store.
const OTHER_SCRIPT: &str = "other";
/// Version of the layout of keys.
const SCHEMA: &str = "1";

/// Runs commands on Redis. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    settings: RedisSettings,
    servers: Servers,
    metrics: Metrics,
}

/// The servers that commands go to.
enum Servers {
    /// One, wherever it is.
    One(Arc<Lanes>),
    /// Those of a Cluster.
    Many(Arc<Cluster>),
}

/// What one of the servers that have keys answered.
#[derive(Debug)]
pub struct OfPrimary<T> {
    /// Which, as `host:port`; a server that sentinels replace keeps its name.
    pub server: Arc<str>,
    /// Whose keys it has, by all that we know.
    pub partitions: Vec<Partition>,
    /// What it said.
    pub answer: Result<T, Error>,
}

impl Redis {
    /// Prepares connections; none is made before the first command.
    ///
    /// # Errors
    /// [`Error::Topology`] if the files that TLS needs cannot be read.
    pub fn open(settings: &RedisSettings) -> Result<Self, Error> {
        let tls = || {
            settings
                .tls
                .then(|| Tls::new(settings.files.clone()))
                .transpose()
        };
        let access = Arc::new(Access {
            login: settings.login.clone(),
            db: settings.db,
            tls: tls()?,
        });
        let metrics = Metrics::new();
        let one = |place| Servers::One(Arc::new(Lanes::to(place, metrics.clone())));
        let servers = match settings.shape.clone() {
            Shape::Standalone(address) => one(Place::Fixed(Server { address, access })),
            Shape::Sentinel(all, name) => {
                let ask = Arc::new(Access {
                    login: settings.sentinel_login.clone(),
                    db: 0,
                    tls: tls()?,
                });
                one(Place::Master(Sentinels::new(all, &ask, name, access)))
            }
            Shape::Cluster(nodes) => {
                Servers::Many(Arc::new(Cluster::new(nodes, access, metrics.clone())))
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                settings: settings.clone(),
                servers,
                metrics,
            }),
        })
    }

    /// Prepares connections to another Redis, over TLS with the same files.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn beside(&self, settings: &RedisSettings) -> Result<Self, Error> {
        let files = self.inner.settings.files.clone();
        Self::open(&settings.clone().with_tls_files(files))
    }

    /// Has `registry` show what is measured of commands.
    ///
    /// # Errors
    /// If it shows that of another one already.
    pub fn show(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.inner.metrics.register(registry)
    }

    /// Where a subscription is to be made now: in a Cluster at any node, though
    /// not at `avoided` if there is another.
    ///
    /// # Errors
    /// If nobody says where.
    pub(crate) async fn server(&self, avoided: Option<&Address>) -> io::Result<Server> {
        match &self.inner.servers {
            Servers::One(lanes) if lanes.are_fixed() => lanes.server().await,
            Servers::One(lanes) => lanes.checked_server().await,
            Servers::Many(cluster) => cluster.any(avoided).await,
        }
    }

    /// Whether keys of different slots may be on different servers.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.inner.servers, Servers::Many(_))
    }

    /// A connection of one's own to the server that has this key, for a command
    /// that waits in Redis: on a lane it would hold up everybody's. It is given
    /// up if Redis says nothing for `patience`.
    ///
    /// # Errors
    /// If Redis cannot be reached.
    pub async fn own_connection_of(
        &self,
        key: &str,
        patience: Duration,
    ) -> Result<OwnConnection, Error> {
        let lanes = match &self.inner.servers {
            Servers::One(lanes) => Arc::clone(lanes),
            Servers::Many(cluster) => {
                routed::find(cluster, Route::Slot(slot(key.as_bytes()))).await?
            }
        };
        let connection = lanes.own(patience).await.inspect_err(|_| {
            self.inner.metrics.unconnected();
            if let Servers::Many(cluster) = &self.inner.servers {
                cluster.refresh_soon();
            }
        })?;
        Ok(OwnConnection {
            redis: self.clone(),
            connection,
            lanes,
            usable: true,
        })
    }

    /// Which partitions share a server, as far as is known.
    pub async fn shards(&self) -> Vec<Vec<Partition>> {
        let all = || vec![Partition::every().collect()];
        let Servers::Many(cluster) = &self.inner.servers else {
            return all();
        };
        // Who asks for any of them is told that nobody knows.
        let Ok(map) = cluster.known().await else {
            return all();
        };
        let of = |one: &Primary| map.partitions(&one.address);
        let mut shards: Vec<_> = map.primaries.iter().map(of).collect();
        let known = |partition: &Partition| map.of(partition.slot()).is_some();
        shards.push(Partition::every().filter(|one| !known(one)).collect());
        shards.retain(|shard| !shard.is_empty());
        shards
    }

    /// Runs commands on each server that has keys, all at once, and says what
    /// became of them on each. They name no keys. A server that hangs keeps the
    /// answers of the others waiting for its own for two seconds.
    ///
    /// # Errors
    /// If nobody says which servers there are.
    pub async fn on_every_primary<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<OfPrimary<T>>, Error> {
        let servers = match &self.inner.servers {
            Servers::One(lanes) => {
                let all = Partition::every().collect();
                vec![("redis".into(), all, Arc::clone(lanes))]
            }
            Servers::Many(cluster) => {
                // What was known may do; nothing known will not.
                if let Err(error) = cluster.refresh(MAP_AGE).await
                    && cluster.map().primaries.is_empty()
                {
                    return Err(RedisError::from(error).into());
                }
                let map = cluster.map();
                let each = map.primaries.iter();
                each.map(|one| {
                    let name: Arc<str> = one.address.to_string().into();
                    (name, map.partitions(&one.address), Arc::clone(&one.lanes))
                })
                .collect()
            }
        };
        let asked = servers
            .into_iter()
            .map(async |(server, partitions, lanes)| {
                let here = Servers::One(lanes);
                let mut routed = Routed::new(&here);
                let began = Instant::now();
                let result = commands.query_async(&mut routed).await;
                OfPrimary {
                    server,
                    partitions,
                    answer: self.finish(NO_SCRIPT, began, &routed, result),
                }
            });
        Ok(join_all(asked).await)
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
        let mut routed = Routed::new(&self.inner.servers);
        let began = Instant::now();
        let result = command.query_async(&mut routed).await;
        self.finish(script, began, &routed, result)
    }

    /// Runs commands in one round trip, or, in a Cluster, in one to each server
    /// that has some of their keys. Those of a transaction must share a slot.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis cannot be reached or refuses.
    pub async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        self.pipeline_of(NO_SCRIPT, commands).await
    }

    /// What these keys hold, each of its own slot.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis cannot be reached or refuses.
    pub async fn values<K: AsRef<str>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let keys = keys.iter().map(AsRef::as_ref);
        if let Servers::One(_) = self.inner.servers {
            let mut command = redis::cmd("MGET");
            for key in keys {
                command.arg(key);
            }
            return self.query(&command).await;
        }
        let mut commands = Pipeline::new();
        for key in keys {
            commands.get(key);
        }
        self.pipeline(&commands).await
    }

    /// The same, for commands that all run this script.
    pub(crate) async fn pipeline_of<T: FromRedisValue>(
        &self,
        script: &'static str,
        commands: &Pipeline,
    ) -> Result<T, Error> {
        let _under_way = Counted::new(&self.inner.metrics.under_way);
        let mut routed = Routed::new(&self.inner.servers);
        let began = Instant::now();
        let result = commands.query_async(&mut routed).await;
        self.finish(script, began, &routed, result)
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
        let mut routed = Routed::new(&self.inner.servers);
        let began = Instant::now();
        let mut result = script.invoke_async(&mut routed).await;
        // Loaded where its keys were, it may be unknown where they have moved to.
        for _ in 0..MOVES {
            match &result {
                Err(error) if error.code() == Some("NOSCRIPT") => {
                    result = script.invoke_async(&mut routed).await;
                }
                _ => break,
            }
        }
        self.finish(OTHER_SCRIPT, began, &routed, result)
    }

    /// Counts the failure of one command of a pipeline that went on.
    pub(crate) fn count_failure(&self, error: &RedisError) {
        self.inner.metrics.failed(error);
    }

    fn finish<T>(
        &self,
        script: &str,
        began: Instant,
        routed: &Routed<'_>,
        result: Result<T, RedisError>,
    ) -> Result<T, Error> {
        if routed.unsent {
            self.inner.metrics.unconnected();
        } else {
            self.inner
                .metrics
                .ran(script, began.elapsed().as_secs_f64());
            if let Err(error) = &result {
                self.inner.metrics.failed(error);
            }
        }
        Ok(result?)
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
    /// [`Error::Schema`] if it holds keys laid out otherwise, [`Error::Topology`]
    /// if it holds only some of them, being a node of a Cluster.
    pub async fn check_schema(&self, keys: &Keys) -> Result<(), Error> {
        if let Servers::One(_) = self.inner.servers {
            self.check_whole(keys).await?;
        }
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

    /// That one server has all partitions. A node of a Cluster would serve its own,
    /// and fail whatever concerns the others.
    async fn check_whole(&self, keys: &Keys) -> Result<(), Error> {
        let mut all = Pipeline::new();
        for partition in Partition::every() {
            all.exists(keys.expiring(partition)).ignore();
        }
        match self.pipeline(&all).await {
            Err(Error::Redis(error)) if error.code() == Some("MOVED") => {
                let why = "the server is a node of a Cluster; an address of one begins with redis+cluster";
                Err(Error::Topology(why.to_owned()))
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests;
