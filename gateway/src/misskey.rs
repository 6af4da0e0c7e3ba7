//! The users of Misskey hosts: who they are, what they follow and mute, and what
//! else only their host can tell.
//!
//! What is known of a user is read once for all of their sockets on this node,
//! and their sockets are told when it changes.

mod buses;
mod desk;
mod ended;
mod questions;
mod refresh;
mod told;
mod users;
mod word;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::Error;
use broker::identity::Authenticator;
use broker::keys::Keys;
use broker::link::LinkState;
use broker::misskey::caller::Caller;
use broker::misskey::feed::Told;
use broker::misskey::hosts::{Host, Hosts};
use broker::misskey::markers::Markers;
use broker::misskey::viewer::Viewer;
use broker::topology::{Redis, RedisSettings};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::debug;

use self::desk::Desk;
pub use self::word::Ear;
use crate::dialect::misskey::{Asking, Reply};
use crate::metrics::MisskeyMetrics;
use crate::shard::inbox::Inbox;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token names nobody, or may not read the account.
    Unauthorized,
    /// The user is suspended.
    Suspended,
    /// The host says what nobody understands.
    Fault,
    /// Nobody can tell now.
    Unavailable,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        debug!(%error, "users of a Misskey cannot be told");
        if error.is_lasting() {
            Self::Fault
        } else {
            Self::Unavailable
        }
    }
}

impl From<Arc<Error>> for Refused {
    fn from(error: Arc<Error>) -> Self {
        debug!(%error, "users of a Misskey cannot be told");
        if error.is_lasting() {
            Self::Fault
        } else {
            Self::Unavailable
        }
    }
}

/// The users of all hosts that are served. Cheap to clone.
#[derive(Clone)]
pub struct Misskeys {
    hosts: Hosts,
    desks: Arc<HashMap<Arc<str>, Arc<Desk>>>,
}

impl Misskeys {
    /// Those of `hosts`, some of which have their cache or bus in `redis`; their
    /// sockets are on `shards`. They are to be an outlet of the link, as `ear` says.
    ///
    /// # Errors
    /// If another Redis of a host is of a kind that is not served.
    pub fn new(
        hosts: &Hosts,
        (redis, keys): (&Redis, &Keys),
        authenticator: &Authenticator,
        shards: &[Arc<Inbox>],
        ear: &Ear,
        metrics: &MisskeyMetrics,
    ) -> Result<Self, Error> {
        let shards: Arc<[_]> = shards.into();
        let mut desks = HashMap::new();
        for host in hosts.iter() {
            let of = |settings: Option<&RedisSettings>| {
                settings.map_or_else(|| Ok(redis.clone()), |settings| redis.beside(settings))
            };
            let cache = of(host.cache_redis.as_ref())?;
            let bus = of(host.bus_redis.as_ref())?;
            let desk = Desk::new(
                host,
                cache.clone(),
                Markers::new(host, cache, bus, keys.clone()),
                authenticator.clone(),
                Arc::clone(&shards),
                ear.clone(),
                metrics.clone(),
            );
            desks.insert(Arc::clone(&host.name), Arc::new(desk));
        }
        Ok(Self {
            hosts: hosts.clone(),
            desks: Arc::new(desks),
        })
    }

    /// The host that a request is for, by its `Host` header.
    pub fn host(&self, header: Option<&str>) -> Option<&Arc<Host>> {
        self.hosts.host(header)
    }

    /// Who comes to this host with this token, and what they follow and mute.
    /// No token makes a visitor; an empty one is a wrong one.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn admit(
        &self,
        host: &Host,
        token: Option<&str>,
    ) -> Result<(Arc<Caller>, Arc<Viewer>), Refused> {
        let desk = self.desks.get(&host.name).ok_or(Refused::Fault)?;
        if desk.cut.load(Ordering::Relaxed) {
            return Err(Refused::Unavailable);
        }
        match token {
            None => desk.visitor().await,
            Some(token) => desk.user(token).await,
        }
    }

    /// Keeps what is known up to date, by the caches and by what the processes of
    /// hosts tell each other, until `stop` resolves.
    pub async fn run(self, mut told: mpsc::Receiver<Told>, stop: impl Future<Output = ()>) {
        let mut keeping = JoinSet::new();
        for desk in self.desks.values() {
            keeping.spawn(refresh::keep(Arc::clone(desk)));
        }
        let hearing = async {
            while let Some(Told { host, what }) = told.recv().await {
                if let Some(desk) = self.desks.get(&host.name) {
                    told::hear(desk, what);
                }
            }
            // No host has a bus.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop => {}
            () = hearing => {}
        }
    }

    /// Takes no new sockets for a host whose bus is down for longer than `grace`,
    /// until the bus ends.
    pub async fn watch(self, host: Arc<Host>, bus: watch::Receiver<LinkState>, grace: Duration) {
        if let Some(desk) = self.desks.get(&host.name) {
            buses::watch(Arc::clone(desk), bus, grace).await;
        }
    }

    /// What comes of a question, if it is answered.
    pub async fn ask(&self, asking: &Asking) -> Option<Reply> {
        let desk = self.desks.get(&asking.caller.host.name)?;
        questions::ask(desk, asking).await
    }
}
