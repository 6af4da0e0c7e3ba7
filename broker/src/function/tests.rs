//! The function in a real Redis.

use futures_util::StreamExt as _;
use redis::streams::StreamRangeReply;
use redis::{Script, cmd};

use super::*;
use crate::fixture;
use crate::keys::Keys;
use crate::topic::{Tenant, Topic, TopicKind};

const EVENT: &str = r#"{"v":1,"type":"note","body":{"n": 1.0,"text":"grün"},"ts":5,"x":null}"#;

fn acme() -> Tenant {
    "acme".parse().unwrap()
}

fn topic(kind: TopicKind, id: &str) -> Topic {
    Topic::new(&acme(), kind, id)
}

async fn call(redis: &Redis, parts: &[&str]) -> Result<String, String> {
    let mut call = cmd("FCALL");
    call.arg(FUNCTION).arg(1).arg(parts);
    match redis.query(&call).await {
        Ok(id) => Ok(id),
        Err(Error::Redis(error)) => Err(error.detail().unwrap_or_default().to_owned()),
        Err(error) => panic!("{error}"),
    }
}

async fn publish(redis: &Redis, keys: &Keys, topic: &Topic) -> Result<String, String> {
    call(redis, &[&keys.ring(topic), &keys.channel(topic), EVENT]).await
}

#[tokio::test]
async fn what_it_publishes_is_what_our_scripts_publish() {
    let (redis, keys) = fixture::redis();
    ensure(&redis).await.unwrap();
    let client = redis::Client::open(format!("redis://{}", fixture::address())).unwrap();
    let mut told = client.get_async_pubsub().await.unwrap();
    told.psubscribe(format!("{}*", keys.channel_prefix()))
        .await
        .unwrap();
    let topic = topic(TopicKind::Note, "a:b {c}%");
    let (ring, channel) = (keys.ring(&topic), keys.channel(&topic));
    let by_script = Script::new(&format!(
        "{}return publish_in_ring(KEYS[1], ARGV[1], ARGV[2])",
        ring::PRELUDE
    ));
    let mut script = by_script.prepare_invoke();
    script.key(&ring).arg(&channel).arg(EVENT);
    let first: String = redis.invoke(&script).await.unwrap();
    let second = publish(&redis, &keys, &topic).await.unwrap();

    let mut frames = told.on_message();
    for id in [&first, &second] {
        let frame = frames.next().await.unwrap();
        assert_eq!(frame.get_channel_name(), channel);
        let said: String = frame.get_payload().unwrap();
        assert_eq!(said, format!("{id} {EVENT}"));
    }
    let range = cmd("XRANGE").arg(&ring).arg("-").arg("+").clone();
    let kept: StreamRangeReply = redis.query(&range).await.unwrap();
    let field = |at: usize, name: &str| -> String { kept.ids[at].get(name).unwrap() };
    assert_eq!([&kept.ids[0].id, &kept.ids[1].id], [&first, &second]);
    for name in ["t", "d"] {
        assert_eq!(field(0, name), field(1, name));
    }
    assert_eq!(
        (field(1, "n"), field(1, "c")),
        ("2".into(), (2 * EVENT.len()).to_string())
    );
}

#[tokio::test]
async fn it_knows_the_partition_of_every_topic() {
    let (redis, keys) = fixture::redis();
    ensure(&redis).await.unwrap();
    let ids = (0..200).map(|n| format!("{n}/grün:{{x}} 100%\u{7f}"));
    let kinds = [TopicKind::User, TopicKind::Note, TopicKind::Channel];
    for (id, kind) in ids.zip(kinds.into_iter().cycle()) {
        let topic = topic(kind, &id);
        assert!(publish(&redis, &keys, &topic).await.is_ok(), "{topic}");
        let tag = format!("{{{}}}", topic.partition().tag());
        let elsewhere = keys.ring(&topic).replace(&tag, "{ffff}");
        let refused = call(&redis, &[&elsewhere, &keys.channel(&topic), EVENT]).await;
        let why = "ring: expected the tag of the partition that the topic is in";
        assert_eq!(refused, Err(why.to_owned()));
    }
}

