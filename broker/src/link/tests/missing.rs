//! What a link makes of what was published while it was away from a real Redis.

use std::collections::VecDeque;

use redis::{Cmd, Value, cmd};

use super::*;
use crate::fixture;
use crate::replay::Verdict;
use crate::ring::PRELUDE;
use crate::topic::TopicKind;

/// A link with one listener to a Redis of its own.
struct Stage {
    redis: Redis,
    keys: Keys,
    wants: Wants,
    batches: UnboundedReceiver<Batch>,
    arrived: VecDeque<String>,
    metrics: LinkMetrics,
}

fn note(id: &str) -> Topic {
    Topic::new(&"acme".parse().unwrap(), TopicKind::Note, id)
}

impl Stage {
    /// One that listens to `a`.
    async fn start() -> (Self, fixture::Own) {
        let (redis, server) = fixture::Own::start();
        (Self::over(redis).await, server)
    }

    async fn over(redis: Redis) -> Self {
        let keys = Keys::new("carillon");
        let metrics = LinkMetrics::register("test", &Registry::new()).unwrap();
        let (aside, _) = mpsc::channel(1);
        let (ear, batches, _) = ear();
        let (wants, interval) = (Wants::default(), Duration::from_secs(1));
        let link = Link::new(
            &redis,
            &keys,
            "node",
            interval,
            vec![ear],
            vec![],
            aside,
            metrics.clone(),
        )
        .with_wants(wants.clone());
        tokio::spawn(link.run(std::future::pending()));
        let mut stage = Self {
            redis,
            keys,
            wants,
            batches,
            arrived: VecDeque::new(),
            metrics,
        };
        stage.want("a").await;
        stage
    }

    async fn want(&mut self, id: &str) {
        self.wants.send(&mut vec![Want::Subscribe(0, note(id))]);
        assert_eq!(self.arrives().await, format!("subscribed {id}"));
    }

    /// The next thing that arrives, in short.
    async fn arrives(&mut self) -> String {
        while self.arrived.is_empty() {
            let batch = self.batches.recv().await.expect("the link lives");
            let id = |topic: &Topic| topic.id().into_owned();
            let short = |arrival: &Arrival| match arrival {
                Arrival::Event(topic, event) => format!("{} {}", id(topic), event.kind),
                Arrival::Subscribed(topic) => format!("subscribed {}", id(topic)),
                Arrival::Resumed(topic) => format!("resumed {}", id(topic)),
                Arrival::Gap(topic) => format!("gap {}", id(topic)),
            };
            self.arrived.extend(batch.arrivals.iter().map(short));
        }
        self.arrived.pop_front().expect("there is one")
    }

    async fn arrive<const N: usize>(&mut self) -> [String; N] {
        let mut all = [const { String::new() }; N];
        for one in &mut all {
            *one = self.arrives().await;
        }
        all
    }

    /// What publishes an event.
    fn event(&self, id: &str, kind: &str) -> Cmd {
        self.events(id, kind, 1)
    }

