//! Whether a ring still holds all that may have been missed.

use super::Page;
use super::clocks::OVERLAP_MILLIS;
use crate::event::EntryId;
use crate::ring::LIFE;

/// How long a ring lives, in milliseconds.
pub(super) const LIFE_MILLIS: u64 = LIFE.as_millis() as u64;
/// Redis may let a ring go a little late.
const SLACK: u64 = 1_000;

/// What became of what may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// All of it was read.
    Whole,
    /// The ring had more since than it keeps.
    Trimmed,
    /// The ring does not hold what it held: Redis lost data.
    Lost,
    /// Nothing was known for longer than a ring lives.
    Late,
    /// More was heard meanwhile than could be parked.
    Overflow,
    /// The ring could not be read.
    Unread,
}

impl Verdict {
    /// All of them.
    pub const EVERY: [Self; 6] = [
        Self::Whole,
        Self::Trimmed,
        Self::Lost,
        Self::Late,
        Self::Overflow,
        Self::Unread,
    ];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Whole => "recovered",
            Self::Trimmed => "trimmed",
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Overflow => "overflow",
            Self::Unread => "unread",
        }
    }
}

/// The oldest entry of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// Its id.
    pub id: EntryId,
    /// How many there had been since the ring was made, with this one.
    pub number: u64,
}

/// Up to where everything is known of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything before this time, in Unix milliseconds, by a probe or a reading.
    pub(super) proved: u64,
    /// Nothing that is not known is older than this.
    pub(super) known: EntryId,
    /// The newest event that is known.
    pub(super) newest: Option<EntryId>,
    /// Whether all that is older than that is known, too.
    pub(super) in_order: bool,
}

impl Position {
    /// The oldest entry to read.
    pub(super) fn from(&self) -> EntryId {
        let known = self.proved.min(self.known.millis);
        EntryId {
            millis: known.saturating_sub(OVERLAP_MILLIS),
            sequence: 0,
        }
    }

    /// The same if what was heard says nothing of what was published before it.
    pub(super) fn only_proved(self) -> Self {
        let known = EntryId {
            millis: self.proved,
            sequence: 0,
        };
        Self {
            known,
            in_order: false,
            ..self
        }
    }
}

/// What a page says of everything after the position. The clock that dates events
/// may have gone back by so many milliseconds.
pub(super) fn verdict(position: &Position, page: &Page, back: u64) -> Verdict {
    let age = page.time.saturating_sub(position.known.millis);
    // A ring lives longer than its newest event is young.
    let must_be = |id: EntryId| page.time + SLACK < id.millis + LIFE_MILLIS;
    let Some(oldest) = page.oldest else {
        return match position.newest {
            Some(newest) if must_be(newest) => Verdict::Lost,
            _ if LIFE_MILLIS <= age => Verdict::Late,
            _ => Verdict::Whole,
        };
    };
    let holds = |id: EntryId| page.entries.binary_search_by(|e| e.id.cmp(&id)).is_ok();
    if let Some(newest) = position.newest {
        let in_page = oldest.id <= newest && position.from() <= newest;
        let remade = oldest.number == 1 && newest < oldest.id && must_be(newest);
        if page.newest < Some(newest) || remade || in_page && !holds(newest) {
            return Verdict::Lost;
        }
    }
    let holds_newest = position.in_order && position.newest.is_some_and(holds);
    let reaches_known = match back {
        0 => oldest.id <= position.known,
        _ => oldest.id.millis + back < position.known.millis,
    };
    match oldest.number {
        _ if holds_newest || reaches_known => Verdict::Whole,
        1 if age < LIFE_MILLIS => Verdict::Whole,
        1 => Verdict::Late,
        _ => Verdict::Trimmed,
    }
}
