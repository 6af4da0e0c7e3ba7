//! What Carillon adds to the reference.

use std::time::Duration;

use serde_json::{Value, json};
use tests::graphql::{GLOBAL_MESSAGE, MESSAGE};
use tests::{Fleet, Heard, until};

use super::{api, code, words};

async fn cancel(fleet: &Fleet, id: &Value) -> Value {
    let query = format!("mutation($id: ID!) {{ cancelMessage(id: $id) {{ {MESSAGE} }} }}");
    fleet.graphql(&query, json!({ "id": id })).await
}

#[tokio::test]
async fn a_pending_message_can_be_cancelled_once() {
    let fleet = api().await;
    let pushed = fleet.push("ann", "never mind").await;
    let cancelled = cancel(&fleet, &pushed["id"]).await["data"]["cancelMessage"].take();
    assert_eq!(cancelled["status"], "CANCELLED");
    assert!(cancelled["cancelledAt"].is_string());
    assert_eq!(fleet.message(&pushed["id"]).await, cancelled);
    let again = cancel(&fleet, &pushed["id"]).await["data"]["cancelMessage"].take();
    assert_eq!(again, cancelled);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let fleet = api().await;
    let unknown = json!("01M7YM8Q0800000014");
    for field in ["cancelMessage", "cancelGlobalMessage"] {
        let query = format!("mutation($id: ID!) {{ {field}(id: $id) {{ id }} }}");
        let answer = fleet.graphql(&query, json!({ "id": unknown })).await;
        assert_eq!(code(&answer), "NOT_FOUND");
        let answer = fleet.graphql(&query, json!({ "id": "nonsense" })).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT");
        assert!(words(&answer).starts_with("id: "));
    }
    assert_eq!(fleet.message(&unknown).await, Value::Null);
}

#[tokio::test]
async fn a_cancelled_global_message_reaches_nobody_any_more() {
    let fleet = Fleet::start().await;
    let mut before = fleet.connect("bob").await;
    let global = fleet.push_global("to everyone, but late").await;
    // The nodes of a Cluster have carried it.
    assert_eq!(before.text().await, "to everyone, but late");
    let query =
        format!("mutation($id: ID!) {{ cancelGlobalMessage(id: $id) {{ {GLOBAL_MESSAGE} }} }}");
    let cancelled = fleet.data(&query, json!({ "id": global["id"] })).await;
    assert_eq!(cancelled["cancelGlobalMessage"]["id"], global["id"]);
    let mut socket = fleet.connect("ann").await;
    fleet.push("ann", "to ann only").await;
    assert_eq!(socket.text().await, "to ann only");
}

#[tokio::test]
async fn an_idempotency_key_makes_a_push_safe_to_repeat() {
    let fleet = api().await;
    let input = json!({ "recipients": ["ann", "bob"], "message": "only once", "idempotencyKey": "order 7" });
    let first = fleet.push_with(input.clone()).await;
    let again = fleet.push_with(input).await;
    assert_eq!(first, again);
    let other =
        json!({ "recipients": ["ann"], "message": "only once", "idempotencyKey": "order 8" });
    let other = fleet.push_with(other).await;
    assert_ne!(first[0]["item"]["id"], other[0]["item"]["id"]);

    let input = json!({ "message": "to all, once", "idempotencyKey": "order 7" });
    let first = fleet.push_global_with(input.clone()).await;
    assert_eq!(fleet.push_global_with(input).await, first);
}

#[tokio::test]
async fn several_pushes_travel_in_one_request() {
    let fleet = api().await;
    let query = "mutation($input: [MessageInput!]!) {
        pushMessages(input: $input) { item { recipient message } error { code } } }";
    let input = json!([
        { "recipients": ["ann", ""], "message": "first of two" },
        { "recipients": ["bob"], "message": "second of two" },
    ]);
    let data = fleet.data(query, json!({ "input": input })).await;
    assert_eq!(
        data["pushMessages"],
        json!([
            [
                { "item": { "recipient": "ann", "message": "first of two" }, "error": null },
                { "item": null, "error": { "code": "BAD_USER_INPUT" } },
            ],
            [{ "item": { "recipient": "bob", "message": "second of two" }, "error": null }],
        ])
    );
    let one = json!({ "recipients": ["cid"], "message": "one of many" });
    let answer = fleet
        .graphql(query, json!({ "input": vec![&one; 101] }))
        .await;
    assert_eq!(code(&answer), "LIMITED");
    let wrong = json!([one, { "recipients": ["cid"] }]);
    let answer = fleet.graphql(query, json!({ "input": wrong })).await;
    assert!(words(&answer).starts_with("input[1].message: "));
    let list = "{ messages(filter: { recipient: \"cid\" }) { items { id } } }";
    let data = fleet.data(list, json!({})).await;
    assert_eq!(data["messages"]["items"], json!([]), "nothing was pushed");
}

