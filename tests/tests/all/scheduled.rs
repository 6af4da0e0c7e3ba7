//! Messages that are pushed for later, seen from outside.

use std::collections::HashSet;
use std::time::Duration;

use broker::Timestamp;
use serde_json::{Value, json};
use tests::{Fleet, Socket, until};

/// How late a message may come: a tenth of this is the interval of workers, the
/// rest is for machines that have much else to do.
const LATE: Duration = Duration::from_secs(5);
/// Long enough to do what is to be done before a message is due.
const AHEAD: Duration = Duration::from_secs(5);

/// Pushes a text to one recipient for `at`, and returns the message.
async fn push_for(fleet: &Fleet, recipient: &str, text: &str, at: Timestamp) -> Value {
    let at = at.to_string();
    let input = json!({ "recipients": [recipient], "message": text, "deliverAt": at });
    let pushed = fleet.push_with(input).await[0]["item"].take();
    assert_eq!(
        (&pushed["status"], &pushed["deliverAt"]),
        (&json!("PENDING"), &json!(at))
    );
    pushed
}

async fn released(fleet: &Fleet, worker: usize) -> f64 {
    let published = r#"carillon_worker_released_total{outcome="published"}"#;
    fleet.worker(worker).metric(published).await
}

#[tokio::test]
async fn a_scheduled_message_comes_when_it_is_due_to_whoever_is_there_then() {
    let fleet = Fleet::of(2, 2).start().await;
    let mut early = fleet.connect_at(0, "ann").await;
    let at = Timestamp::now() + AHEAD;
    let pushed = push_for(&fleet, "ann", "later", at).await;
    let global = json!({ "message": "later, to all", "deliverAt": at.to_string() });
    let global = fleet.push_global_with(global).await;
    assert_eq!(global["deliverAt"], json!(at.to_string()));
    let cancelled = push_for(&fleet, "ann", "never", at).await;
    let query = "mutation($id: ID!) { cancelMessage(id: $id) { status } }";
    let ended = fleet.data(query, json!({ "id": cancelled["id"] })).await;
    assert_eq!(ended["cancelMessage"]["status"], "CANCELLED");
    let now = fleet.push("ann", "now").await;
    assert_eq!(early.text().await, "now");
    fleet.settled(&now["id"], "DELIVERED").await;
    let mut late = fleet.connect_at(1, "ann").await;

    let both = HashSet::from(["later".to_owned(), "later, to all".to_owned()]);
    for socket in [&mut early, &mut late] {
        let texts = HashSet::from([socket.text().await, socket.text().await]);
        let now = Timestamp::now();
        assert_eq!(texts, both);
        assert!(at <= now && now.since(at) < LATE, "due {at}, came {now}");
    }
    fleet.settled(&pushed["id"], "DELIVERED").await;
    let copies =
        "query($filter: MessagesFilter) { messages(filter: $filter) { items { status } } }";
    until("the copy is delivered, too", async || {
        let filter = json!({ "filter": { "globalMessageId": global["id"] } });
        let data = fleet.data(copies, filter).await;
        data["messages"]["items"] == json!([{ "status": "DELIVERED" }])
    })
    .await;
    let mut after = fleet.connect_at(0, "ann").await;
    let mut other = fleet.connect_at(1, "bob").await;
    assert_eq!(other.text().await, "later, to all");
    fleet.push_global("the end").await;
    for socket in [&mut early, &mut late, &mut after, &mut other] {
        assert_eq!(socket.text().await, "the end");
    }
    assert!((released(&fleet, 0).await + released(&fleet, 1).await - 2.0).abs() < 0.5);
}

#[tokio::test]
async fn what_was_due_while_no_worker_ran_comes_late_and_in_order() {
    let fleet = Fleet::of(1, 1).start().await;
    fleet.worker(0).kill();
    let mut socket = fleet.connect("ann").await;
    let at = Timestamp::now() + Duration::from_secs(3);
    let second = push_for(&fleet, "ann", "due second", at + Duration::from_millis(1)).await;
    push_for(&fleet, "ann", "due first", at).await;
    fleet.push("ann", "now").await;
    assert_eq!(socket.text().await, "now");
    until("all are due", async || {
        at + Duration::from_secs(1) < Timestamp::now()
    })
    .await;
    assert_eq!(fleet.message(&second["id"]).await["status"], "PENDING");
    fleet.worker(0).start().await;
    assert_eq!(socket.text().await, "due first");
    assert_eq!(socket.text().await, "due second");
    fleet.settled(&second["id"], "DELIVERED").await;
}

/// Recipients, and messages for each.
const RECIPIENTS: usize = 20;
const EACH: usize = 50;

#[tokio::test]
async fn workers_that_die_while_they_release_lose_nothing_and_double_nothing() {
    let fleet = Fleet::of(2, 3)
        .env("CARILLON_WORKER_RELEASE_INTERVAL", "20ms")
        .start()
        .await;
    let mut sockets: Vec<Socket> = Vec::new();
    for n in 0..RECIPIENTS {
        sockets.push(fleet.connect_at(n % 2, &format!("r{n}")).await);
    }
    let names: Vec<String> = (0..RECIPIENTS).map(|n| format!("r{n}")).collect();
    let began = Timestamp::now() + AHEAD;
    let mut inputs = Vec::new();
    for n in 0..EACH {
        // Spread over a second, so that workers die between and within releases.
        let at = began + Duration::from_millis(20 * n as u64);
        let text = n.to_string();
        inputs.push(json!({ "recipients": names, "message": text, "deliverAt": at.to_string() }));
    }
    let query =
        "mutation($input: [MessageInput!]!) { pushMessages(input: $input) { error { message } } }";
    fleet.data(query, json!({ "input": inputs })).await;
    for victim in 0..2 {
        until("it releases", async || {
            1.0 <= released(&fleet, victim).await
        })
        .await;
        fleet.worker(victim).kill();
    }
    fleet.worker(0).start().await;
    for socket in &mut sockets {
        for n in 0..EACH {
            assert_eq!(socket.text().await, n.to_string());
        }
    }
    fleet.push_global("the end").await;
    for socket in &mut sockets {
        assert_eq!(socket.text().await, "the end");
    }
}
