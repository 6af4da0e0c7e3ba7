//! A Misskey as scenarios need it: who is there, whom they follow, and what is
//! published in its name.

use std::fmt::Write as _;

use ::tests::Fleet;
use ::tests::fleet::TENANT;
use ::tests::hypothesis::userid;
use broker::identity::{AccessTokens, NewAccessToken};
use redis::cmd;
use serde_json::json;

use crate::clients::text;
use crate::marker::Marker;
use crate::people;

/// Its name, that of its bus, and the beginning of its keys.
pub(crate) const HOST: &str = "bench.example";
/// Everybody in a group follows the same users, nobody else does.
const GROUPS: usize = 50;
/// How many they follow.
const FOLLOWED: usize = 200;
/// Bytes of a packed note.
const NOTE: usize = 3072;
/// Notes that there are to be watched, so that several watch the same.
const WATCHED: usize = 5000;
/// Notes that a socket watches.
const WATCHED_EACH: usize = 4;
/// What a user's own events are called here: nothing that is filtered.
const KIND: &str = "bench";
/// How a gateway is told where it is.
pub(crate) const HOSTS: (&str, &str) = (
    "CARILLON_MISSKEY_HOSTS",
    "*=acme bus=bench.example prefix=bench.example",
);

/// The id of a user.
pub(crate) fn user(number: usize) -> String {
    format!("u{number:05}")
}

/// The access tokens of so many users, who are made known to the cache.
pub(crate) async fn settle(fleet: &Fleet, users: usize) -> Vec<String> {
    let tokens = AccessTokens::new(fleet.commands(), fleet.keys());
    let commands = fleet.commands();
    people::many(users, move |number| {
        let (tokens, commands) = (tokens.clone(), commands.clone());
        async move {
            let mut set = cmd("MSET");
            for (cache, value) in relations(number) {
                set.arg(format!("{HOST}:kvcache:{cache}:{}", user(number)));
                set.arg(value);
            }
            let set = commands.query::<String>(&set).await;
            set.expect("Redis is there");
            let new = NewAccessToken {
                tenant: people::site().tenant,
                userid: userid(&user(number)).into(),
                name: None,
                expires_at: None,
            };
            let token = tokens.create(&new).await;
            token.expect("nobody of this name is gone").token
        }
    })
    .await
}

