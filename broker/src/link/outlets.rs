//! What comes from Redis, sorted to those who listen, each with its own room.
//!
//! Nothing is dropped: while a listener has no room, nothing more is read for any
//! of them. One that makes none for long is given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::gathered::Gathered;
use crate::event::Event;
use crate::topic::Topic;

/// What listeners may have on their hands before nothing more is read: bytes of
/// events, and what each costs beside.
const ROOM: u32 = 32 << 20;
/// How long a listener without room may hold up the others. A busy one makes
/// some at each of its turns, which take milliseconds; this one has hung.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a link brings to one listener.
#[derive(Debug)]
pub enum Arrival {
    /// Redis confirmed the topic: from now on nothing published on it is missed.
    Subscribed(Topic),
    /// The topic is subscribed again. Events of a ring that were published in
    /// between follow, or a [`Gap`](Self::Gap) does; what is kept elsewhere is to
    /// be read again there.
    Resumed(Topic),
    /// Events on the topic are lost for good, or may be.
    Gap(Topic),
    /// Something happened on a topic.
    Event(Topic, Arc<Event>),
}

/// Arrivals on their way to a listener. Dropping it makes room for more.
#[derive(Debug)]
pub struct Batch {
    /// What arrived, in order.
    pub arrivals: Vec<Arrival>,
    _room: OwnedSemaphorePermit,
}

impl Batch {
    /// These arrivals, which take up this room for as long as the batch is held.
    pub fn new(arrivals: Vec<Arrival>, room: OwnedSemaphorePermit) -> Self {
        let _room = room;
        Self { arrivals, _room }
    }
}

/// Where a link leaves what it has for one listener.
pub trait Outlet: Send + Sync {
    /// Takes a batch. Must not block.
    fn leave(&self, batch: Batch);

    /// The listener made no room for ten seconds: nothing more is left for it.
    fn given_up(&self);
}

/// The listeners of one connection.
pub(crate) struct Outlets {
    /// None in the place of a listener that was given up.
    pub(super) places: Vec<Option<Roomed>>,
    pub(super) patience: Duration,
}

/// An outlet, and the room that its listener has left.
type Roomed = (Box<dyn Outlet>, Arc<Semaphore>);

impl Outlets {
    /// At most 64, numbered by their place.
    pub(crate) fn new(outlets: Vec<Box<dyn Outlet>>) -> Self {
        assert!(outlets.len() <= 64, "a set of listeners has 64 bits");
        let room = || Arc::new(Semaphore::new(ROOM as usize));
        let places = outlets.into_iter().map(|outlet| Some((outlet, room())));
        Self {
            places: places.collect(),
            patience: PATIENCE,
        }
    }

    /// Hands each listener what was gathered for it, waiting for room.
    pub(crate) async fn hand_over(&mut self, gathered: &mut Gathered) {
        for (listener, place) in self.places.iter_mut().enumerate() {
            let (arrivals, cost) = gathered.take(listener);
            if arrivals.is_empty() {
                continue;
            }
            let Some((outlet, room)) = place else {
                continue;
            };
            let cost = u32::try_from(cost).unwrap_or(ROOM).min(ROOM);
            let room = Arc::clone(room).acquire_many_owned(cost);
            if let Ok(room) = tokio::time::timeout(self.patience, room).await {
                let room = room.expect("the semaphore is never closed");
                outlet.leave(Batch::new(arrivals, room));
            } else {
                outlet.given_up();
                *place = None;
            }
        }
    }
}
