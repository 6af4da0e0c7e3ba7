//! The scripts and the model of them do the same.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use redis::Script;

use super::super::model::{Entry, Id, Limits, Ring as Model};
use super::super::{PRELUDE, Ring, Rings};
use super::{Stage, field};
use crate::event::EntryId;
use crate::replay::{self, Oldest, Page};
use crate::topic::{Topic, TopicKind};

/// As `ring.lua` has them.
const LIMITS: Limits = Limits {
    entries: 2000,
    bytes: 1 << 20,
};
/// Lives of a ring that are tried, each with so many steps.
const LIVES: u64 = 10;
const STEPS: u32 = 30;

/// A ring in Redis, and what it should be like.
struct Twins {
    stage: Stage,
    model: Model,
    /// Publishes the same so many times.
    burst: Script,
    topics: Vec<Topic>,
}

fn id(entry: EntryId) -> Id {
    (entry.millis, entry.sequence)
}

impl Twins {
    fn new() -> Self {
        let stage = Stage::new();
        let home = stage.topic.partition();
        let kinds = [TopicKind::Channel, TopicKind::Note, TopicKind::User];
        let of = |n: u32| {
            let kind = kinds[n as usize % kinds.len()];
            Topic::new(&stage.topic.tenant(), kind, &format!("{n}"))
        };
        let others = (0..).map(of).filter(|topic| topic.partition() == home);
        let topics = others.take(4).collect();
        let burst = "local ids = {}\n\
            for i = 1, ARGV[3] do ids[i] = publish_in_ring(KEYS[1], ARGV[1], ARGV[2]) end\n\
            return ids";
        Self {
            stage,
            model: Model::default(),
            burst: Script::new(&format!("{PRELUDE}{burst}")),
            topics,
        }
    }

    /// Publishes the same event so many times on one of the topics.
    async fn publish(&mut self, topic: usize, json: &str, times: u32) {
        let topic = &self.topics[topic];
        let mut call = self.burst.prepare_invoke();
        call.key(self.stage.ring());
        call.arg(self.stage.keys.channel(topic))
            .arg(json)
            .arg(times);
        let ids: Vec<String> = self.stage.redis.invoke(&call).await.unwrap();
        let name = &topic.as_str()[topic.owner().len() + 1..];
        for text in ids {
            // The clock is Redis'; what it makes of it is not.
            let real = id(EntryId::parse(&text).unwrap());
            let clock = real.0;
            assert_eq!(self.model.append(name, json, clock, LIMITS, 0), real);
        }
    }

    /// The ring has come to the end of its life.
    async fn expire(&mut self) {
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(self.stage.ring()).arg(0);
        let _: u32 = self.stage.redis.query(&expire).await.unwrap();
        self.model = Model::default();
    }

    /// What the ring holds from an entry on is what it should.
    async fn are_alike(&self, from: Id) {
        let (millis, sequence) = from;
        let rings = Rings::new(self.stage.redis.clone(), self.stage.keys.clone());
        let ring = Ring::of(&self.stage.topic);
        let real = rings
            .from(&ring, EntryId { millis, sequence })
            .await
            .unwrap();
        let place = |entry: &Entry| EntryId {
            millis: entry.id.0,
            sequence: entry.id.1,
        };
        let entry = |entry: &Entry| replay::Entry {
            id: place(entry),
            topic: (&*entry.topic).into(),
            json: (&*entry.json).into(),
        };
        let expected = Page {
            time: real.time,
            oldest: self.model.entries.front().map(|oldest| Oldest {
                id: place(oldest),
                number: oldest.ordinal,
            }),
            newest: self.model.entries.back().map(place),
            entries: self.model.since(from).map(entry).collect(),
        };
        assert!(real == expected, "from {from:?} the scripts differ");
        let counts = self.stage.kept().await;
        let counts = counts
            .iter()
            .map(|kept| ["n", "c"].map(|name| field(kept, name)));
        let expected = self.model.entries.iter();
        let expected = expected.map(|entry| [entry.ordinal, entry.bytes].map(|n| n.to_string()));
        assert!(counts.eq(expected), "what is counted differs");
    }
}

#[tokio::test]
async fn a_ring_is_as_simulated_worlds_have_it() {
    for seed in 0..LIVES {
        let mut twins = Twins::new();
        let mut random = SmallRng::seed_from_u64(seed);
        // Some rings are full of small events, others of large ones.
        let (most, times) =
            [(10, 700), (400, 30), (300_000, 2), (1_200_000, 2)][random.random_range(0..4)];
        let mut ids = vec![(0, 0)];
        for _ in 0..STEPS {
            if random.random_range(0..12) == 0 {
                twins.expire().await;
            } else {
                let json = "x".repeat(random.random_range(1..=most));
                let topic = random.random_range(0..twins.topics.len());
                let times = random.random_range(1..=times);
                twins.publish(topic, &json, times).await;
                ids.push(twins.model.last);
            }
            let from = ids[random.random_range(0..ids.len())];
            twins.are_alike(from).await;
        }
        twins.are_alike((0, 0)).await;
    }
}
