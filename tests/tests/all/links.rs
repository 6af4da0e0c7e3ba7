//! The connection by which gateways and apis hear of what happens: frozen, cut,
//! overrun, and without a Redis at its end.

use std::time::Duration;

use broker::bus::Bus;
use broker::topic::Topic;
use serde_json::{Value, json};
use tests::{Fleet, FleetBuilder, Lines, Process, Refusal, Socket, until, until_some, within};
use tokio::time::Instant;

/// So often the links of these tests prove to be alive.
const PROBE: Duration = Duration::from_millis(500);
/// What a busy machine may add: less than the intervals that hold where nobody
/// sets them would.
const SLACK: Duration = Duration::from_secs(5);
/// Longer than a node forgives its own link in these tests.
const LASTING: Duration = Duration::from_millis(3500);

const UP: &str = "carillon_gateway_broker_link_up";
const EPOCHS: &str = "carillon_gateway_link_epochs_total";
const TOPICS: &str = "carillon_gateway_broker_topics";

/// A fleet whose gateways reach Redis through a network that can fail.
fn shaky(gateways: usize) -> FleetBuilder {
    Fleet::of(gateways, 0)
        .behind_proxy(&["gateway"])
        .env("CARILLON_GATEWAY_PROBE_INTERVAL", "500ms")
}

async fn acknowledging(fleet: &Fleet, recipient: &str) -> Socket {
    let registration = fleet.register(recipient).await;
    let upgrade = fleet.upgrade(0, &registration).acknowledging();
    upgrade.open().await.unwrap()
}

/// The status of `/ready`, and the states of the conditions named.
async fn ready(process: &Process) -> (u16, String, String) {
    let (status, body) = process.ready().await.expect("the admin port answers");
    let body: Value = serde_json::from_str(&body).unwrap();
    let state = |name: &str| {
        let state = &body["conditions"][name]["state"];
        state.as_str().unwrap_or("missing").to_owned()
    };
    (status, state("redis"), state("link"))
}

/// Waits until the node is ready with these conditions: what is counted may be
/// known a moment before it is shown.
async fn shows(process: &Process, redis: &str, link: &str) {
    until(&format!("redis {redis}, link {link}"), async || {
        ready(process).await == (200, redis.into(), link.into())
    })
    .await;
}

async fn link_is(up: bool, process: &Process) {
    until(&format!("link up: {up}"), async || {
        (process.metric(UP).await > 0.5) == up
    })
    .await;
}

/// Pushes numbered texts, and says what was pushed.
async fn push(fleet: &Fleet, recipient: &str, texts: &[&str]) {
    for text in texts {
        fleet.push(recipient, text).await;
    }
}

async fn hears(socket: &mut Socket, texts: &[&str]) {
    for text in texts {
        assert_eq!(socket.text().await, *text);
    }
}

async fn hears_json(socket: &mut Socket, texts: &[&str]) {
    for text in texts {
        let frame = socket.json().await;
        assert_eq!(frame["message"], *text);
        socket.acknowledge(&[frame["id"].as_str().unwrap()]).await;
    }
}

#[tokio::test]
async fn a_silent_link_is_noticed_and_nothing_is_missed_or_repeated() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let mut raw = fleet.connect("ann").await;
    let mut acknowledging_too = acknowledging(&fleet, "bob").await;
    push(&fleet, "ann", &["before one"]).await;
    push(&fleet, "bob", &["before two"]).await;
    hears(&mut raw, &["before one"]).await;
    // Left without an acknowledgement: it is not sent again on the same socket.
    assert_eq!(acknowledging_too.json().await["message"], "before two");

    fleet.proxy().freeze(Lines::Subscriptions);
    let frozen = Instant::now();
    link_is(false, gateway).await;
    let noticed = frozen.elapsed();
    assert!(noticed < 2 * PROBE + SLACK, "noticed after {noticed:?}");
    shows(gateway, "up", "degraded").await;
    let silent = format!("{EPOCHS}{{cause=\"silent\"}}");
    assert!(gateway.metric(&silent).await >= 1.0);

    let mut second = fleet.connect("ann").await;
    push(&fleet, "ann", &["during 1", "during 2", "during 3"]).await;
    push(&fleet, "bob", &["during 1", "during 2"]).await;
    let mut newcomer = acknowledging(&fleet, "cem").await;
    push(&fleet, "cem", &["during 3"]).await;
    push(&fleet, "ann", &["during 4"]).await;

    fleet.proxy().heal();
    link_is(true, gateway).await;
    hears(&mut raw, &["during 1", "during 2", "during 3", "during 4"]).await;
    hears_json(&mut acknowledging_too, &["during 1", "during 2"]).await;
    hears_json(&mut newcomer, &["during 3"]).await;
    push(&fleet, "ann", &["after one"]).await;
    push(&fleet, "bob", &["after two"]).await;
    push(&fleet, "cem", &["after three"]).await;
    // What comes next is what was pushed next: nothing came twice.
    hears(&mut raw, &["after one"]).await;
    hears_json(&mut acknowledging_too, &["after two"]).await;
    hears_json(&mut newcomer, &["after three"]).await;
    // Also if the other one was there first.
    let all = ["during 1", "during 2", "during 3", "during 4", "after one"];
    hears(&mut second, &all).await;
    shows(gateway, "up", "up").await;
}

