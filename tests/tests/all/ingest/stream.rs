//! The stream of a tenant: workers share it, die, and lose nothing.

use std::collections::BTreeMap;

use broker::event::Event;
use futures_util::StreamExt as _;
use redis::cmd;
use serde_json::Value;
use tests::{Fleet, until};

use super::{Ear, TEXT, acme, add, ingest, report};

/// How many entries are left.
pub(super) async fn waiting(fleet: &Fleet) -> u64 {
    let length = cmd("XLEN").arg(fleet.keys().intake(&acme())).clone();
    fleet.commands().query(&length).await.unwrap()
}

/// What could not be published, by the names of its fields.
pub(super) async fn dead_letters(fleet: &Fleet) -> Vec<BTreeMap<String, String>> {
    let key = fleet.keys().dead_letters(&acme());
    let range = cmd("XRANGE").arg(key).arg("-").arg("+").clone();
    let dead: Vec<(String, BTreeMap<String, Vec<u8>>)> =
        fleet.commands().query(&range).await.unwrap();
    let text = |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).into());
    let letter = |(_, fields): (_, BTreeMap<_, _>)| fields.into_iter().map(text).collect();
    dead.into_iter().map(letter).collect()
}

#[tokio::test]
async fn workers_that_are_killed_lose_no_event_and_repeat_none() {
    const EVENTS: usize = 2000;
    let fleet = Fleet::of(0, 2)
        .env("CARILLON_WORKER_CLAIM_AFTER", "300ms")
        .start()
        .await;
    let key = fleet.keys().intake(&acme());
    let mut ear = Ear::on(&fleet, &acme()).await;
    let mut some = redis::pipe();
    for n in 0..EVENTS {
        let data = report(&format!("a{n}")).to_string();
        let entry = some.cmd("XADD").arg(&key).arg("*");
        entry
            .arg("type")
            .arg("annotation")
            .arg("data")
            .arg(data)
            .ignore();
    }
    // As a worker would leave them that was killed before it published them.
    let mut taken = cmd("XREADGROUP");
    taken
        .arg("GROUP")
        .arg("workers")
        .arg("killed")
        .arg("COUNT")
        .arg(50);
    taken.arg("STREAMS").arg(&key).arg(">");
    let commands = fleet.commands();
    fleet.worker(1).freeze();
    fleet.worker(0).freeze();
    commands.pipeline::<()>(&some).await.unwrap();
    let _: redis::Value = commands.query(&taken).await.unwrap();
    fleet.worker(0).thaw();
    until("some are published", async || {
        waiting(&fleet).await < EVENTS as u64
    })
    .await;
    fleet.worker(0).kill();
    fleet.worker(1).thaw();
    until("all are published", async || waiting(&fleet).await == 0).await;

    let mut times = BTreeMap::new();
    for id in ear.heard(&fleet).await {
        *times.entry(id).or_insert(0) += 1;
    }
    assert_eq!(times.len(), EVENTS);
    assert!(times.values().all(|n| *n == 1));
    let claimed = "carillon_worker_ingest_claimed_total";
    assert!(1.0 <= fleet.worker(1).metric(claimed).await);
    let again = ingest(&fleet, &[report("a7")]).await;
    assert_eq!(again, ["repeated"]);
}

