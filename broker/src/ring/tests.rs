//! Rings in a real Redis.

mod alike;

use redis::streams::{StreamId, StreamRangeReply};
use redis::{Script, cmd};

use super::*;
use crate::fixture;
use crate::keys::Keys;
use crate::topic::{Topic, TopicKind};
use crate::topology::Redis;

struct Stage {
    redis: Redis,
    keys: Keys,
    topic: Topic,
    publish: Script,
}

impl Stage {
    fn new() -> Self {
        let (redis, keys) = fixture::redis();
        let call = "return publish_in_ring(KEYS[1], ARGV[1], ARGV[2])";
        Self {
            redis,
            keys,
            topic: Topic::new(&"acme".parse().unwrap(), TopicKind::Channel, "a:b c"),
            publish: Script::new(&format!("{PRELUDE}{call}")),
        }
    }

    fn ring(&self) -> String {
        self.keys.ring(&self.topic)
    }

    async fn publish(&self, json: &str) -> String {
        let channel = self.keys.channel(&self.topic);
        let mut call = self.publish.prepare_invoke();
        call.key(self.ring()).arg(channel).arg(json);
        self.redis.invoke(&call).await.unwrap()
    }

    async fn kept(&self) -> Vec<StreamId> {
        let mut range = cmd("XRANGE");
        range.arg(self.ring()).arg("-").arg("+");
        let kept: StreamRangeReply = self.redis.query(&range).await.unwrap();
        kept.ids
    }
}

fn field(entry: &StreamId, name: &str) -> String {
    entry.get(name).unwrap()
}

#[tokio::test]
async fn an_event_is_kept_with_its_topic_and_counted() {
    let stage = Stage::new();
    let first = stage.publish("{}").await;
    let second = stage.publish(r#"{"v":1}"#).await;
    let kept = stage.kept().await;
    let kept: Vec<_> = kept
        .iter()
        .map(|entry| ["t", "n", "c", "d"].map(|name| field(entry, name)))
        .collect();
    let topic = "channel:a:b%20c";
    let expected = [[topic, "1", "2", "{}"], [topic, "2", "9", r#"{"v":1}"#]];
    assert_eq!(kept, expected);
    assert!(first < second);
    let life: i64 = stage
        .redis
        .query(cmd("PTTL").arg(stage.ring()))
        .await
        .unwrap();
    let most = i64::try_from(LIFE.as_millis()).unwrap();
    assert!((most - 10_000..=most).contains(&life), "{life}");
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let stage = Stage::new();
    for _ in 0..2003 {
        stage.publish("{}").await;
    }
    let kept = stage.kept().await;
    assert_eq!((kept.len(), &*field(&kept[0], "n")), (2000, "4"));
}

#[tokio::test]
async fn the_oldest_go_when_they_are_too_large() {
    let stage = Stage::new();
    let large = |bytes: usize| "x".repeat(bytes);
    for _ in 0..5 {
        stage.publish(&large(256 << 10)).await;
    }
    let numbers = async || -> Vec<String> {
        let kept = stage.kept().await;
        kept.iter().map(|entry| field(entry, "n")).collect()
    };
    assert_eq!(numbers().await, ["2", "3", "4", "5"]);
    stage.publish("{}").await;
    assert_eq!(numbers().await, ["3", "4", "5", "6"]);
    stage.publish(&large(2 << 20)).await;
    assert_eq!(numbers().await, ["7"], "the newest stays");
}

#[tokio::test]
async fn annotations_have_a_ring_of_their_own_and_nothing_else_goes_there() {
    let stage = Stage::new();
    let annotations = crate::annotation::topic(&stage.topic.tenant());
    let (own, shared) = (stage.keys.ring(&annotations), stage.ring());
    assert_ne!(
        own,
        stage.keys.ring(&Topic::new(
            &stage.topic.tenant(),
            TopicKind::Channel,
            "annotations2",
        ))
    );
    for (ring, topic, kept) in [
        (&own, &annotations, true),
        (&own, &stage.topic, false),
        (&shared, &annotations, false),
    ] {
        let channel = stage.keys.channel(topic);
        let mut call = stage.publish.prepare_invoke();
        call.key(ring).arg(channel).arg("{}");
        let published = stage.redis.invoke::<String>(&call).await;
        assert_eq!(published.is_ok(), kept, "{ring} {topic}");
    }
}

#[tokio::test]
async fn a_ring_that_somebody_spoilt_is_made_anew() {
    let stage = Stage::new();
    let spoil = async |id: &str, fields: &[&str]| {
        let mut add = cmd("XADD");
        add.arg(stage.ring()).arg(id).arg(fields);
        stage.redis.query::<String>(&add).await.unwrap();
    };
    stage.publish("{}").await;
    spoil("*", &["t", "channel:a", "d", "{}"]).await;
    stage.publish("{}").await;
    spoil(
        "18446744073709551615-18446744073709551615",
        &["t", "x", "n", "5", "c", "5", "d", "x"],
    )
    .await;
    stage.publish("{}").await;
    spoil("*", &["x", "y"]).await;
    stage.publish("{}").await;
    let kept = stage.kept().await;
    assert_eq!((kept.len(), &*field(&kept[0], "n")), (1, "1"));
    for count in ["inf", "nan", "1e300", "-5", "0x10", "9999999999999999"] {
        spoil("*", &["t", "channel:a", "n", count, "c", "5", "d", "{}"]).await;
        stage.publish("{}").await;
        let kept = stage.kept().await;
        assert_eq!((kept.len(), &*field(&kept[0], "n")), (1, "1"), "{count}");
    }
}

#[tokio::test]
async fn nothing_of_others_goes_into_a_ring() {
    let stage = Stage::new();
    let others = Topic::new(&"acme2".parse().unwrap(), TopicKind::Channel, "a");
    let mut call = stage.publish.prepare_invoke();
    call.key(stage.ring())
        .arg(stage.keys.channel(&others))
        .arg("{}");
    assert!(stage.redis.invoke::<String>(&call).await.is_err());
    assert_eq!(stage.kept().await, []);
}
