//! Which topics this node wants of Redis, and how far each has come.
//!
//! The one truth that every new connection resubscribes from. Pure: it is told
//! what happened and names what follows.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::topic::Topic;

/// A topic nobody wants any more stays subscribed this long: in a reconnect
/// storm most sockets are back within seconds.
const LINGER: Duration = Duration::from_secs(5);

/// Room kept in queues that are full only in a storm.
const SPARE: usize = 1024;

/// A set of listeners, one bit each.
pub(crate) type Listeners = u64;

#[derive(Debug, Default)]
pub(super) struct Wanted {
    topics: HashMap<Topic, Entry>,
    /// Not yet asked of Redis on this connection.
    queue: VecDeque<Topic>,
    /// Wanted by nobody, and since when.
    left: VecDeque<(Instant, Topic)>,
    /// Asked of Redis and not confirmed.
    unconfirmed: usize,
    /// So many confirmations are still to come until all that was subscribed before
    /// the connection was made is so again.
    again: usize,
}

#[derive(Debug, Default)]
struct Entry {
    listeners: Listeners,
    /// Those of the listeners who know that it is subscribed.
    told: Listeners,
    live: bool,
}

/// Redis confirmed a topic: whom to tell what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) topic: Topic,
    /// Those for whom it is the first time.
    pub(super) first: Listeners,
    /// Those for whom it was subscribed before, and may have missed events.
    pub(super) again: Listeners,
}

impl Wanted {
    /// How many topics are subscribed or about to be.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether everything wanted is subscribed.
    pub(super) fn settled(&self) -> bool {
        self.queue.is_empty() && self.unconfirmed == 0
    }

    /// Whether all that was wanted when the connection was made is subscribed.
    pub(super) fn resubscribed(&self) -> bool {
        self.again == 0
    }

    /// A listener wants a topic; true if it is subscribed already.
    pub(super) fn want(&mut self, topic: Topic, listener: usize) -> bool {
        let bit = 1 << listener;
        if let Some(entry) = self.topics.get_mut(&topic) {
            entry.listeners |= bit;
            if entry.live {
                entry.told |= bit;
            }
            let live = entry.live;
            if entry.listeners == bit
                && let Some(entry) = self.topics.remove(&topic)
            {
                // Named anew by who listens now, so that both share one string.
                self.topics.insert(topic, entry);
            }
            return live;
        }
        self.topics.insert(
            topic.clone(),
            Entry {
                listeners: bit,
                ..Entry::default()
            },
        );
        self.queue.push_back(topic);
        false
    }

    /// A listener no longer wants a topic.
    pub(super) fn leave(&mut self, topic: &Topic, listener: usize, now: Instant) {
        if let Some(entry) = self.topics.get_mut(topic) {
            let bit = 1 << listener;
            entry.listeners &= !bit;
            entry.told &= !bit;
            if entry.listeners == 0 {
                self.left.push_back((now, topic.clone()));
            }
        }
    }

    /// Who wants events of this topic.
    pub(super) fn listeners(&self, topic: &str) -> Option<(&Topic, Listeners)> {
        self.topics
            .get_key_value(topic)
            .map(|(topic, entry)| (topic, entry.listeners))
    }

    /// The topics of this kind, in order, with those of their listeners who know
    /// that they are subscribed.
    pub(super) fn told(&self, of: impl Fn(&Topic) -> bool) -> Vec<(Topic, Listeners)> {
        let told = self
            .topics
            .iter()
            .filter(|(topic, entry)| entry.told != 0 && of(topic));
        let mut told: Vec<_> = told
            .map(|(topic, entry)| (topic.clone(), entry.told))
            .collect();
        told.sort_unstable();
        told
    }

    /// Up to `most` topics to ask Redis for now.
    pub(super) fn next_chunk(&mut self, most: usize) -> Vec<Topic> {
        let chunk: Vec<_> = self.queue.drain(..most.min(self.queue.len())).collect();
        self.unconfirmed += chunk.len();
        if self.queue.is_empty() {
            self.queue.shrink_to(SPARE);
        }
        chunk
    }

    /// Redis says that the topic is subscribed.
    pub(super) fn confirmed(&mut self, topic: &str) -> Option<Confirmed> {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
        // Redis confirms in the order in which it was asked.
        self.again = self.again.saturating_sub(1);
        let topic = self.topics.get_key_value(topic)?.0.clone();
        let entry = self.topics.get_mut(&topic)?;
        entry.live = true;
        let first = entry.listeners & !entry.told;
        let again = entry.listeners & entry.told;
        entry.told = entry.listeners;
        Some(Confirmed {
            topic,
            first,
            again,
        })
    }