#[tokio::test]
async fn global_messages_pushed_while_the_link_was_silent_arrive_once() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let mut raw = fleet.connect("ann").await;
    let mut json = acknowledging(&fleet, "bob").await;
    push(&fleet, "ann", &["caught up"]).await;
    push(&fleet, "bob", &["caught up"]).await;
    hears(&mut raw, &["caught up"]).await;
    hears_json(&mut json, &["caught up"]).await;
    fleet.push_global("everybody 1").await;
    hears(&mut raw, &["everybody 1"]).await;
    // Never acknowledged.
    assert_eq!(json.json().await["message"], "everybody 1");
    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, gateway).await;
    fleet.push_global("everybody 2").await;
    fleet.proxy().heal();
    link_is(true, gateway).await;
    hears(&mut raw, &["everybody 2"]).await;
    assert_eq!(json.json().await["message"], "everybody 2");
    fleet.push_global("everybody 3").await;
    hears(&mut raw, &["everybody 3"]).await;
    assert_eq!(json.json().await["message"], "everybody 3");
}

#[tokio::test]
async fn a_node_whose_own_link_stays_down_asks_for_no_more_sockets() {
    let fleet = shaky(1)
        .env("CARILLON_GATEWAY_LINK_GRACE", "1500ms")
        .start()
        .await;
    let gateway = fleet.gateway(0);
    let cut = Instant::now();
    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, gateway).await;
    shows(gateway, "up", "degraded").await;
    // While no other node hears, this one is as good as any.
    let long = Instant::now() + LASTING;
    until("it has lasted", async || {
        assert_eq!(ready(gateway).await.0, 200);
        long < Instant::now()
    })
    .await;
    let bus = Bus::new(fleet.commands(), fleet.keys());
    bus.announce("another", true).await.unwrap();
    until("the node is not ready", async || {
        ready(gateway).await == (503, "up".into(), "down".into())
    })
    .await;
    assert!(Duration::from_millis(1500) <= cut.elapsed());
    fleet.proxy().heal();
    shows(gateway, "up", "up").await;

    // Without answers from Redis, the other nodes are no better.
    fleet.proxy().sever(Lines::All);
    shows(gateway, "degraded", "degraded").await;
    let long = Instant::now() + LASTING;
    until("it has lasted", async || {
        assert_eq!(ready(gateway).await.0, 200);
        long < Instant::now()
    })
    .await;
}

#[tokio::test]
async fn a_gateway_cut_off_in_silence_says_so_at_once_and_refuses_in_time() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let registration = fleet.register("ann").await;
    let mut raw = fleet.upgrade(0, &registration).open().await.unwrap();
    push(&fleet, "ann", &["before it"]).await;
    hears(&mut raw, &["before it"]).await;

    fleet.proxy().freeze(Lines::All);
    let frozen = Instant::now();
    link_is(false, gateway).await;
    let noticed = frozen.elapsed();
    assert!(noticed < 2 * PROBE + SLACK, "noticed after {noticed:?}");
    let shown = Instant::now();
    let redis = until_some("the body of /ready shows it", async || {
        let (_, redis, link) = ready(gateway).await;
        (link == "degraded").then_some(redis)
    })
    .await;
    let shown = shown.elapsed();
    // Not held up by Redis, which has still to answer; or which is given up already.
    assert!(
        redis == "up" || shown < Duration::from_secs(1),
        "shown after {shown:?}"
    );
    shows(gateway, "degraded", "degraded").await;

    // Many at once: none waits for the attempts of the others.
    let asked = Instant::now();
    let attempts = (0..40).map(|_| fleet.upgrade(0, &registration).open());
    for refusal in futures_util::future::join_all(attempts).await {
        let refusal: Refusal = refusal.err().expect("nobody can be let in");
        assert_eq!(refusal.status(), 503);
        assert!(refusal.header("retry-after").is_some());
    }
    let refused = asked.elapsed();
    assert!(
        refused < Duration::from_secs(15),
        "the last was refused after {refused:?}"
    );

    push(&fleet, "ann", &["meanwhile 1", "meanwhile 2"]).await;
    fleet.proxy().heal();
    hears(&mut raw, &["meanwhile 1", "meanwhile 2"]).await;
    push(&fleet, "ann", &["thereafter"]).await;
    hears(&mut raw, &["thereafter"]).await;
    shows(gateway, "up", "up").await;
    assert!(fleet.upgrade(0, &registration).open().await.is_ok());
}

