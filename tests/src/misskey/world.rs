//! Who and what there is in a Misskey.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Everything that it knows.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Who shows which token.
    pub principals: BTreeMap<String, Principal>,
    /// What visitors may see (`ugcVisibilityForVisitor`); `all` if empty.
    pub visitors: String,
    /// Policies of visitors that are not the usual.
    pub policies: Map<String, Value>,
    /// Lists of users, by id.
    pub lists: BTreeMap<String, List>,
    /// Who owns which antenna.
    pub antennas: BTreeMap<String, String>,
    /// Roles, by id.
    pub roles: BTreeMap<String, Role>,
    /// Chat rooms, by id.
    pub rooms: BTreeMap<String, Room>,
    /// Packed notes, by id.
    pub notes: BTreeMap<String, Value>,
    /// Who reacted to which note: `(note, user)`, and how.
    pub reactions: BTreeMap<(String, String), String>,
    /// What its database holds of a user's relations: for each user the value of
    /// each cache (`userFollowings`, `userMutings`, …), empty if it is not here.
    pub relations: BTreeMap<String, BTreeMap<String, Value>>,
}

/// Who shows a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Principal {
    /// The user's id.
    pub user: String,
    /// What the token allows; `None` for the user's own, which allows everything.
    pub permissions: Option<BTreeSet<String>>,
    /// The user is suspended.
    pub suspended: bool,
    /// Policies that are not the usual.
    pub policies: Map<String, Value>,
    /// Hosts that the user mutes.
    pub muted_instances: Vec<String>,
}

/// A list of users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Whose list it is.
    pub owner: String,
    /// Who is on it.
    pub members: Vec<String>,
}

/// A role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Everybody may know of it.
    pub public: bool,
    /// Everybody may read the notes of those who have it.
    pub explorable: bool,
}

/// A chat room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Who made it.
    pub owner: String,
    /// Who else is in it.
    pub members: BTreeSet<String>,
}

impl Principal {
    /// A user with the token that is the user's own.
    pub fn native(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            ..Self::default()
        }
    }

    /// A user with the token of an app that may do so much.
    pub fn app(user: &str, permissions: &[&str]) -> Self {
        let permissions = permissions.iter().map(|&name| name.to_owned());
        Self {
            permissions: Some(permissions.collect()),
            ..Self::native(user)
        }
    }

    /// Whether the token allows this.
    pub(super) fn may(&self, kind: &str) -> bool {
        let permissions = self.permissions.as_ref();
        permissions.is_none_or(|permissions| permissions.contains(kind))
    }
}

impl World {
    /// A user with a token of its own, which is returned: 16 characters.
    pub fn user(&mut self, name: &str) -> String {
        let token = format!(
            "{name}{}",
            "tokentokentokent".get(name.len()..).unwrap_or("")
        );
        assert_eq!(token.len(), 16, "{name} is too long for a user of tests");
        self.principals
            .insert(token.clone(), Principal::native(name));
        token
    }

    /// Sets what its database holds of one relation of a user.
    pub fn relate(&mut self, user: &str, cache: &str, value: Value) {
        let relations = self.relations.entry(user.to_owned()).or_default();
        relations.insert(cache.to_owned(), value);
    }

    /// What a cache of relations of a user is filled with.
    pub(super) fn relation(&self, user: &str, cache: &str) -> Value {
        let known = self.relations.get(user);
        let known = known.and_then(|known| known.get(cache)).cloned();
        known.unwrap_or_else(|| match cache {
            "userFollowings" => json!({}),
            "userProfile" => profile(user, &[]),
            _ => json!([]),
        })
    }
}

/// The row of a user's profile as it is cached: most of it is nobody's business.
pub(super) fn profile(user: &str, muted_instances: &[String]) -> Value {
    json!({
        "userId": user,
        "email": format!("{user}@mail.misskey.example"),
        "password": "$2b$08$hushhushhushhushhushhuOfHush",
        "twoFactorSecret": "HUSHHUSHHUSHHUSH",
        "mutedInstances": muted_instances,
    })
}