/// What the cache holds of a user.
fn relations(number: usize) -> [(&'static str, String); 7] {
    let mut following = String::from("{");
    for nth in 0..FOLLOWED {
        let comma = if nth == 0 { "" } else { "," };
        let author = author(number % GROUPS, nth);
        write!(following, r#"{comma}"{author}":{{"withReplies":false}}"#)
            .expect("a string takes text");
    }
    following.push('}');
    let none = || "[]".to_owned();
    [
        ("userFollowings", following),
        ("userMutings", none()),
        ("userBlocked", none()),
        ("renoteMutings", none()),
        ("userFollowingChannels", none()),
        ("channelMutingChannels", none()),
        (
            "userProfile",
            r#"{"mutedInstances":["far.example"]}"#.to_owned(),
        ),
    ]
}

/// One of those whom a group follows.
fn author(group: usize, nth: usize) -> String {
    format!("a{group:02}{nth:03}")
}

/// What a socket says: it opens its timeline, if it has one, watches some notes,
/// if it does, and has the last of it confirmed.
pub(crate) fn greeting(socket: usize, home: bool, watches: bool) -> Vec<u8> {
    let open = |channel: &str, id: &str, pong: bool| {
        let body = json!({ "channel": channel, "id": id, "pong": pong });
        text(&json!({ "type": "connect", "body": body }).to_string())
    };
    let mut said = Vec::new();
    if watches {
        for nth in 0..WATCHED_EACH {
            let note = format!("w{}", (socket * WATCHED_EACH + nth) % WATCHED);
            said.extend(text(
                &json!({ "type": "s", "body": { "id": note } }).to_string(),
            ));
        }
    }
    if home {
        said.extend(open("homeTimeline", "h", false));
    }
    said.extend(open("main", "m", true));
    said
}

/// An event of the user with the number of the marker's topic: on which channel
/// of Redis it is published, and how.
pub(crate) fn own_event(marker: Marker) -> (String, String) {
    let user = user(marker.topic as usize);
    let event = json!({ "v": 1, "type": KIND, "body": marker.write() });
    (
        format!("carillon:c:{TENANT}:user:{user}"),
        event.to_string(),
    )
}

/// A note by somebody whom the group with the number of the marker's topic
/// follows: on which channel of Redis it is published, and how.
pub(crate) fn note_event(marker: Marker) -> (String, String) {
    let note = note(marker);
    let frame = format!(r#"{{"channel":"notesStream","message":{note}}}"#);
    (HOST.to_owned(), frame)
}

/// What a socket is told of such an event.
pub(crate) fn own_message(marker: Marker) -> String {
    let body = marker.write();
    format!(r#"{{"type":"channel","body":{{"id":"m","type":"{KIND}","body":"{body}"}}}}"#)
}

/// What a socket is told of such a note.
pub(crate) fn note_message(marker: Marker) -> String {
    let note = note(marker);
    format!(r#"{{"type":"channel","body":{{"id":"h","type":"note","body":{note}}}}}"#)
}

/// How long each of these messages is, by how it begins.
pub(crate) fn expected_length(message: &[u8]) -> Option<usize> {
    let own = br#"{"type":"channel","body":{"id":"m","type":"bench","body":""#;
    let home = br#"{"type":"channel","body":{"id":"h","type":"note","body":"#;
    if message.starts_with(own) {
        Some(own.len() + crate::marker::PAYLOAD + r#""}}"#.len())
    } else if message.starts_with(home) {
        Some(home.len() + NOTE + "}}".len())
    } else {
        None
    }
}

/// A note as Misskey packs it.
fn note(marker: Marker) -> String {
    // The first note of a topic has number 0, and so has the first of a run.
    let author = author(
        marker.topic as usize % GROUPS,
        marker.number as usize % FOLLOWED,
    );
    let id = format!("n{:08x}", marker.number);
    let mark = marker.write();
    let with_text = |text: &str| {
        format!(
            concat!(
                r#"{{"id":"{id}","createdAt":"2026-01-02T03:04:05.678Z","userId":"{author}","#,
                r#""user":{{"id":"{author}","name":"Somebody","username":"{author}","host":null,"#,
                r#""avatarUrl":"https://bench.example/avatar/{author}.webp","avatarBlurhash":null,"#,
                r#""avatarDecorations":[],"isBot":false,"isCat":true,"emojis":{{}},"#,
                r#""onlineStatus":"online","badgeRoles":[]}},"text":"{text}","cw":null,"#,
                r#""visibility":"public","localOnly":false,"reactionAcceptance":null,"#,
                r#""renoteCount":0,"repliesCount":0,"reactionCount":0,"reactions":{{}},"#,
                r#""reactionEmojis":{{}},"reactionAndUserPairCache":[],"fileIds":[],"files":[],"#,
                r#""replyId":null,"renoteId":null,"clippedCount":0}}"#
            ),
            id = id,
            author = author,
            text = text,
        )
    };
    let padding = NOTE - with_text(&mark).len();
    with_text(&(mark + &".".repeat(padding)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_as_long_as_what_the_limit_program_sends() {
        let marker = Marker {
            topic: 7,
            place: 0,
            number: 3,
            due: 9,
        };
        for message in [own_message(marker), note_message(marker)] {
            assert_eq!(expected_length(message.as_bytes()), Some(message.len()));
            assert_eq!(Marker::read(message.as_bytes()), Some(marker));
        }
        let (_, frame) = note_event(marker);
        let frame: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(frame["message"]["userId"], "a07003");
    }
}
