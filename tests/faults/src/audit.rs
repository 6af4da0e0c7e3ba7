//! What became of everything that was accepted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ::tests::fleet::TENANT;
use broker::Timestamp;
use broker::keys::Partition;
use broker::message::{MessageId, Status};
use broker::messages::{Limits, Messages};
use redis::cmd;
use tokio::time::sleep;

use crate::client::{Client, Dialect, Diary, Kind};
use crate::crowd::Crowd;
use crate::ledger::{Accepted, Event};
use crate::marker;
use crate::ways::{self, Way};

/// An event that a socket did not get is announced to be lost if that socket
/// ends within this time: to notice (twice the probe interval), to try to
/// recover, and to close sockets over the drain window.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// Redis tells when something was published in whole milliseconds, and our clock
/// began within one: a socket that was confirmed at that time may have come later.
const RESOLUTION: Duration = Duration::from_millis(2);
/// Nothing arrived for so long: nothing will.
const QUIET: Duration = Duration::from_secs(8);
/// The longest wait for what is late.
const LATEST: Duration = Duration::from_secs(90);
/// How long Redis remembers that an event was published.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// A primary that is lost may take with it what it accepted in this time before:
/// more than its replica lags behind.
const TAIL: Duration = Duration::from_secs(5);

/// What became of what went by one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events accepted.
    pub(crate) accepted: u64,
    /// Of these, so many were offered more than once.
    pub(crate) repeated: u64,
    /// Heard by their client.
    pub(crate) delivered: u64,
    /// Not heard, by a client whose socket was away or has been closed since.
    pub(crate) announced: u64,
    /// Not heard, and nobody was told.
    pub(crate) silent: u64,
    /// Gone from Redis with a primary that had not passed them on.
    pub(crate) tail: u64,
    /// Heard again.
    pub(crate) duplicated: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.repeated += other.repeated;
        self.delivered += other.delivered;
        self.announced += other.announced;
        self.silent += other.silent;
        self.tail += other.tail;
        self.duplicated += other.duplicated;
    }
}

/// What became of an event that its client did not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Published, or stored, at this time.
    Published(Duration),
    /// Stored, and said to be delivered.
    Marked(Duration),
    /// Redis knows nothing of it.
    Unknown,
}

/// By way.
pub(crate) type Books = BTreeMap<Way, Counts>;

