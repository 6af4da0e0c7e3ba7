//! Connections to one server that callers share ("lanes"), and when one is not to
//! be trusted any more.
//!
//! Redis may end a connection at any time. Over RESP3 the client says so at
//! once, though not of which connection; so when one has ended, every lane goes
//! back to the pool, which asks Redis through it before it hands it out again.
//! Nothing is said to a dead connection after an outage, and nobody has to guess
//! whether a command that failed was heard.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{Object, Pool, PoolError};
use redis::aio::AsyncPushSender;
use redis::{PushInfo, PushKind, RedisError};
use tokio::sync::RwLock;

use super::connector::{Connection, Connector, MAX_AGE, Place};
use super::dial::{CONNECT_TIMEOUT, Server};
use super::metrics::{Counted, Metrics};

/// Shared connections per server. Redis works one command at a time, so more
/// would only cost it memory; two keep a large reply from delaying small ones.
pub(super) const LANES: usize = 2;

/// How long a server that failed to answer is spared what others can do.
const DOUBT: Duration = Duration::from_secs(5);

/// How long a connection is kept that leads to the wrong server: there may be no
/// better one, and making them is dear.
const TRIAL: Duration = Duration::from_millis(200);

/// How many connections for commands to a server have ended.
#[derive(Clone, Default)]
pub(super) struct Ended(Arc<AtomicUsize>);

impl Ended {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// One has, or none is to be trusted without a look.
    fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// To be told what connections say beside their replies.
    pub(super) fn listener(&self) -> impl AsyncPushSender {
        let ended = self.clone();
        move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                ended.note();
            }
            Ok::<_, Infallible>(())
        }
    }
}

