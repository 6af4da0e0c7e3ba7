//! A way from the shards, which never wait, to tasks, which do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Things left by any thread and taken, all at once and in order, by one task.
///
/// It has no bound of its own; who leaves things says what bounds them.
#[derive(Debug)]
pub struct Mailbox<T> {
    things: Mutex<Vec<T>>,
    left: AtomicU64,
    notify: Notify,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self {
            things: Mutex::default(),
            left: AtomicU64::new(0),
            notify: Notify::new(),
        }
    }
}

impl<T> Mailbox<T> {
    /// Leaves all of `things`, emptying it.
    pub fn leave(&self, things: &mut Vec<T>) {
        if !things.is_empty() {
            let mut all = self.things();
            self.left.fetch_add(things.len() as u64, Ordering::Relaxed);
            all.append(things);
            drop(all);
            self.notify.notify_one();
        }
    }

    /// How many things have ever been left.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes all there are, waiting for the first.
    pub async fn take(&self) -> Vec<T> {
        loop {
            let taken = self.take_now();
            if !taken.is_empty() {
                return taken;
            }
            self.notify.notified().await;
        }
    }

    /// Takes all there are, if any.
    pub fn take_now(&self) -> Vec<T> {
        std::mem::take(&mut *self.things())
    }

    fn things(&self) -> MutexGuard<'_, Vec<T>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
