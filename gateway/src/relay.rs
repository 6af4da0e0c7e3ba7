//! Sockets to a Misskey itself, for the channels that only it can serve.
//!
//! A client's socket has at most one of them, opened with the client's own token
//! and ended once nothing is relayed any more. Everything is bounded: how many
//! there are on a node, what waits in either direction, how long a message is.
//! Nothing that passes is ever logged, nor is an address, which holds a token.

mod upstream;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use broker::misskey::caller::Caller;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use self::upstream::Upstream;
use crate::dialect::Answer;
use crate::dialect::misskey::Reply;
use crate::hub::SessionKey;
use crate::metrics::RelayMetrics;
use crate::shard::inbox::Mail;

/// Messages of a client that may wait for the Misskey to take them.
const MAX_WAITING: usize = 256;
/// Bytes of those messages.
const MAX_WAITING_BYTES: usize = 256 << 10;
/// The longest message taken from a Misskey, and as much of its messages as may
/// wait for the shard. What waits for the client after that counts in its queue.
const MAX_MESSAGE: usize = 1 << 20;

/// A socket to a Misskey, as the client's own socket has it. Dropping the last
/// hold of it ends it, once all is sent that was forwarded; at once, if it is not
/// connected yet.
#[derive(Debug)]
pub struct Relay {
    messages: mpsc::Sender<Box<str>>,
    /// Bytes of those that wait.
    waiting: Arc<AtomicUsize>,
    overrun: CancellationToken,
    _dropped: DropGuard,
}

/// What a client has for its Misskey.
#[derive(Debug)]
pub struct Forwarded {
    messages: mpsc::Receiver<Box<str>>,
    waiting: Arc<AtomicUsize>,
    overrun: CancellationToken,
    dropped: CancellationToken,
}

/// Each is equal to itself alone.
impl PartialEq for Relay {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Relay {
    /// A relay, and what is forwarded through it.
    pub fn new() -> (Arc<Self>, Forwarded) {
        let (messages, receiver) = mpsc::channel(MAX_WAITING);
        let waiting = Arc::<AtomicUsize>::default();
        let (overrun, dropped) = (CancellationToken::new(), CancellationToken::new());
        let relay = Self {
            messages,
            waiting: Arc::clone(&waiting),
            overrun: overrun.clone(),
            _dropped: dropped.clone().drop_guard(),
        };
        let forwarded = Forwarded {
            messages: receiver,
            waiting,
            overrun,
            dropped,
        };
        (Arc::new(relay), forwarded)
    }

    /// Sends a message to the Misskey, after those before it. Never waits: if the
    /// Misskey takes too little of what the client says, the relay ends.
    pub fn forward(&self, message: Box<str>) {
        let bytes = message.len();
        let waiting = bytes + self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if MAX_WAITING_BYTES < waiting
            || matches!(
                self.messages.try_send(message),
                Err(mpsc::error::TrySendError::Full(_))
            )
        {
            self.overrun.cancel();
        }
    }
}

impl Forwarded {
    /// The next message. An end once the relay has been dropped and all are taken,
    /// or more waits than may.
    pub async fn next(&mut self) -> Result<Box<str>, Ending> {
        let message = tokio::select! {
            message = self.messages.recv() => message.ok_or(Ending::Unused)?,
            () = self.overrun.cancelled() => return Err(Ending::Overrun),
        };
        self.waiting.fetch_sub(message.len(), Ordering::Relaxed);
        Ok(message)
    }

    /// Resolves once more waits than may.
    pub async fn overrun(&self) {
        self.overrun.cancelled().await;
    }

    /// Resolves once the relay has been dropped.
    pub async fn dropped(&self) {
        self.dropped.cancelled().await;
    }
}

/// What a relay has for its session.
#[derive(Debug)]
pub struct Relayed {
    relay: Weak<Relay>,
    what: What,
}

#[derive(Debug)]
enum What {
    Message {
        text: Box<str>,
        /// Its share of what may wait for the shard.
        _room: OwnedSemaphorePermit,
    },
    Ended,
}

impl Relayed {
    /// What the session is to be told; nothing of a relay that it has dropped.
    pub fn reply(self) -> Option<Reply> {
        if self.relay.strong_count() == 0 {
            return None;
        }
        Some(match self.what {
            What::Message { text, .. } => Reply::Relayed(text),
            What::Ended => Reply::RelayEnded,
        })
    }
}

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The session needs it no more.
    Unused,
    /// The Misskey could not be reached, or did not answer in time.
    Unreachable,
    /// The Misskey did not upgrade.
    Refused,
    /// The Misskey ended it.
    Upstream,
    /// Nothing came from the Misskey, not even an answer to a ping.
    Silent,
    /// The Misskey takes less than the client says.
    Overrun,
    /// The Misskey sent a longer message than may pass.
    TooLong,
}

