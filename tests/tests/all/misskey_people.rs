//! Users of a Misskey at a gateway: who is let in, what they follow and mute, and
//! when their sockets end.

use serde_json::{Value, json};
use tests::misskey::{HOST, HOSTS, Principal, Weather, World};
use tests::port::Port;
use tests::{Fleet, Misskey, Refusal, Socket, Upgrade, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer than it may take until a change in the cache is known.
const KNOWN: std::time::Duration = std::time::Duration::from_secs(10);

const CHALLENGE: &str = "Bearer realm=\"Misskey\", error=\"invalid_token\", error_description=\"Failed to authenticate\"";

/// A Misskey with these users, and gateways before it. The users' own tokens.
async fn stand<const N: usize>(gateways: usize, users: [&str; N]) -> (Misskey, Fleet, [String; N]) {
    let mut world = World::default();
    let tokens = users.map(|user| world.user(user));
    let misskey = Misskey::of(world);
    let fleet = Fleet::of(gateways, 0).misskey(&misskey).start().await;
    fleet.hush(&misskey);
    misskey.cache_in(&fleet.redis().url(), HOST);
    (misskey, fleet, tokens)
}

/// A socket of this token with `main` open, so that all is subscribed.
async fn main_socket(fleet: &Fleet, token: &str) -> Socket {
    let mut socket = fleet.streaming_socket(0, Some(token)).await.unwrap();
    socket.connect("main", "m", json!({})).await;
    socket
}

/// Whether the user's socket is told of what somebody did.
async fn notified(fleet: &Fleet, socket: &mut Socket, user: &str, by: &str) -> bool {
    let body = json!({ "id": "x", "type": "follow", "userId": by, "user": { "id": by } });
    let stream = format!("mainStream:{user}");
    let notification = json!({ "type": "notification", "body": body });
    fleet.misskey_says(&stream, &notification).await;
    let end = json!({ "type": "pageEvent", "body": null });
    fleet.misskey_says(&stream, &end).await;
    let told = socket.json().await["body"]["type"] == "notification";
    if told {
        assert_eq!(socket.json().await["body"]["type"], "pageEvent");
    }
    told
}

/// Whether the socket is told of a reaction to a note for followers of this user.
async fn follows(fleet: &Fleet, socket: &mut Socket, user: &str) -> bool {
    for (visibility, reaction) in [("followers", "x"), ("public", "end")] {
        let what = json!({ "reaction": reaction, "emoji": null, "userId": "z" });
        let body = json!({
            "id": "n1", "userId": user, "visibility": visibility, "visibleUserIds": [], "body": what,
        });
        let event = json!({ "type": "reacted", "body": body });
        fleet.misskey_says("noteStream:n1", &event).await;
    }
    let told = socket.json().await["body"]["body"]["reaction"] == "x";
    if told {
        assert_eq!(socket.json().await["body"]["body"]["reaction"], "end");
    }
    told
}

async fn capture(socket: &mut Socket) {
    socket.say(r#"{"type":"s","body":{"id":"n1"}}"#).await;
    socket.caught_up().await;
}

/// The status of an upgrade with this query and these headers.
async fn upgrade(fleet: &Fleet, query: &str, headers: &[&str]) -> Result<Socket, Refusal> {
    let uri = format!("ws://{HOST}/streaming{query}");
    let mut upgrade = Upgrade::to_host(&uri, fleet.gateway(0).address());
    for header in headers {
        upgrade = upgrade.header("authorization", header);
    }
    upgrade.open().await
}

async fn refused(fleet: &Fleet, query: &str, headers: &[&str]) -> Refusal {
    upgrade(fleet, query, headers).await.err().unwrap()
}

#[tokio::test]
async fn each_request_for_a_socket_has_its_answer() {
    let (misskey, fleet, [ann, bob]) = stand(1, ["ann", "bob"]).await;
    misskey.change(|world| {
        world.principals.get_mut(&bob).unwrap().suspended = true;
        let app = |may: &[&str]| Principal::app("ann", may);
        world
            .principals
            .insert("app-may-nothing".into(), app(&["read:chat"]));
        world
            .principals
            .insert("app-may-read".into(), app(&["read:account"]));
    });
    fleet.hush(&misskey);
    for (query, header) in [
        ("", None),
        ("/", None),
        ("?_t=1", None),
        ("?i=app-may-read", None),
        (&format!("?i={ann}&_t=1"), None),
        ("?i=wrongwrongwrong0", Some(format!("Bearer {ann}"))),
        (&format!("?i={ann}"), Some("bearer wrongwrongwrong0".into())),
    ] {
        let opened = upgrade(&fleet, query, header.as_deref().as_slice()).await;
        let socket = opened.unwrap_or_else(|refusal| panic!("{query} {header:?}: {refusal:?}"));
        assert_eq!(socket.subprotocol(), None);
        socket.close().await;
    }
    for (query, headers) in [
        ("?i=", &[][..]),
        ("?i=wrongwrongwrong0", &[]),
        ("?i=app-may-nothing", &[]),
        ("", &["Bearer wrongwrongwrong0"]),
    ] {
        let refusal = refused(&fleet, query, headers).await;
        assert_eq!(refusal.status(), 401, "{query}");
        assert_eq!(refusal.header("www-authenticate"), Some(CHALLENGE));
        assert_eq!(refusal.header("content-length"), Some("0"));
    }
    let suspended = refused(&fleet, &format!("?i={bob}"), &[]).await;
    assert_eq!(suspended.status(), 403);
    assert_eq!(suspended.header("www-authenticate"), None);

    let address = fleet.gateway(0).address();
    for path in ["/streaming", "/streaming/"] {
        let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        plain.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
        assert!(answer.contains("cache-control: private, max-age=0\r\n"));
    }
    for uri in [
        "ws://other.example/streaming".to_owned(),
        format!("ws://{HOST}/streaming/else"),
    ] {
        let elsewhere = Upgrade::to_host(&uri, address).open().await;
        assert_eq!(elsewhere.err().unwrap().status(), 404, "{uri}");
    }

    // What is no answer of a Misskey says nothing about the token.
    misskey.set_weather(Weather::Failing(418));
    assert_eq!(
        refused(&fleet, "?i=neverseenbefore0", &[]).await.status(),
        500
    );
}

#[tokio::test]
async fn while_a_misskey_is_down_its_known_users_go_on_and_nobody_becomes_a_visitor() {
    let (misskey, fleet, [ann, bob]) = stand(1, ["ann", "bob"]).await;
    let mut socket = main_socket(&fleet, &ann).await;
    misskey.set_weather(Weather::Failing(502));
    assert!(notified(&fleet, &mut socket, "ann", "x").await);
    // What it said a moment ago holds.
    main_socket(&fleet, &ann).await.close().await;
    let unknown = refused(&fleet, &format!("?i={bob}"), &[]).await;
    assert_eq!(unknown.status(), 503);
    assert!(unknown.header("retry-after").is_some());
    misskey.set_weather(Weather::Fair);
    until("it is asked again", async || {
        fleet.streaming_socket(0, Some(&bob)).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_host_whose_bus_is_gone_for_long_gets_no_new_sockets_and_other_hosts_do() {
    let port = Port::claim();
    let nobody = port.address();
    let hosts = format!("{HOST}=acme bus={HOST} bus_redis=redis://{nobody}, own.example=own");
    let fleet = Fleet::of(1, 0)
        .env(HOSTS, &hosts)
        .env("CARILLON_GATEWAY_LINK_GRACE", "500ms")
        .start()
        .await;
    until("the bus has been gone for too long", async || {
        let opened = fleet.streaming_socket(0, None).await;
        opened.is_err_and(|refusal| refusal.status() == 503)
    })
    .await;
    let address = fleet.gateway(0).address();
    let other = Upgrade::to_host("ws://own.example/streaming", address);
    other.open().await.unwrap().close().await;
}

#[tokio::test]
async fn users_who_come_together_are_asked_about_once() {
    let (misskey, fleet, [ann]) = stand(1, ["ann"]).await;
    let sockets = (0..5).map(|_| fleet.streaming_socket(0, Some(&ann)));
    for socket in futures_util::future::join_all(sockets).await {
        socket.unwrap().close().await;
    }
    assert_eq!(misskey.asked("i"), 1);
    // Nothing was in the cache, which is not to say that she follows nobody.
    assert_eq!(misskey.asked("notes/timeline"), 1);
}

#[tokio::test]
async fn what_a_user_mutes_is_known_within_ten_seconds_and_a_key_that_ran_out_changes_nothing() {
    let (misskey, fleet, [ann]) = stand(1, ["ann"]).await;
    misskey.change(|world| world.relate("ann", "userMutings", json!(["m1"])));
    let mut socket = main_socket(&fleet, &ann).await;
    assert!(!notified(&fleet, &mut socket, "ann", "m1").await);
    assert!(notified(&fleet, &mut socket, "ann", "m2").await);

    fleet
        .misskey_keeps("kvcache:userMutings:ann", &json!(["m2"]))
        .await;
    within(KNOWN, "the change is known", async || {
        !notified(&fleet, &mut socket, "ann", "m2").await
    })
    .await;
    assert!(notified(&fleet, &mut socket, "ann", "m1").await);

    let profile =
        json!({ "userId": "ann", "password": "$2b$08$hush", "mutedInstances": ["m.example"] });
    let mut gone = redis::cmd("DEL");
    gone.arg(format!("{HOST}:kvcache:userMutings:ann"));
    fleet.commands().query::<()>(&gone).await.unwrap();
    fleet
        .misskey_keeps("kvcache:userProfile:ann", &profile)
        .await;
    // Once the one is known, so would be the other.
    let mut of_host = async || {
        let user = json!({ "id": "y", "host": "m.example" });
        let body = json!({ "id": "x", "type": "follow", "userId": "y", "user": user });
        let stream = "mainStream:ann";
        fleet
            .misskey_says(stream, &json!({ "type": "notification", "body": body }))
            .await;
        fleet
            .misskey_says(stream, &json!({ "type": "pageEvent", "body": null }))
            .await;
        let told = socket.json().await["body"]["type"] == "notification";
        if told {
            socket.json().await;
        }
        told
    };
    within(KNOWN, "the profile is known", async || !of_host().await).await;
    assert!(!notified(&fleet, &mut socket, "ann", "m2").await);
}

#[tokio::test]
async fn what_changes_while_a_user_is_gone_for_a_moment_is_known_when_they_are_back() {
    let (_misskey, fleet, [ann]) = stand(1, ["ann"]).await;
    main_socket(&fleet, &ann).await.close().await;
    let mutes = json!(["m1"]);
    fleet.misskey_keeps("kvcache:userMutings:ann", &mutes).await;
    let reads = "carillon_gateway_misskey_viewer_reads_total";
    let before = fleet.gateway(0).metric(reads).await;
    // The first may have been under way already.
    within(KNOWN, "she is read about", async || {
        before + 2.0 <= fleet.gateway(0).metric(reads).await
    })
    .await;
    let mut socket = main_socket(&fleet, &ann).await;
    assert!(!notified(&fleet, &mut socket, "ann", "m1").await);
}

#[tokio::test]
async fn whom_a_user_follows_is_known_at_once() {
    let (_misskey, fleet, [ann]) = stand(1, ["ann"]).await;
    let mut socket = fleet.streaming_socket(0, Some(&ann)).await.unwrap();
    capture(&mut socket).await;
    assert!(!follows(&fleet, &mut socket, "f1").await);
    let says = async |kind: &str| {
        let body = json!({ "followerId": "ann", "followeeId": "f1" });
        fleet
            .misskey_says("internal", &json!({ "type": kind, "body": body }))
            .await;
    };
    says("follow").await;
    within(KNOWN / 2, "she follows", async || {
        follows(&fleet, &mut socket, "f1").await
    })
    .await;
    says("unfollow").await;
    within(KNOWN / 2, "she does not", async || {
        !follows(&fleet, &mut socket, "f1").await
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_given_up_ends_its_own_sockets_and_no_others() {
    let (misskey, fleet, [ann, bob]) = stand(1, ["ann", "bob"]).await;
    misskey.change(|world| {
        let app = Principal::app("ann", &["read:account"]);
        world.principals.insert("the-token-of-an-app".into(), app);
    });
    fleet.hush(&misskey);
    let mut old = main_socket(&fleet, &ann).await;
    let mut app = main_socket(&fleet, "the-token-of-an-app").await;
    let mut other = main_socket(&fleet, &bob).await;
    let new = "annannannannanna";
    fleet.secrets().keep(new);
    misskey.change(|world| {
        let ann = world.principals.remove(&ann).unwrap();
        world.principals.insert(new.into(), ann);
    });
    let body = json!({ "id": "ann", "oldToken": ann, "newToken": new });
    let word = json!({ "type": "userTokenRegenerated", "body": body });
    fleet.misskey_says("internal", &word).await;
    assert_eq!(old.close_code().await, 1008);
    assert_eq!(
        refused(&fleet, &format!("?i={ann}"), &[]).await.status(),
        401
    );
    assert!(notified(&fleet, &mut app, "ann", "x").await);
    assert!(notified(&fleet, &mut other, "bob", "x").await);
    main_socket(&fleet, new).await.close().await;
}

#[tokio::test]
async fn a_user_who_is_suspended_or_deleted_loses_every_socket() {
    let (misskey, fleet, tokens) = stand(2, ["ann", "bob", "cleo"]).await;
    let [ann, bob, cleo] = &tokens;
    let mut cleo = main_socket(&fleet, cleo).await;
    for (name, token, kind, body) in [
        (
            "ann",
            ann,
            "userChangeSuspendedState",
            json!({ "id": "ann", "isSuspended": true }),
        ),
        (
            "bob",
            bob,
            "userChangeDeletedState",
            json!({ "id": "bob", "isDeleted": true }),
        ),
    ] {
        let mut here = main_socket(&fleet, token).await;
        let mut there = fleet.streaming_socket(1, Some(token)).await.unwrap();
        there.connect("main", "m", json!({})).await;
        misskey.change(|world| match name {
            "ann" => world.principals.get_mut(token).unwrap().suspended = true,
            _ => drop(world.principals.remove(token)),
        });
        fleet
            .misskey_says("internal", &json!({ "type": kind, "body": body }))
            .await;
        assert_eq!(here.close_code().await, 1008, "{name}");
        assert_eq!(there.close_code().await, 1008, "{name}");
    }
    assert_eq!(
        refused(&fleet, &format!("?i={ann}"), &[]).await.status(),
        403
    );
    assert_eq!(
        refused(&fleet, &format!("?i={bob}"), &[]).await.status(),
        401
    );
    assert!(notified(&fleet, &mut cleo, "cleo", "x").await);
}

#[tokio::test]
async fn without_a_misskey_our_own_tokens_name_users() {
    let fleet = Fleet::of(1, 0)
        .env(HOSTS, &format!("{HOST}=acme"))
        .start()
        .await;
    let ann = fleet.person("ann").await;
    let bob = fleet.person("bob").await;
    for token in [&ann, &bob] {
        fleet.secrets().keep(token);
    }
    fleet
        .misskey_keeps("kvcache:userMutings:ann", &json!(["m1"]))
        .await;
    let (mut first, mut second) = (
        main_socket(&fleet, &ann).await,
        main_socket(&fleet, &bob).await,
    );
    for (by, told) in [("m1", false), ("m2", true)] {
        let body = json!({ "id": "x", "type": "follow", "userId": by, "user": { "id": by } });
        fleet.produce("user:ann", "notification", &body).await;
        fleet.produce("user:ann", "pageEvent", &Value::Null).await;
        let frame = first.json().await;
        assert_eq!(frame["body"]["type"] == "notification", told, "{by}");
    }
    assert_eq!(first.json().await["body"]["type"], "pageEvent");
    assert_eq!(
        refused(&fleet, "?i=neverseenbefore0", &[]).await.status(),
        401
    );

    fleet.delete_user("ann").await;
    let began = std::time::Instant::now();
    assert_eq!(first.close_code().await, 1008);
    assert!(began.elapsed() < KNOWN / 2, "word of it is heard");
    assert_eq!(
        refused(&fleet, &format!("?i={ann}"), &[]).await.status(),
        401
    );
    fleet.produce("user:bob", "pageEvent", &Value::Null).await;
    assert_eq!(second.json().await["body"]["type"], "pageEvent");
}

#[tokio::test]
async fn without_a_misskey_what_users_may_look_at_is_kept_beside_whom_they_follow() {
    let fleet = Fleet::of(1, 0)
        .env(HOSTS, &format!("{HOST}=acme"))
        .start()
        .await;
    let ann = fleet.person("ann").await;
    let channels = [
        ("userList", json!({ "listId": "l1" })),
        ("antenna", json!({ "antennaId": "a1" })),
        ("roleTimeline", json!({ "roleId": "r1" })),
        ("chatRoom", json!({ "roomId": "c1" })),
    ];
    let mut socket = fleet.streaming_socket(0, Some(&ann)).await.unwrap();
    for (channel, params) in &channels {
        let body = json!({ "channel": channel, "id": channel, "params": params, "pong": true });
        let connect = json!({ "type": "connect", "body": body });
        socket.say(&connect.to_string()).await;
    }
    // No pong of theirs comes before.
    socket.caught_up().await;
    for (name, ids) in [
        ("userLists:ann", ["l1"]),
        ("userListMembers:l1", ["f1"]),
        ("userAntennas:ann", ["a1"]),
        ("explorableRoles:all", ["r1"]),
        ("userChatRooms:ann", ["c1"]),
    ] {
        fleet
            .misskey_keeps(&format!("kvcache:{name}"), &json!(ids))
            .await;
    }
    for (channel, params) in channels {
        socket.connect(channel, channel, params).await;
    }
    for (id, author) in [("n1", "f2"), ("n2", "f1")] {
        let note = tests::misskey::note(id, author, json!({}));
        fleet.produce("channel:notesStream", "note", &note).await;
    }
    assert_eq!(socket.json().await["body"]["body"]["id"], "n2");
}

#[tokio::test]
async fn a_misskey_that_does_not_answer_holds_up_nobody_else() {
    let (misskey, fleet, [ann]) = stand(1, ["ann"]).await;
    misskey.set_weather(Weather::Fair);
    let mut waiting = Vec::new();
    for _ in 0..80 {
        waiting.push(main_socket(&fleet, &ann).await);
    }
    misskey.set_weather(Weather::Silent);
    for socket in &mut waiting {
        let body =
            json!({ "channel": "userList", "id": "l", "params": { "listId": "l1" }, "pong": true });
        socket
            .say(&json!({ "type": "connect", "body": body }).to_string())
            .await;
    }
    until("it is asked", async || {
        0 < misskey.asked("users/lists/show")
    })
    .await;
    fleet.push("bob", "waited").await;
    let began = std::time::Instant::now();
    let mut pushed = fleet.connect("bob").await;
    assert_eq!(pushed.text().await, "waited");
    assert!(began.elapsed() < KNOWN / 2);
    // Events go on, to those who wait for an answer too.
    assert!(notified(&fleet, &mut waiting[79], "ann", "x").await);
}

#[tokio::test]
async fn what_was_missed_while_the_bus_was_away_is_asked_for() {
    let (misskey, fleet, [ann, bob]) = stand(1, ["ann", "bob"]).await;
    let mut gone = main_socket(&fleet, &ann).await;
    let mut stays = fleet.streaming_socket(0, Some(&bob)).await.unwrap();
    capture(&mut stays).await;
    misskey.change(|world| {
        world.principals.remove(&ann);
        let follows = json!({ "f1": { "withReplies": false } });
        world.relate("bob", "userFollowings", follows);
    });
    let mut forget = redis::cmd("DEL");
    forget.arg(format!("{HOST}:kvcache:userFollowings:bob"));
    fleet.commands().query::<()>(&forget).await.unwrap();
    let _: Vec<u64> = fleet.redis().each(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    // Who comes back reads again what the bus told meanwhile; who may not is told first.
    assert!([1008, 1012].contains(&gone.close_code().await));
    assert_eq!(stays.close_code().await, 1012);
    within(KNOWN * 2, "she is refused", async || {
        fleet.streaming_socket(0, Some(&ann)).await.is_err()
    })
    .await;
    let mut back = fleet.streaming_socket(0, Some(&bob)).await.unwrap();
    capture(&mut back).await;
    within(KNOWN * 2, "he follows", async || {
        follows(&fleet, &mut back, "f1").await
    })
    .await;
}

#[tokio::test]
async fn what_visitors_may_see_follows_the_settings_of_the_host() {
    let (misskey, fleet, []) = stand(1, []).await;
    misskey.change(|world| world.visitors = "none".into());
    let mut socket = fleet.streaming_socket(0, None).await.unwrap();
    capture(&mut socket).await;
    let reacted = async |reaction: &str| {
        let what = json!({ "reaction": reaction, "emoji": null, "userId": "z" });
        let body = json!({
            "id": "n1", "userId": "u", "visibility": "public", "visibleUserIds": [], "body": what,
        });
        let event = json!({ "type": "reacted", "body": body });
        fleet.misskey_says("noteStream:n1", &event).await;
    };
    reacted("unseen").await;
    let after = json!({ "ugcVisibilityForVisitor": "all", "policies": {} });
    let word = json!({ "type": "metaUpdated", "body": { "after": after } });
    fleet.misskey_says("internal", &word).await;
    let end = std::time::Instant::now() + KNOWN / 2;
    loop {
        reacted("seen").await;
        let soon = std::time::Duration::from_millis(100);
        if let Some(heard) = socket.heard_within(soon).await {
            assert!(format!("{heard:?}").contains("\\\"seen"), "{heard:?}");
            break;
        }
        assert!(
            std::time::Instant::now() < end,
            "visitors see nothing still"
        );
    }
}
