//! Which sessions of one shard want which topic.
//!
//! The hub never waits: it names the sessions an event concerns, and says when
//! a topic gains its first listener or loses its last.

use std::collections::hash_map::Entry;

use broker::topic::Topic;
use rustc_hash::FxHashMap;

/// The name of a session within its shard. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Where the shard keeps it.
    pub(crate) slot: u32,
    /// Tells it from earlier ones in the same place.
    pub(crate) turn: u32,
}

/// Topics and their listeners.
#[derive(Debug, Default)]
pub struct Hub {
    topics: FxHashMap<Topic, Listeners>,
}

#[derive(Debug)]
struct Listeners {
    /// Redis has confirmed the topic at least once.
    live: bool,
    sessions: Sessions,
}

/// Most topics have one listener, which then costs no allocation.
#[derive(Debug)]
enum Sessions {
    One(SessionKey),
    Many(Box<Crowd>),
}

/// Listeners in no order, and where each stands, so that ten thousand leaving
/// at once are not searched for one by one.
#[derive(Debug, Default)]
struct Crowd {
    sessions: Vec<SessionKey>,
    places: FxHashMap<SessionKey, usize>,
}

/// What subscribing came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The first listener of this shard: the link must be asked.
    First,
    /// Others wait for the link already.
    Waiting,
    /// The topic is live.
    Live,
}

impl Hub {
    /// Adds a listener to a topic. Also gives the hub's own copy of the topic,
    /// so that all who name it share one string.
    pub fn subscribe(&mut self, topic: Topic, session: SessionKey) -> (Topic, Subscribed) {
        if let Some((known, _)) = self.topics.get_key_value(&topic) {
            let known = known.clone();
            let listeners = self
                .topics
                .get_mut(&known)
                .expect("it was found a line ago");
            listeners.sessions.add(session);
            let outcome = if listeners.live {
                Subscribed::Live
            } else {
                Subscribed::Waiting
            };
            return (known, outcome);
        }
        let listeners = Listeners {
            live: false,
            sessions: Sessions::One(session),
        };
        self.topics.insert(topic.clone(), listeners);
        (topic, Subscribed::First)
    }

    /// Removes a listener; true if it was the topic's last.
    pub fn unsubscribe(&mut self, topic: &Topic, session: SessionKey) -> bool {
        let Some(listeners) = self.topics.get_mut(topic) else {
            return false;
        };
        let last = listeners.sessions.remove(session);
        if last {
            self.topics.remove(topic);
        }
        last
    }

    /// Redis confirmed the topic: whom to tell.
    pub fn confirm(&mut self, topic: &Topic) -> &[SessionKey] {
        self.topics.get_mut(topic).map_or(&[], |listeners| {
            listeners.live = true;
            listeners.sessions.all()
        })
    }

    /// Who listens to a topic.
    pub fn listeners(&self, topic: &Topic) -> &[SessionKey] {
        self.topics
            .get(topic)
            .map_or(&[], |listeners| listeners.sessions.all())
    }

    /// How many topics have a listener.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether no topic has a listener.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

impl Sessions {
    fn all(&self) -> &[SessionKey] {
        match self {
            Self::One(session) => std::slice::from_ref(session),
            Self::Many(crowd) => &crowd.sessions,
        }
    }

    fn add(&mut self, session: SessionKey) {
        match self {
            Self::One(first) => {
                let mut crowd = Crowd::default();
                crowd.add(*first);
                crowd.add(session);
                *self = Self::Many(Box::new(crowd));
            }
            Self::Many(crowd) => crowd.add(session),
        }
    }

    /// True if none is left.
    fn remove(&mut self, session: SessionKey) -> bool {
        match self {
            Self::One(only) => *only == session,
            Self::Many(crowd) => {
                crowd.remove(session);
                if let [only] = crowd.sessions[..] {
                    *self = Self::One(only);
                }
                false
            }
        }
    }
}

impl Crowd {
    fn add(&mut self, session: SessionKey) {
        if let Entry::Vacant(place) = self.places.entry(session) {
            place.insert(self.sessions.len());
            self.sessions.push(session);
        }
    }

    fn remove(&mut self, session: SessionKey) {
        if let Some(place) = self.places.remove(&session) {
            self.sessions.swap_remove(place);
            if let Some(moved) = self.sessions.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> SessionKey {
        SessionKey { slot, turn: 0 }
    }

    fn topic() -> Topic {
        Topic::recipient(&"acme".parse().unwrap(), "r")
    }

    #[test]
    fn only_the_first_listener_and_the_last_concern_the_link() {
        let mut hub = Hub::default();
        assert_eq!(hub.subscribe(topic(), key(1)).1, Subscribed::First);
        assert_eq!(hub.subscribe(topic(), key(2)).1, Subscribed::Waiting);
        assert_eq!(hub.confirm(&topic()), [key(1), key(2)]);
        assert_eq!(hub.subscribe(topic(), key(3)).1, Subscribed::Live);
        assert!(!hub.unsubscribe(&topic(), key(1)));
        assert!(!hub.unsubscribe(&topic(), key(3)));
        assert_eq!(hub.listeners(&topic()), [key(2)]);
        assert!(hub.unsubscribe(&topic(), key(2)));
        assert!(hub.is_empty());
    }

    #[test]
    fn a_stranger_who_leaves_changes_nothing() {
        let mut hub = Hub::default();
        hub.subscribe(topic(), key(1));
        assert!(!hub.unsubscribe(&topic(), key(2)));
        assert_eq!(hub.listeners(&topic()), [key(1)]);
        assert!(!hub.unsubscribe(&Topic::all(&"acme".parse().unwrap()), key(1)));
    }
}
