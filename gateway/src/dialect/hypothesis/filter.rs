//! Which annotations a socket wants to hear of.
//!
//! A filter is a set of fields and values of which an annotation must have one.
//! What a client says beside them (its operators, its actions, whether case
//! matters) has never had a meaning.

use broker::annotation::Notification;
use broker::annotation::uri;
use serde_json::{Map, Value};

use crate::interest::{Interest, Key, Keys};

/// Clauses in a filter. Clients send one for each page or thread that is open.
const MAX_CLAUSES: usize = 256;
/// Values in all clauses together, and what they come to.
const MAX_VALUES: usize = 1024;
/// Bytes of one value.
const MAX_VALUE: usize = 8 << 10;
/// Bytes of all that is compared: an address with many versions becomes many.
const MAX_BYTES: usize = 128 << 10;

/// What a row costs beside its value, with its key in the hub.
const ROW_COST: usize = 56;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Id,
    Group,
    References,
    Uri,
}

/// A set of fields and values, in order. Without any it matches nothing.
#[derive(Debug, Default)]
pub(super) struct Filter(Box<[(Field, Box<str>)]>);

/// Why a filter cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadFilter {
    /// It has not the form of a filter.
    Form,
    /// One of its clauses is not one.
    Clause,
    /// It is longer than any client needs.
    Size,
}

impl Filter {
    /// Whether it matches nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a filter.
    pub(super) fn read(json: &str) -> Result<Self, BadFilter> {
        let filter: Map<String, Value> = serde_json::from_str(json).map_err(|_| BadFilter::Form)?;
        let clauses = filter.get("clauses").and_then(Value::as_array);
        let any = filter.get("match_policy").and_then(Value::as_str) == Some("include_any");
        let Some(clauses) = clauses.filter(|_| any && filter.contains_key("actions")) else {
            return Err(BadFilter::Form);
        };
        if MAX_CLAUSES < clauses.len() {
            return Err(BadFilter::Size);
        }
        let mut rows = Rows::default();
        for clause in clauses {
            rows.add_clause(clause)?;
        }
        rows.all.sort_unstable();
        rows.all.dedup();
        Ok(Self(rows.all.into()))
    }

    /// About how many bytes it takes.
    pub(super) fn kept(&self) -> usize {
        let values = self.0.iter().map(|(_, value)| value.len());
        values.map(|bytes| bytes + ROW_COST).sum()
    }

    /// Whether an annotation has one of the values.
    pub(super) fn matches(&self, notification: &Notification) -> bool {
        properties(notification).any(|(field, value)| self.has(field, value))
    }

    /// What the hub needs to know of it.
    pub(super) fn interest(&self) -> Interest {
        let rows = self.0.iter().map(|(field, value)| key(*field, value));
        Interest::Keys(rows.collect())
    }

    fn has(&self, field: Field, value: &str) -> bool {
        let rows = &self.0;
        rows.binary_search_by(|(f, v)| (*f, &**v).cmp(&(field, value)))
            .is_ok()
    }
}

/// The keys that sockets which may want an annotation are found by.
pub fn keys(notification: &Notification) -> Keys {
    properties(notification)
        .map(|(field, value)| key(field, value))
        .collect()
}

fn key(field: Field, value: &str) -> Key {
    Key::of(field as u8, value)
}

/// All of an annotation that filters are compared with.
fn properties(notification: &Notification) -> impl Iterator<Item = (Field, &str)> {
    let references = notification.references.iter();
    let uris = notification.scope_keys.iter();
    [
        (Field::Id, &*notification.id),
        (Field::Group, &*notification.group.id),
    ]
    .into_iter()
    .chain(references.map(|id| (Field::References, &**id)))
    .chain(uris.map(|uri| (Field::Uri, &**uri)))
}

/// Rows while they are gathered.
#[derive(Default)]
struct Rows {
    all: Vec<(Field, Box<str>)>,
    values: usize,
    bytes: usize,
}

impl Rows {
    fn add_clause(&mut self, clause: &Value) -> Result<(), BadFilter> {
        let field = clause.get("field").ok_or(BadFilter::Clause)?;
        let field = match field {
            Value::String(field) => match field.as_str() {
                "/id" => Field::Id,
                "/group" => Field::Group,
                "/references" => Field::References,
                "/uri" => Field::Uri,
                _ => return Ok(()),
            },
            Value::Array(_) | Value::Object(_) => return Err(BadFilter::Clause),
            _ => return Ok(()),
        };
        match clause.get("value").ok_or(BadFilter::Clause)? {
            Value::Array(values) => values.iter().try_for_each(|value| match value {
                Value::Array(_) | Value::Object(_) => Err(BadFilter::Clause),
                value => self.add_value(field, value),
            }),
            value => self.add_value(field, value),
        }
    }

    fn add_value(&mut self, field: Field, value: &Value) -> Result<(), BadFilter> {
        self.values += 1;
        if MAX_VALUES < self.values {
            return Err(BadFilter::Size);
        }
        let Value::String(value) = value else {
            // Nothing that an annotation has is anything but text.
            return match field {
                Field::Uri => Err(BadFilter::Clause),
                Field::Id | Field::Group | Field::References => Ok(()),
            };
        };
        if MAX_VALUE < value.len() {
            return Err(BadFilter::Size);
        }
        if field != Field::Uri {
            return self.add_row(field, value);
        }
        let addresses = uri::filter_keys(value).map_err(|_| BadFilter::Clause)?;
        addresses
            .iter()
            .try_for_each(|uri| self.add_row(field, uri))
    }

    fn add_row(&mut self, field: Field, value: &str) -> Result<(), BadFilter> {
        self.bytes += value.len();
        if MAX_VALUES <= self.all.len() || MAX_BYTES < self.bytes {
            return Err(BadFilter::Size);
        }
        self.all.push((field, value.into()));
        Ok(())
    }
}
