//! What is read of a cache on a real Redis.

use redis::cmd;
use serde_json::json;

use super::*;
use crate::fixture;

/// A cache with names of its own.
struct Cache {
    redis: Redis,
    prefix: Arc<str>,
    relations: Relations,
}

impl Cache {
    fn new() -> Self {
        let (redis, keys) = fixture::redis();
        let prefix: Arc<str> = keys.meta().into();
        let relations = Relations::new(redis.clone(), prefix.clone());
        Self {
            redis,
            prefix,
            relations,
        }
    }

    async fn set(&self, name: &str, value: &str) {
        let key = format!("{}:kvcache:{name}", self.prefix);
        let set = cmd("SET").arg(key).arg(value).to_owned();
        self.redis.query::<()>(&set).await.unwrap();
    }

    async fn delete(&self, name: &str) {
        let key = format!("{}:kvcache:{name}", self.prefix);
        let del = cmd("DEL").arg(key).to_owned();
        self.redis.query::<()>(&del).await.unwrap();
    }

    async fn read(&self, user: &str, seen: Seen) -> Found {
        let (mut found, unreadable) = self.relations.read(&[(user.into(), seen)]).await.unwrap();
        assert_eq!(unreadable, Unreadable(0));
        found.pop().unwrap()
    }
}

fn users(ids: &[&str]) -> KeySet {
    ids.iter().map(|id| Field::User.key(id)).collect()
}

fn channels(ids: &[&str]) -> KeySet {
    ids.iter().map(|id| Field::Channel.key(id)).collect()
}

#[tokio::test]
async fn all_that_a_misskey_keeps_of_a_user_is_read() {
    let cache = Cache::new();
    let following = json!({"f1": {"withReplies": false}, "f2": {"withReplies": true}, "f3": {}});
    cache.set("userFollowings:u1", &following.to_string()).await;
    cache.set("userMutings:u1", r#"["m1"]"#).await;
    cache.set("userBlocked:u1", r#"["b1","b2"]"#).await;
    cache.set("renoteMutings:u1", r#"["r1"]"#).await;
    cache.set("userFollowingChannels:u1", r#"["c1"]"#).await;
    cache.set("channelMutingChannels:u1", r#"["c9"]"#).await;
    let profile = json!({"password": "x", "mutedInstances": ["bad.example"], "userId": "u1"});
    cache.set("userProfile:u1", &profile.to_string()).await;
    let found = cache.read("u1", Seen::default()).await;
    assert!(!found.is_incomplete());
    let (mut seen, mut viewer) = (Seen::default(), Viewer::default());
    found.apply(&mut seen, &mut viewer);
    let expected = Viewer {
        following: users(&["f1", "f2", "f3"]),
        with_replies: users(&["f2"]),
        muting: users(&["m1"]),
        blocked_by: users(&["b1", "b2"]),
        renote_muting: users(&["r1"]),
        followed_channels: channels(&["c1"]),
        muted_channels: channels(&["c9"]),
        muted_servers: [Field::Server.key("bad.example")].into_iter().collect(),
        ..Viewer::default()
    };
    assert_eq!(viewer, expected);
}

#[tokio::test]
async fn what_is_not_there_is_unknown_and_stays_as_it_was() {
    let cache = Cache::new();
    cache.set("userMutings:u1", r#"["m1"]"#).await;
    cache.set("userBlocked:u1", "[]").await;
    let (mut seen, mut viewer) = (Seen::default(), Viewer::default());
    viewer.blocked_by = users(&["b1"]);
    let found = cache.read("u1", seen).await;
    assert!(found.is_incomplete() && found.lacks_following());
    found.apply(&mut seen, &mut viewer);
    assert_eq!(viewer.muting, users(&["m1"]));
    assert_eq!(
        viewer.blocked_by,
        users(&[]),
        "an empty list is no unknown one"
    );

    cache.delete("userMutings:u1").await;
    cache.read("u1", seen).await.apply(&mut seen, &mut viewer);
    assert_eq!(viewer.muting, users(&["m1"]));
    cache.set("userMutings:u1", r#"["m2"]"#).await;
    cache.read("u1", seen).await.apply(&mut seen, &mut viewer);
    assert_eq!(viewer.muting, users(&["m2"]));
}

#[tokio::test]
async fn a_value_is_read_again_only_once_it_has_changed() {
    let cache = Cache::new();
    cache.set("userFollowings:u1", r#"{"f1":{}}"#).await;
    let (mut seen, mut viewer) = (Seen::default(), Viewer::default());
    cache.read("u1", seen).await.apply(&mut seen, &mut viewer);
    viewer.following = users(&["f1", "f2"]);
    cache.read("u1", seen).await.apply(&mut seen, &mut viewer);
    assert_eq!(viewer.following, users(&["f1", "f2"]));
    seen.forget_following();
    cache.read("u1", seen).await.apply(&mut seen, &mut viewer);
    assert_eq!(viewer.following, users(&["f1"]));
}

#[tokio::test]
async fn many_users_are_read_together_and_in_order() {
    let cache = Cache::new();
    let mut asked = Vec::new();
    for n in 0..CHUNK + 3 {
        cache
            .set(&format!("userMutings:u{n}"), &format!(r#"["m{n}"]"#))
            .await;
        asked.push((Arc::from(format!("u{n}")), Seen::default()));
    }
    let (found, _) = cache.relations.read(&asked).await.unwrap();
    assert_eq!(found.len(), asked.len());
    for (n, found) in found.into_iter().enumerate() {
        let (mut seen, mut viewer) = (Seen::default(), Viewer::default());
        found.apply(&mut seen, &mut viewer);
        assert_eq!(viewer.muting, users(&[&format!("m{n}")]));
    }
}

#[tokio::test]
async fn what_cannot_be_understood_counts_as_unknown() {
    let cache = Cache::new();
    for (name, value) in [
        ("userFollowings:u1", "[1]"),
        ("userMutings:u1", "{}"),
        ("userBlocked:u1", "[1]"),
        ("renoteMutings:u1", "\u{fffd}"),
        (
            "userProfile:u1",
            r#"{"mutedInstances":null,"password":"x"}"#,
        ),
    ] {
        cache.set(name, value).await;
    }
    let asked = [(Arc::from("u1"), Seen::default())];
    let (mut found, unreadable) = cache.relations.read(&asked).await.unwrap();
    assert_eq!(unreadable, Unreadable(5));
    let (mut seen, mut viewer) = (Seen::default(), Viewer::default());
    let found = found.pop().unwrap();
    assert!(found.is_incomplete());
    found.apply(&mut seen, &mut viewer);
    assert_eq!((seen, viewer), Default::default());
}
