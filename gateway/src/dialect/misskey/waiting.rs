//! What waits for the answer to a check, in the order in which it came.

use std::collections::VecDeque;

use broker::key::{Key, KeySet};
use broker::topic::Topic;

use super::asking::Question;
use super::channel::Channel;

/// Messages kept. A client that shows a page captures hundreds of notes at once.
const MAX_MESSAGES: usize = 2048;
/// Bytes of them kept.
const MAX_BYTES: usize = 256 << 10;
/// Changes of lists that are kept while their members are being read. Beyond, the
/// oldest are forgotten, which the next reading mends.
const MAX_CHANGES: usize = 1024;

/// A check that is under way, and what comes after it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// `None` while what waited is being heard.
    pub(super) check: Option<Check>,
    next: VecDeque<Next>,
    bytes: usize,
    /// What has become of lists since the check began.
    changes: VecDeque<(Topic, Change)>,
}

/// What is under way.
#[derive(Debug)]
pub(super) enum Check {
    /// The channel's topic is to be confirmed and this asked then, so that no change
    /// falls between the two.
    Listen(Opening, Question),
    /// The channel may be opened if the answer is yes.
    Open(Opening),
    /// The members of the list of this topic are read anew.
    Members(Topic),
}

/// A channel that is to be opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) channel: Channel,
    /// Whether to say so.
    pub(super) pong: bool,
    /// Whether its topic is subscribed already.
    pub(super) listening: bool,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// The client said this.
    Said(Box<str>),
    /// Read the members of the list of this topic.
    Members(Topic),
}

/// What became of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Added(Key),
    Removed(Key),
}

impl Change {
    pub(super) fn apply(self, members: &mut KeySet) {
        *members = match self {
            Self::Added(key) => members.with(key),
            Self::Removed(key) => members.without(key),
        };
    }
}

impl Waiting {
    /// Keeps a message; false if there is no room for it.
    pub(super) fn hold(&mut self, text: &str) -> bool {
        self.bytes += text.len();
        let room = self.next.len() < MAX_MESSAGES && self.bytes <= MAX_BYTES;
        if room {
            self.next.push_back(Next::Said(text.into()));
        }
        room
    }

    /// The members of a list are to be read anew.
    pub(super) fn read_members(&mut self, list: &Topic) {
        let known = |next: &Next| matches!(next, Next::Members(topic) if topic == list);
        if !self.next.iter().any(known) {
            self.next.push_back(Next::Members(list.clone()));
        }
    }

    /// How much is kept of what was said.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What comes next, now that no check is under way.
    pub(super) fn next(&mut self) -> Option<Next> {
        self.changes.clear();
        let next = self.next.pop_front()?;
        if let Next::Said(said) = &next {
            self.bytes -= said.len();
        }
        Some(next)
    }

    /// A list has changed while it may be being read.
    pub(super) fn changed(&mut self, list: &Topic, change: Change) {
        if MAX_CHANGES <= self.changes.len() {
            self.changes.pop_front();
        }
        self.changes.push_back((list.clone(), change));
    }

    /// The members that were read, with what has changed since.
    pub(super) fn members(&self, list: &Topic, members: &KeySet) -> KeySet {
        let mut members = members.clone();
        for (topic, change) in &self.changes {
            if topic == list {
                change.apply(&mut members);
            }
        }
        members
    }
}
