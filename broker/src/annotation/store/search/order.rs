//! In which order annotations are found, and which page of them.

use super::Search;
use super::row::Row;
use crate::annotation::store::micros;

/// What annotations are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// When they were last changed.
    #[default]
    Updated,
    /// When they were made.
    Created,
    /// The id of their group.
    Group,
    /// Their id.
    Id,
    /// Their author.
    User,
}

impl Sort {
    /// Whether this is a value that a page can come after.
    pub fn can_follow(self, value: &str) -> bool {
        self.bound(value).is_some()
    }

    fn bound(self, after: &str) -> Option<Bound> {
        match self {
            Self::Updated | Self::Created => {
                let millis = || after.parse::<i64>().ok()?.checked_mul(1000);
                let date = micros(after).and_then(|micros| micros.parse().ok());
                date.or_else(millis).map(Bound::Time)
            }
            Self::Group | Self::Id | Self::User => Some(Bound::Text(after.to_owned())),
        }
    }
}

impl Search {
    /// Leaves the page that is asked for, in its order.
    pub(super) fn arrange(&self, rows: &mut Vec<Row>) {
        rows.sort_by(|a, b| {
            let order = self.key(a).cmp(&self.key(b)).then_with(|| a.id.cmp(&b.id));
            if self.descending {
                order.reverse()
            } else {
                order
            }
        });
        if let Some(after) = self
            .after
            .as_deref()
            .and_then(|after| self.sort.bound(after))
        {
            rows.retain(|row| {
                let key = self.key(row);
                if self.descending {
                    key < after.as_key()
                } else {
                    after.as_key() < key
                }
            });
        }
        rows.drain(..self.offset.min(rows.len()));
        rows.truncate(self.limit.min(Self::MAX_LIMIT));
    }

    fn key<'a>(&self, row: &'a Row) -> Key<'a> {
        match self.sort {
            Sort::Updated => Key::Time(row.updated),
            Sort::Created => Key::Time(row.created),
            Sort::Group => Key::Text(&row.seen.group.id),
            Sort::Id => Key::Text(&row.id),
            Sort::User => Key::Text(&row.seen.author),
        }
    }
}

/// What a row is ordered by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Time(i64),
    Text(&'a str),
}

/// The same, of its own.
enum Bound {
    Time(i64),
    Text(String),
}

impl Bound {
    fn as_key(&self) -> Key<'_> {
        match self {
            Self::Time(at) => Key::Time(*at),
            Self::Text(text) => Key::Text(text),
        }
    }
}