    /// The connection is gone: nothing is subscribed, all that is still wanted
    /// must be asked for again. What nobody wants is forgotten, and comes back.
    pub(super) fn lost(&mut self) -> Vec<Topic> {
        self.left.clear();
        self.unconfirmed = 0;
        let forgotten = self.topics.extract_if(|_, entry| entry.listeners == 0);
        let forgotten = forgotten.map(|(topic, _)| topic).collect();
        self.topics
            .values_mut()
            .for_each(|entry| entry.live = false);
        self.queue = self.topics.keys().cloned().collect();
        self.again = self.queue.len();
        forgotten
    }

    /// Topics that nobody has wanted for a while: to be unsubscribed now.
    pub(super) fn abandoned(&mut self, now: Instant) -> Vec<Topic> {
        let mut abandoned = Vec::new();
        while let Some((since, _)) = self.left.front()
            && LINGER <= now.saturating_duration_since(*since)
        {
            let Some((_, topic)) = self.left.pop_front() else {
                break;
            };
            match self.topics.get(&topic) {
                Some(entry) if entry.listeners != 0 => {}
                // Redis has yet to confirm it; only then can it be given up.
                Some(entry) if !entry.live => self.left.push_back((now, topic)),
                Some(_) => {
                    self.topics.remove(&topic);
                    abandoned.push(topic);
                }
                None => {}
            }
        }
        if self.left.len() < SPARE {
            self.left.shrink_to(SPARE);
        }
        abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: &str) -> Topic {
        Topic::recipient(&"acme".parse().unwrap(), id)
    }

    fn confirmed(topic: Topic, first: Listeners, again: Listeners) -> Option<Confirmed> {
        Some(Confirmed {
            topic,
            first,
            again,
        })
    }

    #[test]
    fn a_listener_is_told_only_once_redis_confirmed() {
        let mut wanted = Wanted::default();
        assert!(!wanted.want(topic("a"), 0));
        assert!(!wanted.want(topic("a"), 1));
        assert_eq!(
            wanted.next_chunk(10),
            [topic("a")],
            "one subscription serves both"
        );
        assert!(!wanted.settled());
        assert_eq!(
            wanted.confirmed(topic("a").as_str()),
            confirmed(topic("a"), 0b11, 0)
        );
        assert!(wanted.settled());
        assert!(wanted.want(topic("a"), 2), "a third one need not wait");
    }

    #[test]
    fn after_a_new_connection_old_listeners_hear_of_a_gap_and_new_ones_do_not() {
        let mut wanted = Wanted::default();
        wanted.want(topic("a"), 0);
        wanted.next_chunk(10);
        wanted.confirmed(topic("a").as_str());
        assert_eq!(wanted.lost(), []);
        assert!(!wanted.want(topic("a"), 1));
        assert_eq!(wanted.next_chunk(10), [topic("a")]);
        assert!(!wanted.resubscribed());
        assert_eq!(
            wanted.confirmed(topic("a").as_str()),
            confirmed(topic("a"), 0b10, 0b01)
        );
        assert!(wanted.resubscribed());
    }

    #[test]
    fn an_abandoned_topic_lingers_and_may_be_wanted_again() {
        let mut wanted = Wanted::default();
        let start = Instant::now();
        for id in ["a", "b"] {
            wanted.want(topic(id), 0);
        }
        wanted.next_chunk(10);
        for id in ["a", "b"] {
            wanted.confirmed(topic(id).as_str());
            wanted.leave(&topic(id), 0, start);
        }
        assert_eq!(wanted.abandoned(start + LINGER / 2), []);
        assert!(wanted.want(topic("b"), 0));
        assert_eq!(wanted.abandoned(start + LINGER), [topic("a")]);
        assert_eq!(wanted.len(), 1);
        assert!(!wanted.want(topic("a"), 0), "it must be asked for anew");
    }

    #[test]
    fn a_topic_left_before_it_was_confirmed_is_given_up_after() {
        let mut wanted = Wanted::default();
        let start = Instant::now();
        wanted.want(topic("a"), 0);
        wanted.next_chunk(10);
        wanted.leave(&topic("a"), 0, start);
        assert_eq!(wanted.abandoned(start + LINGER), []);
        wanted.confirmed(topic("a").as_str());
        assert_eq!(wanted.abandoned(start + LINGER * 2), [topic("a")]);
    }

    #[test]
    fn what_nobody_wants_is_not_asked_for_again() {
        let mut wanted = Wanted::default();
        wanted.want(topic("a"), 0);
        wanted.leave(&topic("a"), 0, Instant::now());
        assert_eq!(wanted.lost(), [topic("a")]);
        assert!(wanted.resubscribed());
        assert_eq!(wanted.next_chunk(10), []);
        assert_eq!(wanted.len(), 0);
    }
}
