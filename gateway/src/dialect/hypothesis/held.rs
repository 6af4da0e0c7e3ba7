//! What a client said before its topics were subscribed.

use broker::topic::Topic;

/// Messages kept, more than a client may send in one burst.
const MAX_MESSAGES: usize = 256;
/// Bytes of them kept.
const MAX_BYTES: usize = 128 << 10;

/// Messages in the order in which they came, and what they wait for.
#[derive(Debug)]
pub(super) struct Held {
    topics: Vec<Topic>,
    said: Vec<Box<str>>,
    bytes: usize,
}

impl Held {
    /// Nothing yet, until all of these topics are subscribed.
    pub(super) fn until(annotations: &Topic, user: Option<&Topic>) -> Self {
        Self {
            topics: user.into_iter().chain([annotations]).cloned().collect(),
            said: Vec::new(),
            bytes: 0,
        }
    }

    /// A topic is subscribed; true if none is missing.
    pub(super) fn confirmed(&mut self, topic: &Topic) -> bool {
        self.topics.retain(|missing| missing != topic);
        self.topics.is_empty()
    }

    /// Keeps a message; false if there is no room for it.
    pub(super) fn hold(&mut self, text: &str) -> bool {
        self.bytes += text.len();
        let room = self.said.len() < MAX_MESSAGES && self.bytes <= MAX_BYTES;
        if room {
            self.said.push(text.into());
        }
        room
    }

    /// How much is kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was kept, in order.
    pub(super) fn said(self) -> Vec<Box<str>> {
        self.said
    }
}
