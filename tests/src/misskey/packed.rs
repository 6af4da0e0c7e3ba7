//! Notes and users as a Misskey packs them.

use serde_json::{Value, json};

/// A user of the host, as notes carry it.
pub fn account(id: &str) -> Value {
    json!({
        "id": id, "name": null, "username": id, "host": null, "avatarUrl": "", "avatarBlurhash": null,
        "avatarDecorations": [], "emojis": {}, "onlineStatus": "unknown",
    })
}

/// A public note of a user of the host, packed for nobody, as it is published.
/// `more` adds members and replaces them.
pub fn note(id: &str, author: &str, more: Value) -> Value {
    let mut note = json!({
        "id": id, "createdAt": "2026-01-01T00:00:00.000Z", "userId": author, "user": account(author),
        "text": format!("The text of {id}"), "cw": null, "visibility": "public", "localOnly": false,
        "reactionAcceptance": null, "renoteCount": 0, "repliesCount": 0, "reactionCount": 0,
        "reactions": {}, "reactionEmojis": {}, "reactionAndUserPairCache": [], "fileIds": [], "files": [],
        "replyId": null, "renoteId": null,
    });
    let more = match more {
        Value::Object(members) => members,
        _ => serde_json::Map::new(),
    };
    note.as_object_mut().expect("it is one").extend(more);
    note
}

/// A note that answers another.
pub fn reply(id: &str, author: &str, to: &Value) -> Value {
    note(id, author, json!({ "replyId": to["id"], "reply": to }))
}

/// A note that does nothing but renote another.
pub fn renote(id: &str, author: &str, of: &Value) -> Value {
    note(
        id,
        author,
        json!({ "text": null, "renoteId": of["id"], "renote": of }),
    )
}
