//! Which sessions of one shard want which topic.
//!
//! The hub never waits: it names the sessions an event may concern, and says when
//! a topic gains its first listener or loses its last. An event costs nothing
//! for sessions that want none of its keys, however many listen to its topic.

mod choosy;
mod crowd;

use broker::topic::{Topic, TopicMap};

use self::choosy::Choosy;
use self::crowd::Sessions;
use crate::interest::{Interest, Keys};

/// The name of a session within its shard. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// Where the shard keeps it.
    pub(crate) slot: u32,
    /// Tells it from earlier ones in the same place.
    pub(crate) turn: u32,
}

/// Topics and their listeners.
#[derive(Debug, Default)]
pub struct Hub {
    topics: TopicMap<Listeners>,
    /// The listeners of all of them.
    subscriptions: usize,
}

#[derive(Debug, Default)]
struct Listeners {
    /// Redis has confirmed the topic at least once.
    live: bool,
    /// Those who want everything.
    all: Sessions,
    /// Those who want what bears their keys, if there are any.
    choosy: Option<Box<Choosy>>,
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
    pub fn subscribe(
        &mut self,
        topic: Topic,
        interest: Interest,
        session: SessionKey,
    ) -> (Topic, Subscribed) {
        let Some((known, _)) = self.topics.get_key_value(&topic) else {
            let listeners = self.topics.entry(topic.clone()).or_default();
            listeners.add(session, interest);
            self.subscriptions += 1;
            return (topic, Subscribed::First);
        };
        let known = known.clone();
        let listeners = self.topics.get_mut(&known).expect("it was found above");
        if !listeners.remove(session) {
            self.subscriptions += 1;
        }
        listeners.add(session, interest);
        let outcome = if listeners.live {
            Subscribed::Live
        } else {
            Subscribed::Waiting
        };
        (known, outcome)
    }

    /// From now on a listener wants this of a topic instead; who does not listen
    /// to it is none the wiser.
    pub fn replace(&mut self, topic: &Topic, interest: Interest, session: SessionKey) {
        let Some(listeners) = self.topics.get_mut(topic) else {
            return;
        };
        let choosy = listeners.choosy.as_mut();
        match (choosy.filter(|choosy| choosy.has(session)), interest) {
            (Some(choosy), Interest::Keys(keys)) => choosy.replace(session, keys),
            (_, interest) => {
                if listeners.remove(session) {
                    listeners.add(session, interest);
                }
            }
        }
    }

    /// Removes a listener; true if it was the topic's last.
    pub fn unsubscribe(&mut self, topic: &Topic, session: SessionKey) -> bool {
        let Some(listeners) = self.topics.get_mut(topic) else {
            return false;
        };
        let removed = listeners.remove(session);
        self.subscriptions -= usize::from(removed);
        let last = removed && listeners.len() == 0;
        if last {
            self.topics.remove(topic);
        }
        last
    }

    /// Redis confirmed the topic: whom to tell.
    pub fn confirm(&mut self, topic: &Topic) -> Vec<SessionKey> {
        if let Some(listeners) = self.topics.get_mut(topic) {
            listeners.live = true;
        }
        self.listeners(topic).collect()
    }

    /// Events on the topic may have been missed: whom to tell. Nobody, before the
    /// topic is confirmed: what was missed then, nobody counted on.
    pub fn missed(&self, topic: &Topic) -> Vec<SessionKey> {
        if self
            .topics
            .get(topic)
            .is_some_and(|listeners| listeners.live)
        {
            self.listeners(topic).collect()
        } else {
            Vec::new()
        }
    }

    /// Everybody who listens to a topic, whatever they want of it.
    pub fn listeners(&self, topic: &Topic) -> impl Iterator<Item = SessionKey> {
        let listeners = self.topics.get(topic);
        listeners.into_iter().flat_map(|listeners| {
            let choosy = listeners.choosy.iter().flat_map(|c| c.sessions());
            listeners.all.all().iter().copied().chain(choosy)
        })
    }

    /// Fills `concerned` with those whom an event on a topic may concern, each
    /// once. `keys` is asked for the event's keys only if anybody has any.
    pub fn concerned(
        &self,
        topic: &Topic,
        keys: impl FnOnce() -> Keys,
        concerned: &mut Vec<SessionKey>,
    ) {
        concerned.clear();
        let Some(listeners) = self.topics.get(topic) else {
            return;
        };
        if let Some(choosy) = &listeners.choosy {
            choosy.concerned(&keys(), concerned);
        }
        concerned.extend_from_slice(listeners.all.all());
    }

    /// How many topics have a listener.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// How many listeners all topics have, who listens to two counted twice.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Whether no topic has a listener.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

impl Listeners {
    fn len(&self) -> usize {
        let choosy = self.choosy.as_ref().map_or(0, |choosy| choosy.len());
        self.all.all().len() + choosy
    }

    /// Adds one that is not there.
    fn add(&mut self, session: SessionKey, interest: Interest) {
        match interest {
            Interest::All => self.all.add(session),
            Interest::Keys(keys) => self.choosy.get_or_insert_default().add(session, keys),
        }
    }

