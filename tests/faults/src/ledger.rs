//! What was accepted: the backend's books.

use std::sync::Mutex;
use std::time::Duration;

use broker::message::MessageId;

use crate::ways::Way;

/// One event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// By which way it went.
    pub(crate) way: Way,
    /// For which client, by its number.
    pub(crate) client: usize,
    /// When it was first offered.
    pub(crate) sent: Duration,
    /// When it was accepted, if it was.
    pub(crate) accepted: Option<Accepted>,
}

/// That an event was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    /// When.
    pub(crate) at: Duration,
    /// What it became, if it is a message.
    pub(crate) message: Option<MessageId>,
    /// How often it was offered.
    pub(crate) attempts: u32,
}

/// All events of a run, by number.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    events: Mutex<Vec<Event>>,
}

impl Ledger {
    /// Enters an event that is about to be offered, and returns its number.
    pub(crate) fn offer(&self, way: Way, client: usize, sent: Duration) -> u32 {
        let mut events = self.events.lock().expect("nobody panics here");
        let number = u32::try_from(events.len()).expect("a short run");
        events.push(Event {
            way,
            client,
            sent,
            accepted: None,
        });
        number
    }

    /// Notes that it was accepted.
    pub(crate) fn accept(&self, number: u32, accepted: Accepted) {
        let mut events = self.events.lock().expect("nobody panics here");
        events[number as usize].accepted = Some(accepted);
    }

    /// The number of the next one.
    pub(crate) fn next(&self) -> u32 {
        self.events.lock().expect("nobody panics here").len() as u32
    }

    /// All of them, as they are now.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("nobody panics here").clone()
    }
}
