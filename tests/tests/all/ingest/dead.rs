//! Dead letters, over GraphQL and at the command line.

use serde_json::{Value, json};
use tests::{Fleet, until};

use super::stream::waiting;
use super::{TEXT, add, ingest, report};

const LIST: &str = "query($token: String, $limit: Int) {
    deadLetters(nextToken: $token, limit: $limit) {
        items { id why error givenUpAt entry type topic data cut } nextToken
    } }";

/// All letters, a page of this size at a time.
async fn letters(fleet: &Fleet, limit: u32) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), Value::Null);
    loop {
        let variables = json!({"token": token, "limit": limit});
        let page = fleet.data(LIST, variables).await["deadLetters"].take();
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        token = page["nextToken"].clone();
        if token.is_null() {
            return all;
        }
    }
}

/// Adds these and waits until workers have looked at them.
async fn work(fleet: &Fleet, entries: &[(&str, &str)]) {
    for (kind, data) in entries {
        add(fleet, kind, data.as_bytes()).await;
    }
    until("all are looked at", async || waiting(fleet).await == 0).await;
}

/// What each id of a call got: the code of its error, or null.
fn codes(results: &Value) -> Vec<&Value> {
    let results = results.as_array().unwrap().iter();
    results.map(|result| &result["error"]["code"]).collect()
}

#[tokio::test]
async fn dead_letters_are_read_tried_again_and_discarded_over_graphql() {
    let fleet = Fleet::start().await;
    fleet.secrets().keep(TEXT);
    let bad = json!({"recipients": [], "message": TEXT}).to_string();
    work(
        &fleet,
        &[("push", &bad), ("push", "{"), ("x", &"[".repeat(300_000))],
    )
    .await;
    let all = letters(&fleet, 2).await;
    let why: Vec<_> = all.iter().map(|letter| &letter["why"]).collect();
    assert_eq!(why, ["size", "json", "invalid"], "newest first");
    assert_eq!(all[2]["error"], "recipients: at least one must be named");
    assert_eq!(
        (&all[2]["data"], &all[2]["type"]),
        (&json!(bad), &json!("push"))
    );
    assert_eq!(
        (&all[0]["cut"], &all[2]["cut"]),
        (&json!(true), &json!(false))
    );
    let one = "query($id: ID!) { deadLetter(id: $id) { entry } }";
    let found = fleet.data(one, json!({"id": all[1]["id"]})).await;
    assert_eq!(found["deadLetter"]["entry"], all[1]["entry"]);
    let none = fleet.data(one, json!({"id": "1-1"})).await;
    assert_eq!(none["deadLetter"], Value::Null);

    let ids: Vec<_> = all.iter().map(|letter| letter["id"].clone()).collect();
    let replay = "mutation($ids: [ID!]!) { replayDeadLetters(ids: $ids) { id error { code } } }";
    let discard = "mutation($ids: [ID!]!) { discardDeadLetters(ids: $ids) { id error { code } } }";
    let done = fleet
        .data(replay, json!({"ids": [ids[2], ids[0], "1-1"]}))
        .await;
    let done = &done["replayDeadLetters"];
    assert_eq!(
        codes(done),
        [&Value::Null, &json!("BAD_USER_INPUT"), &json!("NOT_FOUND")]
    );
    until("it is a dead letter again", async || {
        letters(&fleet, 100).await.len() == 3
    })
    .await;
    let again = letters(&fleet, 100).await;
    assert_eq!(again[0]["entry"], all[2]["entry"], "under its first name");
    assert_ne!(again[0]["id"], all[2]["id"]);
    let done = fleet
        .data(discard, json!({"ids": [ids[0], ids[1], ids[2]]}))
        .await;
    let done = &done["discardDeadLetters"];
    assert_eq!(
        codes(done),
        [&Value::Null, &Value::Null, &json!("NOT_FOUND")]
    );
    assert_eq!(letters(&fleet, 100).await.len(), 1);
}

#[tokio::test]
async fn dead_letters_are_those_of_the_key_s_tenant() {
    let fleet = Fleet::of(0, 1).start().await;
    work(&fleet, &[("push", "{"), ("push", "{")]).await;
    let mine = letters(&fleet, 1).await;
    let token = fleet.data(LIST, json!({"limit": 1})).await["deadLetters"]["nextToken"].take();
    let other = fleet.create_key("other", tests::fleet::ALL_SCOPES);
    let theirs = fleet.graphql_as(Some(&other), LIST, Value::Null).await;
    assert_eq!(
        theirs["data"]["deadLetters"],
        json!({"items": [], "nextToken": null})
    );
    let refused = fleet
        .graphql_as(Some(&other), LIST, json!({"token": token}))
        .await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    for mutation in ["replayDeadLetters", "discardDeadLetters"] {
        let call =
            format!("mutation($ids: [ID!]!) {{ {mutation}(ids: $ids) {{ error {{ code }} }} }}");
        let ids = json!({"ids": [mine[0]["id"]]});
        let done = fleet.graphql_as(Some(&other), &call, ids).await;
        assert_eq!(
            codes(&done["data"][mutation]),
            [&json!("NOT_FOUND")],
            "{mutation}"
        );
    }
    assert_eq!(letters(&fleet, 100).await, mine);
}

#[tokio::test]
async fn the_command_shows_dead_letters_and_what_was_mended_comes_through() {
    let fleet = Fleet::start().await;
    let run = |args: &[&str]| {
        let args = [&["dead", args[0], "--tenant", "acme"], &args[1..]].concat();
        let output = fleet.api_command(&args, b"");
        let told = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code().unwrap(),
            told,
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    work(
        &fleet,
        &[
            ("push", "{\"message\":\"\u{1b}[31mred\"}"),
            ("membership\n", "{"),
        ],
    )
    .await;
    let (code, list, _) = run(&["list"]);
    assert_eq!(code, 0);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[1].contains("membership\\n"), "{list}");
    assert!(lines[2].ends_with("expected JSON in UTF-8"), "{list}");
    let id = lines[2].split_whitespace().next().unwrap();
    let (code, data, beside) = run(&["show", id]);
    assert_eq!((code, &*data), (0, "{\"message\":\"\u{1b}[31mred\"}\n"));
    assert!(beside.contains("why: json"), "{beside}");
    let lint = fleet.api_command(&["lint", "--as", "push", "-"], data.as_bytes());
    let told = String::from_utf8(lint.stdout).unwrap();
    assert_eq!(
        (lint.status.code(), &*told),
        (Some(1), "-:1: expected JSON in UTF-8, at column 12\n")
    );

    let (code, told, _) = run(&["replay", "--all"]);
    assert_eq!((code, &*told), (0, "replayed 2\n"));
    until("both are dead letters again", async || {
        run(&["list"]).1.lines().count() == 3
    })
    .await;
    let (code, told, beside) = run(&["discard", id, "--limit=1"]);
    assert_eq!((code, &*told), (2, ""), "{beside}");
    let (code, _, beside) = run(&["discard", id]);
    assert_eq!((code, beside.contains("1 are not there")), (1, true));
    assert_eq!(run(&["discard", "--all"]).1, "discarded 2\n");
    assert_eq!(run(&["list"]).1.lines().count(), 1);
    assert_eq!(ingest(&fleet, &[report("a1")]).await, ["published"]);
}
