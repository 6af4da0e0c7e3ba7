//! The users of Redis that `docs/events.md` has for producers: they can do what they
//! are for, and nothing else.

use broker::people;
use broker::topology::Redis;
use redis::{Cmd, Value, cmd};
use serde_json::json;
use tests::hypothesis::{page_filter, userid};
use tests::{Fleet, until};

use super::{block_lines, page};

/// What a command of these words is.
fn command(words: &[&str]) -> Cmd {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command
}

/// Makes the page's user of this name, and says by which address it signs in where
/// a key is.
pub(super) fn sign_in(fleet: &Fleet, name: &str, key: &str) -> String {
    let rules = block_lines(&page(), "acl");
    let rule = rules
        .into_iter()
        .find(|line| line.split(' ').nth(2) == Some(name))
        .expect("the page has it");
    let words: Vec<_> = rule.split(' ').collect();
    fleet.redis().each::<String>(&words);
    let address = fleet.redis().master_of(key).address();
    format!("redis://{name}:secret@{address}")
}

fn user(fleet: &Fleet, name: &str, key: &str) -> Redis {
    let url = sign_in(fleet, name, key);
    Redis::open(&url.parse().unwrap()).unwrap()
}

/// Waits until the api has loaded the function.
pub(super) async fn until_loaded(fleet: &Fleet) {
    let loaded = "carillon_api_functions_loaded_total";
    until("the function is there", async || {
        1.0 <= fleet.api().metric(loaded).await
    })
    .await;
}

/// That Redis lets this user do these, and none of those.
async fn may(redis: &Redis, these: &[&[&str]], none_of_those: &[&[&str]]) {
    for words in these {
        let done = redis.query::<Value>(&command(words)).await;
        assert!(done.is_ok(), "{words:?}: {done:?}");
    }
    for words in none_of_those {
        let done = redis.query::<Value>(&command(words)).await;
        let told = match done {
            Ok(_) => panic!("{words:?} must be refused"),
            Err(why) => why.to_string(),
        };
        assert!(by_rights(&told), "{words:?}: {told}");
    }
}

/// Whether Redis says that somebody has not the rights.
fn by_rights(told: &str) -> bool {
    let words = ["NOPERM", "permission", "can't publish"];
    words.iter().any(|words| told.contains(words))
}

const STREAM: &str = "carillon:{in}:acme";
const RING: &str = "carillon:{2f}:rb:acme";
const NEWS: &str = "carillon:c:acme:channel:news";
const EVENT: &str = r#"{"v":1,"type":"x"}"#;
/// What nobody but our own processes may do.
const NEVER: [&[&str]; 16] = [
    &["XADD", "carillon:{in}:other", "*", "type", "push"],
    &["XADD", "carillon:{in}:dead:acme", "*", "why", "x"],
    &["XADD", "carillon:{9}:ra:acme", "*", "d", EVENT],
    &["XADD", "carillon:{2f}:rb:other", "*", "d", EVENT],
    &["XRANGE", STREAM, "-", "+"],
    &["XDEL", STREAM, "1-1"],
    &["GET", "carillon:meta"],
    &["HGETALL", "carillon:key:x"],
    &["PUBLISH", "carillon:c:acme:channel:annotations", "1-1 {}"],
    &[
        "PUBLISH",
        "carillon:c:acme:user:acct:ben@example.org",
        "0-0 {}",
    ],
    &["PUBLISH", "carillon:c:acme:recipient:ada", "1-1 {}"],
    &["PUBLISH", "carillon:c:acme:all:", "1-1 {}"],
    &["PUBLISH", "carillon:c:other:note:n1", EVENT],
    &["PUBLISH", "carillon:ctl", "{}"],
    &["EVAL", "return 1", "0"],
    &["FUNCTION", "FLUSH"],
];

#[tokio::test]
async fn who_may_add_to_the_stream_can_do_nothing_else() {
    let fleet = Fleet::of(1, 1).start().await;
    let mut ada = fleet.connect("ada").await;
    let adder = user(&fleet, "adder", STREAM);
    let push = r#"{"recipients":["ada"],"message":"added"}"#;
    let add = [
        "XADD", STREAM, "MAXLEN", "~", "9", "*", "type", "push", "data", push,
    ];
    may(&adder, &[&add, &["PING"]], &NEVER).await;
    let others: [&[&str]; 3] = [
        &["PUBLISH", "carillon:c:acme:note:n1", EVENT],
        &["FCALL", "carillon_publish_v1", "1", RING, NEWS, EVENT],
        &["XTRIM", STREAM, "MAXLEN", "0"],
    ];
    may(&adder, &[], &others).await;
    assert_eq!(ada.text().await, "added");
}

/// Channels on which producers may publish, some of which look like others.
const CHANNELS: [&str; 7] = [
    "carillon:c:acme:note:n1",
    "carillon:c:acme:user:9abcdef",
    "carillon:c:acme:user:acctx",
    NEWS,
    "carillon:c:acme:channel:antennaStream:a1",
    "carillon:c:acme:channel:adminStream:u1",
    "carillon:c:acme:channel:broadcast",
];

