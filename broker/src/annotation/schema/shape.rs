//! The shape that JSON must have, and in which words it is told where it has not.
//!
//! The words are those of Python's `jsonschema`, as clients know them.

use std::fmt::Write as _;

use serde_json::Value;

use super::MAX_ITEMS;
use super::python::repr;

/// The most violations that are told.
const MAX_TOLD: usize = 16;

/// Who may be granted something.
const PRINCIPAL: &str = "^(acct:|group:).+$";

/// What a value must be.
#[derive(Debug)]
pub(super) enum Shape {
    /// A string of at most so many characters.
    Text { max: usize },
    /// A string that names a user or a group.
    Principal,
    /// A whole number from 0.
    Natural { max: u32 },
    /// An array of at most [`MAX_ITEMS`].
    List { of: &'static Self },
    /// An object; members that are not named here may be anything.
    Object {
        members: &'static [(&'static str, Self)],
        required: &'static [&'static str],
    },
}

#[derive(Clone, Copy)]
enum Step {
    Member(&'static str),
    Item(usize),
}

impl Shape {
    /// Where and why the value is not of this shape, in the order of the shape.
    /// The first [`MAX_TOLD`].
    pub(super) fn violations(&self, value: &Value) -> Vec<String> {
        let mut told = Vec::new();
        self.check(value, &mut Vec::new(), &mut told);
        told.truncate(MAX_TOLD);
        told
    }

    fn check(&self, value: &Value, path: &mut Vec<Step>, told: &mut Vec<String>) {
        if MAX_TOLD <= told.len() {
            return;
        }
        let is_too = |what: &str| format!("{} is too {what}", repr(value));
        let violation = match (self, value) {
            (Self::Text { max }, Value::String(text)) => {
                // Bytes are no fewer than characters, and counted already.
                (*max < text.len() && *max < text.chars().count()).then(|| is_too("long"))
            }
            (Self::Principal, Value::String(text)) => (!is_principal(text))
                .then(|| format!("{} does not match '{PRINCIPAL}'", repr(value))),
            (Self::Natural { max }, Value::Number(number)) if !number.is_f64() => {
                if number.is_i64() && number.as_u64().is_none() {
                    Some(format!("{number} is less than the minimum of 0"))
                } else if number.as_u64().is_some_and(|n| u64::from(*max) < n) {
                    Some(format!("{number} is greater than the maximum of {max}"))
                } else {
                    None
                }
            }
            (Self::List { of }, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate().take(MAX_ITEMS) {
                    path.push(Step::Item(index));
                    of.check(item, path, told);
                    path.pop();
                }
                (MAX_ITEMS < items.len()).then(|| is_too("long"))
            }
            (Self::Object { members, required }, Value::Object(object)) => {
                for (name, shape) in *members {
                    if let Some(member) = object.get(*name) {
                        path.push(Step::Member(name));
                        shape.check(member, path, told);
                        path.pop();
                    }
                }
                required
                    .iter()
                    .find(|name| !object.contains_key(**name))
                    .map(|name| format!("'{name}' is a required property"))
            }
            _ => Some(format!("{} is not of type '{}'", repr(value), self.kind())),
        };
        if let Some(violation) = violation {
            told.push(located(path, &violation));
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } | Self::Principal => "string",
            Self::Natural { .. } => "integer",
            Self::List { .. } => "array",
            Self::Object { .. } => "object",
        }
    }
}

fn is_principal(text: &str) -> bool {
    // The pattern's end is also before a last line break.
    let line = text.strip_suffix('\n').unwrap_or(text);
    ["acct:", "group:"].iter().any(|kind| {
        line.strip_prefix(kind)
            .is_some_and(|name| !name.is_empty() && !name.contains('\n'))
    })
}

fn located(path: &[Step], violation: &str) -> String {
    let mut out = String::new();
    for (index, step) in path.iter().enumerate() {
        let dot = if index == 0 { "" } else { "." };
        // Writing to a string cannot fail.
        let _ = match step {
            Step::Member(name) => write!(out, "{dot}{name}"),
            Step::Item(item) => write!(out, "{dot}{item}"),
        };
    }
    if !path.is_empty() {
        out.push_str(": ");
    }
    out.push_str(violation);
    out
}
