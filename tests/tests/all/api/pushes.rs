//! Registering and pushing, to the letter of the reference.

use std::time::Duration;

use broker::Timestamp;
use serde_json::{Value, json};
use tests::Fleet;

use super::{api, code, words};

const PUSH: &str = "mutation($input: MessageInput!) { pushMessage(input: $input) { item { id } } }";
const PUSH_GLOBAL: &str =
    "mutation($input: GlobalMessageInput!) { pushGlobalMessage(input: $input) { id } }";
const REGISTER: &str =
    "mutation($input: RegisterRecipientInput!) { registerRecipient(input: $input) { token } }";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the api says when this input is wrong.
async fn refusal(fleet: &Fleet, query: &str, input: Value) -> (String, String) {
    let answer = fleet.graphql(query, json!({ "input": input })).await;
    (code(&answer).to_owned(), words(&answer).to_owned())
}

#[tokio::test]
async fn a_push_answers_for_each_name_in_order() {
    let fleet = api().await;
    let long = "x".repeat(257);
    let names = ["ann", "", "bob", "line\nbreak", &long, "ann"];
    let outcomes = fleet
        .push_with(json!({ "recipients": names, "message": "hello all" }))
        .await;
    let outcomes = outcomes.as_array().unwrap();
    assert_eq!(outcomes.len(), names.len());
    for (name, outcome) in names.iter().zip(outcomes) {
        if ["ann", "bob"].contains(name) {
            assert_eq!(outcome["error"], Value::Null);
            assert_eq!(outcome["item"]["recipient"], *name);
            assert_eq!(outcome["item"]["message"], "hello all");
            assert_eq!(outcome["item"]["status"], "PENDING");
            assert_eq!(outcome["item"]["globalMessageId"], Value::Null);
        } else {
            assert_eq!(outcome["item"], Value::Null);
            let words = outcome["error"]["message"].as_str().unwrap();
            assert!(words.starts_with("input.recipients["), "{words}");
        }
    }
    assert_eq!(
        outcomes[0], outcomes[5],
        "a name given twice gets one message"
    );
}

#[tokio::test]
async fn the_example_of_the_reference_works_as_it_stands() {
    let fleet = api().await;
    let registered = fleet
        .data(
            "mutation registerRecipient($input:RegisterRecipientInput!) {
               registerRecipient(input:$input) { token connectionUri } }",
            json!({ "input": { "recipient": "d9f3c17a-c6de-4e5e-b42b-98fbfb46a108" } }),
        )
        .await;
    let registered = &registered["registerRecipient"];
    let token = registered["token"].as_str().unwrap();
    fleet.secrets().keep(token);
    let uri = registered["connectionUri"].as_str().unwrap();
    assert!(uri.ends_with(&format!("/?token={token}")), "{uri}");
    let pushed = fleet
        .data(
            "mutation pushMessage($input:MessageInput!) { pushMessage(input:$input) {
               item { id message status expiresAt createdAt deliveredAt cancelledAt globalMessageId }
               error { message } } }",
            json!({ "input": {
                "recipients": ["d9f3c17a-c6de-4e5e-b42b-98fbfb46a108"],
                "message": "The quick brown fox jumps over the lazy dog"
            } }),
        )
        .await;
    let item = &pushed["pushMessage"][0]["item"];
    assert_eq!(item["status"], "PENDING");
    assert_eq!(item["expiresAt"], Value::Null);
}

#[tokio::test]
async fn dates_are_read_as_utc_and_written_with_a_z() {
    let fleet = api().await;
    let tomorrow = (Timestamp::now() + DAY).to_string();
    let seconds = &tomorrow[..19];
    for given in [
        seconds.to_owned(),
        format!("{seconds}+00:00"),
        format!("{seconds}Z"),
    ] {
        let input = json!({ "recipients": ["ann"], "message": "dated", "expiresAt": given });
        let pushed = fleet.push_with(input).await;
        assert_eq!(pushed[0]["item"]["expiresAt"], format!("{seconds}Z"));
        let created = pushed[0]["item"]["createdAt"].as_str().unwrap();
        assert!(created.ends_with('Z'), "{created}");
    }
    let global = fleet
        .push_global_with(json!({ "message": "dated", "expiresAt": seconds }))
        .await;
    assert_eq!(global["expiresAt"], format!("{seconds}Z"));
}