    /// True if it was there.
    fn remove(&mut self, session: SessionKey) -> bool {
        let Some(choosy) = self.choosy.as_mut().filter(|choosy| choosy.has(session)) else {
            return self.all.remove(session);
        };
        if choosy.len() == 1 {
            self.choosy = None;
        } else {
            choosy.remove(session);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use broker::key::Key;
    use broker::topic::TopicKind;

    use super::*;

    fn key(slot: u32) -> SessionKey {
        SessionKey { slot, turn: 0 }
    }

    fn topic() -> Topic {
        Topic::recipient(&"acme".parse().unwrap(), "r")
    }

    fn keys(values: &str) -> Keys {
        let values = values.split_whitespace();
        values.map(|value| Key::of(0, value)).collect()
    }

    fn wants(values: &str) -> Interest {
        Interest::Keys(keys(values))
    }

    fn concerned(hub: &Hub, values: &str) -> Vec<u32> {
        let mut concerned = Vec::new();
        hub.concerned(&topic(), || keys(values), &mut concerned);
        concerned.iter().map(|key| key.slot).collect()
    }

    #[test]
    fn only_the_first_listener_and_the_last_concern_the_link() {
        let mut hub = Hub::default();
        let mut subscribe = |slot, interest| hub.subscribe(topic(), interest, key(slot)).1;
        assert_eq!(subscribe(1, Interest::All), Subscribed::First);
        assert_eq!(subscribe(2, wants("a")), Subscribed::Waiting);
        assert_eq!(hub.missed(&topic()), []);
        assert_eq!(hub.confirm(&topic()), [key(1), key(2)]);
        assert_eq!(hub.missed(&topic()), [key(1), key(2)]);
        let mut subscribe = |slot, interest| hub.subscribe(topic(), interest, key(slot)).1;
        assert_eq!(subscribe(3, Interest::All), Subscribed::Live);
        assert!(!hub.unsubscribe(&topic(), key(1)));
        assert!(!hub.unsubscribe(&topic(), key(3)));
        assert_eq!(hub.listeners(&topic()).collect::<Vec<_>>(), [key(2)]);
        assert!(hub.unsubscribe(&topic(), key(2)));
        assert!(hub.is_empty());
    }

    #[test]
    fn clients_cannot_choose_topics_that_are_in_each_other_s_way() {
        let tenant = "acme".parse().unwrap();
        let note = |free: &str| {
            let id = format!("RJjgwj{}UscL-:^z{free}{}", "b".repeat(16), "c".repeat(17));
            Topic::new(&tenant, TopicKind::Note, &id)
        };
        let (one, two) = (note("00000001"), note("00000002"));
        // What has no secret can be worked out beforehand.
        let quick = rustc_hash::FxBuildHasher;
        assert_eq!(quick.hash_one(&one), quick.hash_one(&two));
        let hub = Hub::default();
        let hash = |topic| hub.topics.hasher().hash_one(topic);
        assert_ne!(hash(&one), hash(&two));
    }

    #[test]
    fn a_stranger_who_leaves_changes_nothing() {
        let mut hub = Hub::default();
        hub.subscribe(topic(), Interest::All, key(1));
        assert!(!hub.unsubscribe(&topic(), key(2)));
        assert!(!hub.unsubscribe(&Topic::all(&"acme".parse().unwrap()), key(1)));
        hub.replace(&topic(), wants("a"), key(2));
        assert_eq!(hub.listeners(&topic()).collect::<Vec<_>>(), [key(1)]);
    }

    #[test]
    fn an_event_concerns_those_who_want_all_and_those_who_want_one_of_its_keys() {
        let mut hub = Hub::default();
        for (slot, interest) in [
            (1, Interest::All),
            (2, wants("a b")),
            (3, wants("b")),
            (4, Interest::none()),
        ] {
            hub.subscribe(topic(), interest, key(slot));
        }
        assert_eq!(concerned(&hub, "c"), [1]);
        assert_eq!(concerned(&hub, "a"), [2, 1]);
        assert_eq!(concerned(&hub, "a b"), [2, 3, 1], "nobody twice");
        hub.unsubscribe(&topic(), key(2));
        assert_eq!(concerned(&hub, "a b"), [3, 1]);
    }

    #[test]
    fn what_a_listener_wants_instead_counts_from_then_on() {
        let mut hub = Hub::default();
        hub.subscribe(topic(), wants("a b"), key(1));
        hub.replace(&topic(), wants("c"), key(1));
        assert_eq!(concerned(&hub, "a b"), [] as [u32; 0]);
        assert_eq!(concerned(&hub, "c"), [1]);
        hub.replace(&topic(), Interest::All, key(1));
        assert_eq!(concerned(&hub, ""), [1]);
        hub.replace(&topic(), Interest::none(), key(1));
        assert_eq!(concerned(&hub, "a b c"), [] as [u32; 0]);
        assert!(hub.unsubscribe(&topic(), key(1)), "nothing of it is left");
    }
}