#[tokio::test]
async fn what_cannot_be_published_is_kept_with_its_reason_and_blocks_nothing() {
    let fleet = Fleet::of(0, 1).start().await;
    let mut ear = Ear::on(&fleet, &acme()).await;
    fleet.secrets().keep(TEXT);
    let mut bad = report("bad");
    bad["annotation"]["user"] = Value::from(TEXT);
    let bad = bad.to_string();
    add(&fleet, "annotation", b"\xff\x00").await;
    add(&fleet, "annotation", bad.as_bytes()).await;
    add(&fleet, "greeting", br#"{"id":"x"}"#).await;
    add(&fleet, "annotation", "[".repeat(300_000).as_bytes()).await;
    add(&fleet, "annotation", report("a1").to_string().as_bytes()).await;
    until("all are looked at", async || waiting(&fleet).await == 0).await;
    assert_eq!(ear.heard(&fleet).await, ["a1"]);

    let dead = dead_letters(&fleet).await;
    let field = |at: usize, name: &str| dead[at][name].clone();
    let why: Vec<_> = (0..dead.len()).map(|at| field(at, "why")).collect();
    assert_eq!(why, ["json", "invalid", "invalid", "size"]);
    assert_eq!(
        field(1, "error"),
        "annotation.user: expected acct:<name>@<authority>, at most 256 bytes"
    );
    assert_eq!(
        (field(1, "data"), field(1, "type")),
        (bad, "annotation".to_owned())
    );
    assert_eq!(
        field(2, "error"),
        "type: expected annotation, membership, push or push-global"
    );
    for (why, count) in [("json", 1), ("invalid", 2), ("size", 1), ("deliveries", 0)] {
        let series = format!("carillon_worker_dead_letters_total{{why=\"{why}\"}}");
        assert_eq!(fleet.worker(0).metric(&series).await as u64, count, "{why}");
    }
}

/// Adds an event that names its topic.
async fn tell(fleet: &Fleet, topic: &str, data: &[u8]) {
    let mut add = cmd("XADD");
    add.arg(fleet.keys().intake(&acme())).arg("*");
    add.arg("topic").arg(topic).arg("data").arg(data);
    fleet.commands().query::<String>(&add).await.unwrap();
}

#[tokio::test]
async fn events_that_name_their_topic_are_published_there_as_nobody_s_secret() {
    let fleet = Fleet::of(0, 1).start().await;
    let mut told = fleet.redis().ear("").await;
    told.psubscribe("carillon:c:*").await.unwrap();
    fleet.secrets().keep(TEXT);
    let body = format!(r#"{{"n": 1.0,"text":"{TEXT}"}}"#);
    let event = format!(r#"{{"id":"e1","type":"notification","body":{body}}}"#);
    tell(&fleet, "user:u1", event.as_bytes()).await;
    tell(&fleet, "user:u1", event.as_bytes()).await;
    let membership = r#"{"type":"membership","body":{"group":"g1"}}"#;
    tell(&fleet, "user:acct:ben@example.org", membership.as_bytes()).await;
    let hidden = format!(r#"{{"type":"annotation","body":{body}}}"#);
    tell(&fleet, "channel:annotations", hidden.as_bytes()).await;
    tell(&fleet, "recipient:ann", hidden.as_bytes()).await;
    tell(&fleet, "channel:notesStream", TEXT.as_bytes()).await;
    tell(&fleet, "channel:end", br#"{"type":"end"}"#).await;

    let mut frames = told.on_message();
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let frame = frames.next().await.expect("Redis goes on");
        let event = Event::parse(frame.get_payload_bytes()).unwrap();
        let entry = event.entry.expect("a ring keeps it");
        assert!(!event.is_our_word() && 0 < entry.millis, "{entry}");
        assert!(event.published_at.is_some());
        let channel = frame.get_channel_name().to_owned();
        heard.push((channel, event.kind.to_string(), event.body.get().to_owned()));
    }
    let was = |topic: &str, kind: &str, body: &str| {
        (
            format!("carillon:c:acme:{topic}"),
            kind.to_owned(),
            body.to_owned(),
        )
    };
    let mut expected = [
        was("user:u1", "notification", &body),
        was(
            "user:acct:ben@example.org",
            "membership",
            r#"{"group":"g1"}"#,
        ),
        was("channel:end", "end", "null"),
    ];
    // Order is that of a topic.
    heard.sort();
    expected.sort();
    assert_eq!(
        heard, expected,
        "the second of one id is not published again"
    );

    until("all are looked at", async || waiting(&fleet).await == 0).await;
    let topic =
        "topic: expected user:, note: or channel: and 1 to 256 characters, not channel:annotations";
    let dead = dead_letters(&fleet).await;
    let short: Vec<_> = dead
        .iter()
        .map(|letter| (&*letter["topic"], &*letter["error"]))
        .collect();
    assert_eq!(
        short,
        [
            ("channel:annotations", topic),
            ("recipient:ann", topic),
            ("channel:notesStream", "expected an object"),
        ]
    );
}

#[tokio::test]
async fn streams_of_tenants_without_a_site_are_read_if_workers_know_of_them() {
    let fleet = Fleet::of(0, 1)
        .env("CARILLON_SITES", "")
        .env("CARILLON_WORKER_TENANTS", "acme")
        .start()
        .await;
    tell(&fleet, "user:u1", br#"{"type":"x"}"#).await;
    until("it is published", async || waiting(&fleet).await == 0).await;
    let published = r#"carillon_worker_ingest_events_total{outcome="published",source="redis"}"#;
    // Counted once the worker has heard that it is.
    until("it is counted", async || {
        fleet.worker(0).metric(published).await as u64 == 1
    })
    .await;
}

#[tokio::test]
async fn events_that_were_added_while_no_worker_ran_are_published() {
    let fleet = Fleet::of(0, 1).start().await;
    let mut ear = Ear::on(&fleet, &acme()).await;
    let status = fleet.worker(0).terminate().await;
    assert!(status.success());
    add(&fleet, "annotation", report("a1").to_string().as_bytes()).await;
    assert_eq!(waiting(&fleet).await, 1);
    fleet.worker(0).start().await;
    until("it is published", async || waiting(&fleet).await == 0).await;
    assert_eq!(ear.heard(&fleet).await, ["a1"]);
}
