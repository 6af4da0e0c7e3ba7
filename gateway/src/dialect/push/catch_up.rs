//! Sending what waited, while more keeps happening.

use std::rc::Rc;

use broker::message::MessageId;
use broker::topic::Topic;

use super::super::{Delivery, Tag};
use super::Pushed;

/// Events parked per socket. Beyond that they are left to the store, which is
/// read once more; only what another socket of the recipient took in the
/// meantime does not show up there.
const MAX_PARKED: usize = 256;

/// The state of a socket that has not been sent everything that waited.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Topics that Redis has not confirmed yet.
    waiting: u8,
    /// The store must be read again behind what is being read: there was a gap,
    /// or events were not parked.
    pub(super) again: bool,
    /// The last frame of the page under way, and where the page ends in the
    /// store, if there are further pages.
    pub(super) page_end: Option<(Tag, MessageId)>,
    /// What happened meanwhile.
    pub(super) parked: Parked,
    /// What was sent of the backlog.
    pub(super) sent: Vec<MessageId>,
}

#[derive(Debug, Default)]
pub(super) struct Parked(Vec<(Topic, Rc<Delivery>)>);

impl CatchUp {
    pub(super) fn waiting_for(topics: u8) -> Self {
        let parked = Parked::default();
        Self {
            waiting: topics,
            again: false,
            page_end: None,
            parked,
            sent: Vec::new(),
        }
    }

    /// One more topic is subscribed; true if it was the last.
    pub(super) fn confirmed(&mut self) -> bool {
        let last = self.waiting == 1;
        self.waiting = self.waiting.saturating_sub(1);
        last
    }

    /// Keeps an event for after the backlog.
    pub(super) fn park(&mut self, topic: &Topic, delivery: &Rc<Delivery>) {
        if self.parked.0.len() < MAX_PARKED {
            self.parked.0.push((topic.clone(), Rc::clone(delivery)));
        } else {
            self.again = true;
        }
    }
}

impl Parked {
    /// What was parked: the recipient's own by their places, then the global ones.
    pub(super) fn in_order(mut self, recipient: &Topic) -> Vec<(Topic, Rc<Delivery>)> {
        self.0.sort_by_key(|(topic, delivery)| {
            (
                topic != recipient,
                Pushed::of(topic, delivery).map(|pushed| pushed.place),
            )
        });
        self.0
    }
}
