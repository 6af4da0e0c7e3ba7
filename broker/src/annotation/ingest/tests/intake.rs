//! Reports, published once by whatever way, on a real Redis.

use std::time::Duration;

use futures_util::StreamExt;
use redis::cmd;
use serde_json::{Value, json};

use super::super::*;
use super::least;
use crate::event::Event;
use crate::fixture;
use crate::keys::Keys;
use crate::message::rules::Rules;
use crate::message::{Draft, Status};
use crate::messages::{GlobalFilter, Limits, Messages, MessagesFilter};
use crate::time::Timestamp;
use crate::topic::Tenant;
use crate::topology::Redis;

/// Streams of one tenant, and what gateways are told.
pub(super) struct World {
    pub(super) redis: Redis,
    pub(super) keys: Keys,
    pub(super) tenant: Tenant,
    told: redis::aio::PubSub,
}

impl World {
    pub(super) async fn new() -> Self {
        let (redis, keys) = fixture::redis();
        let tenant: Tenant = "acme".parse().unwrap();
        let client = redis::Client::open(format!("redis://{}", fixture::address())).unwrap();
        let mut told = client.get_async_pubsub().await.unwrap();
        let channel = keys.channel(&crate::annotation::topic(&tenant));
        told.subscribe(channel).await.unwrap();
        Self {
            redis,
            keys,
            tenant,
            told,
        }
    }

    pub(super) fn worker(&self, name: &str) -> Intake {
        self.worker_of(name, [self.tenant.clone()])
    }

    pub(super) fn worker_of<const N: usize>(&self, name: &str, tenants: [Tenant; N]) -> Intake {
        let messages = self.messages();
        let rules = Rules {
            text: 64 * 1024,
            recipients: 1000,
            retention: Duration::from_secs(30 * 24 * 3600),
        };
        let (redis, keys) = (self.redis.clone(), self.keys.clone());
        Intake::new(redis, keys, messages, rules, name, tenants)
    }

    pub(super) fn messages(&self) -> Messages {
        Messages::new(self.redis.clone(), self.keys.clone(), Limits::default())
    }

    pub(super) async fn add(&self, kind: &str, data: &[u8]) -> String {
        let mut add = cmd("XADD");
        add.arg(self.keys.intake(&self.tenant)).arg("*");
        add.arg("type").arg(kind).arg("data").arg(data);
        self.redis.query(&add).await.unwrap()
    }

    async fn publish(&self, reports: &[Report]) -> Progress {
        let ingest = Ingest::new(self.redis.clone(), self.keys.clone());
        let reports: Vec<_> = reports.iter().collect();
        ingest.publish(&self.tenant, &reports).await
    }

