//! A connection that callers share, and when it is not to be trusted any more.
//!
//! Redis may end a connection at any time. Over RESP3 the client says so at
//! once, though not of which connection; so when one has ended, every lane goes
//! back to the pool, which asks Redis through it before it hands it out again.
//! Nothing is said to a dead connection after an outage, and nobody has to guess
//! whether a command that failed was heard.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{PushInfo, PushKind};

use super::metrics::Counted;

/// How many of this process's connections for commands Redis has ended.
#[derive(Clone, Default)]
pub(super) struct Ended(Arc<AtomicUsize>);

impl Ended {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// To be told what connections say beside their replies.
    pub(super) fn listener(&self) -> impl AsyncPushSender {
        let ended = Arc::clone(&self.0);
        move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                ended.fetch_add(1, Ordering::Release);
            }
            Ok::<_, Infallible>(())
        }
    }
}

/// The place of a lane.
#[derive(Default)]
pub(super) struct Slot {
    pub lane: Option<Lane>,
    /// When the last attempt to connect failed.
    pub failed_at: Option<Instant>,
}

/// One connection that callers share, kept checked out of the pool.
pub(super) struct Lane {
    pub connection: deadpool_redis::Connection,
    /// Tells this connection from the ones before and after it.
    pub generation: usize,
    /// How many connections had ended before the pool handed this one out.
    pub ended: usize,
    pub _open: Counted,
}

impl Slot {
    /// The connection and its generation, if there is one, and none has ended
    /// since it was checked.
    pub(super) fn usable(&self, ended: &Ended) -> Option<(usize, MultiplexedConnection)> {
        let lane = self.lane.as_ref()?;
        (lane.ended == ended.count()).then(|| (lane.generation, lane.connection.as_ref().clone()))
    }

    /// Lets go of the connection if it is of this generation. The pool does not
    /// get it back.
    pub(super) fn discard(&mut self, generation: usize) {
        if let Some(lane) = self.lane.take_if(|lane| lane.generation == generation) {
            drop(deadpool_redis::Connection::take(lane.connection));
        }
    }
}
