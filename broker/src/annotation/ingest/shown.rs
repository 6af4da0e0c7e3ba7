//! The annotation as its readers see it: what must be in it, and what is there
//! where nothing was said.
//!
//! Clients of the protocol read these members without asking whether they are
//! there.

use serde_json::{Map, Value, json};

use super::Invalid;
use super::members::Members;
use crate::annotation::schema::MAX_ITEMS;
use crate::annotation::{Audience, Readable, WORLD};

/// Members that are what clients take them for, if they are there.
pub(super) fn check(annotation: &Members<'_>) -> Result<(), Invalid> {
    for name in ["text", "created", "updated"] {
        annotation.any_text(name)?;
    }
    for name in ["document", "links", "permissions"] {
        annotation.object(name)?;
    }
    let tags = annotation.list("tags")?.unwrap_or_default();
    if let Some(at) = tags.iter().position(|tag| !tag.is_string()) {
        return Err(annotation.bad(&format!("tags.{at}"), "a string"));
    }
    let target = annotation.list("target")?.unwrap_or_default();
    if let Some(at) = target.iter().position(|place| !place.is_object()) {
        return Err(annotation.bad(&format!("target.{at}"), "an object"));
    }
    if MAX_ITEMS < tags.len().max(target.len()) {
        let name = if MAX_ITEMS < tags.len() {
            "tags"
        } else {
            "target"
        };
        return Err(annotation.bad(name, format!("at most {MAX_ITEMS} items")));
    }
    Ok(())
}

/// The annotation with all that clients rely on.
pub(super) fn complete(
    annotation: &Members<'_>,
    shared: bool,
    group: &Audience,
) -> Map<String, Value> {
    let mut whole = annotation.all().clone();
    let mut unless_said = |name: &str, value: Value| {
        let member = whole.entry(name).or_insert(Value::Null);
        if member.is_null() {
            *member = value;
        }
    };
    unless_said("text", json!(""));
    unless_said("tags", json!([]));
    unless_said("target", json!([{"source": annotation.get("uri")}]));
    unless_said("document", json!({}));
    unless_said("links", json!({}));
    let author = json!([annotation.get("user")]);
    let readers = match group.readable_by {
        _ if !shared => author.clone(),
        Readable::World => json!([format!("group:{WORLD}")]),
        Readable::Members | Readable::Nobody => json!([format!("group:{}", group.id)]),
    };
    unless_said(
        "permissions",
        json!({"read": readers, "admin": author, "update": author, "delete": author}),
    );
    whole
}
