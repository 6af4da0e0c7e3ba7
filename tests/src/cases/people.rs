//! Who takes part in the cases of the Hypothesis protocol: made once for a fleet.

use std::time::Duration;

use broker::Timestamp;
use serde_json::json;

use super::json::Json;
use super::variables::Variables;
use crate::fleet::Fleet;
use crate::hypothesis::{AUTHORITY, userid};
use crate::socket::Heard;
use crate::until::{PATIENCE, until};

/// Everybody with an account.
const USERS: [&str; 7] = [
    "alice",
    "bob",
    "carol",
    "mod",
    "mallory",
    "deleted_user",
    "keeper",
];

/// Groups: their kind, whether they are moderated beforehand, and who makes them.
const GROUPS: [(&str, &str, bool, &str); 8] = [
    ("priv1", "PRIVATE", false, "alice"),
    ("priv2", "PRIVATE", false, "alice"),
    ("priv3", "PRIVATE", false, "alice"),
    ("priv4", "PRIVATE", false, "alice"),
    ("priv5", "PRIVATE", false, "alice"),
    ("open1", "OPEN", false, "keeper"),
    ("premod", "OPEN", true, "keeper"),
    ("premod_off", "OPEN", false, "keeper"),
];

/// Who joins a group that another made, and as what.
const MEMBERS: [(&str, &str, &str); 3] = [
    ("priv1", "bob", "MEMBER"),
    ("premod", "mod", "MODERATOR"),
    ("premod_off", "mod", "MODERATOR"),
];

/// How long the token lives that is to be expired: long enough that it can be
/// made on a busy machine.
const SHORT: Duration = Duration::from_secs(3);

/// Makes all of them and returns what cases call them.
///
/// # Panics
/// If the api refuses.
pub async fn gather(fleet: &Fleet) -> Variables {
    for name in USERS {
        let banned = name == "mallory";
        let input = json!({ "userid": userid(name), "displayName": name, "banned": banned });
        fleet.create_user(input).await;
    }
    let mut tokens = serde_json::Map::new();
    let expires_at = (Timestamp::now() + SHORT).to_string();
    let short = json!({ "userid": userid("alice"), "name": "short", "expiresAt": expires_at });
    let expired = fleet.create_access_token(short).await;
    for name in USERS {
        tokens.insert(name.to_owned(), fleet.sign_in(name).await.into());
    }
    let mut groups = serde_json::Map::new();
    for (name, kind, moderated, creator) in GROUPS {
        let input = json!({
            "name": name, "kind": kind, "preModerated": moderated, "creator": userid(creator),
        });
        let id = fleet.create_group(input).await;
        for (_, member, role) in MEMBERS.iter().filter(|(group, _, _)| *group == name) {
            fleet.join(&id, member, role).await;
        }
        groups.insert(name.to_owned(), id.into());
    }
    fleet.delete_user("deleted_user").await;
    until("the short token expires", async || {
        let mut socket = fleet.hypothesis_socket(0, Some(&expired)).await;
        socket.say(r#"{"type":"whoami","id":1}"#).await;
        // Expiring just now, it ends the socket instead of answering.
        match socket.heard_within(PATIENCE).await {
            Some(Heard::Text(answer)) => answer.contains(r#""userid":null"#),
            _ => false,
        }
    })
    .await;
    tokens.insert("expired".to_owned(), expired.into());

    let users = USERS
        .iter()
        .map(|&name| (name.to_owned(), userid(name).into()));
    let users: serde_json::Map<_, _> = users.collect();
    let known = json!({ "token": tokens, "user": users, "group": groups, "authority": AUTHORITY });
    let known = Json::parse(&known.to_string()).expect("it was just written");
    let mut variables = Variables::default();
    for name in ["token", "user", "group", "authority"] {
        let value = known.get(name).expect("it was just written");
        variables.set(name, value.clone());
    }
    variables
}
