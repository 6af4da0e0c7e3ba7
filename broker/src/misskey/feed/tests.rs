//! A feed between a real Redis, on which messages are published as a Misskey
//! does, and listeners.

use prometheus::Registry;
use redis::cmd;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::fixture;
use crate::link::Batch;
use crate::misskey::Field;
use crate::misskey::hosts::Hosts;

struct Ear(UnboundedSender<Batch>);

impl Outlet for Ear {
    fn leave(&self, batch: Batch) {
        self.0.send(batch).expect("the test holds the receiver");
    }

    fn given_up(&self) {
        panic!("a test takes what it gets");
    }
}

/// A feed and what it brings.
struct Fed {
    wants: Wants,
    batches: UnboundedReceiver<Batch>,
    told: Receiver<Told>,
    state: watch::Receiver<LinkState>,
    metrics: OfHost,
}

impl Fed {
    /// A feed of the host that is written like this, over that Redis.
    async fn start(host: &str, redis: &Redis, room: usize) -> Self {
        let hosts: Hosts = host.parse().unwrap();
        let host = hosts.iter().next().unwrap();
        let metrics = FeedMetrics::register(&Registry::new()).unwrap();
        let (wants, interval) = (Wants::default(), Duration::from_secs(5));
        let (ear, batches) = unbounded_channel();
        let (telling, told) = mpsc::channel(room);
        let outlets: Vec<Box<dyn Outlet>> = vec![Box::new(Ear(ear))];
        let feed = Feed::new(host, redis, &wants, interval, outlets, telling, &metrics);
        let feed = feed.unwrap().expect("the host has a bus");
        let mut state = feed.state();
        tokio::spawn(feed.run(std::future::pending()));
        state.wait_for(|s| *s == LinkState::Up).await.unwrap();
        let metrics = metrics.of_host(&host.name);
        Self {
            wants,
            batches,
            told,
            state,
            metrics,
        }
    }

    fn want(&self, topic: &str) {
        let topic = Topic::parse(topic).unwrap();
        self.wants.send(&mut vec![Want::Subscribe(0, topic)]);
    }

    /// The next things that arrive at once, in short.
    async fn arrives(&mut self) -> Vec<String> {
        let batch = self.batches.recv().await.expect("the feed lives");
        let short = |arrival: &Arrival| match arrival {
            Arrival::Event(topic, event) => {
                format!("{topic} {} {}", event.kind, event.body.get())
            }
            Arrival::Resumed(topic) => format!("{topic} resumed"),
            Arrival::Gap(topic) => format!("{topic} gap"),
            Arrival::Subscribed(topic) => format!("{topic} subscribed"),
        };
        batch.arrivals.iter().map(short).collect()
    }

    async fn is_told(&mut self) -> Internal {
        self.told.recv().await.expect("the feed lives").what
    }

    fn rejected(&self, why: &str) -> u64 {
        self.metrics.rejected.with_label_values(&[why]).get()
    }
}

async fn publish(redis: &Redis, channel: &str, message: impl AsRef<[u8]>) {
    let listeners: u64 = redis
        .query(cmd("PUBLISH").arg(channel).arg(message.as_ref()))
        .await
        .unwrap();
    assert!(0 < listeners, "nobody listens to {channel}");
}