    /// The same so many times.
    fn events(&self, id: &str, kind: &str, count: u32) -> Cmd {
        let topic = note(id);
        let mut call = cmd("EVAL");
        let publish = "for i = 1, ARGV[3] do publish_in_ring(KEYS[1], ARGV[1], ARGV[2]) end";
        call.arg(format!("{PRELUDE}{publish}")).arg(1);
        call.arg(self.keys.ring(&topic));
        call.arg(self.keys.channel(&topic));
        call.arg(format!(r#"{{"v":1,"type":"{kind}"}}"#)).arg(count);
        call
    }

    /// One without a ring.
    fn raw(&self, id: &str, kind: &str) -> Cmd {
        let mut call = cmd("PUBLISH");
        call.arg(self.keys.channel(&note(id)));
        call.arg(format!(r#"{{"v":1,"type":"{kind}"}}"#));
        call
    }

    async fn run(&self, command: Cmd) {
        self.redis.query::<Value>(&command).await.unwrap();
    }

    /// Redis ends the link's connection, and does this before any other is made.
    async fn cut(&self, meanwhile: impl IntoIterator<Item = Cmd>) {
        let mut all = redis::pipe();
        all.atomic();
        all.cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]);
        for command in meanwhile {
            all.add_command(command);
        }
        self.redis.pipeline::<Vec<Value>>(&all).await.unwrap();
    }

    fn gaps(&self, verdict: Verdict) -> u64 {
        self.metrics.gaps(verdict).get()
    }
}

#[tokio::test]
async fn what_was_published_meanwhile_comes_once_and_in_order() {
    let (mut stage, _server) = Stage::start().await;
    stage.want("b").await;
    stage.run(stage.event("a", "one")).await;
    assert_eq!(stage.arrives().await, "a one");
    let missed = [
        stage.event("a", "two"),
        stage.event("b", "three"),
        stage.event("c", "nobody's"),
        stage.event("a", "four"),
    ];
    stage.cut(missed).await;
    stage.run(stage.event("a", "five")).await;
    let mut arrived: [String; 6] = stage.arrive().await;
    let of_a: Vec<_> = arrived
        .iter()
        .filter(|told| told.starts_with("a "))
        .collect();
    assert_eq!(of_a, ["a two", "a four", "a five"]);
    arrived.sort();
    let others = ["b three", "resumed a", "resumed b"];
    assert_eq!(arrived[3..], others);
    stage.run(stage.event("b", "six")).await;
    assert_eq!(stage.arrives().await, "b six");
    assert!([3, 4].contains(&stage.metrics.replayed.get()));
    assert_eq!(stage.metrics.missed.get(), 0);
}

#[tokio::test]
async fn nothing_is_lost_where_nothing_was_published() {
    let (mut stage, _server) = Stage::start().await;
    stage.cut([]).await;
    assert_eq!(stage.arrives().await, "resumed a");
    stage.run(stage.event("a", "one")).await;
    assert_eq!(stage.arrives().await, "a one");
    stage.cut([]).await;
    stage.run(stage.event("a", "two")).await;
    assert_eq!(stage.arrive().await, ["resumed a", "a two"]);
    // A Redis that forgets everything brings what is published as before.
    stage.run(cmd("FLUSHALL")).await;
    stage.run(stage.event("a", "three")).await;
    stage.run(stage.event("a", "four")).await;
    assert_eq!(stage.arrive().await, ["a three", "a four"]);
    stage.cut([stage.event("a", "five")]).await;
    assert_eq!(stage.arrive().await, ["resumed a", "a five"]);
    assert_eq!(stage.metrics.missed.get(), 0);
}

#[tokio::test]
async fn what_no_ring_keeps_may_be_lost() {
    let (mut stage, _server) = Stage::start().await;
    stage.want("b").await;
    stage.run(stage.raw("a", "one")).await;
    assert_eq!(stage.arrives().await, "a one");
    stage.cut([stage.raw("a", "two")]).await;
    let mut arrived: [String; 3] = stage.arrive().await;
    arrived.sort();
    assert_eq!(arrived, ["gap a", "resumed a", "resumed b"]);
}

#[tokio::test]
async fn a_ring_that_had_more_than_it_keeps_is_a_gap() {
    let (mut stage, _server) = Stage::start().await;
    stage.run(stage.event("a", "one")).await;
    assert_eq!(stage.arrives().await, "a one");
    stage.cut([stage.events("a", "many", 2001)]).await;
    assert_eq!(stage.arrive().await, ["resumed a", "gap a"]);
    for _ in 0..2000 {
        assert_eq!(stage.arrives().await, "a many");
    }
    assert_eq!(stage.gaps(Verdict::Trimmed), 1);
}

#[tokio::test]
async fn a_ring_that_is_gone_or_made_anew_is_a_gap() {
    let (mut stage, mut server) = Stage::start().await;
    let ring = stage.keys.ring(&note("a"));
    let forget = cmd("DEL").arg(ring).clone();
    stage.run(stage.event("a", "one")).await;
    assert_eq!(stage.arrives().await, "a one");
    stage.cut([forget.clone()]).await;
    assert_eq!(stage.arrive().await, ["resumed a", "gap a"]);
    stage.run(stage.event("a", "two")).await;
    assert_eq!(stage.arrives().await, "a two");
    // A ring made anew within the same millisecond would give its id again.
    let two = stage.redis.time().await.unwrap();
    while stage.redis.time().await.unwrap() <= two {}
    stage.cut([forget, stage.event("a", "three")]).await;
    let expected = ["resumed a", "gap a", "a three"];
    assert_eq!(stage.arrive().await, expected);
    server.restart();
    assert_eq!(stage.arrive().await, ["resumed a", "gap a"]);
    assert_eq!(stage.gaps(Verdict::Lost), 3);
    let rejected = stage.metrics.rejected.with_label_values(&["json"]);
    assert_eq!(rejected.get(), 0);
}

#[tokio::test]
async fn what_a_cluster_loses_between_its_nodes_is_found_in_rings() {
    let cluster = fixture::Cluster::start();
    let mut stage = Stage::over(fixture::open_url(&cluster.url())).await;
    // Of these, two thirds are published elsewhere than where the link listens.
    let owner = |id: &str| fixture::Cluster::owner(note(id).partition().slot());
    let all = (0..).map(|n: u32| n.to_string());
    let ids: Vec<_> = (0..3)
        .filter_map(|primary| all.clone().find(|id| owner(id) == primary))
        .collect();
    for id in &ids {
        stage.want(id).await;
    }
    while stage.metrics.probes.get() < 6 {
        tokio::task::yield_now().await;
    }
    for (primary, id) in ids.iter().enumerate() {
        let here = cluster.node(primary);
        let client = redis::Client::open(format!("redis://{}", here.address())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut all = redis::pipe();
        all.atomic();
        for there in (0..6).filter(|there| *there != primary) {
            let there = cluster
                .node(there)
                .ask::<String>(&["CLUSTER", "MYID"])
                .unwrap();
            all.cmd("DEBUG").arg(&["CLUSTERLINK", "KILL", "TO", &there]);
        }
        all.add_command(stage.event(id, "lost"));
        let _: Vec<Value> = all.query_async(&mut connection).await.unwrap();
    }
    let mut arrived: [String; 3] = stage.arrive().await;
    arrived.sort();
    let mut expected: Vec<_> = ids.iter().map(|id| format!("{id} lost")).collect();
    expected.sort();
    assert_eq!(arrived[..], expected);
    assert_eq!(stage.metrics.replayed.get(), 2);
    assert_eq!(stage.metrics.missed.get(), 0);
}
