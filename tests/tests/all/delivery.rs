//! The life of a message, from push to socket.

use serde_json::{Value, json};
use tests::{Fleet, Socket, until};

/// The id of a message.
fn id(message: &Value) -> &str {
    message["id"].as_str().expect("a message has an id")
}

/// RFC 3339 for so many milliseconds from now.
fn in_millis(millis: i64) -> String {
    let now = broker::Timestamp::now().millis();
    broker::Timestamp::from_millis(now + millis).to_string()
}

async fn json_socket(fleet: &Fleet, gateway: usize, recipient: &str) -> Socket {
    let registration = fleet.register(recipient).await;
    fleet
        .upgrade(gateway, &registration)
        .acknowledging()
        .open()
        .await
        .unwrap()
}

/// Pushes something and waits for it, so that all before it has arrived as well.
async fn nothing_more(fleet: &Fleet, recipient: &str, socket: &mut Socket) {
    fleet.push(recipient, "the end").await;
    assert_eq!(socket.text().await, "the end");
}

#[tokio::test]
async fn a_message_reaches_an_open_socket_as_it_is_and_is_delivered_then() {
    let fleet = Fleet::start().await;
    let mut socket = fleet.connect("ann").await;
    let text = "The quick brown fox \u{0} \"jumps\" \\ over\nthe lazy dog \u{1f98a}";
    let pushed = fleet.push("ann", text).await;
    assert_eq!(pushed["status"], "PENDING");
    assert_eq!(socket.text().await, text);
    let delivered = fleet.settled(&pushed["id"], "DELIVERED").await;
    assert!(delivered["deliveredAt"].is_string());
    assert!(delivered["cancelledAt"].is_null());
    assert_eq!(delivered["createdAt"], pushed["createdAt"]);
}

#[tokio::test]
async fn a_recipient_who_is_away_gets_what_waited_in_order_of_creation() {
    let fleet = Fleet::start().await;
    let mut waiting = Vec::new();
    for n in 0..200 {
        waiting.push(fleet.push("ann", &format!("message {n}")).await);
    }
    let mut socket = fleet.connect("ann").await;
    for n in 0..200 {
        assert_eq!(socket.text().await, format!("message {n}"));
    }
    fleet.settled(&waiting[199]["id"], "DELIVERED").await;
    // Delivered messages do not come again.
    let mut next = fleet.connect("ann").await;
    nothing_more(&fleet, "ann", &mut next).await;
}

#[tokio::test]
async fn every_socket_of_a_recipient_gets_the_frame_on_whatever_node() {
    let fleet = Fleet::of(2, 1).start().await;
    let mut tabs = [
        fleet.connect_at(0, "ann").await,
        fleet.connect_at(0, "ann").await,
        fleet.connect_at(1, "ann").await,
    ];
    let pushed = fleet.push("ann", "to each").await;
    for tab in &mut tabs {
        assert_eq!(tab.text().await, "to each");
    }
    let first = fleet.settled(&pushed["id"], "DELIVERED").await;
    for tab in &mut tabs {
        tab.ping().await;
    }
    assert_eq!(
        fleet.message(&pushed["id"]).await["deliveredAt"],
        first["deliveredAt"]
    );
}

#[tokio::test]
async fn a_topic_reaches_only_sockets_registered_with_it() {
    let fleet = Fleet::start().await;
    let news = fleet
        .register_with(json!({ "recipient": "ann", "topic": "news" }))
        .await;
    let mut news = fleet.upgrade(0, &news).open().await.unwrap();
    let mut plain = fleet.connect("ann").await;
    let input = json!({ "recipients": ["ann"], "message": "headline", "topic": "news" });
    fleet.push_with(input).await;
    let input = json!({ "recipients": ["ann"], "message": "score", "topic": "sport" });
    let score = fleet.push_with(input).await[0]["item"].take();
    fleet.push("ann", "for both").await;
    assert_eq!(news.text().await, "headline");
    assert_eq!(news.text().await, "for both");
    assert_eq!(plain.text().await, "for both");
    assert_eq!(fleet.message(&score["id"]).await["status"], "PENDING");
    // It waits for a socket with its topic.
    let sport = fleet
        .register_with(json!({ "recipient": "ann", "topic": "sport" }))
        .await;
    let mut sport = fleet.upgrade(0, &sport).open().await.unwrap();
    assert_eq!(sport.text().await, "score");
}