/// Waits until everything has arrived that will, and nobody has been without a socket
/// for longer than `away`.
pub(crate) async fn settle(crowd: &Crowd, away: Duration) {
    let began = crowd.clock.now();
    let mut missing = usize::MAX;
    let mut since = began;
    loop {
        let now = crowd.clock.now();
        let found = unheard(crowd).len();
        if found < missing {
            (missing, since) = (found, now);
        }
        let is_here = |client: &Arc<Client>| {
            let left = client.read(|diary| diary.stays.last().and_then(|stay| stay.to));
            client.is_open() || left.is_some_and(|left| now.saturating_sub(left) < away)
        };
        let calm = QUIET < now - since && crowd.clients().iter().all(is_here);
        if missing == 0 || calm || LATEST < now - began {
            return;
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// What is compared.
pub(crate) struct Scope {
    /// The first event that counts.
    pub(crate) first: u32,
    /// When a primary was lost, if one was.
    pub(crate) lost_at: Option<Duration>,
    /// A loss is announced if the socket ends within this time.
    pub(crate) told_within: Duration,
}

/// Compares what was accepted with what was heard. Also describes the first few
/// silent losses.
pub(crate) async fn audit(crowd: &Crowd, scope: &Scope) -> (Books, Vec<String>) {
    let mut books = Books::new();
    let events = crowd.ledger.events();
    let heard = heard(crowd);
    for (number, event) in events.iter().enumerate().skip(scope.first as usize) {
        let Some(accepted) = event.accepted else {
            continue;
        };
        let counts = books.entry(event.way).or_default();
        counts.accepted += 1;
        counts.repeated += u64::from(1 < accepted.attempts);
        let times = heard.get(&(number as u32)).copied().unwrap_or(0);
        counts.delivered += u64::from(0 < times);
        counts.duplicated += times.saturating_sub(1);
    }
    let mut stories = Vec::new();
    for (number, event, accepted) in unheard(crowd) {
        if number < scope.first {
            continue;
        }
        let fate = fate(crowd, number, &event, accepted).await;
        let client = &crowd.clients()[event.client];
        let announced = |at| client.read(|diary| was_told(diary, at, scope.told_within));
        let counts = books.entry(event.way).or_default();
        let near = |lost: Duration| accepted.at < lost + TAIL && lost < accepted.at + TAIL;
        match fate {
            Fate::Unknown if scope.lost_at.is_some_and(near) => counts.tail += 1,
            Fate::Published(at) if event.way.dialect() != Dialect::Push && announced(at) => {
                counts.announced += 1;
            }
            // A frame may be handed to a connection that is breaking.
            Fate::Marked(at) if client.kind == Kind::Plain && announced(at) => {
                counts.announced += 1;
            }
            _ => {
                counts.silent += 1;
                let diary = client.read(Clone::clone);
                stories.push(format!(
                    "event {number} ({}) for {} ({:?}), sent {:.3?}, accepted {:.3?}: {fate:?}; {:.3?}",
                    event.way.name(),
                    client.name(),
                    client.kind,
                    event.sent,
                    accepted.at,
                    diary.stays,
                ));
            }
        }
    }
    (books, stories)
}

/// How often each event was heard, by its number.
fn heard(crowd: &Crowd) -> HashMap<u32, u64> {
    let mut heard = HashMap::new();
    for client in crowd.clients() {
        client.read(|diary| {
            for told in &diary.told {
                *heard.entry(told.event).or_default() += 1;
            }
        });
    }
    heard
}

/// What was accepted and not heard.
fn unheard(crowd: &Crowd) -> Vec<(u32, Event, Accepted)> {
    let heard = heard(crowd);
    let events = crowd.ledger.events();
    let events = events.into_iter().enumerate();
    events
        .map(|(number, event)| (number as u32, event))
        .filter(|(number, _)| !heard.contains_key(number))
        .filter_map(|(number, event)| Some((number, event, event.accepted?)))
        .collect()
}

/// Whether who should have heard something at `at` had no socket then, or lost it
/// soon after in a way that has clients come back.
fn was_told(diary: &Diary, at: Duration, within: Duration) -> bool {
    !diary.stays.iter().any(|stay| {
        let goes_on = match stay.to {
            None => true,
            Some(to) if at < to => at + within < to || !stay.has_one_come_back(),
            Some(_) => false,
        };
        stay.from + RESOLUTION <= at && goes_on
    })
}

/// What Redis knows of it.
async fn fate(crowd: &Crowd, number: u32, event: &Event, accepted: Accepted) -> Fate {
    let client = &crowd.clients()[event.client];
    let topic = event.way.topic(number, client);
    match event.way {
        Way::Api | Way::Replicated => {
            let id = accepted.message.expect("an accepted push has an id");
            of_message(crowd, id).await
        }
        Way::PushStream => {
            let mut ask = cmd("GET");
            ask.arg(crowd.fleet.keys().idempotency(&topic, &ways::id(number)));
            let made: Option<String> = crowd.query(&ask).await;
            match made.and_then(|id| message_id(&id, topic.partition())) {
                Some(id) => of_message(crowd, id).await,
                None => Fate::Unknown,
            }
        }
        Way::Report | Way::AnnotationStream | Way::EventStream => {
            // When it is forgotten says when it was published, however long the question
            // takes.
            let mut ask = cmd("PEXPIRETIME");
            ask.arg(crowd.fleet.keys().ingested(&topic, &ways::id(number)));
            let forgotten: i64 = crowd.query(&ask).await;
            if forgotten < 0 {
                return Fate::Unknown;
            }
            let published = Timestamp::from_millis(forgotten) - MEMORY;
            Fate::Published(crowd.clock.of(published))
        }
        Way::Function => {
            let mut ask = cmd("XRANGE");
            ask.arg(crowd.fleet.keys().ring(&topic)).arg("-").arg("+");
            let ring: Vec<(String, Vec<String>)> = crowd.query(&ask).await;
            let text = marker::write(number);
            let is_it = |fields: &[String]| fields.iter().any(|field| field.contains(&text));
            let found = ring.iter().find(|(_, fields)| is_it(fields));
            let id = found.and_then(|(id, _)| MessageId::from_entry(id, topic.partition()));
            id.map_or(Fate::Unknown, |id| {
                Fate::Published(crowd.clock.of(id.created_at()))
            })
        }
        Way::Publish => Fate::Published(accepted.at),
    }
}

async fn of_message(crowd: &Crowd, id: MessageId) -> Fate {
    let tenant = TENANT.parse().expect("the tenant is valid");
    let keys = crowd.fleet.keys();
    let messages = Messages::new(crowd.commands.clone(), keys, Limits::default());
    let message = messages.message(&tenant, id).await;
    let at = crowd.clock.of(id.created_at());
    match message.expect("Redis is there").map(|found| found.status) {
        None => Fate::Unknown,
        Some(Status::Delivered(_)) => Fate::Marked(at),
        Some(_) => Fate::Published(at),
    }
}

/// The message that an idempotency key holds: 48 bits of milliseconds and 24 of
/// its place among them, in hexadecimal digits.
fn message_id(hex: &str, partition: Partition) -> Option<MessageId> {
    let (millis, sequence) = hex.split_at_checked(12)?;
    Some(MessageId {
        millis: u64::from_str_radix(millis, 16).ok()?,
        sequence: u32::from_str_radix(sequence, 16).ok()?,
        partition,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Stay;

    fn diary(stays: &[(u64, Option<u64>)]) -> Diary {
        let stays = stays.iter().map(|&(from, to)| Stay {
            from: Duration::from_secs(from),
            to: to.map(Duration::from_secs),
            code: Some(1012),
        });
        Diary {
            stays: stays.collect(),
            ..Diary::default()
        }
    }

    fn was_told(diary: &Diary, at: Duration) -> bool {
        super::was_told(diary, at, TOLD_WITHIN)
    }

    #[test]
    fn who_stays_connected_is_told_nothing() {
        let at = Duration::from_secs;
        assert!(!was_told(&diary(&[(0, None)]), at(5)));
        assert!(!was_told(&diary(&[(0, Some(100)), (101, None)]), at(5)));
        // Its socket ended soon after, had ended before, or was not there yet.
        assert!(was_told(&diary(&[(0, Some(6)), (7, None)]), at(5)));
        assert!(was_told(&diary(&[(0, Some(4)), (7, None)]), at(5)));
        assert!(was_told(&diary(&[(7, None)]), at(5)));
        // Nobody can say which was first.
        assert!(was_told(&diary(&[(5, None)]), at(5)));
    }

    #[test]
    fn who_is_told_not_to_come_back_is_not_told_of_a_loss() {
        let mut ended = diary(&[(0, Some(6))]);
        assert!(was_told(&ended, Duration::from_secs(5)));
        ended.stays[0].code = Some(1008);
        assert!(!was_told(&ended, Duration::from_secs(5)));
    }
}
