//! The parts of a Misskey's answers that are read.

use serde::Deserialize;

use super::Signed;
use crate::misskey::Field;
use crate::misskey::viewer::{Policies, Visitors};

/// The word for a user who is suspended.
const SUSPENDED: &str = "YOUR_ACCOUNT_SUSPENDED";

/// A user, as they see themselves.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MeAnswer {
    id: String,
    #[serde(default)]
    pub(super) is_suspended: bool,
    #[serde(default)]
    policies: PoliciesAnswer,
    muted_instances: Option<Vec<String>>,
}

impl MeAnswer {
    pub(super) fn signed(self) -> Signed {
        let muted = self.muted_instances;
        let keys = |hosts: Vec<String>| hosts.iter().map(|host| Field::Server.key(host)).collect();
        Signed {
            user: self.id.into(),
            policies: self.policies.into(),
            muted_servers: muted.map(keys),
        }
    }
}

/// What is not said may be seen, as by default.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PoliciesAnswer {
    ltl_available: Option<bool>,
    gtl_available: Option<bool>,
}

impl From<PoliciesAnswer> for Policies {
    fn from(said: PoliciesAnswer) -> Self {
        Self {
            local: said.ltl_available.unwrap_or(true),
            global: said.gtl_available.unwrap_or(true),
        }
    }
}

/// What a host says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaAnswer {
    #[serde(default)]
    policies: PoliciesAnswer,
    ugc_visibility_for_visitor: Option<String>,
}

impl MetaAnswer {
    pub(super) fn visiting(self) -> (Policies, Visitors) {
        let visitors = match self.ugc_visibility_for_visitor.as_deref() {
            // Older versions have no such setting, and show everything.
            None | Some("all") => Visitors::All,
            Some("local") => Visitors::Local,
            // Nothing is shown on a word that nobody knows.
            Some(_) => Visitors::None,
        };
        (self.policies.into(), visitors)
    }
}

/// A list of users.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListAnswer {
    #[serde(default)]
    pub(super) user_ids: Vec<String>,
}

/// A role.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoleAnswer {
    /// Only public ones are shown, so that older versions need not say so.
    #[serde(default = "yes")]
    is_public: bool,
    #[serde(default)]
    is_explorable: bool,
}

impl RoleAnswer {
    pub(super) fn is_open(&self) -> bool {
        self.is_public && self.is_explorable
    }
}

fn yes() -> bool {
    true
}

/// Why it does not do what it is asked.
#[derive(Deserialize)]
pub(super) struct Failure {
    error: Why,
}

#[derive(Deserialize)]
struct Why {
    code: String,
}

impl Failure {
    /// Whether it says that the user is suspended.
    pub(super) fn is_suspension(body: &[u8]) -> bool {
        serde_json::from_slice::<Self>(body).is_ok_and(|failure| failure.error.code == SUSPENDED)
    }
}
