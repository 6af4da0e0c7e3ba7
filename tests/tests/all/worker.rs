//! Workers, seen from outside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::message::{Draft, Message, Status};
use broker::messages::{Limits, Messages};
use broker::topic::Tenant;
use tests::{Fleet, until, within};

/// What is promised: an expired message is cancelled so soon.
const PROMISE: Duration = Duration::from_secs(10);

fn acme() -> Tenant {
    tests::fleet::TENANT.parse().unwrap()
}

fn messages(fleet: &Fleet) -> Messages {
    Messages::new(fleet.commands(), fleet.keys(), Limits::default())
}

/// Pushes to so many recipients, to expire after `life`.
async fn push(fleet: &Fleet, recipients: usize, life: Duration) -> Vec<Message> {
    let names: Vec<Arc<str>> = (0..recipients).map(|n| format!("r{n}").into()).collect();
    let now = fleet.commands().time().await.unwrap();
    let draft = Draft {
        text: "unseen".into(),
        label: None,
        expires_at: Some(now + life),
        deliver_at: None,
    };
    let pushed = messages(fleet).push(&acme(), &names, &draft, None).await;
    pushed.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn expired_messages_are_cancelled_in_time_whichever_worker_is_left() {
    let fleet = Fleet::of(0, 3).start().await;
    let pushed = push(&fleet, 500, Duration::from_secs(4)).await;
    fleet.worker(0).kill();
    until("they expire", async || {
        Some(fleet.commands().time().await.unwrap()) > pushed[0].expires_at
    })
    .await;
    let cancelled = async || {
        let swept = "carillon_worker_swept_total{outcome=\"cancelled\"}";
        let (one, two) = (fleet.worker(1), fleet.worker(2));
        one.metric(swept).await + two.metric(swept).await
    };
    within(PROMISE, "all are swept", async || {
        cancelled().await >= 500.0
    })
    .await;
    assert!((cancelled().await - 500.0).abs() < 0.5, "none twice");
    let store = messages(&fleet);
    for message in pushed {
        let now = store.message(&acme(), message.id).await.unwrap().unwrap();
        let expiry = message.expires_at.unwrap();
        assert_eq!(now.status, Status::Cancelled(expiry));
    }
}

#[tokio::test]
async fn a_worker_outlives_its_redis_and_complains_once() {
    let fleet = Fleet::of(0, 1)
        .env("CARILLON_WORKER_SWEEP_INTERVAL", "50ms")
        .start()
        .await;
    let worker = fleet.worker(0);
    let ready = async |status| worker.ready().await.map(|(status, _)| status) == Some(status);
    fleet.redis().kill();
    until("the worker is not ready", async || ready(503).await).await;
    let failures = "carillon_worker_failures_total{task=\"sweep\"}";
    until("it tries again", async || {
        worker.metric(failures).await >= 3.0
    })
    .await;
    fleet.redis().restart().await;
    until("the worker is ready again", async || ready(200).await).await;
    let output = worker.output();
    assert_eq!(output.matches("redis is down").count(), 1, "{output}");
}

#[tokio::test]
async fn a_worker_leaves_within_seconds() {
    let fleet = Fleet::of(0, 1).start().await;
    let told = Instant::now();
    let status = fleet.worker(0).terminate().await;
    assert!(told.elapsed() < Duration::from_secs(5));
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_worker_removes_what_is_past_its_retention() {
    let fleet = Fleet::of(0, 1)
        .env("CARILLON_RETENTION", "1s")
        .env("CARILLON_WORKER_TRIM_INTERVAL", "100ms")
        .start()
        .await;
    push(&fleet, 20, Duration::from_secs(60)).await;
    let trimmed = "carillon_worker_trimmed_total{kind=\"message\"}";
    until("all are removed", async || {
        fleet.worker(0).metric(trimmed).await >= 20.0
    })
    .await;
}
