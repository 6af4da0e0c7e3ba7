//! Listing what was pushed.

use std::collections::HashSet;

use broker::messages::{Limits, Messages, Unsent};
use broker::topic::{Tenant, Topic};
use serde_json::{Value, json};
use tests::Fleet;
use tests::fleet::{ALL_SCOPES, TENANT};

use super::{api, code};

const LIST: &str = "query($filter: MessagesFilter, $nextToken: String, $limit: Int) {
    messages(filter: $filter, nextToken: $nextToken, limit: $limit) {
        items { __typename id recipient message status globalMessageId createdAt } nextToken } }";
const LIST_GLOBAL: &str = "query($filter: GlobalMessagesFilter, $nextToken: String, $limit: Int) {
    globalMessages(filter: $filter, nextToken: $nextToken, limit: $limit) {
        items { __typename id message topic } nextToken } }";

async fn list(fleet: &Fleet, variables: Value) -> Value {
    fleet.data(LIST, variables).await["messages"].take()
}

/// What a field says in each item, in order.
fn each<'a>(page: &'a Value, field: &str) -> Vec<&'a str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item[field].as_str().unwrap()).collect()
}

/// All pages of a filter, one after the other; `between` runs after each.
async fn all(fleet: &Fleet, filter: Value, limit: u32, between: impl AsyncFn()) -> Vec<Value> {
    let mut items = Vec::new();
    let mut token = Value::Null;
    loop {
        let variables = json!({ "filter": filter, "limit": limit, "nextToken": token });
        let mut page = list(fleet, variables).await;
        items.append(page["items"].as_array_mut().unwrap());
        token = page["nextToken"].take();
        if token.is_null() {
            return items;
        }
        between().await;
    }
}

#[tokio::test]
async fn lists_are_newest_first_in_pages_of_fifty() {
    let fleet = api().await;
    for n in 0..60 {
        fleet.push("ann", &format!("message {n}")).await;
    }
    let page = list(&fleet, json!({})).await;
    let texts = each(&page, "message");
    let newest: Vec<_> = (10..60).rev().map(|n| format!("message {n}")).collect();
    assert_eq!(texts, newest);
    assert!(
        each(&page, "__typename")
            .iter()
            .all(|&name| name == "Message")
    );
    let last = list(&fleet, json!({ "nextToken": page["nextToken"] })).await;
    assert_eq!(each(&last, "message").len(), 10);
    assert_eq!(last["nextToken"], Value::Null);
    for limit in [1, 100] {
        let page = list(&fleet, json!({ "limit": limit })).await;
        assert_eq!(each(&page, "id").len(), limit.min(60));
    }
    for limit in [0, 101, -1] {
        let answer = fleet.graphql(LIST, json!({ "limit": limit })).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT", "{limit}");
    }
}

#[tokio::test]
async fn pages_repeat_and_skip_nothing_while_messages_are_pushed() {
    let fleet = api().await;
    let mut before = HashSet::new();
    for n in 0..40 {
        let pushed = fleet
            .push(&format!("user-{}", n % 5), &format!("before {n}"))
            .await;
        before.insert(pushed["id"].to_string());
    }
    let meanwhile = async || {
        fleet.push("user-1", "pushed meanwhile").await;
        fleet.push("somebody else", "pushed meanwhile").await;
    };
    let found = all(&fleet, json!({}), 7, meanwhile).await;
    let ids: Vec<_> = found.iter().map(|item| item["id"].to_string()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first");
    let distinct: HashSet<_> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), distinct.len(), "none is repeated");
    assert!(before.is_subset(&distinct), "none is skipped");
}