#[tokio::test]
async fn a_revoked_recipient_is_cut_and_its_tokens_end() {
    let fleet = Fleet::start().await;
    let registration = fleet.register("ann").await;
    let mut socket = fleet.upgrade(0, &registration).open().await.unwrap();
    fleet.push("bob", "waits for bob").await;
    let revoke = "mutation($name: String!) {
        revokeRecipient(recipient: $name) { recipient cancelled revokedAt } }";
    let revoked = fleet.data(revoke, json!({ "name": "ann" })).await;
    assert_eq!(revoked["revokeRecipient"]["recipient"], "ann");
    assert_eq!(revoked["revokeRecipient"]["cancelled"], 0);
    assert_eq!(socket.close_code().await, 1008);
    until("the token is refused", async || {
        let refused = fleet.upgrade(0, &registration).open().await;
        refused.is_err_and(|refusal| refusal.status() == 401)
    })
    .await;
    let revoked = fleet.data(revoke, json!({ "name": "bob" })).await;
    assert_eq!(revoked["revokeRecipient"]["cancelled"], 1);
    let mut anew = fleet.connect("ann").await;
    fleet.push("ann", "registered anew").await;
    assert_eq!(anew.text().await, "registered anew");
}

#[tokio::test]
async fn who_is_registered_in_the_moment_of_a_revocation_is_not_revoked() {
    let fleet = Fleet::of(1, 0).start().await;
    let both = "mutation($name: String!) { revokeRecipient(recipient: $name) { cancelled }
        registerRecipient(input: { recipient: $name }) { token connectionUri } }";
    for n in 0..50 {
        let data = fleet
            .data(both, json!({ "name": format!("ann {n}") }))
            .await;
        let registered = &data["registerRecipient"];
        let text = |name: &str| registered[name].as_str().unwrap().to_owned();
        fleet.secrets().keep(&text("token"));
        let socket = tests::Upgrade::to(&text("connectionUri")).open().await;
        assert!(socket.is_ok(), "{n}");
    }
}

#[tokio::test]
async fn the_status_of_a_recipient_counts_sockets_on_all_gateways() {
    let fleet = Fleet::of(2, 0).start().await;
    let query = "query($name: String!) { recipientStatus(recipient: $name) {
        recipient connections connectedSince pending gatewaysAnswered gatewaysKnown } }";
    let status = async |name: &str| {
        fleet.data(query, json!({ "name": name })).await["recipientStatus"].take()
    };
    let _first = fleet.connect_at(0, "ann").await;
    let _second = fleet.connect_at(1, "ann").await;
    let _third = fleet.connect_at(1, "ann").await;
    until("all sockets are counted", async || {
        let status = status("ann").await;
        assert_eq!(status["recipient"], "ann");
        status["gatewaysKnown"] == 2
            && status["gatewaysAnswered"] == 2
            && status["connections"] == 3
            && status["connectedSince"].is_string()
    })
    .await;
    fleet.push("bob", "waits for bob").await;
    let bob = status("bob").await;
    assert_eq!(
        (&bob["connections"], &bob["pending"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(bob["connectedSince"], Value::Null);

    fleet.gateway(1).freeze();
    let asked = std::time::Instant::now();
    status("ann").await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    // The other has an instant only.
    until("the other is counted", async || {
        let ann = status("ann").await;
        assert_eq!(ann["gatewaysKnown"], 2);
        ann["gatewaysAnswered"] == 1
    })
    .await;
    fleet.gateway(1).thaw();
}

#[tokio::test]
async fn a_message_shows_how_its_life_went() {
    let fleet = Fleet::start().await;
    let mut socket = fleet.connect("ann").await;
    let pushed = fleet.push("ann", "hello there").await;
    assert_eq!(socket.heard().await, Heard::Text("hello there".to_owned()));
    let delivered = fleet.settled(&pushed["id"], "DELIVERED").await;
    assert!(delivered["deliveredAt"].is_string());
    assert_eq!(delivered["cancelledAt"], Value::Null);
    let again = cancel(&fleet, &pushed["id"]).await["data"]["cancelMessage"].take();
    assert_eq!(again, delivered, "what was delivered stays delivered");
}