#[tokio::test]
async fn a_paused_redis_is_noticed_and_heals_without_a_loss() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let mut raw = fleet.connect("ann").await;
    let mut json = acknowledging(&fleet, "bob").await;
    let _: Vec<()> = fleet.redis().each(&["CLIENT", "PAUSE", "3000", "ALL"]);
    link_is(false, gateway).await;
    assert_eq!(ready(gateway).await.0, 200);
    link_is(true, gateway).await;
    push(&fleet, "ann", &["after it"]).await;
    push(&fleet, "bob", &["after it"]).await;
    hears(&mut raw, &["after it"]).await;
    hears_json(&mut json, &["after it"]).await;
}

/// Pushes as a backend should: what gets no item is repeated under its key. The
/// first call after Redis was away may find the connection of before.
async fn push_until_accepted(fleet: &Fleet, recipient: &str, text: &str) {
    until("a push is accepted", async || {
        let input = json!({ "recipients": [recipient], "message": text, "idempotencyKey": text });
        fleet.push_with(input).await[0]["error"].is_null()
    })
    .await;
}

#[tokio::test]
async fn without_redis_sockets_stay_and_new_ones_are_asked_to_come_back() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let registration = fleet.register("ann").await;
    let mut raw = fleet.upgrade(0, &registration).open().await.unwrap();
    let mut json = acknowledging(&fleet, "bob").await;
    push(&fleet, "ann", &["accepted 1"]).await;
    hears(&mut raw, &["accepted 1"]).await;
    let waiting = fleet.push("away", "accepted 2").await;

    fleet.redis().kill();
    shows(gateway, "degraded", "degraded").await;
    let refusal = fleet.upgrade(0, &registration).open().await.err();
    let refusal = refusal.expect("tokens cannot be checked");
    assert_eq!(refusal.status(), 503);
    assert!(refusal.header("retry-after").is_some());

    fleet.redis().restart().await;
    link_is(true, gateway).await;
    push_until_accepted(&fleet, "ann", "accepted 3").await;
    push_until_accepted(&fleet, "bob", "accepted 4").await;
    hears(&mut raw, &["accepted 3"]).await;
    hears_json(&mut json, &["accepted 4"]).await;
    let mut away = fleet.connect("away").await;
    hears(&mut away, &["accepted 2"]).await;
    fleet.settled(&waiting["id"], "DELIVERED").await;
}

#[tokio::test]
async fn a_killed_link_and_forgotten_scripts_are_made_anew() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let mut raw = fleet.connect("ann").await;
    let mut json = acknowledging(&fleet, "bob").await;
    for round in 1..=3 {
        let killed: Vec<u32> = fleet.redis().each(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert!(1 <= killed.into_iter().sum::<u32>());
        let _: Vec<()> = fleet.redis().each(&["SCRIPT", "FLUSH"]);
        let text = format!("round {round}");
        push(&fleet, "ann", &[&text]).await;
        push(&fleet, "bob", &[&text]).await;
        hears(&mut raw, &[&text]).await;
        hears_json(&mut json, &[&text]).await;
        // What the round before had them read may hold this one's messages: that
        // they are heard does not say that the link is back.
        until("each time is counted", async || {
            gateway.metric(EPOCHS).await >= f64::from(round)
        })
        .await;
        link_is(true, gateway).await;
    }
}

