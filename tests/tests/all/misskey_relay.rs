//! Channels that only a Misskey can serve, by way of a gateway.

use serde_json::{Value, json};
use tests::misskey::{HOSTS, World};
use tests::{Fleet, FleetBuilder, Misskey, Socket, until};

/// A Misskey to which a gateway relays, with one user, whose token it is.
fn stand() -> (Misskey, FleetBuilder, String) {
    let mut world = World::default();
    let token = world.user("u1");
    let misskey = Misskey::of(world);
    let host = format!("{} relay={}", misskey.host(), misskey.relay());
    (misskey, Fleet::of(1, 0).env(HOSTS, &host), token)
}

/// A socket of the user.
async fn socket(fleet: &Fleet, token: &str) -> Socket {
    fleet.streaming_socket(0, Some(token)).await.unwrap()
}

async fn say(socket: &mut Socket, kind: &str, body: Value) {
    let message = json!({ "type": kind, "body": body });
    socket.say(&message.to_string()).await;
}

/// What the channel with this id tells next.
async fn told(socket: &mut Socket, id: &str) -> (String, Value) {
    let message = socket.json().await;
    assert_eq!(
        (&message["type"], &message["body"]["id"]),
        (&json!("channel"), &json!(id))
    );
    let kind = message["body"]["type"].as_str().unwrap().to_owned();
    (kind, message["body"]["body"].clone())
}

fn from_channel(id: &str, kind: &str) -> String {
    json!({ "type": "channel", "body": { "id": id, "type": kind, "body": {} } }).to_string()
}

#[tokio::test]
async fn what_a_client_asks_a_channel_in_the_moment_it_opens_it_is_answered() {
    let (misskey, fleet, token) = stand();
    let fleet = fleet.start().await;
    fleet.hush(&misskey);
    let mut socket = socket(&fleet, &token).await;
    say(
        &mut socket,
        "connect",
        json!({ "channel": "serverStats", "id": "s" }),
    )
    .await;
    let ask = json!({ "id": "s", "type": "requestLog", "body": { "id": "1", "length": 50 } });
    say(&mut socket, "ch", ask).await;
    assert_eq!(told(&mut socket, "s").await.0, "statsLog");
    // A channel that nobody here knows is served too, by the same way.
    socket.connect("ofAFork", "f", json!({ "x": 1 })).await;
    let ask = json!({ "id": "f", "type": "echo", "body": { "a": [1, "é"] } });
    say(&mut socket, "ch", ask).await;
    let echo = ("echo".to_owned(), json!({ "a": [1, "é"] }));
    assert_eq!(told(&mut socket, "f").await, echo);
    assert_eq!(misskey.streams(), 1);
}

#[tokio::test]
async fn only_channels_that_are_relayed_are_heard_through_a_relay() {
    let (misskey, fleet, token) = stand();
    let fleet = fleet.start().await;
    let mut socket = socket(&fleet, &token).await;
    socket.connect("queueStats", "q", json!({})).await;
    socket.connect("main", "m", json!({})).await;
    for text in [
        r#"{"type":"emojiAdded","body":{"emoji":{}}}"#,
        &from_channel("m", "notification"),
        &from_channel("never opened", "stats"),
        r#"{"type":"connected","body":{"id":"q"}}"#,
        "no JSON at all",
        &from_channel("q", "stats"),
    ] {
        misskey.shout(text);
    }
    assert_eq!(told(&mut socket, "q").await.0, "stats");
    say(&mut socket, "disconnect", json!({ "id": "q" })).await;
    until("the relay ends with its last channel", async || {
        misskey.streams() == 0
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_is_lost_is_made_again_with_its_channels() {
    let (misskey, fleet, token) = stand();
    let fleet = fleet.start().await;
    let mut socket = socket(&fleet, &token).await;
    socket.connect("serverStats", "s", json!({})).await;
    misskey.hang_up();
    until("there is another", async || misskey.asked("streaming") == 2).await;
    until("it has the channel", async || {
        let said = misskey.said();
        said.iter()
            .filter(|text| text.contains("serverStats"))
            .count()
            == 2
    })
    .await;
    misskey.shout(&from_channel("s", "stats"));
    assert_eq!(told(&mut socket, "s").await.0, "stats");
}

#[tokio::test]
async fn relays_beyond_the_limit_come_as_soon_as_there_is_room() {
    let (misskey, fleet, token) = stand();
    let fleet = fleet.env("CARILLON_MISSKEY_MAX_RELAYS", "1").start().await;
    let mut first = socket(&fleet, &token).await;
    first.connect("serverStats", "s", json!({})).await;
    let mut second = socket(&fleet, &token).await;
    let connect = json!({ "channel": "serverStats", "id": "s", "pong": true });
    say(&mut second, "connect", connect).await;
    let refused = "carillon_gateway_relays_refused_total";
    until("the second is refused", async || {
        0.0 < fleet.gateway(0).metric(refused).await
    })
    .await;
    assert_eq!(misskey.streams(), 1);
    first.close().await;
    let pong = json!({ "type": "connected", "body": { "id": "s" } });
    assert_eq!(second.json().await, pong);
}

#[tokio::test]
async fn wrong_tokens_are_refused_late_and_asked_about_once() {
    let (misskey, fleet, _) = stand();
    let fleet = fleet.start().await;
    let began = std::time::Instant::now();
    let attempts = (0..10).map(|_| fleet.streaming_socket(0, Some("not-a-token")));
    for attempt in futures_util::future::join_all(attempts).await {
        assert_eq!(attempt.err().unwrap().status(), 401);
    }
    assert!(1 <= began.elapsed().as_secs(), "nobody was told at once");
    assert_eq!(misskey.asked("i"), 1);
}
