//! What comes from the buses of Misskey hosts, and from producers of our own, to
//! the sockets of those hosts and to no others.

use redis::cmd;
use serde_json::{Value, json};
use tests::misskey::{HOST, HOSTS, List, Misskey, Role, Room};
use tests::{Fleet, Lines, Socket, Upgrade, until};

const PAGE: &str = include_str!("../../../docs/events.md");
const REJECTED: &str = "carillon_gateway_misskey_bus_rejected_total";
const MESSAGES: &str = "carillon_gateway_misskey_bus_messages_total";

/// A Misskey with these users; and their tokens.
fn misskey<const N: usize>(users: [&str; N]) -> (Misskey, [String; N]) {
    let misskey = Misskey::start();
    let mut tokens = users.map(str::to_owned);
    misskey.change(|world| tokens = users.map(|user| world.user(user)));
    (misskey, tokens)
}

/// A socket of the user with this token that has opened `main`, as `m`.
async fn listening(fleet: &Fleet, token: &str) -> Socket {
    let mut socket = fleet.streaming_socket(0, Some(token)).await.unwrap();
    socket.connect("main", "m", json!({})).await;
    socket
}

/// What a client is told that has opened `main` as `m`.
fn of_main(kind: &str, body: &Value) -> Value {
    json!({"type": "channel", "body": {"id": "m", "type": kind, "body": body}})
}

async fn bus_is(up: bool, fleet: &Fleet, host: &str) {
    let name = format!("carillon_gateway_misskey_bus_up{{host=\"{host}\"}}");
    until(&format!("the bus is up: {up}"), async || {
        (fleet.gateway(0).metric(&name).await > 0.5) == up
    })
    .await;
}

#[tokio::test]
async fn a_bus_that_was_lost_or_silent_is_listened_to_again() {
    let (misskey, [token]) = misskey(["u1"]);
    let fleet = Fleet::of(1, 0)
        .behind_proxy(&["gateway"])
        .env("CARILLON_GATEWAY_PROBE_INTERVAL", "500ms")
        .misskey(&misskey)
        .start()
        .await;
    bus_is(true, &fleet, HOST).await;
    let mut socket = listening(&fleet, &token).await;
    let said = |n: u32| json!({"type": "followed", "body": {"id": format!("f{n}")}});
    fleet.misskey_says("mainStream:u1", &said(1)).await;
    assert_eq!(
        socket.json().await,
        of_main("followed", &json!({"id": "f1"}))
    );

    let epochs = async |cause: &str| {
        let labels = format!("{{cause=\"{cause}\"}}");
        let name = format!("carillon_gateway_misskey_bus_epochs_total{labels}");
        fleet.gateway(0).metric(&name).await
    };
    fleet.proxy().freeze(Lines::Subscriptions);
    bus_is(false, &fleet, HOST).await;
    assert!(1.0 <= epochs("silent").await);
    fleet.misskey_says("mainStream:u1", &said(2)).await;
    fleet.proxy().heal();
    bus_is(true, &fleet, HOST).await;
    // Nothing is kept, so who comes back reads again.
    assert_eq!(socket.close_code().await, 1012);
    let mut socket = listening(&fleet, &token).await;
    fleet.misskey_says("mainStream:u1", &said(3)).await;
    let frame = socket.json().await;
    assert_eq!(frame, of_main("followed", &json!({"id": "f3"})));

    fleet.proxy().cut(Lines::Subscriptions).await;
    until("it has noticed", async || {
        1.0 <= epochs("closed").await + epochs("lost").await
    })
    .await;
    bus_is(true, &fleet, HOST).await;
    assert_eq!(socket.close_code().await, 1012);
    let mut socket = listening(&fleet, &token).await;
    fleet.misskey_says("mainStream:u1", &said(4)).await;
    assert_eq!(
        socket.json().await,
        of_main("followed", &json!({"id": "f4"}))
    );
}

