//! Messages for recipients that a producer adds to its tenant's stream.

use serde_json::{Value, json};
use tests::{Fleet, until};

use super::stream::{dead_letters, waiting};
use super::{TEXT, add, ingest, report};

/// Adds a push of this kind.
async fn push(fleet: &Fleet, kind: &str, push: Value) {
    add(fleet, kind, push.to_string().as_bytes()).await;
}

#[tokio::test]
async fn a_push_through_the_stream_is_one_over_graphql() {
    let fleet = Fleet::start().await;
    fleet.secrets().keep(TEXT);
    let mut ada = fleet.connect("ada").await;
    let expires_at = "2099-01-01T00:00:00Z";
    let told = json!({"id": "order 7", "recipients": ["ada", "ben"], "message": TEXT});
    push(&fleet, "push", told.clone()).await;
    push(&fleet, "push", told).await;
    let far = json!({"recipients": ["ada"], "message": TEXT, "expiresAt": expires_at});
    push(&fleet, "push", far).await;
    push(&fleet, "push", json!({"recipients": ["ada"]})).await;
    push(&fleet, "push-global", json!({"message": "for all"})).await;
    // In a Cluster they may come from different servers, in either order.
    let mut told = [ada.text().await, ada.text().await];
    told.sort();
    let mut both = [TEXT, "for all"];
    both.sort_unstable();
    assert_eq!(told, both);
    let mut ben = fleet.connect("ben").await;
    assert_eq!(ben.text().await, TEXT, "it waited");
    assert_eq!(ben.text().await, "for all");

    let input = json!({"recipients": ["ada"], "message": "x", "idempotencyKey": "order 7"});
    let again = fleet.push_with(input).await;
    assert_eq!(again[0]["item"]["message"], TEXT, "it was pushed before");
    until("all are looked at", async || waiting(&fleet).await == 0).await;
    let dead = dead_letters(&fleet).await;
    let errors: Vec<_> = dead.iter().map(|letter| &*letter["error"]).collect();
    assert_eq!(
        errors,
        [
            "expiresAt: may lie at most 30 days ahead",
            "message: the text of the message is mandatory",
        ]
    );
    let pushed = r#"carillon_worker_ingest_events_total{outcome="pushed",source="redis"}"#;
    assert_eq!(fleet.worker(0).metric(pushed).await as u64, 3);
}

#[tokio::test]
async fn who_may_report_annotations_over_http_pushes_nothing() {
    let fleet = Fleet::of(0, 0).start().await;
    let push = json!({"type": "push", "id": "p", "recipients": ["ada"], "message": "x"});
    let outcomes = ingest(&fleet, &[push, report("a1")]).await;
    assert_eq!(outcomes, ["refused", "published"]);
}
