//! What waits for the answer to a check, in the order in which it came.

use std::collections::VecDeque;

use super::channel::Channel;

/// Messages kept. A client that shows a page captures hundreds of notes at once.
const MAX_MESSAGES: usize = 2048;
/// Bytes of them kept.
const MAX_BYTES: usize = 256 << 10;

/// A check that is under way, and what comes after it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// `None` while what waited is being heard.
    pub(super) check: Option<Check>,
    said: VecDeque<Box<str>>,
    bytes: usize,
}

/// What is done once it is allowed.
#[derive(Debug)]
pub(super) enum Check {
    /// Open a channel, and say so if asked to.
    Open(Channel, bool),
}

impl Waiting {
    /// Keeps a message; false if there is no room for it.
    pub(super) fn hold(&mut self, text: &str) -> bool {
        self.bytes += text.len();
        let room = self.said.len() < MAX_MESSAGES && self.bytes <= MAX_BYTES;
        if room {
            self.said.push_back(text.into());
        }
        room
    }

    /// The next message, if no check is under way.
    pub(super) fn next(&mut self) -> Option<Box<str>> {
        let said = self.said.pop_front()?;
        self.bytes -= said.len();
        Some(said)
    }
}
