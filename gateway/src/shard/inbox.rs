//! How the async side reaches a shard.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use broker::Timestamp;
use broker::link::Batch;
use broker::topic::Topic;
use mio::Waker;
use rustls::ServerConnection;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::client::Client;
use crate::dialect::Answer;
use crate::dialect::misskey::News;
use crate::hub::SessionKey;
use crate::relay::Relayed;

/// What a shard is told.
#[derive(Debug)]
pub enum Mail {
    /// A client has been let in.
    Open(Box<Admitted>),
    /// Events and confirmations from the link.
    Batch(Batch),
    /// What came of a session's errand.
    Answer(SessionKey, Answer),
    /// What came through a session's relay.
    Relayed(SessionKey, Relayed),
    /// For everybody who listens to this topic.
    News(Topic, News),
    /// Who listens to this topic?
    Count(Topic, oneshot::Sender<Listening>),
    /// Close all sockets, spread over this time, and at once those that still come.
    Drain(Duration),
    /// Nobody will come any more: end once there is no socket.
    End,
    /// Close so many sockets at once, as memory runs out.
    Relieve(usize),
}

/// A client that has been let in, with the socket that it is on.
#[derive(Debug)]
pub struct Admitted {
    /// The connection, after the upgrade.
    pub stream: Carrier,
    /// What the client sent before it saw the upgrade.
    pub early: Vec<u8>,
    /// Who it is, and what it speaks.
    pub client: Client,
    /// Its place among the connections of this node.
    pub permit: Permit,
}

/// A connection that bytes travel on.
#[derive(Debug)]
pub enum Carrier {
    /// In clear.
    Plain(TcpStream),
    /// Over TLS, as its handshake left it.
    Encrypted(TcpStream, Box<ServerConnection>),
}

/// A shard's sockets on one topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listening {
    /// How many.
    pub sockets: u64,
    /// When the oldest was opened.
    pub since: Option<Timestamp>,
}

/// Mail for one shard. Events in it are bounded by the link, answers by the
/// errands under way, what is relayed by each relay, and newcomers by the connections allowed.
#[derive(Debug)]
pub struct Inbox {
    mail: Mutex<Vec<Mail>>,
    waker: Waker,
    /// How often the shard has got something done.
    progress: AtomicU64,
    /// Nanoseconds that the shard was not waiting.
    worked: AtomicU64,
}

impl Inbox {
    /// An inbox whose shard wakes by `waker`.
    pub fn new(waker: Waker) -> Self {
        Self {
            mail: Mutex::default(),
            waker,
            progress: AtomicU64::new(0),
            worked: AtomicU64::new(0),
        }
    }

    /// Leaves something for the shard, waking it if it has nothing else there.
    pub fn send(&self, mail: Mail) {
        let mut all = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        let first = all.is_empty();
        all.push(mail);
        drop(all);
        if first {
            self.wake();
        }
    }

    /// Wakes the shard, so that it makes [progress](Self::progress) even if there
    /// is nothing for it to do.
    pub fn wake(&self) {
        self.waker
            .wake()
            .expect("the shard's waker outlives everyone who wakes it");
    }

    /// Grows whenever the shard has got something done, at least once a turn.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// The shard has got something done.
    pub(super) fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// How long the shard has not been waiting for something to do, turns that have
    /// ended.
    pub fn worked(&self) -> Duration {
        Duration::from_nanos(self.worked.load(Ordering::Relaxed))
    }

    /// A turn of the shard took so long.
    pub(super) fn works(&self, turn: Duration) {
        let nanos = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
        self.worked.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Takes all mail, in order.
    pub(super) fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
