//! `POST /ingest/annotations`: who may, what is refused, and what is not known.

use serde_json::{Value, json};
use tests::{Fleet, until};

use super::{Ear, TEXT, acme, outcomes, post, report};

async fn status(fleet: &Fleet, key: Option<&str>, body: &[u8]) -> u16 {
    let (status, answer) = post(fleet, key, body).await;
    let code = answer["error"]["code"].as_str();
    let told = answer["error"]["message"].as_str();
    assert!(code.is_some() && told.is_some(), "{answer}");
    assert!(!told.unwrap().contains(TEXT), "{answer}");
    status
}

#[tokio::test]
async fn only_a_key_with_the_scope_may_and_only_for_its_tenant() {
    let fleet = Fleet::of(0, 0).start().await;
    let mut ear = Ear::on(&fleet, &acme()).await;
    let other = "other".parse().unwrap();
    let mut other_ear = Ear::on(&fleet, &other).await;
    let event = report("a1").to_string();
    let event = event.as_bytes();
    let scope = "websockets-manager-api:mutation:ingestAnnotations";
    let of_other = fleet.create_key("other", scope);
    let without = "websockets-manager-api:query:* websockets-manager-api:mutation:pushMessage";
    let without = fleet.create_key("acme", without);

    assert_eq!(status(&fleet, None, event).await, 401);
    assert_eq!(status(&fleet, Some("ck_x"), event).await, 401);
    assert_eq!(status(&fleet, Some(&without), event).await, 403);
    let (done, answer) = post(&fleet, Some(&of_other), event).await;
    assert_eq!(
        (done, outcomes(&answer)),
        (200, vec!["published".to_owned()])
    );
    assert!(ear.heard(&fleet).await.is_empty());
    assert_eq!(other_ear.heard(&fleet).await, ["a1"]);
    let (done, answer) = post(&fleet, Some(fleet.access_key()), event).await;
    assert_eq!(
        (done, outcomes(&answer)),
        (200, vec!["published".to_owned()])
    );
    assert_eq!(ear.heard(&fleet).await, ["a1"]);
    let (_, answer) = post(&fleet, Some(fleet.access_key()), event).await;
    assert_eq!(
        answer,
        json!({"outcomes": [{"id": "a1", "outcome": "repeated"}]})
    );
    assert!(ear.heard(&fleet).await.is_empty());
}

#[tokio::test]
async fn what_is_no_event_is_refused_whole() {
    let fleet = Fleet::of(0, 0).start().await;
    let mut ear = Ear::on(&fleet, &acme()).await;
    let key = Some(fleet.access_key());
    let many = json!({"events": vec![report("a"); 101]}).to_string();
    let huge = vec![b' '; 2 * 1024 * 1024 + 1];
    let deep = "[".repeat(500_000);
    for (body, refused) in [
        (&b""[..], 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (br#"{"events": {}}"#, 400),
        (br#"{"events": []}"#, 400),
        (deep.as_bytes(), 400),
        (many.as_bytes(), 413),
        (&huge, 413),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(20)]);
        assert_eq!(status(&fleet, key, body).await, refused, "{shown}");
    }
    let headers = [
        ("x-api-key", fleet.access_key()),
        ("content-type", "text/plain"),
    ];
    let plain = fleet
        .http()
        .request("POST", "/ingest/annotations", &headers, b"{}");
    assert_eq!(plain.await.unwrap().status, 415);
    assert_eq!(
        fleet
            .http()
            .get("/ingest/annotations")
            .await
            .unwrap()
            .status,
        405
    );
    assert!(ear.heard(&fleet).await.is_empty());
}

#[tokio::test]
async fn a_bad_event_holds_up_no_other() {
    let fleet = Fleet::of(0, 0).start().await;
    let mut ear = Ear::on(&fleet, &acme()).await;
    let mut unreadable = report("bad1");
    unreadable["annotation"]["user"] = json!(TEXT);
    let mut large = report("bad2");
    large["annotation"]["text"] = json!("x".repeat(256 * 1024));
    let events = [
        report("a1"),
        unreadable,
        json!(TEXT),
        large,
        json!([[[[]]]]),
        report("a2"),
        report("a1"),
    ];
    let body = json!({ "events": events }).to_string();
    let (status, answer) = post(&fleet, Some(fleet.access_key()), body.as_bytes()).await;
    assert_eq!(status, 200);
    let expected = json!({"outcomes": [
        {"id": "a1", "outcome": "published"},
        {"id": "bad1", "outcome": "refused", "error": "annotation.user: expected acct:<name>@<authority>, at most 256 bytes"},
        {"id": null, "outcome": "refused", "error": "expected an object"},
        {"id": null, "outcome": "refused", "error": "expected at most 262144 bytes"},
        {"id": null, "outcome": "refused", "error": "expected an object"},
        {"id": "a2", "outcome": "published"},
        {"id": "a1", "outcome": "repeated"},
    ]});
    assert_eq!(answer, expected);
    assert_eq!(ear.heard(&fleet).await, ["a1", "a2"]);
    let counted = async |outcome: &str| {
        let of = format!("outcome=\"{outcome}\"");
        let series = format!("carillon_api_ingest_events_total{{source=\"http\",{of}}}");
        fleet.api().metric(&series).await as u64
    };
    assert_eq!(counted("published").await, 2);
    assert_eq!(counted("repeated").await, 1);
    assert_eq!(counted("refused").await, 4);
}

#[tokio::test]
async fn while_redis_is_away_nobody_knows_and_repeating_is_safe() {
    let fleet = Fleet::of(0, 0).start().await;
    let body = json!({"events": [report("a1"), {"id": "bad"}, report("a2")]}).to_string();
    let key = Some(fleet.access_key());
    // The key is known from then on.
    assert_eq!(post(&fleet, key, b"{}").await.0, 200);
    fleet.redis().kill();
    let (status, answer) = post(&fleet, key, body.as_bytes()).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("UNAVAILABLE"))
    );
    assert_eq!(outcomes(&answer), ["unknown", "refused", "unknown"]);

    fleet.redis().restart().await;
    let mut ear = Ear::on(&fleet, &acme()).await;
    let mut answer = Value::Null;
    until("the events are taken", async || {
        let (status, now) = post(&fleet, key, body.as_bytes()).await;
        answer = now;
        status == 200
    })
    .await;
    assert_eq!(outcomes(&answer), ["published", "refused", "published"]);
    assert_eq!(ear.heard(&fleet).await, ["a1", "a2"]);
}