#[tokio::test]
async fn what_somebody_wants_arrives_on_its_topic_and_the_rest_is_left() {
    let (redis, _) = fixture::redis();
    let mut fed = Fed::start("a.example=acme bus=arrives.example", &redis, 8).await;
    fed.want("acme:user:u1");
    fed.want("acme:channel:notesStream");
    let bus = "arrives.example";
    let unwanted = r#"{"channel":"mainStream:u2","message":no JSON at all}"#;
    publish(&redis, bus, unwanted).await;
    let followed =
        r#"{"channel":"mainStream:u1","message":{"type":"followed","body":{"id":"u2"}}}"#;
    publish(&redis, bus, followed).await;
    assert_eq!(
        fed.arrives().await,
        [r#"acme:user:u1 followed {"id":"u2"}"#]
    );
    publish(
        &redis,
        bus,
        r#"{"channel":"notesStream","message":{"id":"n1"}}"#,
    )
    .await;
    assert_eq!(
        fed.arrives().await,
        [r#"acme:channel:notesStream note {"id":"n1"}"#]
    );

    let topic = Topic::parse("acme:user:u1").unwrap();
    fed.wants.send(&mut vec![Want::Unsubscribe(0, topic)]);
    publish(&redis, bus, followed).await;
    publish(
        &redis,
        bus,
        r#"{"channel":"notesStream","message":{"id":"n2"}}"#,
    )
    .await;
    assert_eq!(
        fed.arrives().await,
        [r#"acme:channel:notesStream note {"id":"n2"}"#]
    );
    assert_eq!(
        (fed.metrics.topic.get(), fed.metrics.unwanted.get()),
        (3, 2)
    );
    assert_eq!(fed.rejected("json"), 0);
}

#[tokio::test]
async fn hosts_on_one_redis_never_see_each_other_s_events() {
    let (redis, _) = fixture::redis();
    let mut a = Fed::start("a.example=one bus=apart.a.example", &redis, 8).await;
    let mut b = Fed::start("b.example=two bus=apart.b.example", &redis, 8).await;
    for tenant in ["one", "two"] {
        for fed in [&a, &b] {
            fed.want(&format!("{tenant}:user:u1"));
        }
    }
    let event =
        |id| format!(r#"{{"channel":"mainStream:u1","message":{{"type":"t","body":{id}}}}}"#);
    for _ in 0..10 {
        publish(&redis, "apart.a.example", event(1)).await;
        publish(&redis, "apart.b.example", event(2)).await;
    }
    // Neither what names the other's tenant, nor what names the other's channel.
    for stream in [
        "two:user:u1",
        "apart.b.example",
        "../two:user:u1",
        "mainStream:u1:two",
    ] {
        let sly = format!(r#"{{"channel":"{stream}","message":{{"type":"t","body":1}}}}"#);
        publish(&redis, "apart.a.example", sly).await;
    }
    for (fed, expected) in [(&mut a, "one:user:u1 t 1"), (&mut b, "two:user:u1 t 2")] {
        let mut arrived = Vec::new();
        while arrived.len() < 10 {
            arrived.extend(fed.arrives().await);
        }
        assert_eq!(arrived, vec![expected; 10]);
    }
    assert!(a.batches.try_recv().is_err() && b.batches.try_recv().is_err());
}

#[tokio::test]
async fn what_is_malformed_oversized_or_hostile_is_dropped_and_counted() {
    let (redis, _) = fixture::redis();
    let mut fed = Fed::start("a.example=acme bus=hostile.example", &redis, 8).await;
    assert_eq!(
        fed.is_told().await,
        Internal::Gap,
        "nothing was heard before"
    );
    fed.want("acme:channel:broadcast");
    let broadcast = |message: &str| format!(r#"{{"channel":"broadcast","message":{message}}}"#);
    let deep = format!("{}{}", "[".repeat(300_000), "]".repeat(300_000));
    let cases = [
        ("json", "hush".to_owned()),
        ("json", broadcast("hush")),
        ("form", broadcast(r#""hush""#)),
        ("form", broadcast(r#"{"body":"hush"}"#)),
        (
            "form",
            r#"{"channel":"internal","message":{"type":"follow","body":"hush"}}"#.into(),
        ),
        (
            "form",
            r#"{"channel":"internal","message":["hush"]}"#.into(),
        ),
        (
            "depth",
            broadcast(&format!(r#"{{"type":"t","body":{deep}}}"#)),
        ),
        (
            "size",
            broadcast(&format!(
                r#"{{"type":"t","body":"{}"}}"#,
                "x".repeat(MAX_MESSAGE)
            )),
        ),
        ("size", "x".repeat(20 << 20)),
    ];
    let good = broadcast(r#"{"type":"good"}"#);
    for (n, (_, message)) in cases.iter().enumerate() {
        publish(&redis, "hostile.example", message).await;
        publish(&redis, "hostile.example", &good).await;
        let arrived = fed.arrives().await;
        assert_eq!(arrived, ["acme:channel:broadcast good null"], "case {n}");
    }
    for (why, count) in [("json", 2), ("form", 4), ("depth", 1), ("size", 2)] {
        assert_eq!(fed.rejected(why), count, "{why}");
    }
    assert!(fed.told.try_recv().is_err());
    assert!(
        !fed.state.has_changed().unwrap(),
        "the connection is still the first"
    );
}

#[tokio::test]
async fn what_concerns_sockets_is_told_and_what_finds_no_room_is_told_as_a_gap() {
    let (redis, _) = fixture::redis();
    let mut fed = Fed::start("a.example=acme bus=internal.example", &redis, 1).await;
    assert_eq!(fed.is_told().await, Internal::Gap);
    fed.want("acme:channel:broadcast");
    let say = async |kind: &str| {
        let body = r#"{"followerId":"a","followeeId":"b"}"#;
        let message =
            format!(r#"{{"channel":"internal","message":{{"type":"{kind}","body":{body}}}}}"#);
        publish(&redis, "internal.example", message).await;
    };
    for kind in ["follow", "unfollow", "webhookCreated", "follow"] {
        say(kind).await;
    }
    publish(
        &redis,
        "internal.example",
        r#"{"channel":"broadcast","message":{"type":"x"}}"#,
    )
    .await;
    fed.arrives().await;
    let (follower, followee) = (Field::User.key("a"), Field::User.key("b"));
    assert_eq!(fed.is_told().await, Internal::Follow { follower, followee });
    assert_eq!(fed.rejected("overflow"), 2);
    say("webhookCreated").await;
    say("unfollow").await;
    assert_eq!(fed.is_told().await, Internal::Gap);
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_everybody_told() {
    let (redis, mut server) = fixture::Own::start();
    let mut fed = Fed::start("a.example=acme bus=b.example", &redis, 8).await;
    assert_eq!(fed.is_told().await, Internal::Gap);
    fed.want("acme:user:u1");
    for of_others in [
        "acme:recipient:u1",
        "acme:all:",
        "acme:user:acct:ann@example.org",
        "acme:channel:annotations",
        "acme2:user:u1",
    ] {
        fed.want(of_others);
    }
    server.restart();
    let expected = ["acme:user:u1 resumed", "acme:user:u1 gap"];
    assert_eq!(fed.arrives().await, expected);
    assert_eq!(fed.is_told().await, Internal::Gap);
    fed.state.wait_for(|s| *s == LinkState::Up).await.unwrap();
    publish(
        &redis,
        "b.example",
        r#"{"channel":"mainStream:u1","message":{"type":"t"}}"#,
    )
    .await;
    assert_eq!(fed.arrives().await, ["acme:user:u1 t null"]);
}
