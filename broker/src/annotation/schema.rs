//! What a client may say of an annotation that it makes or changes.
//!
//! Both are JSON of one shape; a change says only what changes. What the shape
//! does not know is kept and given back.

pub(super) mod json;
mod members;
mod shape;
mod python;

use serde_json::{Map, Value};

use super::WORLD;
use members::SHAPE;

/// The longest address, in characters. Longer ones name no page that two people
/// could meet on.
pub const MAX_URI: usize = 8 * 1024;
/// The longest description of a target, in characters.
pub const MAX_DESCRIPTION: usize = 5000;
/// The longest tag, in characters.
pub const MAX_TAG: usize = 1000;
/// The longest address in a link of a document, in characters.
pub const MAX_HREF: usize = 3000;
/// The longest id of a group or an annotation that is looked at, in characters.
pub const MAX_ID: usize = 255;
/// The most tags, links, identifiers, selectors, or annotations in a thread above one.
pub const MAX_ITEMS: usize = 1000;
/// The greatest version of a document.
pub const MAX_VERSION: u32 = i32::MAX as u32;
/// How deep arrays and objects may lie in each other.
pub const MAX_DEPTH: usize = 64;

/// A new annotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What is annotated, trimmed; never empty.
    pub uri: String,
    /// What is said of it.
    pub text: String,
    /// How it is labelled.
    pub tags: Vec<String>,
    /// The group it is for. A reply is in the group of what it answers instead.
    pub group: String,
    /// What it answers, root first.
    pub references: Vec<String>,
    /// Whether the group named here reads it; otherwise its author alone.
    pub shared: bool,
    /// Where on the page it is.
    pub target: Target,
    /// What the page says of itself.
    pub document: Option<Value>,
    /// Stored, and shown to nobody.
    pub metadata: Option<Map<String, Value>>,
    /// What only the client knows the meaning of.
    pub extra: Map<String, Value>,
}

/// A change to an annotation: what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// What is annotated, trimmed; never empty.
    pub uri: Option<String>,
    /// What is said of it.
    pub text: Option<String>,
    /// How it is labelled.
    pub tags: Option<Vec<String>>,
    /// Who is to read it, as the client says it; see [`Patch::shared`].
    pub read: Option<Vec<String>>,
    /// Where on the page it is.
    pub target: Option<Target>,
    /// What the page says of itself.
    pub document: Option<Value>,
    /// Stored, and shown to nobody.
    pub metadata: Option<Map<String, Value>>,
    /// What only the client knows the meaning of; added to what is known.
    pub extra: Map<String, Value>,
}

/// Where on a page an annotation is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// What is to be seen there, in words.
    pub description: Option<String>,
    /// Ways to find the place again, each an object with a `type`.
    pub selectors: Vec<Value>,
}

/// Why what a client said is refused. Its text is for that client alone: it
/// repeats, bounded, what the client sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No JSON, or none that can be understood.
    #[error("Expected a valid JSON payload, but none was found!")]
    NotJson,
    /// More than [`MAX_DEPTH`] arrays and objects in each other.
    #[error("The JSON payload is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// Half of a character that takes two escapes to spell.
    #[error("{}: '{}' must be valid unicode", .path, .path.rsplit('.').next().unwrap_or(""))]
    HalfCharacter {
        /// Where, its steps separated by dots.
        path: String,
    },
    /// Not of the shape.
    #[error("{}", .0.join(", "))]
    Shape(Vec<String>),
    /// Nothing says what is annotated.
    #[error("uri: 'uri' is a required property")]
    NoUri,
}

/// Reads a new annotation (Hypothesis real-time, annotations over HTTP).
///
/// # Errors
/// If it is no JSON of the shape, or without an address.
pub fn draft(json: &[u8]) -> Result<Draft, Invalid> {
    let mut said = Said::read(json)?;
    let group = said.text("group").unwrap_or_else(|| WORLD.to_owned());
    let read = said.read_permission();
    Ok(Draft {
        uri: said.uri()?.ok_or(Invalid::NoUri)?,
        text: said.text("text").unwrap_or_default(),
        tags: said.texts("tags").unwrap_or_default(),
        references: said.texts("references").unwrap_or_default(),
        shared: read.is_some_and(|read| shares(&read, &group)),
        group,
        target: said.target().unwrap_or_default(),
        document: said.document(),
        metadata: said.object("metadata"),
        extra: said.rest(),
    })
}

/// Reads a change to an annotation (Hypothesis real-time, annotations over
/// HTTP). The group and what it answers cannot be changed; they are ignored.
///
/// # Errors
/// If it is no JSON of the shape, or has a blank address.
pub fn patch(json: &[u8]) -> Result<Patch, Invalid> {
    let mut said = Said::read(json)?;
    said.0.remove("group");
    said.0.remove("references");
    Ok(Patch {
        uri: said.uri()?,
        text: said.text("text"),
        tags: said.texts("tags"),
        read: said.read_permission(),
        target: said.target(),
        document: said.document(),
        metadata: said.object("metadata"),
        extra: said.rest(),
    })
}

impl Patch {
    /// Whether the annotation's group is to read it, if that is to change.
    pub fn shared(&self, group: &str) -> Option<bool> {
        self.read.as_ref().map(|read| shares(read, group))
    }
}

/// Exactly the group; anything else is for the author alone.
fn shares(read: &[String], group: &str) -> bool {
    matches!(read, [one] if one.strip_prefix("group:") == Some(group))
}

/// What a client sent, of the right shape, while it is taken apart.
struct Said(Map<String, Value>);

impl Said {
    fn read(json: &[u8]) -> Result<Self, Invalid> {
        let value = json::read(json)?;
        let violations = SHAPE.violations(&value);
        match value {
            Value::Object(said) if violations.is_empty() => Ok(Self(said)),
            _ => Err(Invalid::Shape(violations)),
        }
    }

    fn uri(&mut self) -> Result<Option<String>, Invalid> {
        match self.text("uri") {
            None => Ok(None),
            Some(uri) if uri.trim().is_empty() => Err(Invalid::NoUri),
            Some(uri) => Ok(Some(uri.trim().to_owned())),
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.0.remove(key).and_then(text)
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.0.remove(key).and_then(texts)
    }

    fn object(&mut self, key: &str) -> Option<Map<String, Value>> {
        self.0.remove(key).and_then(object)
    }

    fn document(&mut self) -> Option<Value> {
        self.0.remove("document")
    }

    fn read_permission(&mut self) -> Option<Vec<String>> {
        self.object("permissions")?.remove("read").and_then(texts)
    }

    /// Only the first counts.
    fn target(&mut self) -> Option<Target> {
        let targets = self.0.remove("target").and_then(array)?;
        let first = targets.into_iter().next().and_then(object);
        let mut first = first.unwrap_or_default();
        Some(Target {
            description: first.remove("description").and_then(text),
            selectors: first.remove("selector").and_then(array).unwrap_or_default(),
        })
    }

    /// All that has no meaning here.
    fn rest(mut self) -> Map<String, Value> {
        for key in GIVEN_BY_US {
            self.0.remove(key);
        }
        self.0
    }
}

/// What clients send back as they got it.
const GIVEN_BY_US: [&str; 9] = [
    "created",
    "updated",
    "user",
    "id",
    "links",
    "flagged",
    "hidden",
    "moderation",
    "user_info",
];

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

fn texts(value: Value) -> Option<Vec<String>> {
    array(value).map(|items| items.into_iter().filter_map(text).collect())
}

#[cfg(test)]
mod tests;
