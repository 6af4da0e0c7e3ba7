//! Notes that are told once they can be had: an antenna names a note before
//! everybody gets it, and what was packed while it was hidden is packed again.

use std::sync::Arc;
use std::time::Duration;

use broker::Timestamp;
use broker::event::Event;
use broker::key::Key;
use broker::misskey::Field;
use broker::topic::Topic;

/// Notes awaited for one socket at a time.
const MAX_AWAITED: usize = 64;
/// How long a note may take to reach everybody before the host is asked for it.
const UNASKED: Duration = Duration::from_secs(2);
/// How long the host may take. Who is asked says so sooner if there is no note.
const ASKED: Duration = Duration::from_secs(15);

/// Notes that are awaited, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Awaited(Vec<Note>);

/// A note that is awaited.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) id: Box<str>,
    pub(super) key: Key,
    /// What it is for.
    pub(super) purpose: Purpose,
    asked: bool,
    until: Timestamp,
}

/// What a note is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The antenna of this topic has found it.
    Antenna(Topic),
    /// This event bears it, or is it.
    Personal(Arc<Event>),
}

/// What is to be done about notes that have not come.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// Ask for these.
    pub(super) ask: Vec<Box<str>>,
    /// Do without these.
    pub(super) lost: Vec<Note>,
    /// Look again then.
    pub(super) next: Option<Timestamp>,
}

impl Awaited {
    /// Awaits a note, and says when to look whether it has come; the purpose comes
    /// back if there is no room. What an antenna finds comes by itself; for the
    /// rest the host is being asked.
    pub(super) fn add(
        &mut self,
        id: &str,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Timestamp, Purpose> {
        if MAX_AWAITED <= self.0.len() {
            return Err(purpose);
        }
        let asked = matches!(purpose, Purpose::Personal(_));
        let until = now + if asked { ASKED } else { UNASKED };
        self.0.push(Note {
            id: id.into(),
            key: Field::Note.key(id),
            purpose,
            asked,
            until,
        });
        Ok(until)
    }

    /// The keys of what comes by itself.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let found = self
            .0
            .iter()
            .filter(|note| matches!(note.purpose, Purpose::Antenna(_)));
        found.map(|note| note.key)
    }

    /// Takes what antennas have found and is this note.
    pub(super) fn found(&mut self, key: Key) -> Vec<Note> {
        let this = |note: &mut Note| note.key == key && matches!(note.purpose, Purpose::Antenna(_));
        self.0.extract_if(.., this).collect()
    }

    /// Takes what the host was asked for by this id.
    pub(super) fn answered(&mut self, id: &str) -> Vec<Note> {
        self.0
            .extract_if(.., |note| note.asked && *note.id == *id)
            .collect()
    }

    /// Forgets what is for no purpose any more.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Purpose) -> bool) {
        self.0.retain(|note| keep(&note.purpose));
    }

    /// What has not come in time.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Overdue {
        let late = |note: &mut Note| note.asked && note.until <= now;
        let mut overdue = Overdue {
            lost: self.0.extract_if(.., late).collect(),
            ..Overdue::default()
        };
        for note in self.0.iter_mut().filter(|note| note.until <= now) {
            note.asked = true;
            note.until = now + ASKED;
            overdue.next = Some(note.until);
            if !overdue.ask.contains(&note.id) {
                overdue.ask.push(note.id.clone());
            }
        }
        overdue
    }

    /// Whether nothing is awaited.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
