//! A Redis that has used up its memory.

use serde_json::json;
use tests::{Fleet, Upgrade};

/// Lets each server have so many bytes; 0 stands for all there are.
fn allow(fleet: &Fleet, bytes: &str) {
    let _: Vec<()> = fleet.redis().each(&["CONFIG", "SET", "maxmemory", bytes]);
}

#[tokio::test]
async fn a_full_redis_refuses_pushes_and_still_notes_deliveries() {
    let fleet = Fleet::start().await;
    let ada = fleet.register("ada").await;
    let upgrade: Upgrade = fleet.upgrade(0, &ada).acknowledging();
    let mut socket = upgrade.open().await.expect("the token opens sockets");
    let before = fleet.push("ada", "accepted").await;
    assert_eq!(socket.json().await["message"], "accepted");

    allow(&fleet, "1");
    let refused = json!({ "recipients": ["ada"], "message": "refused" });
    let push = "mutation($input: MessageInput!) {
        pushMessage(input: $input) { item { id } error { code } } }";
    let answer = fleet.data(push, json!({ "input": refused })).await;
    let outcome = &answer["pushMessage"][0];
    assert_eq!(outcome["error"]["code"], "UNAVAILABLE");
    let push = "mutation { pushGlobalMessage(input: { message: \"refused too\" }) { id } }";
    let answer = fleet.graphql(push, json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAVAILABLE");
    socket.acknowledge(&[before["id"].as_str().unwrap()]).await;
    fleet.settled(&before["id"], "DELIVERED").await;

    allow(&fleet, "0");
    fleet.push("ada", "accepted again").await;
    assert_eq!(socket.json().await["message"], "accepted again");
    let all = "{ messages { items { message } } }";
    let kept = fleet.data(all, json!({})).await;
    let kept = kept["messages"]["items"].as_array().unwrap();
    assert_eq!(kept.len(), 2, "what was refused was not stored");
}
