//! What was read of a ring and what was parked, in one order and nothing twice.

use super::rings::{Parked, State};
use super::seen::Mark;
use super::verdict::Position;
use super::{Event, Page};
use crate::topic::{Tenant, Topic};

/// What is to be handed over, in the order of the ring; what has no place there
/// stays behind what it was heard behind. Also the topics of which something was
/// missed that is older than what was handed over: it comes too late. The clock
/// that dates events may have gone back by so many milliseconds.
pub(super) fn merge<L>(
    tenant: &Tenant,
    state: &mut State<L>,
    page: &Page,
    back: u64,
    position: &Position,
    parked: Vec<Parked<L>>,
) -> (Vec<Topic>, Vec<(Topic, Event<L>)>) {
    let State { topics, seen, .. } = state;
    // Ids of a ring only grow, whatever clocks do: what is older than what was heard
    // in order, nobody listened to.
    let known = position.newest.filter(|_| position.in_order);
    let mut holes = Vec::new();
    let mut name = String::new();
    let mut read = Vec::new();
    for entry in &page.entries {
        name.clear();
        name.extend([tenant.as_str(), ":", &entry.topic]);
        let Some((topic, held)) = topics.get_key_value(name.as_str()) else {
            continue;
        };
        let concerns = known < Some(entry.id) && held.since <= entry.id.millis + back;
        let mark = Mark::of(entry.id, topic, &entry.json);
        if !concerns || seen.has(mark) {
            continue;
        }
        if held.newest < entry.id {
            read.push((topic.clone(), entry, mark));
        } else if !position.in_order && !holes.contains(topic) {
            holes.push(topic.clone());
        }
    }
    let mut read = read.into_iter().peekable();
    let mut events = Vec::with_capacity(read.len() + parked.len());
    let mut note = |topic: &Topic, mark: Mark| {
        let new = seen.add(mark);
        if let Some(held) = topics.get_mut(topic).filter(|_| new) {
            held.newest = held.newest.max(mark.id);
        }
        new
    };
    for Parked { topic, mark, event } in parked {
        if let Some(mark) = mark {
            while let Some((topic, entry, read)) = read.next_if(|(_, _, read)| *read < mark) {
                note(&topic, read);
                events.push((topic, Event::Replayed(entry.id, entry.json.clone())));
            }
            read.next_if(|(_, _, read)| *read == mark);
            if !note(&topic, mark) {
                continue;
            }
        }
        events.push((topic, Event::Parked(event)));
    }
    for (topic, entry, mark) in read {
        note(&topic, mark);
        events.push((topic, Event::Replayed(entry.id, entry.json.clone())));
    }
    (holes, events)
}
