//! What was read of a ring and what was parked, in one order and nothing twice.

use super::{Event, Page, Parked, State};
use crate::topic::{Tenant, Topic};

/// In the order of the ring; what has no place there stays behind what it was
/// heard behind.
pub(super) fn merge<L>(
    tenant: &Tenant,
    state: &mut State<L>,
    page: &Page,
    parked: Vec<Parked<L>>,
) -> Vec<(Topic, Event<L>)> {
    let State { topics, seen, .. } = state;
    let mut name = String::new();
    let mut read = page
        .entries
        .iter()
        .filter_map(|entry| {
            name.clear();
            name.extend([tenant.as_str(), ":", &entry.topic]);
            let (topic, held) = topics.get_key_value(name.as_str())?;
            let missed = held.since <= entry.id.millis && !seen.has(entry.id);
            missed.then(|| (topic.clone(), entry))
        })
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    let mut events = Vec::with_capacity(read.len() + parked.len());
    for Parked { topic, id, event } in parked {
        if let Some(id) = id {
            while let Some((topic, entry)) = read.next_if(|(_, entry)| entry.id < id) {
                seen.add(entry.id);
                events.push((topic, Event::Replayed(entry.id, entry.json.clone())));
            }
            read.next_if(|(_, entry)| entry.id == id);
            if !seen.add(id) {
                continue;
            }
        }
        events.push((topic, Event::Parked(event)));
    }
    for (topic, entry) in read {
        seen.add(entry.id);
        events.push((topic, Event::Replayed(entry.id, entry.json.clone())));
    }
    events
}
