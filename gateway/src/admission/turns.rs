//! Waiting for a turn to be upgraded.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::Denial;
use super::queue::Queue;
use crate::metrics::AdmissionMetrics;

/// How often turns are given while somebody waits: a handful at a time.
const STEP: Duration = Duration::from_millis(5);

/// Those who wait, each with where it is told what came of it.
type Waiting = Queue<oneshot::Sender<Result<(), Denial>>>;

/// Turns, and those who wait for them.
#[derive(Debug)]
pub(super) struct Turns {
    /// `None` once nobody gets a turn any more. Never held across an await.
    queue: Mutex<Option<Waiting>>,
    /// Somebody has begun to wait.
    parked: Notify,
    metrics: AdmissionMetrics,
}

/// A place in the queue, which dropping it frees.
struct Parked<'a> {
    turns: &'a Turns,
    number: u64,
    since: Instant,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        if let Some(queue) = &mut *self.turns.queue() {
            queue.leave(self.number);
        }
        let metrics = &self.turns.metrics;
        metrics.parked.dec();
        let waited = self.since.elapsed();
        metrics.parked_seconds.observe(waited.as_secs_f64());
    }
}

impl Turns {
    pub(super) fn new(per_second: u32, most: usize, metrics: AdmissionMetrics) -> Self {
        let queue = Queue::new(per_second, most, Instant::now());
        Self {
            queue: Mutex::new(Some(queue)),
            parked: Notify::new(),
            metrics,
        }
    }

    /// Resolves when the turn has come. Who does not wait for that frees the place.
    ///
    /// # Errors
    /// [`Denial::Limited`] if too many wait, or the turn did not come in time;
    /// [`Denial::Draining`] once nobody gets one any more.
    pub(super) async fn wait(&self) -> Result<(), Denial> {
        let (tell, told) = oneshot::channel();
        let since = Instant::now();
        let number = {
            let mut queue = self.queue();
            let queue = queue.as_mut().ok_or(Denial::Draining)?;
            if queue.passes(since) {
                return Ok(());
            }
            queue.park(tell, since).ok_or(Denial::Limited)?
        };
        self.metrics.parked.inc();
        let _parked = Parked {
            turns: self,
            number,
            since,
        };
        self.parked.notify_one();
        told.await.unwrap_or(Err(Denial::Draining))
    }

    /// Gives turns for as long as it is waited for.
    pub(super) async fn give(&self) {
        loop {
            let next = self.queue().as_mut().and_then(|queue| {
                let moment = queue.turn(Instant::now(), |count| rand::random_range(..count));
                // Who has gone meanwhile has freed their place.
                for tell in moment.released {
                    let _ = tell.send(Ok(()));
                }
                for tell in moment.expired {
                    let _ = tell.send(Err(Denial::Limited));
                }
                moment.next
            });
            match next {
                Some(next) => tokio::time::sleep(next.max(STEP)).await,
                None => self.parked.notified().await,
            }
        }
    }

    /// # Errors
    /// [`Denial::Draining`] once nobody gets a turn any more.
    pub(super) fn are_given(&self) -> Result<(), Denial> {
        self.queue().as_ref().map(drop).ok_or(Denial::Draining)
    }

    /// Refuses whoever waits, and whoever will come.
    pub(super) fn close(&self) {
        drop(self.queue().take());
    }

    fn queue(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
