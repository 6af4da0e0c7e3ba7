//! What is known of each ring, where somebody listens.

use std::collections::HashMap;
use std::time::Instant;

use super::seen::{Mark, Seen};
use super::verdict::Position;
use crate::annotation;
use crate::event::EntryId;
use crate::keys::{PARTITIONS, Partition};
use crate::ring::Ring;
use crate::topic::{Tenant, Topic, TopicMap};

/// The rings of all tenants. `L` is an event as the link hears it.
#[derive(Debug)]
pub(super) struct Rings<L>(HashMap<Tenant, OfTenant<L>>);

/// Those of one, by their [place].
type OfTenant<L> = Box<[Option<Box<State<L>>>]>;

/// What is known of a ring.
#[derive(Debug)]
pub(super) struct State<L> {
    pub(super) partition: Partition,
    pub(super) topics: TopicMap<Held>,
    pub(super) seen: Seen,
    /// When all of it was known last, by a reading.
    pub(super) read: u64,
    pub(super) behind: Option<Behind<L>>,
}

/// A topic that is listened to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    /// By Redis' clock. What happened before concerns nobody.
    pub(super) since: u64,
    /// The newest event that was handed over.
    pub(super) newest: EntryId,
    /// Since when, by the count of epochs.
    pub(super) epoch: u32,
    /// The second in which an event came that no ring keeps; 0 for none.
    pub(super) raw: u32,
}

/// Something may have been missed.
#[derive(Debug)]
pub(super) struct Behind<L> {
    pub(super) position: Position,
    /// Who listens since an earlier epoch than this may have missed events that no
    /// ring keeps; 0 if nobody has.
    pub(super) raw: u32,
    pub(super) reading: Option<u64>,
    pub(super) failing_since: Option<Instant>,
    pub(super) parked: Vec<Parked<L>>,
    pub(super) cost: usize,
}

/// An event that was heard meanwhile.
#[derive(Debug)]
pub(super) struct Parked<L> {
    pub(super) topic: Topic,
    /// If a ring keeps it.
    pub(super) mark: Option<Mark>,
    pub(super) event: L,
}

/// Where what is known of a ring stands among those of its tenant.
fn place(partition: Partition, annotations: bool) -> usize {
    match annotations {
        true => usize::from(PARTITIONS),
        false => usize::from(partition.index()),
    }
}

fn place_of(topic: &Topic) -> usize {
    place(topic.partition(), annotation::is_topic(topic))
}

impl<L> Default for Rings<L> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<L> Rings<L> {
    /// A topic is listened to like this, unless it was already.
    pub(super) fn listen(&mut self, topic: &Topic, held: Held) {
        let rings = self.0.entry(topic.tenant());
        let rings = rings.or_insert_with(|| (0..=PARTITIONS).map(|_| None).collect());
        let state = rings[place_of(topic)].get_or_insert_with(|| {
            Box::new(State {
                partition: topic.partition(),
                topics: TopicMap::default(),
                seen: Seen::default(),
                read: held.since,
                behind: None,
            })
        });
        state.topics.entry(topic.clone()).or_insert(held);
    }

    /// A topic is not listened to any more. Returns what was known of its ring if
    /// nobody listens there.
    pub(super) fn leave(&mut self, topic: &Topic) -> Option<Box<State<L>>> {
        let rings = self.0.get_mut(topic.owner())?;
        let place = &mut rings[place_of(topic)];
        let state = place.as_mut()?;
        state.topics.remove(topic);
        if !state.topics.is_empty() {
            return None;
        }
        let state = place.take();
        if rings.iter().all(Option::is_none) {
            self.0.remove(topic.owner());
        }
        state
    }

    /// The ring of a topic.
    pub(super) fn of(&mut self, topic: &Topic) -> Option<&mut State<L>> {
        self.0.get_mut(topic.owner())?[place_of(topic)].as_deref_mut()
    }

    pub(super) fn get(&mut self, ring: &Ring) -> Option<&mut State<L>> {
        let place = place(ring.partition, ring.annotations);
        self.0.get_mut(ring.tenant.as_str())?[place].as_deref_mut()
    }

    /// What was missed of a ring, if something may have been.
    pub(super) fn behind(&mut self, ring: &Ring) -> Option<&mut Behind<L>> {
        self.get(ring)?.behind.as_mut()
    }

    /// Whether something may have been missed of any.
    pub(super) fn any_behind(&self) -> bool {
        let mut states = self.0.values().flat_map(|rings| rings.iter().flatten());
        states.any(|state| state.behind.is_some())
    }

    /// All there are, with whose they are and whether they are of annotations.
    pub(super) fn every(&mut self) -> impl Iterator<Item = (&Tenant, bool, &mut State<L>)> {
        self.0.iter_mut().flat_map(|(tenant, rings)| {
            let places = rings.iter_mut().enumerate();
            places.filter_map(move |(place, state)| {
                let annotations = place == usize::from(PARTITIONS);
                Some((tenant, annotations, state.as_deref_mut()?))
            })
        })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<L> State<L> {
    pub(super) fn ring(&self, tenant: &Tenant, annotations: bool) -> Ring {
        Ring {
            tenant: tenant.clone(),
            partition: self.partition,
            annotations,
        }
    }

    pub(super) fn position(&self, proof: u64) -> Position {
        let proved = proof.max(self.read);
        let newest = self.seen.newest();
        let proved_id = EntryId {
            millis: proved,
            sequence: 0,
        };
        Position {
            proved,
            known: newest.map_or(proved_id, |newest| newest.max(proved_id)),
            newest,
            in_order: true,
        }
    }
}

impl<L> Behind<L> {
    pub(super) fn at(position: Position, raw: u32) -> Self {
        Self {
            position,
            raw,
            reading: None,
            failing_since: None,
            parked: Vec::new(),
            cost: 0,
        }
    }
}