#[tokio::test]
async fn what_it_refuses_is_refused_with_the_reason_and_published_nowhere() {
    let (redis, keys) = fixture::redis();
    ensure(&redis).await.unwrap();
    let own = topic(TopicKind::User, "ada");
    let (ring, channel) = (keys.ring(&own), keys.channel(&own));
    let not_a_topic = "channel: expected user:, note: or channel: and an id, percent-encoded";
    for other in [
        topic(TopicKind::Recipient, "ada"),
        topic(TopicKind::All, ""),
        topic(TopicKind::User, ""),
    ] {
        let refused = publish(&redis, &keys, &other).await;
        assert_eq!(refused, Err(not_a_topic.to_owned()), "{other}");
    }
    let start = channel.trim_end_matches("ada").to_owned();
    for id in [
        "a b",
        "a{",
        "%7b",
        "%41",
        "%",
        "%2",
        "\u{1}",
        "x%80",
        &"x".repeat(1025),
    ] {
        let refused = call(&redis, &[&ring, &format!("{start}{id}"), EVENT]).await;
        assert_eq!(refused, Err(not_a_topic.to_owned()), "{id}");
    }

    let annotations = crate::annotation::topic(&acme());
    let forged = keys.ring(&annotations).replace(":ra:", ":rb:");
    let theirs = keys.channel(&annotations);
    let refused = call(&redis, &[&forged, &theirs, EVENT]).await;
    let why = "channel: expected another one than that of annotations";
    assert_eq!(refused, Err(why.to_owned()));
    let no_ring = "ring: expected <prefix>:{<tag>}:rb:<tenant>";
    for ring in [
        &*keys.ring(&annotations),
        "x",
        &keys.pending(&topic(TopicKind::Recipient, "a")),
    ] {
        assert_eq!(
            call(&redis, &[ring, &theirs, EVENT]).await,
            Err(no_ring.to_owned())
        );
    }
    let others = Topic::new(&"other".parse().unwrap(), TopicKind::User, "ada");
    for channel in [
        keys.channel(&others),
        "elsewhere:c:acme:user:ada".to_owned(),
    ] {
        let refused = call(&redis, &[&ring, &channel, EVENT]).await;
        let why = "channel: expected one of the ring's prefix and tenant";
        assert_eq!(refused, Err(why.to_owned()));
    }

    let object = "event: expected a JSON object in UTF-8";
    let kind = "type: expected a string of 1 to 128 characters";
    let numbers = "x, ts: expected whole numbers of milliseconds";
    let long = format!(r#"{{"v":1,"type":"x","body":"{}"}}"#, "x".repeat(MAX_EVENT));
    let typed = |count| format!(r#"{{"v":1,"type":"{}"}}"#, "ü".repeat(count));
    for (event, why) in [
        ("", object),
        ("hush", object),
        ("[1]", object),
        (r#"{"v":1,"type":"x""#, object),
        (r#"{"type":"x"}"#, "v: expected 1"),
        (r#"{"v":2,"type":"x"}"#, "v: expected 1"),
        (r#"{"v":1.0,"type":"x"}"#, "v: expected 1"),
        (r#"{"v":"1","type":"x"}"#, "v: expected 1"),
        (r#"{"v":1}"#, kind),
        (r#"{"v":1,"type":null}"#, kind),
        (r#"{"v":1,"type":""}"#, kind),
        (r#"{"v":1,"type":7}"#, kind),
        (&typed(129), kind),
        (r#"{"v":1,"type":"x","ts":"5"}"#, numbers),
        (r#"{"v":1,"type":"x","x":1.5}"#, numbers),
        (r#"{"v":1,"type":"x","x":1e300}"#, numbers),
        (r#"{"v":1,"type":"x","body":NaN}"#, object),
        (r#"{"v":1,"type":"x","body":[-Infinity]}"#, object),
        (r#"{"v":1,"type":"x","body":0x10}"#, object),
        (&long, "event: expected at most 65536 bytes"),
    ] {
        let short = &event.chars().take(80).collect::<String>();
        let refused = call(&redis, &[&ring, &channel, event]).await;
        assert_eq!(refused, Err(why.to_owned()), "{short}");
        let lint = check(event.as_bytes()).map_err(|why| why.to_string());
        assert_eq!(lint, Err(why.to_owned()), "{short}");
    }
    for event in [
        EVENT,
        &typed(128),
        "\n {\"type\":\"x\",\"more\":[],\"v\": 1 }",
        r#"{"v":1,"type":"x","ts":1790000000000.0,"x":1.8e12}"#,
    ] {
        let taken = topic(TopicKind::Note, "taken");
        let taken = [&*keys.ring(&taken), &*keys.channel(&taken), event];
        assert!(call(&redis, &taken).await.is_ok(), "{event}");
        assert_eq!(check(event.as_bytes()), Ok(()), "{event}");
        assert!(crate::event::Event::parse(event.as_bytes()).is_ok());
    }
    let mut halves = cmd("FCALL");
    halves.arg(FUNCTION).arg(1).arg(&ring).arg(&channel);
    halves.arg(&b"{\"v\":1,\"type\":\"x\",\"body\":\"\xe2\xc2\x80\x82\"}"[..]);
    assert!(redis.query::<String>(&halves).await.is_err());
    assert!(call(&redis, &[&ring, &channel]).await.is_err());
    let length: u64 = redis.query(cmd("XLEN").arg(&ring)).await.unwrap();
    assert_eq!(length, 0);
}

#[test]
fn it_is_what_its_name_says_for_ever() {
    let digest = Script::new(source()).get_hash().to_owned();
    let why = "from the release on, another source needs another name";
    assert_eq!(digest, "37a239662e0e6b96de19d393a2e9e68710df273d", "{why}");
}

#[tokio::test]
async fn it_is_loaded_where_it_is_missing_and_never_in_the_place_of_another() {
    let (redis, mut own) = fixture::Own::start();
    assert_eq!(ensure(&redis).await.unwrap(), [Standing::Loaded]);
    assert_eq!(ensure(&redis).await.unwrap(), [Standing::There]);
    drop(redis);
    own.restart();
    let redis = fixture::open(own.address());
    assert_eq!(ensure(&redis).await.unwrap(), [Standing::Loaded]);

    redis
        .query::<()>(cmd("FUNCTION").arg("FLUSH"))
        .await
        .unwrap();
    let other = format!(
        "#!lua name={LIBRARY}\nredis.register_function('{FUNCTION}', function() return 'other' end)"
    );
    redis
        .query::<String>(cmd("FUNCTION").arg("LOAD").arg(&other))
        .await
        .unwrap();
    assert_eq!(ensure(&redis).await.unwrap(), [Standing::Foreign]);
    assert_eq!(call(&redis, &["x"]).await, Ok("other".to_owned()));
}

#[tokio::test]
async fn in_a_cluster_every_server_that_has_keys_gets_it() {
    let cluster = fixture::Cluster::start();
    let redis = Redis::open(&cluster.url().parse().unwrap()).unwrap();
    let keys = Keys::new("carillon");
    assert_eq!(ensure(&redis).await.unwrap(), [Standing::Loaded; 3]);
    for n in 0..50 {
        let topic = topic(TopicKind::Note, &format!("n{n}"));
        assert!(publish(&redis, &keys, &topic).await.is_ok(), "{topic}");
    }
    let one = fixture::open(cluster.node(1).address());
    one.query::<()>(cmd("FUNCTION").arg("FLUSH")).await.unwrap();
    let standing = ensure(&redis).await.unwrap();
    let loaded = standing.iter().filter(|one| **one == Standing::Loaded);
    assert_eq!((standing.len(), loaded.count()), (3, 1));
}
