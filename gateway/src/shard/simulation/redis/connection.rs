//! A connection that is subscribed to a simulated Redis, and what is on its way to
//! whoever made it.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::Time;

/// What a connection brings.
#[derive(Clone, Debug)]
pub(in super::super) enum Said {
    Message(Rc<str>, Rc<[u8]>),
    Subscribed(Rc<str>),
    Unsubscribed(Rc<str>),
}

/// A connection for subscriptions.
#[derive(Debug)]
pub(in super::super) struct Connection {
    pub(in super::super) server: usize,
    pub(super) subscribed: BTreeSet<Rc<str>>,
    /// On its way to whoever connected, each due at its time.
    pub(in super::super) coming: VecDeque<(Time, Said)>,
    pub(super) bytes: usize,
    /// Nothing gets through any more, and nobody says so.
    pub(in super::super) frozen: bool,
    pub(in super::super) closed: bool,
}

impl Connection {
    pub(super) fn to(server: usize) -> Self {
        Self {
            server,
            subscribed: BTreeSet::new(),
            coming: VecDeque::new(),
            bytes: 0,
            frozen: false,
            closed: false,
        }
    }

    pub(super) fn bring(&mut self, due: Time, said: Said) {
        if self.frozen || self.closed {
            return;
        }
        // What is said first arrives first.
        let due = self.coming.back().map_or(due, |(last, _)| due.max(*last));
        self.bytes += size(&said);
        self.coming.push_back((due, said));
    }

    /// What has arrived by now.
    pub(in super::super) fn next(&mut self, now: Time) -> Option<Said> {
        if self.frozen {
            return None;
        }
        let (due, _) = self.coming.front()?;
        if now < *due {
            return None;
        }
        let (_, said) = self.coming.pop_front()?;
        self.bytes -= size(&said);
        Some(said)
    }

    /// To how many channels it is subscribed.
    pub(in super::super) fn subscribed(&self) -> usize {
        self.subscribed.len()
    }

    /// It ends; what was on its way is gone.
    pub(in super::super) fn close(&mut self) {
        self.closed = true;
        self.coming.clear();
        self.bytes = 0;
    }
}

fn size(said: &Said) -> usize {
    match said {
        Said::Message(_, payload) => payload.len(),
        Said::Subscribed(_) | Said::Unsubscribed(_) => 0,
    }
}
