//! Topics that have been asked for and are not confirmed yet, and what is said
//! once they are.

use std::collections::{BTreeMap, VecDeque};

use broker::topic::{Topic, TopicMap};

use super::channel::JoinId;

/// Answers that may wait. A client gets there only by asking for channels that it
/// closes again while Redis is away.
const MAX_PONGS: usize = 256;

/// What is awaited, in the order in which it was asked for.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    asked: u64,
    places: TopicMap<u64>,
    order: BTreeMap<u64, Topic>,
    /// Each goes once all topics are confirmed that were asked for before it.
    pongs: VecDeque<(u64, JoinId)>,
}

impl Unconfirmed {
    /// A topic is being asked for.
    pub(super) fn ask(&mut self, topic: &Topic) {
        self.places.insert(topic.clone(), self.asked);
        self.order.insert(self.asked, topic.clone());
        self.asked += 1;
    }

    /// A topic is confirmed, or not wanted any more: which channels may be
    /// announced now.
    pub(super) fn settle(&mut self, topic: &Topic) -> Vec<JoinId> {
        if let Some(place) = self.places.remove(topic) {
            self.order.remove(&place);
        }
        let first = self.order.first_key_value();
        let before = first.map_or(self.asked + 1, |(place, _)| *place);
        let ready = self.pongs.partition_point(|(place, _)| *place <= before);
        self.pongs.drain(..ready).map(|(_, join)| join).collect()
    }

    /// A channel is to be announced once all that was asked for until now is
    /// confirmed; false if there is no room for it.
    pub(super) fn announce(&mut self, join: JoinId) -> bool {
        let room = self.pongs.len() < MAX_PONGS;
        if room {
            self.pongs.push_back((self.asked, join));
        }
        room
    }

    /// Whether nothing is awaited.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