#[tokio::test]
async fn filters_join_and_ranges_include_their_ends() {
    let fleet = api().await;
    let push = async |name: &str, text: &str, topic: Value| {
        let input = json!({ "recipients": [name], "message": text, "topic": topic });
        fleet.push_with(input).await[0]["item"].take()
    };
    let first = push("ann", "first one", json!("news")).await;
    let second = push("ann", "second one", Value::Null).await;
    let third = push("bob", "third one", json!("news")).await;
    let found = async |filter: Value| {
        let page = list(&fleet, json!({ "filter": filter })).await;
        // Those of one millisecond stand in any order, unless they are one recipient's.
        let mut texts = each(&page, "message");
        texts.sort_unstable();
        texts.join(", ")
    };
    assert_eq!(
        found(json!({ "recipient": "ann" })).await,
        "first one, second one"
    );
    assert_eq!(
        found(json!({ "topic": "news" })).await,
        "first one, third one"
    );
    assert_eq!(
        found(json!({ "topic": "news", "recipient": "bob" })).await,
        "third one"
    );
    assert_eq!(found(json!({ "recipient": "nobody" })).await, "");
    let range = json!({ "createdAt": { "from": first["createdAt"], "to": first["createdAt"] } });
    assert!(found(range).await.contains("first one"));
    let from = found(json!({ "createdAt": { "from": second["createdAt"] } })).await;
    assert!(
        from.contains("second one") && from.contains("third one"),
        "{from}"
    );
    let to = found(json!({ "createdAt": { "to": third["createdAt"] } })).await;
    assert_eq!(to, "first one, second one, third one");
    assert_eq!(
        found(json!({ "createdAt": { "to": "2020-01-01T00:00:00" } })).await,
        ""
    );
    assert_eq!(
        found(json!({ "expiresAt": { "from": "2020-01-01T00:00:00" } })).await,
        ""
    );
    let wrong = fleet
        .graphql(
            LIST,
            json!({ "filter": { "createdAt": { "from": "yesterday" } } }),
        )
        .await;
    assert_eq!(code(&wrong), "BAD_USER_INPUT");
    assert!(super::words(&wrong).starts_with("filter.createdAt.from: "));
    let wrong = fleet
        .graphql(LIST, json!({ "filter": { "globalMessageId": "7" } }))
        .await;
    assert!(super::words(&wrong).starts_with("filter.globalMessageId: "));
}

#[tokio::test]
async fn a_token_of_another_list_is_refused() {
    let fleet = api().await;
    for n in 0..3 {
        fleet.push("ann", &format!("message {n}")).await;
        fleet.push_global(&format!("global {n}")).await;
    }
    let page = list(&fleet, json!({ "limit": 1 })).await;
    let token = page["nextToken"].as_str().unwrap();
    let refused = async |query: &str, variables: Value| {
        let answer = fleet.graphql(query, variables).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT");
        assert!(super::words(&answer).starts_with("nextToken: "));
    };
    let mut changed = token.to_owned().into_bytes();
    changed[20] ^= 1;
    let changed = String::from_utf8(changed).unwrap();
    for tampered in [changed.as_str(), "", "x", &token[1..]] {
        refused(LIST, json!({ "nextToken": tampered })).await;
    }
    refused(
        LIST,
        json!({ "nextToken": token, "filter": { "recipient": "ann" } }),
    )
    .await;
    refused(LIST_GLOBAL, json!({ "nextToken": token })).await;

    let other = fleet.create_key("other", ALL_SCOPES);
    let answer = fleet
        .graphql_as(Some(&other), LIST, json!({ "nextToken": token }))
        .await;
    assert_eq!(code(&answer), "BAD_USER_INPUT");
    let next = list(&fleet, json!({ "nextToken": token, "limit": 5 })).await;
    assert_eq!(each(&next, "message"), ["message 1", "message 0"]);
}

#[tokio::test]
async fn global_messages_are_listed_apart_and_their_copies_with_the_others() {
    let fleet = api().await;
    let global = fleet
        .push_global_with(json!({ "message": "to everyone", "topic": "news" }))
        .await;
    fleet.push_global("to everyone too").await;
    fleet.push("ann", "to ann only").await;
    let globals = fleet.data(LIST_GLOBAL, json!({})).await["globalMessages"].take();
    assert_eq!(
        each(&globals, "message"),
        ["to everyone too", "to everyone"]
    );
    assert!(
        each(&globals, "__typename")
            .iter()
            .all(|&name| name == "GlobalMessage")
    );
    let filter = json!({ "filter": { "topic": "news" } });
    let globals = fleet.data(LIST_GLOBAL, filter).await["globalMessages"].take();
    assert_eq!(each(&globals, "id"), [global["id"].as_str().unwrap()]);

    // A recipient opens a socket, with the label of the global message.
    let limits = Limits {
        pending: 1000,
        retention: std::time::Duration::from_secs(3600),
        global_default_life: std::time::Duration::from_secs(3600),
        idempotency: std::time::Duration::from_secs(3600),
    };
    let messages = Messages::new(fleet.commands(), fleet.keys(), limits);
    let tenant: Tenant = TENANT.parse().unwrap();
    let page = broker::messages::Page {
        count: 10,
        bytes: 1 << 20,
    };
    let unsent = Unsent {
        label: Some("news"),
        ..Unsent::default()
    };
    messages
        .backlog(&Topic::recipient(&tenant, "ann"), unsent, page)
        .await
        .unwrap();

    let everything = list(&fleet, json!({})).await;
    assert_eq!(each(&everything, "message").len(), 3);
    let copies = list(
        &fleet,
        json!({ "filter": { "globalMessageId": global["id"] } }),
    )
    .await;
    assert_eq!(each(&copies, "message"), ["to everyone"]);
    assert_eq!(copies["items"][0]["globalMessageId"], global["id"]);
    assert_eq!(copies["items"][0]["recipient"], "ann");
}