impl Ending {
    /// All of them.
    pub const EVERY: [Self; 7] = [
        Self::Unused,
        Self::Unreachable,
        Self::Refused,
        Self::Upstream,
        Self::Silent,
        Self::Overrun,
        Self::TooLong,
    ];

    /// The name under which it is counted.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Upstream => "upstream",
            Self::Silent => "silent",
            Self::Overrun => "overrun",
            Self::TooLong => "too_long",
        }
    }
}

/// The relays of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relays {
    places: Arc<Semaphore>,
    upstream: Upstream,
    metrics: RelayMetrics,
}

impl Relays {
    /// At most so many at once.
    pub fn new(most: usize, metrics: RelayMetrics) -> Self {
        metrics.limit.set(i64::try_from(most).unwrap_or(i64::MAX));
        Self {
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            upstream: Upstream::new(),
            metrics,
        }
    }

    /// Opens one for the caller's session and lives as it until it ends.
    ///
    /// The session gets [`Reply::Relay`] at once, though what is forwarded may have
    /// to wait for the Misskey, or [`Reply::RelayEnded`] if there is no place or
    /// nowhere to go; what the Misskey says; and [`Reply::RelayEnded`] once, unless
    /// it has dropped the relay.
    pub async fn serve(&self, caller: &Caller, session: SessionKey, send: impl Fn(Mail)) {
        let answer = |reply| send(Mail::Answer(session, Answer::Misskey(reply)));
        let Some(address) = upstream::address(caller) else {
            return answer(Reply::RelayEnded);
        };
        let Ok(_place) = self.places.try_acquire() else {
            self.metrics.refused.inc();
            return answer(Reply::RelayEnded);
        };
        let (relay, forwarded) = Relay::new();
        let weak = Arc::downgrade(&relay);
        answer(Reply::Relay(relay));
        let told = |what| {
            let relay = Weak::clone(&weak);
            send(Mail::Relayed(session, Relayed { relay, what }));
        };
        self.metrics.opened.inc();
        self.metrics.open.inc();
        let ending = self.pass(address, forwarded, told).await;
        self.metrics.open.dec();
        self.metrics.ended(ending);
        if ending != Ending::Unused {
            debug!(host = %caller.host.name, why = ending.label(), "a relay ended");
            told(What::Ended);
        }
    }

    /// Passes messages either way until the relay ends.
    async fn pass(
        &self,
        address: url::Url,
        mut forwarded: Forwarded,
        told: impl Fn(What),
    ) -> Ending {
        let connected = tokio::select! {
            connected = self.upstream.connect(address) => connected,
            () = forwarded.dropped() => return Ending::Unused,
            () = forwarded.overrun() => return Ending::Overrun,
        };
        let mut socket = match connected {
            Ok(socket) => socket,
            Err(ending) => return ending,
        };
        let room = Arc::new(Semaphore::new(MAX_MESSAGE));
        // A message from the Misskey for which there is no room yet; until there is,
        // no other is read.
        let mut held: Option<Box<str>> = None;
        loop {
            let bytes = held.as_ref().map_or(0, |text| text.len());
            let bytes = u32::try_from(bytes).expect("a message is at most a MiB");
            tokio::select! {
                message = forwarded.next() => match message {
                    Ok(message) => match socket.send(message).await {
                        Ok(()) => {}
                        Err(ending) => return ending,
                    },
                    Err(ending) => {
                        socket.close().await;
                        return ending;
                    }
                },
                place = Arc::clone(&room).acquire_many_owned(bytes), if held.is_some() => {
                    told(What::Message {
                        text: held.take().expect("there is one"),
                        _room: place.expect("the semaphore is never closed"),
                    });
                }
                heard = socket.hear(), if held.is_none() => match heard {
                    Ok(heard) => held = heard,
                    Err(ending) => return ending,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