#[tokio::test]
async fn hosts_on_one_redis_are_told_nothing_of_each_other() {
    let (a, [of_a]) = misskey(["u1"]);
    let (b, [of_b]) = misskey(["u1"]);
    let hosts = format!(
        "a.example=one bus=a.example api={}, b.example=two bus=b.example:3000 api={}",
        a.url(),
        b.url()
    );
    let fleet = Fleet::of(1, 0).env(HOSTS, &hosts).start().await;
    bus_is(true, &fleet, "a.example").await;
    bus_is(true, &fleet, "b.example").await;
    let mut sockets = Vec::new();
    for (host, token) in [("a.example", &of_a), ("b.example", &of_b)] {
        fleet.secrets().keep(token);
        let uri = format!("ws://{host}/streaming?i={token}");
        let upgrade = Upgrade::to_host(&uri, fleet.gateway(0).address());
        let mut socket = upgrade.open().await.unwrap();
        socket.connect("main", "m", json!({})).await;
        socket.say(r#"{"type":"s","body":{"id":"n1"}}"#).await;
        socket.caught_up().await;
        sockets.push(socket);
    }
    let buses = [("a.example", "one"), ("b.example:3000", "two")];
    for n in 0..20 {
        for (bus, tenant) in buses {
            // Of the same user, whatever it claims to be of.
            let body = json!({"from": bus, "n": n});
            let message = json!({"type": "followed", "body": body});
            for stream in [format!("{tenant}:user:u1"), format!("{bus}:mainStream:u1")] {
                let sly = json!({"channel": stream, "message": message});
                fleet.publish(bus, &sly.to_string()).await;
            }
            let frame = json!({"channel": "mainStream:u1", "message": message});
            fleet.publish(bus, &frame.to_string()).await;
            let all = json!({"type": "emojiDeleted", "body": body});
            let frame = json!({"channel": "broadcast", "message": all});
            fleet.publish(bus, &frame.to_string()).await;
        }
        // Neither by the topics of our own.
        for (bus, tenant) in buses {
            let event = json!({"v": 1, "type": "own", "body": {"from": bus, "n": n}});
            let channel = format!("carillon:c:{tenant}:user:u1");
            fleet.publish(&channel, &event.to_string()).await;
        }
    }
    for (socket, (bus, _)) in sockets.iter_mut().zip(buses) {
        for n in 0..60 {
            let frame = socket.json().await;
            let (inner, broadcast) = (&frame["body"]["body"], &frame["body"]);
            let from = [&inner["from"], &broadcast["from"]];
            assert!(from.contains(&&json!(bus)), "{n}: {frame}");
        }
        socket.caught_up().await;
    }
}

#[tokio::test]
async fn what_is_malformed_oversized_or_hostile_reaches_neither_sockets_nor_logs() {
    let (misskey, [token]) = misskey(["u1"]);
    // Everything that anything in the processes would ever log.
    let fleet = Fleet::of(1, 0).env("CARILLON_LOG", "trace");
    let fleet = fleet.misskey(&misskey).start().await;
    fleet.hush(&misskey);
    bus_is(true, &fleet, HOST).await;
    let mut socket = listening(&fleet, &token).await;
    const HUSH: &str = "hush-this-is-nobodys-business";
    fleet.secrets().keep(HUSH);
    let of_main = |message: &str| format!(r#"{{"channel":"mainStream:u1","message":{message}}}"#);
    let internal = |kind: &str, body: &str| {
        format!(r#"{{"channel":"internal","message":{{"type":"{kind}","body":{body}}}}}"#)
    };
    let deep = format!("{}\"{HUSH}\"{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!(r#"{{"type":"x","body":{deep}}}"#);
    let long = format!(r#"{{"type":"{HUSH}","body":"{}"}}"#, HUSH.repeat(50_000));
    let hostile = [
        ("json", HUSH.to_owned()),
        ("json", of_main(HUSH)),
        (
            "json",
            of_main(r#"{"type":"hush-this-is-nobodys-business""#),
        ),
        ("form", format!(r#"["{HUSH}"]"#)),
        ("form", of_main(&format!(r#""{HUSH}""#))),
        ("form", of_main(&format!(r#"{{"body":"{HUSH}"}}"#))),
        ("form", of_main(&format!(r#"{{"type":["{HUSH}"]}}"#))),
        (
            "form",
            internal(
                "userTokenRegenerated",
                &format!(r#"{{"id":"u1","oldToken":["{HUSH}"]}}"#),
            ),
        ),
        ("form", internal("follow", &format!(r#""{HUSH}""#))),
        ("depth", of_main(&deep)),
        ("size", of_main(&long)),
        ("size", HUSH.repeat(500_000)),
    ];
    // Sound, and of no concern to anybody here; secrets are among it.
    let secret = format!(r#"{{"id":"u9","oldToken":"{HUSH}1","newToken":"{HUSH}2"}}"#);
    let meta = format!(r#"{{"before":{{"smtpPass":"{HUSH}"}},"after":{{"smtpPass":"{HUSH}"}}}}"#);
    let others = [
        internal("userTokenRegenerated", &secret),
        internal("metaUpdated", &meta),
        internal("webhookCreated", &format!(r#"{{"secret":"{HUSH}"}}"#)),
        format!(r#"{{"channel":"{HUSH}","message":{{"type":"x"}}}}"#),
        format!(r#"{{"channel":"mainStream:u9","message":{{"type":"x","body":"{HUSH}"}}}}"#),
    ];
    for frame in hostile.iter().map(|(_, frame)| frame).chain(&others) {
        fleet.publish(HOST, frame).await;
    }
    fleet
        .misskey_says("mainStream:u1", &json!({"type": "good"}))
        .await;
    let frame = socket.json().await;
    assert_eq!(frame["body"]["type"], "good", "{frame}");
    for (why, count) in [("json", 3), ("form", 6), ("depth", 1), ("size", 2)] {
        let series = format!("{REJECTED}{{why=\"{why}\"}}");
        assert_eq!(
            fleet.gateway(0).metric(&series).await as u64,
            count,
            "{why}"
        );
    }
    let unwanted = format!("{MESSAGES}{{kind=\"unwanted\"}}");
    assert_eq!(fleet.gateway(0).metric(&unwanted).await as u64, 2);
    bus_is(true, &fleet, HOST).await;
}

#[tokio::test]
async fn a_program_drives_channels_by_one_publish_or_one_xadd() {
    let (misskey, [token]) = misskey(["u1"]);
    let fleet = Fleet::of(1, 1).misskey(&misskey).start().await;
    bus_is(true, &fleet, HOST).await;
    let mut socket = listening(&fleet, &token).await;
    socket.connect("drive", "d", json!({})).await;
    socket.say(r#"{"type":"s","body":{"id":"n1"}}"#).await;
    socket.caught_up().await;
    let add = async |topic: &str, event: Value| {
        let mut add = cmd("XADD");
        add.arg("carillon:{in}:acme").arg("*");
        add.arg("topic")
            .arg(topic)
            .arg("data")
            .arg(event.to_string());
        fleet.commands().query::<String>(&add).await.unwrap();
    };
    let reacted = json!({"reaction": "👍", "userId": "u2"});
    let of_note = json!({
        "id": "n1", "userId": "u1", "visibility": "public", "visibleUserIds": [], "body": reacted,
    });
    let of_drive =
        json!({"type": "channel", "body": {"id": "d", "type": "fileDeleted", "body": "f1"}});
    let updated = json!({
        "type": "noteUpdated", "body": {"id": "n1", "type": "reacted", "body": reacted},
    });
    let deleted = json!({"type": "emojiDeleted", "body": {"emojis": []}});

    fleet.produce("user:u1", "own", &json!({"n": 1})).await;
    assert_eq!(socket.json().await, of_main("own", &json!({"n": 1})));
    fleet
        .produce("channel:driveStream:u1", "fileDeleted", &json!("f1"))
        .await;
    assert_eq!(socket.json().await, of_drive);
    fleet.produce("note:n1", "reacted", &of_note).await;
    assert_eq!(socket.json().await, updated);
    fleet
        .produce("channel:broadcast", "emojiDeleted", &deleted["body"])
        .await;
    assert_eq!(socket.json().await, deleted);

    add("user:u1", json!({"type": "own", "body": {"n": 2}})).await;
    assert_eq!(socket.json().await, of_main("own", &json!({"n": 2})));
    add(
        "channel:driveStream:u1",
        json!({"type": "fileDeleted", "body": "f1"}),
    )
    .await;
    assert_eq!(socket.json().await, of_drive);
    add("note:n1", json!({"type": "reacted", "body": of_note})).await;
    assert_eq!(socket.json().await, updated);
    add(
        "channel:broadcast",
        json!({"type": "emojiDeleted", "body": deleted["body"]}),
    )
    .await;
    assert_eq!(socket.json().await, deleted);

    fleet
        .misskey_says("mainStream:u1", &json!({"type": "its own", "body": null}))
        .await;
    assert_eq!(socket.json().await, of_main("its own", &Value::Null));
    fleet
        .misskey_says(
            "noteStream:n1",
            &json!({"type": "reacted", "body": of_note}),
        )
        .await;
    assert_eq!(socket.json().await, updated);
}

/// A Misskey in which `u1` follows `f1`, and has a list, an antenna and a room; and
/// the token of `u1`.
fn furnished() -> (Misskey, String) {
    let misskey = Misskey::start();
    let mut token = String::new();
    misskey.change(|world| {
        token = world.user("u1");
        world.relate(
            "u1",
            "userFollowings",
            json!({"f1": {"withReplies": false}}),
        );
        let list = List {
            owner: "u1".to_owned(),
            members: vec!["f1".to_owned()],
        };
        world.lists.insert("L1".to_owned(), list);
        world.antennas.insert("A1".to_owned(), "u1".to_owned());
        let role = Role {
            public: true,
            explorable: true,
        };
        world.roles.insert("R1".to_owned(), role);
        let room = Room {
            owner: "u1".to_owned(),
            ..Room::default()
        };
        world.rooms.insert("C1".to_owned(), room);
    });
    (misskey, token)
}

/// A channel, how it is opened, the topic that drives it (as the page has it, and
/// here), the event, and what the client is told of it.
type Driven = (
    &'static str,
    Value,
    &'static str,
    &'static str,
    (&'static str, Value),
);

fn driven() -> Vec<Driven> {
    let notes = "channel:notesStream";
    let note = |id: &str, more: Value| ("note", tests::misskey::note(id, "f1", more));
    let chat = ("message", json!({"id": "c1", "text": "Hello"}));
    let user = "channel:userListStream:<list>";
    vec![
        (
            "main",
            json!({}),
            "user:<user>",
            "user:u1",
            ("followed", json!({"id": "f2"})),
        ),
        (
            "homeTimeline",
            json!({}),
            notes,
            notes,
            note("n1", json!({})),
        ),
        (
            "localTimeline",
            json!({}),
            notes,
            notes,
            note("n2", json!({})),
        ),
        (
            "hybridTimeline",
            json!({}),
            notes,
            notes,
            note("n3", json!({})),
        ),
        (
            "globalTimeline",
            json!({}),
            notes,
            notes,
            note("n4", json!({})),
        ),
        (
            "userList",
            json!({"listId": "L1"}),
            notes,
            notes,
            note("n5", json!({})),
        ),
        (
            "hashtag",
            json!({"q": [["tag"]]}),
            notes,
            notes,
            note("n6", json!({"tags": ["Tag"]})),
        ),
        (
            "channel",
            json!({"channelId": "K1"}),
            notes,
            notes,
            note("n7", json!({"channelId": "K1"})),
        ),
        (
            "userList",
            json!({"listId": "L1"}),
            user,
            "channel:userListStream:L1",
            ("userAdded", json!({"id": "f2"})),
        ),
        (
            "roleTimeline",
            json!({"roleId": "R1"}),
            "channel:roleTimelineStream:<role>",
            "channel:roleTimelineStream:R1",
            note("n8", json!({})),
        ),
        (
            "drive",
            json!({}),
            "channel:driveStream:<user>",
            "channel:driveStream:u1",
            ("fileDeleted", json!("x")),
        ),
        (
            "admin",
            json!({}),
            "channel:adminStream:<user>",
            "channel:adminStream:u1",
            ("newAbuseUserReport", json!({"id": "x"})),
        ),
        (
            "chatUser",
            json!({"otherId": "f1"}),
            "channel:chatUserStream:<user>-<other>",
            "channel:chatUserStream:u1-f1",
            chat.clone(),
        ),
        (
            "chatRoom",
            json!({"roomId": "C1"}),
            "channel:chatRoomStream:<room>",
            "channel:chatRoomStream:C1",
            chat,
        ),
        (
            "reversi",
            json!({}),
            "channel:reversiStream:<user>",
            "channel:reversiStream:u1",
            ("matched", json!({"game": {}})),
        ),
        (
            "reversiGame",
            json!({"gameId": "G1"}),
            "channel:reversiGameStream:<game>",
            "channel:reversiGameStream:G1",
            ("started", json!({"game": {}})),
        ),
    ]
}

#[tokio::test]
async fn every_channel_is_driven_by_a_topic_that_the_page_names() {
    let page = PAGE;
    let (misskey, token) = furnished();
    let fleet = Fleet::of(1, 0).misskey(&misskey).start().await;
    misskey.cache_in(&fleet.redis().url(), HOST);
    let mut socket = fleet.streaming_socket(0, Some(&token)).await.unwrap();
    for (channel, params, on_page, topic, (kind, body)) in driven() {
        assert!(page.contains(&format!("`{on_page}`")), "{on_page}");
        socket.connect(channel, "x", params).await;
        fleet.produce(topic, kind, &body).await;
        let told = socket.json().await;
        let inner = json!({"id": "x", "type": kind, "body": body});
        assert_eq!(told, json!({"type": "channel", "body": inner}), "{channel}");
        socket
            .say(r#"{"type":"disconnect","body":{"id":"x"}}"#)
            .await;
    }
    let note = tests::misskey::note("n9", "f1", json!({}));
    assert!(page.contains("`channel:antennaStream:<antenna>`"));
    socket
        .connect("antenna", "x", json!({"antennaId": "A1"}))
        .await;
    fleet
        .produce("channel:antennaStream:A1", "note", &json!({"id": "n9"}))
        .await;
    fleet.produce("channel:notesStream", "note", &note).await;
    let inner = json!({"id": "x", "type": "note", "body": note});
    assert_eq!(
        socket.json().await,
        json!({"type": "channel", "body": inner})
    );
}
