//! What a search looks at of an annotation, and whether it is what is searched for.

use std::collections::HashSet;

use redis::Value;
use serde_json::value::RawValue;

use super::{Search, first};
use crate::annotation::uri::Version;
use crate::annotation::{Audience, Change, Moderation, Notification, Readable};

/// An annotation, as a search looks at it.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) normalised: String,
    pub(super) version: Option<u32>,
    pub(super) references: Vec<String>,
    /// Who sees it.
    pub(super) seen: Notification,
}

/// An address to be found: all its normalised forms, and which versions.
pub(super) struct Page {
    pub(super) normalised: HashSet<String>,
    pub(super) versions: Vec<Version>,
}

impl Page {
    fn holds(&self, row: &Row) -> bool {
        let version = match row.version {
            None => self.versions.is_empty() || self.versions.contains(&Version::Unversioned),
            Some(version) => self.versions.contains(&Version::Numbered(version)),
        };
        (version || self.versions.contains(&Version::All))
            && self.normalised.contains(&row.normalised)
    }
}

impl Row {
    /// What a script answered.
    pub(super) fn read(value: Value) -> Option<Self> {
        type Fields = (
            (String, String, String),
            (String, String, String, String),
            (i64, i64, String, String, String),
        );
        let fields: Vec<Value> = redis::from_redis_value(value).ok()?;
        let mut parts = fields.into_iter();
        let mut part = |count| Value::Array(parts.by_ref().take(count).collect());
        let three = Value::Array(vec![part(3), part(4), part(5)]);
        let (reach, what, rest): Fields = redis::from_redis_value(three).ok()?;
        let (id, readable_by, banned) = reach;
        let (group, author, shared, moderation) = what;
        let (created, updated, normalised, version, references) = rest;
        Some(Self {
            created,
            updated,
            normalised,
            version: version.parse().ok(),
            references: serde_json::from_str(&references).ok()?,
            seen: Notification {
                action: Change::Update,
                id: id.as_str().into(),
                annotation: RawValue::NULL.to_owned(),
                author: author.into(),
                author_banned: banned == "1",
                group: Audience {
                    id: group.into(),
                    readable_by: match &*readable_by {
                        "world" => Readable::World,
                        "members" => Readable::Members,
                        _ => Readable::Nobody,
                    },
                },
                shared: shared == "1",
                moderation: match &*moderation {
                    "" => None,
                    status => Some(Moderation::parse(status)?),
                },
                references: Vec::new(),
                scope_keys: Vec::new(),
                source_client_id: None,
                flaggers: Vec::new(),
            },
            id,
        })
    }

    /// Whether it meets all conditions.
    pub(super) fn meets(&self, search: &Search, pages: &[Page]) -> bool {
        let one_of = |values: &[String], value: &str| {
            values.is_empty() || first(values).iter().any(|v| v == value)
        };
        let below = |id: &String| self.references.contains(id);
        one_of(&search.groups, &self.seen.group.id)
            && one_of(&search.users, &self.seen.author)
            && (pages.is_empty() || pages.iter().any(|page| page.holds(self)))
            && (search.references.is_empty() || first(&search.references).iter().any(below))
            && (!search.separate_replies || self.references.is_empty())
    }
}
