//! A user's session as clients know it: who they are, and their groups.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a client is told when the user's groups change.
///
/// The script that changes a membership writes it, so that it tells of the
/// state that the change left; it is read here only by who asks for it alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `acct:<name>@<authority>`.
    pub userid: Arc<str>,
    /// The group of everybody, if the user belongs to the site's own authority,
    /// then the user's groups by name.
    pub groups: Vec<SessionGroup>,
    /// Switches of the client. We have none.
    pub features: Map<String, Value>,
    /// What clients remember for the user.
    pub preferences: Map<String, Value>,
}

/// A group in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionGroup {
    /// The group's id.
    pub id: Arc<str>,
    /// What people call it.
    pub name: String,
    /// Whether anybody reads it.
    pub public: bool,
    /// Its page, unless it is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
