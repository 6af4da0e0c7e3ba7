//! What is known of a user.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Most bytes of a userid.
const MAX_USERID: usize = 256;

/// A user of a tenant.
///
/// Users need not be made: one whom only a token of another system names is
/// known, with nothing known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `acct:<name>@<authority>`.
    pub userid: Arc<str>,
    /// What people call them.
    pub display_name: Option<String>,
    /// Shadow-banned: others see nothing of what they write.
    pub banned: bool,
    /// Gone for good: their tokens open nothing, and the id is not given again.
    pub deleted: bool,
    /// What clients remember for them, by name.
    pub preferences: Map<String, Value>,
}

/// What to change of a user; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// What people call them; `Some(None)` for nothing.
    pub display_name: Option<Option<String>>,
    /// Whether they are shadow-banned.
    pub banned: Option<bool>,
    /// What clients remember for them; all of it.
    pub preferences: Option<Map<String, Value>>,
}

/// The text is no userid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected acct:<name>@<authority>, at most {MAX_USERID} bytes, without spaces, control characters, braces and %"
)]
pub struct BadUserid;

/// Whether `text` can be the id of a user.
///
/// # Errors
/// If it is not `acct:<name>@<authority>`. What would have to be escaped in
/// names in Redis is refused, so that scripts can spell them.
pub fn check_userid(text: &str) -> Result<(), BadUserid> {
    let plain = |c: char| !(c.is_control() || c.is_whitespace() || "{}%".contains(c));
    let (name, authority) = text
        .strip_prefix("acct:")
        .and_then(|rest| rest.split_once('@'))
        .ok_or(BadUserid)?;
    let fits = !name.is_empty()
        && !authority.is_empty()
        && !authority.contains('@')
        && text.len() <= MAX_USERID
        && text.chars().all(plain);
    if fits { Ok(()) } else { Err(BadUserid) }
}

impl UserPatch {
    /// What changes of what is kept; an empty value removes a field.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let flag = |set| if set { "1" } else { "" }.to_owned();
        let json = |map| serde_json::to_string(map).expect("JSON can always be written");
        [
            (
                "display_name",
                self.display_name.clone().map(Option::unwrap_or_default),
            ),
            ("banned", self.banned.map(flag)),
            ("preferences", self.preferences.as_ref().map(json)),
        ]
        .into_iter()
        .filter_map(|(field, value)| value.map(|value| (field, value)))
        .collect()
    }
}

impl User {
    /// One of whom nothing is known.
    pub fn unknown(userid: &str) -> Self {
        Self {
            userid: userid.into(),
            display_name: None,
            banned: false,
            deleted: false,
            preferences: Map::new(),
        }
    }

    /// Reads the fields of the hash in which a user is kept; nothing if they
    /// are not what this release writes.
    pub(super) fn from_fields(userid: &str, mut fields: HashMap<String, String>) -> Option<Self> {
        let set = |name: &str| fields.get(name).is_some_and(|value| value == "1");
        let preferences = match fields.get("preferences") {
            Some(json) => serde_json::from_str(json).ok()?,
            None => Map::new(),
        };
        Some(Self {
            userid: userid.into(),
            banned: set("banned"),
            deleted: set("deleted"),
            preferences,
            display_name: fields.remove("display_name"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_userid_is_a_name_at_an_authority() {
        for id in [
            "acct:jo@example.org",
            "acct:a.b-c_d@localhost",
            "acct:grün@ü.example",
        ] {
            assert_eq!(check_userid(id), Ok(()), "{id}");
        }
        let long = format!("acct:{}@a", "x".repeat(MAX_USERID));
        for id in [
            "",
            "jo",
            "jo@example.org",
            "acct:jo",
            "acct:@a",
            "acct:jo@",
            "acct:jo@a@b",
            "acct:j o@a",
            "acct:{x}@a",
            "acct:a%20@a",
            "acct:a\n@a",
            &long,
        ] {
            assert_eq!(check_userid(id), Err(BadUserid), "{id}");
        }
    }
}