#[tokio::test]
async fn who_may_publish_can_do_so_on_the_channels_of_producers_alone() {
    let fleet = Fleet::of(0, 0).start().await;
    let publisher = user(&fleet, "publisher", RING);
    for channel in CHANNELS {
        may(&publisher, &[&["PUBLISH", channel, EVENT]], &[]).await;
    }
    let others: [&[&str]; 3] = [
        &["XADD", STREAM, "*", "type", "push"],
        &["XADD", RING, "*", "d", EVENT],
        &["FCALL", "carillon_publish_v1", "1", RING, NEWS, EVENT],
    ];
    may(&publisher, &[], &NEVER).await;
    may(&publisher, &[], &others).await;
}

#[tokio::test]
async fn who_may_call_the_function_publishes_and_makes_nothing_of_ours_up() {
    let fleet = Fleet::of(1, 0).start().await;
    let ben = fleet.person("ben").await;
    let mut socket = fleet.hypothesis_socket(0, Some(&ben)).await;
    socket.settle(&page_filter(&["https://example.org/"])).await;
    until_loaded(&fleet).await;
    let caller = user(&fleet, "caller", RING);
    let keys = fleet.keys();
    // By the caller, or by who may do everything.
    let call = async |name: Option<&str>, topic: &str, event: &str| {
        let topic = broker::topic::Topic::parse(&format!("acme:{topic}")).unwrap();
        let redis = match name {
            Some(name) => user(&fleet, name, &keys.ring(&topic)),
            None => fleet.commands(),
        };
        let mut call = cmd("FCALL");
        call.arg("carillon_publish_v1")
            .arg(1)
            .arg(keys.ring(&topic));
        call.arg(keys.channel(&topic)).arg(event);
        let called = redis.query::<String>(&call).await;
        called.map_err(|why| why.to_string())
    };
    for channel in CHANNELS {
        let topic = channel.trim_start_matches("carillon:c:acme:");
        call(Some("caller"), topic, EVENT).await.unwrap();
    }
    may(&caller, &[], &NEVER).await;
    let others: [&[&str]; 4] = [
        &["XADD", STREAM, "*", "type", "push"],
        &["DEL", RING],
        &["SET", RING, "x"],
        &["FCALL", "carillon_publish_v2", "0"],
    ];
    may(&caller, &[], &others).await;
    for topic in ["recipient:ada", "all:"] {
        let refused = call(Some("caller"), topic, EVENT).await.unwrap_err();
        assert!(refused.contains("expected"), "{topic}: {refused}");
    }
    let refused = call(Some("caller"), "channel:annotations", EVENT).await;
    assert!(by_rights(&refused.unwrap_err()));
    let elsewhere = [
        "carillon:{9}:rb:acme",
        "carillon:c:acme:channel:annotations",
    ];
    let mut call_elsewhere = cmd("FCALL");
    call_elsewhere.arg("carillon_publish_v1").arg(1);
    call_elsewhere.arg(&elsewhere).arg(EVENT);
    let there = user(&fleet, "caller", elsewhere[0]);
    let refused = there.query::<String>(&call_elsewhere).await.unwrap_err();
    assert!(
        refused.to_string().contains("expected another"),
        "{refused}"
    );

    let of_ben = format!("user:{}", userid("ben"));
    let session = json!({"userid": userid("ben"), "groups": [], "features": {}, "preferences": {}});
    let membership = json!({
        "v": 1, "type": "membership",
        "body": {"action": "group-join", "group": "g1", "role": "member", "session": session},
    });
    let membership = membership.to_string();
    let refused = call(Some("caller"), &of_ben, &membership)
        .await
        .unwrap_err();
    assert!(by_rights(&refused), "{refused}");
    let topic = people::topic(&"acme".parse().unwrap(), &userid("ben"));
    let range = cmd("XRANGE")
        .arg(keys.ring(&topic))
        .arg("-")
        .arg("+")
        .clone();
    let kept: Value = fleet.commands().query(&range).await.unwrap();
    let kept = format!("{kept:?}");
    assert!(
        !kept.contains("acct:"),
        "what was not published is in no ring: {kept}"
    );
    // With all rights too, what the function publishes is no word of ours.
    let annotation = r#"{"v":1,"type":"annotation","body":{}}"#;
    let signed_out = r#"{"v":1,"type":"signed-out","body":{}}"#;
    for forged in [&*membership, annotation, signed_out] {
        call(None, &of_ben, forged).await.unwrap();
    }
    socket.say(r#"{"type":"whoami","id":7}"#).await;
    let next = socket.json().await;
    assert_eq!(next["type"], "whoyouare", "of nothing before: {next}");
}

#[tokio::test]
async fn a_function_that_is_gone_is_loaded_again() {
    let fleet = Fleet::of(0, 0).start().await;
    until_loaded(&fleet).await;
    let loaded = "carillon_api_functions_loaded_total";
    let before = fleet.api().metric(loaded).await;
    fleet
        .redis()
        .ask::<String>(RING, &["FUNCTION", "FLUSH"])
        .unwrap();
    until("it is there again", async || {
        before < fleet.api().metric(loaded).await
    })
    .await;
    let missing = fleet.api().metric("carillon_api_function_missing").await;
    assert_eq!(missing, 0.0);
}
