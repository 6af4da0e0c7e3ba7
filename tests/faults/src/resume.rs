//! When delivery had resumed.

use std::collections::HashMap;
use std::time::Duration;

use crate::client::Dialect;
use crate::crowd::Crowd;
use crate::ways::Way;

/// Deliveries are looked at in slices of this length, by when they were sent.
const SLICE: Duration = Duration::from_millis(100);
/// What arrives within this time arrives as it should.
const TIMELY: Duration = Duration::from_secs(1);
/// Of what was sent in a slice, so much has to arrive in time.
const ENOUGH: f64 = 0.95;
/// So many slices in a row.
const STEADY: usize = 10;

/// When delivery had resumed, by dialect.
pub(crate) type Resumed = [(Dialect, Option<Duration>); Dialect::ALL.len()];

/// How long after `since` delivery had resumed on each dialect: from then on for
/// a second, 95% of what was offered arrived within a second. None if it did not
/// before `until`. What was not even accepted counts too.
pub(crate) fn resumed(crowd: &Crowd, since: Duration, until: Duration) -> Resumed {
    let mut heard = HashMap::new();
    for client in crowd.clients() {
        client.read(|diary| {
            for told in &diary.told {
                heard.entry(told.event).or_insert(told.at);
            }
        });
    }
    let slices = until.saturating_sub(since + TIMELY).as_millis() / SLICE.as_millis();
    let mut sent: HashMap<Dialect, Vec<(u32, u32)>> = HashMap::new();
    for (number, event) in crowd.ledger.events().into_iter().enumerate() {
        // A push that asks for a replica waits until there is one again.
        let counts = event.way.is_promised() && event.way != Way::Replicated;
        if !counts || event.sent < since {
            continue;
        }
        let slice = ((event.sent - since).as_millis() / SLICE.as_millis()) as usize;
        let slices = sent
            .entry(event.way.dialect())
            .or_insert_with(|| vec![(0, 0); slices as usize]);
        if let Some((all, timely)) = slices.get_mut(slice) {
            let at = heard.get(&(number as u32));
            *all += 1;
            *timely += u32::from(at.is_some_and(|&at| at <= event.sent + TIMELY));
        }
    }
    Dialect::ALL.map(|dialect| (dialect, sent.get(&dialect).and_then(|of| first_steady(of))))
}

/// How many sockets ended after `since`, how often who came back was refused, and
/// when the last of them was connected, counted from then.
pub(crate) fn returns(crowd: &Crowd, since: Duration) -> (usize, u32, Option<Duration>) {
    let (mut ended, mut refused, mut last) = (0, 0, None);
    for client in crowd.clients() {
        client.read(|diary| {
            let ends = diary.stays.iter().filter_map(|stay| stay.to);
            ended += ends.filter(|&to| since <= to).count();
            refused += diary.refused;
            let back = diary.stays.iter().map(|stay| stay.from);
            last = last.max(back.filter(|&from| since <= from).max());
        });
    }
    (ended, refused, last.map(|at| at.saturating_sub(since)))
}

/// Where the first slices are that are all well, so many in a row.
fn first_steady(slices: &[(u32, u32)]) -> Option<Duration> {
    let well: Vec<bool> = slices
        .iter()
        .map(|&(all, timely)| 0 < all && f64::from(all) * ENOUGH <= f64::from(timely))
        .collect();
    let first = well
        .windows(STEADY)
        .position(|row| row.iter().all(|&well| well))?;
    Some(SLICE * u32::try_from(first).expect("a short run"))
}

/// The delays of all deliveries of what was sent before `until`, sorted.
pub(crate) fn delays(crowd: &Crowd, until: Duration) -> Vec<Duration> {
    let events = crowd.ledger.events();
    let mut delays = Vec::new();
    for client in crowd.clients() {
        client.read(|diary| {
            let told = diary
                .told
                .iter()
                .map(|told| (told, events[told.event as usize]));
            let early = told.filter(|(_, event)| event.sent < until);
            delays.extend(early.map(|(told, event)| told.at.saturating_sub(event.sent)));
        });
    }
    delays.sort();
    delays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_has_resumed_where_a_second_of_it_is_well() {
        let mut slices = vec![(10, 10); 5];
        slices.extend([(10, 2), (0, 0)]);
        slices.extend(vec![(100, 96); 20]);
        assert_eq!(first_steady(&slices), Some(SLICE * 7));
        assert_eq!(first_steady(&slices[..12]), None);
    }
}