#[tokio::test]
async fn a_link_that_redis_drops_for_reading_too_slowly_is_recovered() {
    // Quiet for longer than the flood takes, so that it is Redis who gives up.
    let fleet = shaky(1)
        .env("CARILLON_GATEWAY_PROBE_INTERVAL", "20s")
        .start()
        .await;
    let mut raw = fleet.connect("ann").await;
    let limit = ["client-output-buffer-limit", "pubsub 1mb 1mb 1"];
    let _: Vec<()> = fleet.redis().each(&["CONFIG", "SET", limit[0], limit[1]]);
    let listeners = || -> usize {
        let lists = fleet
            .redis()
            .each::<String>(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        lists.iter().map(|list| list.lines().count()).sum()
    };
    let before = listeners();
    fleet.proxy().freeze(Lines::Subscriptions);
    let channel = fleet.keys().control_channel();
    let flood = "x".repeat(1 << 20);
    until("Redis gives up", async || {
        for _ in 0..8 {
            fleet.publish(&channel, &flood).await;
        }
        // The api's own link reads, and stays.
        listeners() < before
    })
    .await;
    push(&fleet, "ann", &["meanwhile"]).await;
    fleet.proxy().heal();
    hears(&mut raw, &["meanwhile"]).await;
    push(&fleet, "ann", &["thereafter"]).await;
    hears(&mut raw, &["thereafter"]).await;
}

#[tokio::test]
async fn a_link_comes_back_after_a_long_outage_without_any_traffic() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let mut raw = fleet.connect("ann").await;
    fleet.proxy().sever(Lines::All);
    // More attempts than the redis crate's own connection would make.
    until("eight attempts have failed", async || {
        gateway.metric(EPOCHS).await >= 8.0
    })
    .await;
    fleet.proxy().heal();
    link_is(true, gateway).await;
    push(&fleet, "ann", &["who is there?"]).await;
    hears(&mut raw, &["who is there?"]).await;
}

#[tokio::test]
async fn sockets_that_come_and_go_while_the_link_is_down_leave_nothing_behind() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let ann = fleet.register("ann").await;
    let upgrade = || fleet.upgrade(0, &ann);
    let stays = fleet.connect("bob").await;
    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, gateway).await;
    for _ in 0..50 {
        upgrade().open().await.unwrap().close().await;
    }
    fleet.proxy().heal();
    link_is(true, gateway).await;
    // The recipient who stayed, and its tenant's topic of all.
    until("only what is wanted is subscribed", async || {
        (gateway.metric(TOPICS).await - 2.0).abs() < 0.5
    })
    .await;
    stays.close().await;
}

#[tokio::test]
async fn an_api_counts_sockets_again_once_its_link_is_back() {
    let fleet = Fleet::of(2, 0).behind_proxy(&["api"]).start().await;
    let _one = fleet.connect_at(0, "ann").await;
    let _two = fleet.connect_at(1, "ann").await;
    let status = async || {
        let query = "query($r: String!) { recipientStatus(recipient: $r) {
            connections gatewaysAnswered gatewaysKnown } }";
        let data = fleet.data(query, json!({ "r": "ann" })).await;
        data["recipientStatus"].clone()
    };
    let whole = json!({ "connections": 2, "gatewaysAnswered": 2, "gatewaysKnown": 2 });
    until("both are counted", async || status().await == whole).await;
    fleet.proxy().sever(Lines::Subscriptions);
    until("the api's link is down", async || {
        fleet.api().metric("carillon_api_broker_link_up").await < 0.5
    })
    .await;
    let unheard = json!({ "connections": 0, "gatewaysAnswered": 0, "gatewaysKnown": 2 });
    assert_eq!(status().await, unheard, "it says that nobody answered");
    fleet.proxy().heal();
    until("both are counted again", async || status().await == whole).await;

    let key = fleet.create_key("acme", tests::fleet::ALL_SCOPES);
    let opens = async || {
        let answer = fleet.graphql_as(Some(&key), "{ version }", json!({})).await;
        answer["errors"].is_null()
    };
    assert!(opens().await);
    let id = key.split('_').nth(1).unwrap();
    fleet.api_key(&["disable", id]);
    // Far sooner than what the api remembers of a key grows old.
    within(Duration::from_secs(15), "the key is closed", async || {
        !opens().await
    })
    .await;
}