/// The lanes to one server.
pub(super) struct Lanes {
    pool: Pool<Connector>,
    lanes: [RwLock<Slot>; LANES],
    next: AtomicUsize,
    pub(super) ended: Ended,
    epoch: Arc<AtomicUsize>,
    /// When the server last failed to answer.
    failed_at: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// A lane in somebody's hands.
pub(super) struct Taken {
    pub(super) connection: Connection,
    lane: usize,
    generation: usize,
}

/// The place of a lane.
#[derive(Default)]
struct Slot {
    lane: Option<Lane>,
    /// When the last attempt to connect failed.
    failed_at: Option<Instant>,
}

/// One connection that callers share, kept checked out of the pool.
struct Lane {
    connection: Object<Connector>,
    /// Tells this connection from the ones before and after it.
    generation: usize,
    /// How many connections had ended before the pool handed this one out.
    ended: usize,
    _open: Counted,
}

impl Lanes {
    /// Lanes to the server that is there; none is opened yet.
    pub(super) fn to(place: Place, metrics: Metrics) -> Self {
        let ended = Ended::default();
        let epoch = Arc::new(AtomicUsize::new(0));
        let connector = Connector::new(place, ended.clone(), Arc::clone(&epoch));
        let pool = Pool::builder(connector)
            .max_size(LANES)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT * 2))
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .expect("a runtime is named, as timeouts demand");
        Self {
            pool,
            lanes: std::array::from_fn(|_| RwLock::default()),
            next: AtomicUsize::new(0),
            ended,
            epoch,
            failed_at: Mutex::default(),
            metrics,
        }
    }

    /// Whether the server is always at the same place.
    pub(super) fn are_fixed(&self) -> bool {
        matches!(self.pool.manager().place, Place::Fixed(_))
    }

    /// Whether the server has failed to answer of late.
    pub(super) fn are_doubtful(&self) -> bool {
        let failed_at = self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failed_at.is_some_and(|at| at.elapsed() < DOUBT)
    }

    /// It has.
    pub(super) fn doubt(&self) {
        *self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Where the server is now.
    pub(super) async fn server(&self) -> io::Result<Server> {
        self.pool.manager().server().await
    }

    /// The same, once it said that it is a master.
    pub(super) async fn checked_server(&self) -> io::Result<Server> {
        let connecting = self.pool.manager().connect_to(CONNECT_TIMEOUT);
        let (server, _) = Box::pin(connecting).await.map_err(io::Error::other)?;
        Ok(server)
    }

    /// A connection that is nobody else's, given up if Redis says nothing for
    /// `patience`.
    pub(super) async fn own(&self, patience: Duration) -> Result<Connection, RedisError> {
        Box::pin(self.pool.manager().connect(patience)).await
    }

    /// A lane that was sound when last heard of.
    pub(super) async fn take(&self) -> Result<Taken, RedisError> {
        let asked_at = Instant::now();
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let index = at % LANES;
        let slot = &self.lanes[index];
        let taken = |(generation, connection)| Taken {
            connection,
            lane: index,
            generation,
        };
        if let Some(usable) = slot.read().await.usable(&self.ended) {
            return Ok(taken(usable));
        }
        let mut slot = slot.write().await;
        if let Some(usable) = slot.usable(&self.ended) {
            return Ok(taken(usable));
        }
        // Back to the pool, which may know better than to hand it out again.
        slot.lane = None;
        // Who waited for an attempt that failed shares what came of it: each
        // trying for itself, the last of a thousand would wait for minutes.
        if slot.failed_at.is_some_and(|at| asked_at <= at) {
            return Err(timed_out("others waited in vain for a connection"));
        }
        // Counted first: what ends while the pool is at work may be this very one.
        let ended = self.ended.count();
        // Connecting is rare and its future large: unboxed, every command would
        // carry it.
        let connection = match Box::pin(self.pool.get()).await {
            Ok(connection) => connection,
            Err(error) => {
                slot.failed_at = Some(Instant::now());
                self.doubt();
                return Err(match error {
                    PoolError::Backend(error) => error,
                    other => timed_out(&other.to_string()),
                });
            }
        };
        let own = Connection::clone(&connection);
        slot.lane = Some(Lane {
            connection,
            generation: at,
            ended,
            _open: Counted::new(&self.metrics.connections),
        });
        Ok(taken((at, own)))
    }

    /// This connection leads to a server that is not the one we mean any more,
    /// and so do all that are as old.
    pub(super) fn lead_astray(&self, connection: &Connection) {
        if connection.made_at.elapsed() < TRIAL {
            return;
        }
        let (old, new) = (connection.epoch, connection.epoch + 1);
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        if self
            .epoch
            .compare_exchange(old, new, order.0, order.1)
            .is_ok()
        {
            self.ended.note();
        }
    }

    /// Drops the lane if the command showed it to be broken, and all if it
    /// showed the server not to be the one that we mean any more.
    pub(super) async fn settle(&self, taken: &Taken, error: &RedisError) {
        if leads_astray(error) {
            self.lead_astray(&taken.connection);
        } else if error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() {
            self.doubt();
            self.lanes[taken.lane]
                .write()
                .await
                .discard(taken.generation);
        }
    }
}

/// Whether the server is not a master of its own any more, so that others may be
/// found where it was.
pub(super) fn leads_astray(error: &RedisError) -> bool {
    // One without replicas may have been replaced unheard.
    matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "NOREPLICAS"))
}

fn timed_out(why: &str) -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, why).into()
}

impl Slot {
    /// The connection and its generation, if there is one, none has ended since
    /// it was checked, and it is not too old.
    fn usable(&self, ended: &Ended) -> Option<(usize, Connection)> {
        let lane = self.lane.as_ref()?;
        let fresh = lane.ended == ended.count() && lane.connection.made_at.elapsed() < MAX_AGE;
        fresh.then(|| (lane.generation, Connection::clone(&lane.connection)))
    }

    /// Lets go of the connection if it is of this generation. The pool does not
    /// get it back.
    fn discard(&mut self, generation: usize) {
        if let Some(lane) = self.lane.take_if(|lane| lane.generation == generation) {
            drop(Object::take(lane.connection));
        }
    }
}