#[tokio::test]
async fn a_wrong_argument_is_named() {
    let fleet = api().await;
    let past = (Timestamp::now() - DAY).to_string();
    let far = (Timestamp::now() + 31 * DAY).to_string();
    let cases = [
        (json!({}), "message"),
        (json!({ "message": null }), "message"),
        (json!({ "message": "hi", "topic": "" }), "topic"),
        (json!({ "message": "hi", "topic": "a\tb" }), "topic"),
        (json!({ "message": "hi", "expiresAt": "soon" }), "expiresAt"),
        (json!({ "message": "hi", "expiresAt": past }), "expiresAt"),
        (json!({ "message": "hi", "expiresAt": far }), "expiresAt"),
        (
            json!({ "message": "hi", "idempotencyKey": "" }),
            "idempotencyKey",
        ),
    ];
    for (mut input, argument) in cases {
        let expected = format!("input.{argument}: ");
        let (code, words) = refusal(&fleet, PUSH_GLOBAL, input.clone()).await;
        assert_eq!(code, "BAD_USER_INPUT");
        assert!(words.starts_with(&expected), "{words}");
        input["recipients"] = json!(["ann"]);
        let (code, words) = refusal(&fleet, PUSH, input).await;
        assert_eq!(code, "BAD_USER_INPUT");
        assert!(words.starts_with(&expected), "{words}");
    }
    let none = json!({ "recipients": [], "message": "hi" });
    assert!(
        refusal(&fleet, PUSH, none)
            .await
            .1
            .starts_with("input.recipients: ")
    );
    let untyped = json!({ "recipients": "ann", "message": 7 });
    assert_eq!(refusal(&fleet, PUSH, untyped).await.0, "BAD_USER_INPUT");
    for (argument, value) in [
        ("recipient", ""),
        ("recipient", "a\u{0}b"),
        ("topic", ""),
        ("origin", "example.org"),
        ("sourceIp", "example.org"),
    ] {
        let mut input = json!({ "recipient": "ann" });
        input[argument] = value.into();
        let (code, words) = refusal(&fleet, REGISTER, input).await;
        assert_eq!(code, "BAD_USER_INPUT");
        assert!(words.starts_with(&format!("input.{argument}: ")), "{words}");
    }
}

#[tokio::test]
async fn limits_are_told_and_can_be_set() {
    let fleet = Fleet::of(0, 0)
        .env("CARILLON_MAX_MESSAGE_BYTES", "100B")
        .env("CARILLON_MAX_RECIPIENTS", "3")
        .env("CARILLON_MAX_PENDING", "2")
        .env("CARILLON_RETENTION", "1h")
        .start()
        .await;
    let text = "x".repeat(100);
    let first = fleet.push("ann", &text).await;
    let (refused, words) = refusal(
        &fleet,
        PUSH,
        json!({ "recipients": ["ann"], "message": text + "x" }),
    )
    .await;
    assert_eq!(refused, "LIMITED");
    assert!(words.contains("input.message: has 101 bytes"), "{words}");
    let (refused, words) = refusal(
        &fleet,
        PUSH,
        json!({ "recipients": ["a", "b", "c", "d"], "message": "hi" }),
    )
    .await;
    assert_eq!(refused, "LIMITED");
    assert!(words.starts_with("input.recipients: has 4"), "{words}");
    let two_hours = (Timestamp::now() + Duration::from_secs(7200)).to_string();
    let late = json!({ "recipients": ["ann"], "message": "hi", "expiresAt": two_hours });
    assert_eq!(refusal(&fleet, PUSH, late).await.0, "BAD_USER_INPUT");

    let second = fleet.push("ann", "second message").await;
    let third = fleet.push("ann", "third message").await;
    assert_eq!(fleet.message(&first["id"]).await["status"], "CANCELLED");
    let crowded_out = fleet
        .api()
        .metric("carillon_api_messages_crowded_out_total")
        .await;
    assert_eq!(crowded_out, 1.0);
    for kept in [second, third] {
        assert_eq!(fleet.message(&kept["id"]).await["status"], "PENDING");
    }
}

#[tokio::test]
async fn as_documented_without_settings() {
    let fleet = api().await;
    let names: Vec<_> = (0..1000).map(|n| format!("user-{n}")).collect();
    let text = "ä".repeat(32 * 1024);
    let outcomes = fleet
        .push_with(json!({ "recipients": &names[..10], "message": text }))
        .await;
    assert_eq!(outcomes.as_array().unwrap().len(), 10);
    let outcomes = fleet
        .push_with(json!({ "recipients": names, "message": "to a thousand" }))
        .await;
    let stored = outcomes.as_array().unwrap().iter();
    assert_eq!(
        stored.filter(|outcome| outcome["error"].is_null()).count(),
        1000
    );
    let more: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    let input = json!({ "recipients": more, "message": "to too many" });
    assert_eq!(refusal(&fleet, PUSH, input).await.0, "LIMITED");
}