#[tokio::test]
async fn a_cut_of_everything_at_once_is_healed_by_the_next_command() {
    let fleet = shaky(2).start().await;
    let ann = fleet.register("ann").await;
    let mut here = fleet.upgrade(0, &ann).open().await.unwrap();
    let mut there = fleet.upgrade(1, &ann).open().await.unwrap();
    for round in 1..=3 {
        fleet.proxy().cut(Lines::All).await;
        for gateway in fleet.gateways() {
            link_is(true, gateway).await;
        }
        let text = format!("round {round}");
        fleet.push("ann", &text).await;
        assert_eq!(here.text().await, text);
        assert_eq!(there.text().await, text);
    }
    until("new sockets are let in", async || {
        fleet.upgrade(0, &ann).open().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn damaged_recipients_hold_up_nobody_else() {
    let fleet = Fleet::of(1, 0).start().await;
    // More than the gateway reads backlogs for at once.
    let mut damaged = Vec::new();
    for n in 0..70 {
        let name = format!("damaged {n}");
        let topic = Topic::recipient(&tests::fleet::TENANT.parse().unwrap(), &name);
        let set = redis::Cmd::set(fleet.keys().pending(&topic), "no set of ids");
        let () = fleet.commands().query(&set).await.unwrap();
        damaged.push(acknowledging(&fleet, &name).await);
    }
    let gateway = fleet.gateway(0);
    until("all have been given up", async || {
        gateway
            .metric("carillon_gateway_errands_given_up_total")
            .await
            >= 70.0
    })
    .await;
    // Noting this delivery fails for ever, too.
    let id = fleet.push("other", "any").await["id"].clone();
    damaged[0].acknowledge(&[id.as_str().unwrap()]).await;
    fleet.push("ann", "it waited").await;
    let mut ann = fleet.connect("ann").await;
    hears(&mut ann, &["it waited"]).await;
    let message = fleet.push("ann", "it is live").await;
    hears(&mut ann, &["it is live"]).await;
    fleet.settled(&message["id"], "DELIVERED").await;
    until("the delivery has been given up", async || {
        gateway
            .metric("carillon_gateway_errands_given_up_total")
            .await
            >= 71.0
    })
    .await;
}

#[tokio::test]
async fn an_outage_does_not_flood_the_log() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let mut sockets = Vec::new();
    for n in 0..30 {
        sockets.push(fleet.connect(&format!("recipient {n}")).await);
    }
    let ann = fleet.register("ann").await;
    let complaints = || {
        let output = gateway.output();
        let loud = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
        output.lines().filter(loud).count()
    };
    let before = complaints();
    fleet.proxy().sever(Lines::All);
    link_is(false, gateway).await;
    let attempts = async || gateway.metric(EPOCHS).await;
    let first = attempts().await;
    let upgrades = (0..30).map(|_| fleet.upgrade(0, &ann).open());
    let opened = futures_util::future::join_all(upgrades).await;
    assert!(opened.iter().all(Result::is_err));
    until("some time has passed", async || {
        attempts().await >= first + 6.0
    })
    .await;
    let said = complaints() - before;
    let tries = attempts().await as usize;
    // Each attempt once, and a few words of what else Redis is missed for: not one
    // for each of the sockets, or of those who were refused.
    assert!(said <= tries + 15, "{said} complaints for {tries} attempts");
    until("the outage is told", async || {
        gateway.output().contains("redis does not answer")
    })
    .await;
    fleet.proxy().heal();
    link_is(true, gateway).await;
    until("the end is told, too", async || {
        gateway.output().contains("redis answers again")
    })
    .await;
}

#[tokio::test]
async fn a_recipient_revoked_while_the_link_is_down_loses_its_sockets_once_it_is_back() {
    let fleet = shaky(1).start().await;
    let gateway = fleet.gateway(0);
    let mut raw = fleet.connect("ann").await;
    let mut json = acknowledging(&fleet, "ann").await;
    let mut other = fleet.connect("bob").await;
    push(&fleet, "ann", &["before it"]).await;
    hears(&mut raw, &["before it"]).await;
    fleet.proxy().sever(Lines::Subscriptions);
    link_is(false, gateway).await;
    let revoke = "mutation { revokeRecipient(recipient: \"ann\") { __typename } }";
    fleet.data(revoke, json!({})).await;
    push(&fleet, "bob", &["undisturbed"]).await;
    fleet.proxy().heal();
    assert_eq!(raw.close_code().await, 1008);
    assert_eq!(json.close_code().await, 1008);
    hears(&mut other, &["undisturbed"]).await;
}