#[tokio::test]
async fn what_has_expired_is_cancelled_as_of_then_and_never_sent() {
    let fleet = Fleet::of(1, 2)
        .env("CARILLON_WORKER_SWEEP_INTERVAL", "100ms")
        .env("CARILLON_WORKER_SWEEP_GRACE", "0")
        .start()
        .await;
    let expires = in_millis(300);
    let input = json!({ "recipients": ["ann"], "message": "too late", "expiresAt": expires });
    let pushed = fleet.push_with(input).await[0]["item"].take();
    let cancelled = fleet.settled(&pushed["id"], "CANCELLED").await;
    assert_eq!(cancelled["cancelledAt"], cancelled["expiresAt"]);
    assert!(cancelled["deliveredAt"].is_null());
    let mut socket = fleet.connect("ann").await;
    nothing_more(&fleet, "ann", &mut socket).await;
    until("a worker has swept", async || {
        let swept = r#"carillon_worker_swept_total{outcome="cancelled"}"#;
        fleet.worker(0).metric(swept).await + fleet.worker(1).metric(swept).await == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_message_that_has_not_expired_is_sent_when_the_recipient_comes() {
    let fleet = Fleet::start().await;
    let input =
        json!({ "recipients": ["ann"], "message": "in time", "expiresAt": in_millis(60_000) });
    fleet.push_with(input).await;
    assert_eq!(fleet.connect("ann").await.text().await, "in time");
}

#[tokio::test]
async fn a_global_message_reaches_everybody_now_and_those_who_come_in_time() {
    let fleet = Fleet::of(2, 1).start().await;
    let mut here = fleet.connect_at(0, "ann").await;
    let mut there = fleet.connect_at(1, "bob").await;
    let global = fleet.push_global("to all").await;
    assert_eq!(here.text().await, "to all");
    assert_eq!(there.text().await, "to all");
    let mut late = fleet.connect_at(1, "cat").await;
    assert_eq!(late.text().await, "to all");
    // Each has a message of its own, made once.
    let query = "query($filter: MessagesFilter) { messages(filter: $filter) {
        items { recipient status globalMessageId } } }";
    until("all three are delivered", async || {
        let filter = json!({ "filter": { "globalMessageId": global["id"] } });
        let data = fleet.data(query, filter).await;
        let items = data["messages"]["items"].as_array().unwrap();
        items.len() == 3 && items.iter().all(|item| item["status"] == "DELIVERED")
    })
    .await;
    // And does not get it again.
    let mut again = fleet.connect_at(0, "cat").await;
    nothing_more(&fleet, "cat", &mut again).await;
}

#[tokio::test]
async fn a_global_message_with_a_topic_reaches_only_those_with_it() {
    let fleet = Fleet::start().await;
    let news = fleet
        .register_with(json!({ "recipient": "ann", "topic": "news" }))
        .await;
    let mut news = fleet.upgrade(0, &news).open().await.unwrap();
    let mut plain = fleet.connect("bob").await;
    fleet
        .push_global_with(json!({ "message": "headline", "topic": "news" }))
        .await;
    assert_eq!(news.text().await, "headline");
    nothing_more(&fleet, "bob", &mut plain).await;
}

#[tokio::test]
async fn an_acknowledging_client_gets_particulars_and_decides_what_is_delivered() {
    let fleet = Fleet::of(2, 1).start().await;
    let mut socket = json_socket(&fleet, 0, "ann").await;
    let pushed = fleet.push("ann", "first").await;
    let frame = socket.json().await;
    assert_eq!(
        frame,
        json!({
            "id": pushed["id"], "message": "first", "topic": null,
            "createdAt": pushed["createdAt"], "expiresAt": null, "globalMessageId": null,
        })
    );
    let second = fleet.push("ann", "second").await;
    assert_eq!(socket.json().await["id"], second["id"]);
    socket.acknowledge(&[id(&second)]).await;
    fleet.settled(&second["id"], "DELIVERED").await;
    assert_eq!(
        fleet.message(&pushed["id"]).await["status"],
        "PENDING",
        "sent is not delivered"
    );
    socket.close().await;
    // What was not acknowledged is sent again, with the same id, and nothing else is.
    let mut again = json_socket(&fleet, 1, "ann").await;
    assert_eq!(again.json().await["id"], pushed["id"]);
    again.acknowledge(&[id(&pushed)]).await;
    fleet.settled(&pushed["id"], "DELIVERED").await;
    fleet.push("ann", "third").await;
    assert_eq!(again.json().await["message"], "third");
}

#[tokio::test]
async fn an_acknowledging_client_gets_its_own_copy_of_a_global_message() {
    let fleet = Fleet::start().await;
    let mut socket = json_socket(&fleet, 0, "ann").await;
    let global = fleet.push_global("to all").await;
    let frame = socket.json().await;
    assert_eq!(frame["globalMessageId"], global["id"]);
    let copy = fleet.message(&frame["id"]).await;
    assert_eq!(copy["status"], "PENDING");
    assert_eq!(copy["globalMessageId"], global["id"]);
    socket.acknowledge(&[frame["id"].as_str().unwrap()]).await;
    fleet.settled(&frame["id"], "DELIVERED").await;
}

#[tokio::test]
async fn a_client_cannot_acknowledge_what_is_not_its_own() {
    let fleet = Fleet::start().await;
    let hers = fleet.push("ann", "for ann").await;
    let mut mallory = json_socket(&fleet, 0, "mallory").await;
    let his = fleet.push("mallory", "for mallory").await;
    mallory.json().await;
    mallory.acknowledge(&[id(&hers), id(&his)]).await;
    fleet.settled(&his["id"], "DELIVERED").await;
    assert_eq!(fleet.message(&hers["id"]).await["status"], "PENDING");
}

#[tokio::test]
async fn a_cancelled_message_is_not_sent() {
    let fleet = Fleet::start().await;
    let socket = async |topic| {
        let input = json!({ "recipient": "ann", "topic": topic });
        let registration = fleet.register_with(input).await;
        fleet.upgrade(0, &registration).open().await.unwrap()
    };
    let push = async |topic, message| {
        let input = json!({ "recipients": ["ann"], "message": message, "topic": topic });
        fleet.push_with(input).await[0]["item"].take()
    };
    // The nodes of a Cluster have carried it once they have carried what came later.
    let mut witness = socket("witness").await;
    let pushed = push("news", "on second thought").await;
    push("witness", "carried").await;
    assert_eq!(witness.text().await, "carried");
    let query = "mutation($id: ID!) { cancelMessage(id: $id) { status cancelledAt } }";
    let data = fleet.data(query, json!({ "id": pushed["id"] })).await;
    assert_eq!(data["cancelMessage"]["status"], "CANCELLED");
    let mut socket = socket("news").await;
    nothing_more(&fleet, "ann", &mut socket).await;
}

#[tokio::test]
async fn a_revoked_recipient_loses_sockets_tokens_and_what_waited() {
    let fleet = Fleet::of(2, 1).start().await;
    let registration = fleet.register("ann").await;
    let mut here = fleet.upgrade(0, &registration).open().await.unwrap();
    let mut there = fleet
        .upgrade(1, &registration)
        .acknowledging()
        .open()
        .await
        .unwrap();
    let waiting = fleet
        .push_with(json!({ "recipients": ["ann"], "message": "x", "topic": "nobody" }))
        .await[0]["item"]
        .take();
    // Both have caught up, so the end cannot come before the beginning.
    fleet.push("ann", "before").await;
    assert_eq!(here.text().await, "before");
    there.json().await;
    let query = "mutation($r: String!) { revokeRecipient(recipient: $r) { __typename } }";
    fleet.data(query, json!({ "r": "ann" })).await;
    assert_eq!(here.close_code().await, 1008);
    assert_eq!(there.close_code().await, 1008);
    assert_eq!(fleet.message(&waiting["id"]).await["status"], "CANCELLED");
    match fleet.upgrade(0, &registration).open().await {
        Ok(_) => panic!("a revoked token was accepted"),
        Err(refusal) => assert_eq!(refusal.status(), 401),
    }
    let mut anew = fleet.connect("ann").await;
    nothing_more(&fleet, "ann", &mut anew).await;
}

#[tokio::test]
async fn registering_again_does_not_end_earlier_tokens() {
    let fleet = Fleet::start().await;
    let first = fleet.register("ann").await;
    let second = fleet.register("ann").await;
    assert_ne!(first.token, second.token);
    assert!(fleet.upgrade(0, &first).open().await.is_ok());
    assert!(fleet.upgrade(0, &second).open().await.is_ok());
}

#[tokio::test]
async fn beyond_the_cap_the_oldest_pending_message_gives_way() {
    let fleet = Fleet::of(1, 1)
        .env("CARILLON_MAX_PENDING", "3")
        .start()
        .await;
    let mut pushed = Vec::new();
    for n in 0..4 {
        pushed.push(fleet.push("ann", &format!("message {n}")).await);
    }
    assert_eq!(fleet.message(&pushed[0]["id"]).await["status"], "CANCELLED");
    let mut socket = fleet.connect("ann").await;
    for n in 1..4 {
        assert_eq!(socket.text().await, format!("message {n}"));
    }
}

#[tokio::test]
async fn tenants_do_not_reach_each_other() {
    let fleet = Fleet::start().await;
    let other = fleet.create_key("umbrella", tests::fleet::ALL_SCOPES);
    let mut ours = fleet.connect("ann").await;
    let push = "mutation($input: MessageInput!) { pushMessage(input: $input) { item { id } } }";
    let input = json!({ "input": { "recipients": ["ann"], "message": "not for you" } });
    let theirs = fleet.graphql_as(Some(&other), push, input).await;
    let global =
        "mutation($input: GlobalMessageInput!) { pushGlobalMessage(input: $input) { id } }";
    let input = json!({ "input": { "message": "not for you either" } });
    fleet.graphql_as(Some(&other), global, input).await;
    nothing_more(&fleet, "ann", &mut ours).await;
    let id = &theirs["data"]["pushMessage"][0]["item"]["id"];
    assert!(id.is_string(), "{theirs}");
    assert!(fleet.message(id).await.is_null());
}

#[tokio::test]
async fn the_status_of_a_recipient_counts_its_sockets_on_all_nodes() {
    let fleet = Fleet::of(2, 0).start().await;
    let _here = fleet.connect_at(0, "ann").await;
    let mut there = fleet.connect_at(1, "ann").await;
    nothing_more(&fleet, "ann", &mut there).await;
    let query = "query($r: String!) { recipientStatus(recipient: $r) {
        connections connectedSince gatewaysAnswered gatewaysKnown } }";
    until("both gateways have answered", async || {
        let status = &fleet.data(query, json!({ "r": "ann" })).await["recipientStatus"];
        status["connections"] == 2
            && status["connectedSince"].is_string()
            && status["gatewaysAnswered"] == 2
            && status["gatewaysKnown"] == 2
    })
    .await;
}
