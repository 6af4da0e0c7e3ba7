//! Reads a file of access keys, and tells all that is wrong with it by the numbers of
//! keys, the names of members and the numbers of lines.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use toml::de::{DeTable, DeValue};

use super::KeyFile;
use crate::access::scope::{BadScopes, Scopes};
use crate::access::secret::{Prefix, Presented, is_id};
use crate::access::store::Record;
use crate::node::env::position;
use crate::time::Timestamp;
use crate::topic::Tenant;

/// Mistakes that are told; of a file that is something else everything is one.
const TOLD: usize = 10;

/// What a key may have.
const MEMBERS: [&str; 6] = ["id", "digest", "tenant", "scopes", "name", "expires"];

/// What a text says.
///
/// # Errors
/// All that is wrong with it, or much of it.
pub(super) fn read(text: &str) -> Result<HashMap<String, Arc<Record>>, Vec<String>> {
    if KeyFile::LONGEST < text.len() {
        return Err(vec![format!("is longer than {} bytes", KeyFile::LONGEST)]);
    }
    // A file that is being written, or was not: it would end every key.
    if text.trim().is_empty() {
        return Err(vec![
            "is empty; a file that is to hold no keys has a comment".to_owned(),
        ]);
    }
    let mut reading = Reading {
        text,
        keys: HashMap::new(),
        numbers: HashMap::new(),
        mistakes: Vec::new(),
        untold: 0,
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        reading.wrong(|| {
            let (line, column) = position(text, at);
            // The words come from the grammar alone.
            format!("line {line}, column {column}: {}", error.message())
        });
    }
    // What is left of a file in disorder would only add mistakes that are none.
    if errors.is_empty() {
        reading.file(table.get_ref());
    }
    reading.finish()
}

/// A file that is being read.
struct Reading<'a> {
    text: &'a str,
    keys: HashMap<String, Arc<Record>>,
    /// Which key has an id.
    numbers: HashMap<String, usize>,
    mistakes: Vec<String>,
    untold: usize,
}

/// One key of it.
struct Entry<'a> {
    /// From 1 on.
    number: usize,
    members: &'a DeTable<'a>,
}

impl Reading<'_> {
    fn file(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            match value.get_ref() {
                DeValue::Array(keys) if name.get_ref() == "key" => {
                    for (at, key) in keys.iter().enumerate() {
                        let number = at + 1;
                        match key.get_ref() {
                            DeValue::Table(members) => self.key(&Entry { number, members }),
                            _ => self.wrong(|| format!("key {number} is no table [[key]]")),
                        }
                    }
                }
                _ => self.unknown(name.span().start, "the file has only tables [[key]]"),
            }
        }
    }

    fn key(&mut self, entry: &Entry<'_>) {
        for name in entry.members.keys() {
            if !MEMBERS.contains(&&**name.get_ref()) {
                let [others @ .., last] = MEMBERS;
                let known = format!("a key has {} and {last}", others.join(", "));
                self.unknown(name.span().start, &known);
            }
        }
        let id = self.required(entry, "id", id);
        let digest = self.required(entry, "digest", digest);
        let tenant = self.required(entry, "tenant", tenant);
        let scopes = self.required(entry, "scopes", scopes);
        let name = self.optional(entry, "name", name);
        let expires_at = self.optional(entry, "expires", expires);
        let number = entry.number;
        if let Some(id) = &id
            && let Some(earlier) = self.numbers.insert(id.clone(), number)
        {
            self.wrong(|| format!("key {number}: its id is that of key {earlier}"));
        }
        if let (Some(id), Some(digest), Some(tenant), Some(scopes)) = (id, digest, tenant, scopes) {
            let record = Record {
                digest,
                tenant,
                scopes: Arc::new(scopes),
                name,
                created_at: None,
                expires_at,
                disabled_at: None,
                last_used_at: None,
            };
            self.keys.insert(id, Arc::new(record));
        }
    }

    fn required<T>(&mut self, entry: &Entry<'_>, name: &str, read: Read<T>) -> Option<T> {
        if !entry.members.contains_key(name) {
            self.wrong(|| format!("key {}: {name} is missing", entry.number));
        }
        self.optional(entry, name, read)
    }

    fn optional<T>(&mut self, entry: &Entry<'_>, name: &str, read: Read<T>) -> Option<T> {
        let outcome = match entry.members.get(name)?.get_ref() {
            DeValue::String(text) if is_key(text) => Err(PASTED),
            DeValue::String(text) => read(text),
            // Dates may stand without quotes.
            DeValue::Datetime(at) if name == "expires" => read(&at.to_string()),
            _ => Err("expected text in quotes"),
        };
        match outcome {
            Ok(value) => Some(value),
            Err(why) => {
                self.wrong(|| format!("key {}: {name}: {why}", entry.number));
                None
            }
        }
    }

    /// Names are not repeated either: one may be a key whose quotes are missing.
    fn unknown(&mut self, at: usize, known: &str) {
        let text = self.text;
        self.wrong(|| format!("line {}: {known}, and nothing else", position(text, at).0));
    }

    fn wrong(&mut self, mistake: impl FnOnce() -> String) {
        if self.mistakes.len() < TOLD {
            self.mistakes.push(mistake());
        } else {
            self.untold += 1;
        }
    }

    fn finish(mut self) -> Result<HashMap<String, Arc<Record>>, Vec<String>> {
        if self.mistakes.is_empty() {
            return Ok(self.keys);
        }
        if 0 < self.untold {
            self.mistakes.push(format!("and {} more", self.untold));
        }
        Err(self.mistakes)
    }
}

/// What a member says.
type Read<T> = fn(&str) -> Result<T, &'static str>;

const PASTED: &str = "is a key itself; only its digest may stand here, and that key should be \
                      replaced, as it stands in a file";

/// Whether somebody took a key for what belongs here.
fn is_key(text: &str) -> bool {
    Presented::parse(Prefix::AccessKey, text.trim()).is_some()
}

fn id(text: &str) -> Result<String, &'static str> {
    if is_id(text) {
        Ok(text.to_owned())
    } else {
        Err("expected the id of a key, as api key create --to writes it")
    }
}

fn digest(text: &str) -> Result<[u8; 32], &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or("expected the SHA-256 of the secret in base64url (43 characters), as api key create --to writes it")
}

fn tenant(text: &str) -> Result<Tenant, &'static str> {
    text.parse().map_err(|_| "is not the name of a tenant")
}

fn scopes(text: &str) -> Result<Scopes, &'static str> {
    text.parse().map_err(|bad| match bad {
        BadScopes::Empty => "names no scope",
        BadScopes::Long => "is too long",
        BadScopes::Form(_) => {
            "expected scopes with spaces between them, such as websockets-manager-api:query:*"
        }
    })
}

fn name(text: &str) -> Result<String, &'static str> {
    if text.chars().any(char::is_control) {
        Err("has a character that cannot be shown")
    } else {
        Ok(text.to_owned())
    }
}

fn expires(text: &str) -> Result<Timestamp, &'static str> {
    text.parse()
        .map_err(|_| "expected a date and time, such as 2030-01-31T00:00:00Z")
}
