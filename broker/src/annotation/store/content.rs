//! What was written, as it is kept: JSON that scripts do not look into.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::annotation::document::{self, Claim};
use crate::annotation::schema::{Draft, Patch, Target};

/// The longest title that is kept, in characters: it is shown with every
/// annotation of its document, whoever made it.
const MAX_TITLE: usize = 1000;

/// What every annotation says of itself, which no further member may override.
const OURS: [&str; 21] = [
    "actions",
    "created",
    "document",
    "flagged",
    "group",
    "hidden",
    "id",
    "links",
    "mentions",
    "metadata",
    "moderation",
    "moderation_status",
    "permissions",
    "references",
    "tags",
    "target",
    "text",
    "updated",
    "uri",
    "user",
    "user_info",
];

/// Field and value, one after the other.
struct Fields(Vec<String>);

impl Fields {
    fn with(mut self, name: &str, value: Option<&impl Serialize>) -> Self {
        if let Some(value) = value {
            self.0.extend([name.to_owned(), json(value)]);
        }
        self
    }

    fn with_target(mut self, target: Option<&Target>) -> Self {
        if let Some(target) = target {
            self.0.extend(["target".to_owned(), self::target(target)]);
        }
        self
    }

    fn with_extra(mut self, extra: &Map<String, Value>) -> Self {
        for (name, value) in extra {
            if !OURS.contains(&&**name) {
                self.0.extend([format!("x:{name}"), json(value)]);
            }
        }
        self
    }
}

/// What is kept of a new annotation's content.
pub(super) fn of_draft(draft: &Draft) -> Vec<String> {
    let fields = Fields(Vec::new())
        .with("text", Some(&draft.text))
        .with("tags", Some(&draft.tags))
        .with_target(Some(&draft.target))
        .with("metadata", draft.metadata.as_ref())
        .with_extra(&draft.extra);
    fields.0
}

/// What changes of an annotation's content.
pub(super) fn of_patch(patch: &Patch) -> Vec<String> {
    let fields = Fields(Vec::new())
        .with("text", patch.text.as_ref())
        .with("tags", patch.tags.as_ref())
        .with_target(patch.target.as_ref())
        .with("metadata", patch.metadata.as_ref())
        .with_extra(&patch.extra);
    fields.0
}

/// The members of a target but its source.
fn target(target: &Target) -> String {
    let mut out = String::new();
    if let Some(description) = &target.description {
        out.push_str(",\"description\":");
        out.push_str(&json(description));
    }
    if !target.selectors.is_empty() {
        out.push_str(",\"selector\":");
        out.push_str(&json(&target.selectors));
    }
    out
}

/// By threes: the normalised address, the same as it was written, the kind.
pub(super) fn claims(claims: &[Claim]) -> Vec<&str> {
    let mut three = Vec::with_capacity(claims.len() * 3);
    for claim in claims {
        three.extend([&*claim.normalised, &*claim.uri, &*claim.kind]);
    }
    three
}

/// The title that a document is said to have, if it is; its beginning, if it is
/// long.
pub(super) fn title(document: Option<&Value>) -> String {
    let titles = document::title(document);
    let beginning = |title: &String| title.chars().take(MAX_TITLE).collect::<String>();
    titles
        .first()
        .map(|title| json(&beginning(title)))
        .unwrap_or_default()
}

/// The version that a document is said to have, 0 if none; empty if that is not
/// said.
pub(super) fn version(document: Option<&Value>) -> String {
    let version = document::version(document);
    version
        .map(|version| version.to_string())
        .unwrap_or_default()
}

/// Whom it is to be shared with, if that is said.
pub(super) fn permissions(patch: &Patch) -> String {
    match patch.read.as_deref() {
        None => String::new(),
        Some([one]) => format!("shared {one}"),
        Some(_) => "private".to_owned(),
    }
}

/// The client that causes a change.
pub(super) fn client(id: Option<&str>) -> String {
    json(&id)
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("text and JSON can always be written as JSON")
}
