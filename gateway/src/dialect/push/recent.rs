//! Which of the recipient's messages came by of late, so that the store can be read
//! again from before them and nothing is sent twice.

use broker::message::MessageId;

/// The store is read again from this long before the furthest message on, in
/// milliseconds: a Redis that has taken another's place may have lost what that one
/// had last, and its clock may be behind, so that what it stores stands before it.
const OVERLAP: u64 = 10_000;
/// So many are remembered at most; of a recipient who gets more within that time,
/// less is read again.
const MOST: usize = 64;

/// Messages that came by, each with its place, by their places.
#[derive(Debug, Default)]
pub(super) struct Recent {
    messages: Vec<(MessageId, MessageId)>,
    /// What came by up to here is not remembered any more.
    forgotten: Option<MessageId>,
}

impl Recent {
    /// A message came by.
    pub(super) fn note(&mut self, place: MessageId, id: MessageId) {
        let Err(at) = self.messages.binary_search(&(place, id)) else {
            return;
        };
        if self.messages.is_empty() {
            // Most recipients get few.
            self.messages.reserve_exact(1);
        }
        self.messages.insert(at, (place, id));
        let furthest = self.messages[self.messages.len() - 1].0.millis;
        let old = |(place, _): &&(MessageId, MessageId)| place.millis + OVERLAP < furthest;
        let old = self.messages.iter().take_while(old).count();
        let gone = old.max(self.messages.len().saturating_sub(MOST));
        let gone = self.messages.drain(..gone).next_back();
        self.forgotten = self.forgotten.max(gone.map(|(place, _)| place));
    }

    /// Whether the message of this id came by of late.
    pub(super) fn has(&self, id: MessageId) -> bool {
        self.messages.iter().any(|(_, known)| *known == id)
    }

    /// Behind this, whatever came by is remembered.
    pub(super) fn since(&self) -> Option<MessageId> {
        self.forgotten
    }
}