    /// The ids of the annotations that were told of, up to now.
    pub(super) async fn told(&mut self) -> Vec<String> {
        let channel = self.keys.channel(&crate::annotation::topic(&self.tenant));
        let mark = cmd("PUBLISH")
            .arg(channel)
            .arg(r#"{"v":1,"type":"mark"}"#)
            .clone();
        self.redis.query::<u64>(&mark).await.unwrap();
        let mut ids = Vec::new();
        loop {
            let frame = self.told.on_message().next().await.unwrap();
            let event = Event::parse(frame.get_payload_bytes()).unwrap();
            if &*event.kind == "mark" {
                return ids;
            }
            assert_eq!(&*event.kind, crate::annotation::ANNOTATION);
            assert!(event.entry.is_some(), "it cannot be forged by a producer");
            assert!(
                event.published_at.is_some(),
                "latency is measured from then"
            );
            let told: Notification = serde_json::from_str(event.body.get()).unwrap();
            ids.push(told.id.to_string());
        }
    }

    async fn length(&self, key: &str) -> u64 {
        self.redis.query(cmd("XLEN").arg(key)).await.unwrap()
    }

    /// The fields of all dead letters.
    async fn dead(&self) -> Vec<Vec<String>> {
        let key = self.keys.dead_letters(&self.tenant);
        let range = cmd("XRANGE").arg(key).arg("-").arg("+").clone();
        let all: Vec<(String, Vec<String>)> = self.redis.query(&range).await.unwrap();
        all.into_iter().map(|(_, fields)| fields).collect()
    }
}

/// A report about the annotation of the same id.
pub(super) fn report(id: &str) -> String {
    let mut report = least();
    report["id"] = Value::from(id);
    report["annotation"]["id"] = Value::from(id);
    report.to_string()
}

fn read(id: &str) -> Report {
    Report::read(report(id).as_bytes(), None).unwrap()
}

/// Waits for entries; those of other tests never come.
pub(super) async fn take(worker: &mut Intake) -> Vec<Entry> {
    loop {
        let entries = worker.next().await.unwrap();
        if !entries.is_empty() {
            return entries;
        }
    }
}

#[tokio::test]
async fn a_report_is_published_once_by_whatever_way_it_comes() {
    let mut world = World::new().await;
    let progress = world.publish(&[read("a"), read("b"), read("a")]).await;
    assert!(progress.failed.is_none());
    use Outcome::{Published, Repeated};
    assert_eq!(progress.outcomes, [Published, Published, Repeated]);
    assert_eq!(world.told().await, ["a", "b"]);

    for id in ["b", "c", "c"] {
        world.add("annotation", report(id).as_bytes()).await;
    }
    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    assert_eq!(worker.backlog().await.unwrap().entries, 3);
    let handled = worker.handle(&entries).await;
    assert_eq!(handled.outcomes, [Repeated, Published, Repeated]);
    assert_eq!(world.told().await, ["c"]);
    assert_eq!(worker.backlog().await.unwrap(), Backlog::default());
    // As after a failure whose extent nobody knows.
    let again = worker.handle(&entries).await;
    assert_eq!(again.outcomes, [Repeated; 3]);
    assert!(world.told().await.is_empty());
}

#[tokio::test]
async fn many_reports_are_published_in_their_order() {
    let mut world = World::new().await;
    let ids: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    let reports: Vec<_> = ids.iter().map(|id| read(id)).collect();
    let progress = world.publish(&reports).await;
    assert_eq!(progress.outcomes, [Outcome::Published; 100]);
    assert_eq!(world.told().await, ids);
}

#[tokio::test]
async fn tenants_do_not_know_each_other_s_reports() {
    let mut world = World::new().await;
    let ingest = Ingest::new(world.redis.clone(), world.keys.clone());
    let other: Tenant = "other".parse().unwrap();
    ingest.publish(&other, &[&read("a")]).await;
    assert!(world.told().await.is_empty());
    let progress = world.publish(&[read("a")]).await;
    assert_eq!(progress.outcomes, [Outcome::Published]);
}

#[tokio::test]
async fn what_a_dead_worker_took_another_publishes() {
    let mut world = World::new().await;
    world.add("annotation", report("a").as_bytes()).await;
    let mut dead = world.worker("dead");
    assert_eq!(take(&mut dead).await.len(), 1);

    let mut alive = world.worker("alive");
    assert!(alive.next().await.unwrap().is_empty(), "it is taken");
    let recently = Duration::from_secs(60);
    assert!(alive.left(recently).await.unwrap().is_empty());
    let left = alive.left(Duration::ZERO).await.unwrap();
    let entry = alive
        .claim(&left[0], Duration::ZERO)
        .await
        .unwrap()
        .unwrap();
    assert!(alive.give_up(&left[0], &entry).await.unwrap().is_none());
    // Whoever claims second, with the same in mind, comes too late.
    let second = world.worker("second").claim(&left[0], recently).await;
    assert!(second.unwrap().is_none());
    alive.handle(&[entry]).await;
    assert_eq!(world.told().await, ["a"]);
    assert!(alive.left(Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(alive.backlog().await.unwrap().entries, 0);
}

#[tokio::test]
async fn what_cannot_be_published_becomes_a_dead_letter_and_stops_nothing() {
    let mut world = World::new().await;
    let large = format!("{}{}", report("x"), " ".repeat(MAX_REPORT));
    world.add("annotation", b"\xff\x00SECRET").await;
    world
        .add("annotation", br#"{"id":"e","text":"SECRET"}"#)
        .await;
    world.add("annotation", large.as_bytes()).await;
    world.add("annotation", report("a").as_bytes()).await;
    let mut bare = cmd("XADD");
    bare.arg(world.keys.intake(&world.tenant)).arg("*");
    bare.arg(b"\xff\xfe").arg("x").arg("type").arg("annotation");
    let bare: String = world.redis.query(&bare).await.unwrap();

    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    let handled = worker.handle(&entries).await;
    assert_eq!(handled.outcomes, [Outcome::Published]);
    assert_eq!(handled.dead, ["json", "invalid", "size", "entry"]);
    assert_eq!(world.told().await, ["a"]);
    assert_eq!(worker.backlog().await.unwrap().entries, 0);

    let key = world.keys.dead_letters(&world.tenant);
    assert_eq!(world.length(&key).await, 4);
    let range = cmd("XRANGE").arg(&key).arg("-").arg("+").clone();
    let raw: Vec<(String, Vec<Vec<u8>>)> = world.redis.query(&range).await.unwrap();
    assert_eq!(raw[0].1[9], b"\xff\x00SECRET");
    assert_eq!(raw[2].1[9].len(), MAX_REPORT, "no letter is longer");
    let text = |at: usize, field: usize| String::from_utf8_lossy(&raw[at].1[field]);
    assert_eq!(text(1, 0), "why");
    assert_eq!(text(1, 1), "invalid");
    assert!(
        text(1, 3).starts_with("event: expected no other members")
            || text(1, 3).starts_with("action: ")
    );
    assert!(!text(1, 3).contains("SECRET"));
    assert_eq!(text(1, 7), "annotation");
    assert_eq!(text(3, 5), bare);
}

#[tokio::test]
async fn an_entry_that_workers_die_of_is_given_up() {
    let mut world = World::new().await;
    world.add("annotation", report("poison").as_bytes()).await;
    take(&mut world.worker("first")).await;
    for n in 0..MAX_DELIVERIES {
        let worker = world.worker(&format!("w{n}"));
        let left = worker.left(Duration::ZERO).await.unwrap();
        let entry = worker
            .claim(&left[0], Duration::ZERO)
            .await
            .unwrap()
            .unwrap();
        let given_up = worker.give_up(&left[0], &entry).await.unwrap();
        assert_eq!(given_up.is_some(), n + 1 == MAX_DELIVERIES, "{n}");
    }
    assert!(world.told().await.is_empty());
    let dead = world.dead().await;
    assert_eq!(dead[0][1], "deliveries");
    assert_eq!(dead[0][9], report("poison"));
    assert_eq!(world.length(&world.keys.intake(&world.tenant)).await, 0);
}

#[tokio::test]
async fn a_stream_that_is_lost_is_begun_again() {
    let mut world = World::new().await;
    let mut worker = world.worker("one");
    assert!(worker.next().await.unwrap().is_empty());
    let key = world.keys.intake(&world.tenant);
    world.redis.query::<()>(cmd("DEL").arg(&key)).await.unwrap();
    world.add("annotation", report("a").as_bytes()).await;
    let entries = take(&mut worker).await;
    worker.handle(&entries).await;
    assert_eq!(world.told().await, ["a"]);
}

#[tokio::test]
async fn workers_that_have_gone_are_forgotten_and_streams_are_bounded() {
    let world = World::new().await;
    let mut worker = world.worker("one");
    worker.next().await.unwrap();
    let key = world.keys.intake(&world.tenant);
    let fill = "for i = 1, 100010 do redis.call('XADD', KEYS[1], '*', 'd', '') end";
    let fill = cmd("EVAL").arg(fill).arg(1).arg(&key).clone();
    world.redis.query::<()>(&fill).await.unwrap();
    assert_eq!(worker.tidy().await.unwrap(), 10);
    assert_eq!(world.length(&key).await, 100_000);
    world.redis.query::<()>(cmd("DEL").arg(&key)).await.unwrap();
}

#[tokio::test]
async fn while_redis_is_gone_nobody_knows_what_was_published() {
    let (redis, line) = fixture::cuttable().await;
    let (_, keys) = fixture::redis();
    let ingest = Ingest::new(redis, keys);
    line.abort();
    assert!(line.await.unwrap_err().is_cancelled());
    let progress = ingest
        .publish(&"acme".parse().unwrap(), &[&read("a")])
        .await;
    assert!(progress.failed.is_some() && progress.outcomes.is_empty());
}

impl World {
    /// The texts pushed to a recipient, oldest first.
    pub(super) async fn pushed(&self, recipient: &str) -> Vec<String> {
        let filter = MessagesFilter {
            recipient: Some(recipient.into()),
            ..MessagesFilter::default()
        };
        let messages = self.messages();
        let listed = messages.list(&self.tenant, &filter, None, 100).await;
        let texts = listed
            .unwrap()
            .items
            .into_iter()
            .map(|m| m.text.to_string());
        let mut texts: Vec<_> = texts.collect();
        texts.reverse();
        texts
    }
}

/// A push of this text.
pub(super) fn push(recipients: &[&str], text: &str) -> Vec<u8> {
    let push = json!({"recipients": recipients, "message": text});
    push.to_string().into_bytes()
}

#[tokio::test]
async fn pushes_are_stored_in_their_order_and_once_however_often_they_are_taken() {
    let mut world = World::new().await;
    for n in 0..5 {
        world.add(PUSH, &push(&["ada"], &format!("a{n}"))).await;
        world
            .add(PUSH, &push(&["ben", "ada"], &format!("b{n}")))
            .await;
        world
            .add("annotation", report(&format!("r{n}")).as_bytes())
            .await;
    }
    world.add(PUSH_GLOBAL, br#"{"message":"all"}"#).await;
    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    let handled = worker.handle(&entries).await;
    assert!(handled.dead.is_empty());
    assert_eq!((handled.outcomes.len(), handled.pushed), (5, 11));
    assert_eq!(world.told().await.len(), 5);
    // As by another worker, which does not know how far this one came.
    worker.handle(&entries).await;

    let to_ada: Vec<_> = (0..5)
        .flat_map(|n| [format!("a{n}"), format!("b{n}")])
        .collect();
    assert_eq!(world.pushed("ada").await, to_ada);
    let to_ben: Vec<_> = (0..5).map(|n| format!("b{n}")).collect();
    assert_eq!(world.pushed("ben").await, to_ben);
    let (messages, every) = (world.messages(), GlobalFilter::default());
    let all = messages.list_globals(&world.tenant, &every, None, 9);
    assert_eq!(all.await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_push_that_says_what_it_is_called_is_stored_once_by_whatever_way() {
    let world = World::new().await;
    let named = br#"{"id":"order 7","recipients":["ada"],"message":"sent"}"#;
    world.add(PUSH, named).await;
    world.add(PUSH, named).await;
    world.add(PUSH, &push(&["ada"], "unnamed")).await;
    world.add(PUSH, &push(&["ada"], "unnamed")).await;
    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    worker.handle(&entries).await;
    let draft = Draft {
        text: "sent".into(),
        label: None,
        expires_at: None,
        deliver_at: None,
    };
    let messages = world.messages();
    let ada = ["ada".into()];
    let again = messages.push(&world.tenant, &ada, &draft, Some("order 7"));
    assert!(again.await[0].is_ok());
    assert_eq!(world.pushed("ada").await, ["sent", "unnamed", "unnamed"]);
}

#[tokio::test]
async fn a_push_that_expired_while_it_waited_is_stored_as_cancelled() {
    let world = World::new().await;
    let early = (Timestamp::now() + Duration::from_millis(50)).to_string();
    let late = json!({"recipients": ["ada"], "message": "late", "expiresAt": early});
    world.add(PUSH, late.to_string().as_bytes()).await;
    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    while Timestamp::now() <= early.parse().unwrap() {
        tokio::task::yield_now().await;
    }
    let handled = worker.handle(&entries).await;
    assert_eq!(handled.pushed, 1);
    let filter = MessagesFilter::default();
    let listed = world.messages().list(&world.tenant, &filter, None, 9).await;
    let status = listed.unwrap().items[0].status;
    assert_eq!(status, Status::Cancelled(early.parse().unwrap()));
}

/// Adds a push under an id of one's choice, with more fields.
async fn add_as(world: &World, id: &str, fields: &[&str], push: &[u8]) {
    let mut add = cmd("XADD");
    add.arg(world.keys.intake(&world.tenant))
        .arg(id)
        .arg(fields);
    add.arg("type").arg(PUSH).arg("data").arg(push);
    world.redis.query::<String>(&add).await.unwrap();
}

#[tokio::test]
async fn an_entry_dated_in_times_to_come_changes_nothing_for_those_behind_it() {
    let world = World::new().await;
    let expiring = |text: &str, after: Duration| {
        let at = (Timestamp::now() + after).to_string();
        let push = json!({"recipients": ["ada"], "message": text, "expiresAt": at});
        push.to_string().into_bytes()
    };
    let (hour, age) = (
        Duration::from_secs(3600),
        Duration::from_secs(9_000_000_000),
    );
    add_as(&world, "9000000000000-0", &[], &expiring("for ever", age)).await;
    let forged = ["entry", "8999999999999-0"];
    add_as(&world, "*", &forged, &expiring("also", age)).await;
    add_as(&world, "*", &[], &expiring("for an hour", hour)).await;
    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    let handled = worker.handle(&entries).await;
    assert_eq!(handled.dead, ["invalid"; 2]);
    assert_eq!(world.pushed("ada").await, ["for an hour"]);
}

#[tokio::test]
async fn nobody_takes_the_name_of_what_others_will_add() {
    let world = World::new().await;
    let victim = "5000000000000-7";
    add_as(
        &world,
        "5000000000000-1",
        &["entry", victim],
        &push(&["ada"], "first"),
    )
    .await;
    let long = format!("{}1-1", "0".repeat(100_000));
    add_as(&world, "5000000000000-2", &["entry", &long], b"{").await;
    add_as(&world, victim, &[], &push(&["ada"], "theirs")).await;
    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    worker.handle(&entries).await;
    assert_eq!(world.pushed("ada").await, ["first", "theirs"]);
    assert_eq!(world.dead().await[0][5], "5000000000000-2");
}

#[tokio::test]
async fn a_stream_to_which_nothing_can_be_added_any_more_is_begun_anew() {
    let world = World::new().await;
    let last = format!("{0}-{0}", u64::MAX);
    add_as(&world, &last, &[], &push(&["ada"], "the last")).await;
    let mut worker = world.worker("one");
    let entries = take(&mut worker).await;
    worker.tidy().await.unwrap();
    assert_eq!(world.length(&world.keys.intake(&world.tenant)).await, 1);
    worker.handle(&entries).await;
    worker.tidy().await.unwrap();
    world.add(PUSH, &push(&["ada"], "another")).await;
    let entries = take(&mut worker).await;
    worker.handle(&entries).await;
    assert_eq!(world.pushed("ada").await, ["the last", "another"]);
}

#[tokio::test]
async fn an_entry_is_taken_over_without_what_is_too_long_in_it() {
    let world = World::new().await;
    let long = "x".repeat(4 << 20);
    let data = push(&["ada"], &long);
    add_as(&world, "*", &["other", &long, "topic", &long], &data).await;
    take(&mut world.worker("dead")).await;
    let mut worker = world.worker("alive");
    let left = worker.left(Duration::ZERO).await.unwrap();
    let claimed = worker.claim(&left[0], Duration::ZERO).await;
    let entry = claimed.unwrap().unwrap();
    assert!(
        format!("{entry:?}").len() < 4 << 20,
        "it was handed over whole"
    );
    let handled = worker.handle(&[entry]).await;
    assert_eq!(handled.dead, ["invalid"]);
    let dead = world.dead().await;
    assert!(dead[0].contains(&"cut".to_owned()), "it is not all of it");
}
