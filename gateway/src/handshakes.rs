//! Connections that have not been upgraded: how many there may be, and which
//! goes when there are more.
//!
//! A client that wants something says so at once. So when places run out, the
//! connection that has been silent longest loses its own: however many never
//! say a word, the next one is let in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// The places for connections that have not been upgraded.
#[derive(Debug)]
pub struct Handshakes {
    free: Arc<Semaphore>,
    silent: Mutex<Silent>,
}

/// Connections that have not sent a request yet, oldest first.
#[derive(Debug, Default)]
struct Silent {
    numbers: u64,
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A connection's place; dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    handshakes: Arc<Handshakes>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

/// Resolves when a place is lost to another connection.
#[derive(Debug)]
pub struct Lost(oneshot::Receiver<()>);

impl Handshakes {
    /// So many places.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            silent: Mutex::default(),
        })
    }

    /// A place for one more connection, in the order of asking. It may have to
    /// wait only while every place is held by a request that is being answered.
    pub async fn enter(self: &Arc<Self>) -> (Place, Lost) {
        if self.free.available_permits() == 0 {
            self.evict();
        }
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let (sender, lost) = oneshot::channel();
        let mut silent = self.silent();
        silent.numbers += 1;
        let number = silent.numbers;
        silent.places.insert(number, sender);
        drop(silent);
        let place = Place {
            handshakes: Arc::clone(self),
            number,
            _permit: permit.expect("the semaphore is never closed"),
        };
        (place, Lost(lost))
    }

    fn evict(&self) {
        if let Some((_, oldest)) = self.silent().places.pop_first() {
            // It may have ended by itself just now, which frees its place too.
            let _ = oldest.send(());
        }
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A request has come: from now on the place cannot be lost.
    pub fn heard(&self) {
        self.handshakes.silent().places.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.heard();
    }
}

impl Lost {
    /// Resolves when the place is lost; never once a request has come.
    pub async fn lost(self) {
        if self.0.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn waits(future: impl Future) -> bool {
        pin!(future)
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    }

    #[tokio::test]
    async fn who_has_been_silent_longest_makes_room() {
        let handshakes = Handshakes::new(2);
        let (speaking, speaking_lost) = handshakes.enter().await;
        speaking.heard();
        let (silent, silent_lost) = handshakes.enter().await;
        let mut next = pin!(handshakes.enter());
        assert!(waits(next.as_mut()), "the silent one has yet to leave");
        silent_lost.lost().await;
        drop(silent);
        let (_next, next_lost) = next.await;
        assert!(waits(speaking_lost.lost()));
        assert!(waits(next_lost.lost()));
    }
}
