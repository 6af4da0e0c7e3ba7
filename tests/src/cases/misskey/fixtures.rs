//! What every case finds: who there is, and what the host and its Redis hold.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Case;
use crate::cases::json::Json;
use crate::misskey::{List, Principal, Role, Room, World};

/// The fixtures of a file.
#[derive(Clone, Debug)]
pub(super) struct Fixtures {
    principals: BTreeMap<String, Person>,
    keys: Vec<(String, String)>,
    world: World,
}

/// Somebody who connects.
#[derive(Clone, Debug, Default)]
struct Person {
    /// `None` for visitors.
    token: Option<String>,
    user: String,
    /// What the host lets visitors see while this one is there.
    visitors: Option<String>,
}

impl Fixtures {
    pub(super) fn read(fixtures: &Json) -> Result<Self, String> {
        let mut world = World::default();
        let mut principals = BTreeMap::new();
        for (name, value) in members(fixtures.get("principals")) {
            let person = Person::read(&name, &value)?;
            if let Some(token) = &person.token {
                let principal = principal(&person.user, &value);
                world.principals.insert(token.clone(), principal);
            }
            principals.insert(name, person);
        }
        let owned = fixtures.get("owned");
        let owned = |kind: &str| members(owned.and_then(|owned| owned.get(kind)));
        for (id, owner) in owned("antennas") {
            world.antennas.insert(id, text(&owner));
        }
        for (id, role) in owned("roles") {
            let is = |name: &str| role.get(name) == Some(&Json::Bool(true));
            let role = Role {
                public: is("isPublic"),
                explorable: is("isExplorable"),
            };
            world.roles.insert(id, role);
        }
        for (id, room) in owned("rooms") {
            world.rooms.insert(id, read_room(&room));
        }
        let keys = members(fixtures.get("keys"));
        for (id, owner) in owned("lists") {
            let key = format!("kvcache:userListMembers:{id}");
            let known = keys.iter().find(|(name, _)| *name == key);
            let members = known.map_or(Vec::new(), |(_, members)| texts(members));
            let owner = text(&owner);
            world.lists.insert(id, List { owner, members });
        }
        for (key, value) in &keys {
            let Some((cache, user)) = key
                .strip_prefix("kvcache:")
                .and_then(|key| key.split_once(':'))
            else {
                continue;
            };
            let value = serde_json::from_str(&value.to_string());
            let value = value.map_err(|error| error.to_string())?;
            world.relate(user, cache, value);
        }
        let keys = keys.into_iter();
        Ok(Self {
            principals,
            keys: keys.map(|(key, value)| (key, text(&value))).collect(),
            world,
        })
    }

    /// What the host of a case holds.
    pub(super) fn world(&self, case: &Case) -> World {
        let mut world = self.world.clone();
        let people = case.viewers().filter_map(|name| self.principals.get(name));
        for person in people {
            if let Some(visitors) = &person.visitors {
                world.visitors.clone_from(visitors);
            }
        }
        world
    }

    /// What its Redis holds, under the host's prefix.
    pub(super) fn keys(&self) -> &[(String, String)] {
        &self.keys
    }

    /// The token of a principal, if it shows one.
    ///
    /// # Errors
    /// If nobody is called so.
    pub(super) fn token(&self, name: &str) -> Result<Option<&str>, String> {
        let person = self.principals.get(name);
        let person = person.ok_or_else(|| format!("there is no principal {name}"))?;
        Ok(person.token.as_deref())
    }

    /// The user's id of a principal; empty for visitors.
    pub(super) fn user(&self, name: &str) -> &str {
        let person = self.principals.get(name);
        person.map_or("", |person| &person.user)
    }
}

impl Person {
    fn read(name: &str, value: &Json) -> Result<Self, String> {
        let own = |member: &str| value.get(member).and_then(Json::as_str);
        let visitors = value
            .get("meta")
            .and_then(|meta| meta.get("ugcVisibilityForVisitor"));
        let person = Self {
            token: own("token").map(str::to_owned),
            user: own("user").unwrap_or(name).to_owned(),
            visitors: visitors.map(text),
        };
        let anonymous = *value == Json::Null || value.get("anonymous") == Some(&Json::Bool(true));
        match (&person.token, anonymous) {
            (None, true) => Ok(Self {
                user: String::new(),
                ..person
            }),
            (Some(_), false) => Ok(person),
            _ => Err(format!("the principal {name} has no token")),
        }
    }
}

fn principal(user: &str, value: &Json) -> Principal {
    let policies = members(value.get("policies")).into_iter();
    let policies = policies.map(|(name, value)| (name, Value::Bool(value == Json::Bool(true))));
    Principal {
        permissions: value
            .get("permission")
            .map(|kinds| texts(kinds).into_iter().collect()),
        suspended: value.get("isSuspended") == Some(&Json::Bool(true)),
        policies: policies.collect(),
        ..Principal::native(user)
    }
}

/// A room, given by its owner, by those in it, or as `{owner, members}`.
fn read_room(room: &Json) -> Room {
    if let Json::Array(_) = room {
        return Room {
            members: texts(room).into_iter().collect(),
            ..Room::default()
        };
    }
    let owner = room.get("owner").unwrap_or(room);
    let members = room.get("members").map(texts).unwrap_or_default();
    Room {
        owner: text(owner),
        members: members.into_iter().collect(),
    }
}

fn members(object: Option<&Json>) -> Vec<(String, Json)> {
    match object {
        Some(Json::Object(members)) => members.clone().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn texts(array: &Json) -> Vec<String> {
    match array {
        Json::Array(items) => items.iter().map(text).collect(),
        _ => Vec::new(),
    }
}

/// A string itself, and the JSON of what is none.
fn text(value: &Json) -> String {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
}
