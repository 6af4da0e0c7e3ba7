//! What a tenant may use of a cluster, as its clients and backends find out.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Fleet, Refusal, Upgrade, until, within};

/// Sets quotas of the fleet's tenant, as an operator does.
fn set(fleet: &Fleet, quotas: &[&str]) -> String {
    let args = [&["tenant", "set", "acme"], quotas].concat();
    fleet.run_api(&args)
}

/// Pushes to some recipients: the answer, and the error if it was refused.
async fn push(fleet: &Fleet, recipients: &[&str], text: &str) -> (Value, Value) {
    let push = "mutation($input: MessageInput!) { pushMessage(input: $input) { item { id } } }";
    let input = json!({ "recipients": recipients, "message": text });
    let answer = fleet.graphql(push, json!({ "input": input })).await;
    (
        answer["data"]["pushMessage"].clone(),
        answer["errors"][0].clone(),
    )
}

fn is_over_quota(refusal: &Refusal) {
    assert_eq!(refusal.status(), 429);
    let wait: u32 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((10..=30).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_tenant_has_so_many_sockets_in_the_whole_cluster_whatever_they_speak() {
    let fleet = Fleet::of(2, 0).env("CARILLON_MISSKEY_HOSTS", "social.example=acme");
    let fleet = fleet.start().await;
    let told = set(&fleet, &["--sockets", "3"]);
    assert!(told.contains("SOCKETS") && told.contains('3'), "{told}");
    let registration = fleet.register("ann").await;
    let first = fleet.upgrade(0, &registration).open().await.unwrap();
    let _second = fleet.hypothesis_socket(0, None).await;
    let _third = fleet.upgrade(1, &registration).open().await.unwrap();
    for gateway in 0..2 {
        let address = fleet.gateway(gateway).address();
        let refused = [
            fleet.upgrade(gateway, &registration),
            Upgrade::to(&format!("ws://{address}/ws")),
            Upgrade::to_host("ws://social.example/streaming", address),
        ];
        for upgrade in refused {
            is_over_quota(&upgrade.open().await.err().expect("there are three"));
        }
        for dialect in ["push", "hypothesis", "misskey"] {
            let series = format!(
                "carillon_gateway_accepts_total{{dialect=\"{dialect}\",outcome=\"quota\"}}"
            );
            let counted = fleet.gateway(gateway).metric(&series).await;
            assert!((0.5..1.5).contains(&counted), "{dialect}: {counted}");
        }
    }
    first.close().await;
    until("one may come", async || {
        fleet.upgrade(0, &registration).open().await.is_ok()
    })
    .await;
    set(&fleet, &["--sockets", "none"]);
    let mut sockets = Vec::new();
    until("any may come", async || {
        sockets.extend(fleet.upgrade(1, &registration).open().await);
        4 <= sockets.len()
    })
    .await;
    let listed = fleet.run_api(&["tenant", "list"]);
    assert!(!listed.contains("acme"), "{listed}");
}

#[tokio::test]
async fn a_tenant_that_pushes_too_fast_is_told_when_to_try_again() {
    let fleet = Fleet::of(0, 0).start().await;
    set(&fleet, &["--pushes", "5"]);
    let within_second = async |recipients: &[&str]| {
        let mut refused = Value::Null;
        until("it is too much", async || {
            // At the same time: one by one, a slow machine may need a second for them.
            let pushes = (0..20).map(|_| push(&fleet, recipients, "fast"));
            for (pushed, error) in join_all(pushes).await {
                assert_eq!(pushed.is_null(), !error.is_null(), "all or nothing");
                if !error.is_null() {
                    refused = error["extensions"].clone();
                }
            }
            !refused.is_null()
        })
        .await;
        refused
    };
    let refused = within_second(&["ann"]).await;
    assert_eq!(refused["code"], "LIMITED");
    assert_eq!(refused["quota"], "pushes");
    let wait = refused["retryAfter"].as_f64().unwrap();
    assert!((0.1..=1.0).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs_f64(wait)).await;
    assert!(push(&fleet, &["ann"], "in time").await.1.is_null());

    let (_, never) = push(&fleet, &["a", "b", "c", "d", "e", "f"], "many").await;
    assert_eq!(never["extensions"]["quota"], "pushes");
    assert_eq!(never["extensions"]["retryAfter"], Value::Null);

    // Another tenant has its own.
    let key = fleet.create_key("other", tests::fleet::ALL_SCOPES);
    let push = "mutation($to: [String!]!) {
        pushMessage(input: { recipients: $to, message: \"m\" }) { item { id } } }";
    let many: Vec<_> = (0..50).map(|n| format!("r{n}")).collect();
    let answer = fleet
        .graphql_as(Some(&key), push, json!({ "to": many }))
        .await;
    assert!(answer["errors"].is_null(), "{answer}");
    let counted = "carillon_api_quota_refusals_total{quota=\"pushes\"}";
    assert!(2.0 <= fleet.api().metric(counted).await);
}

#[tokio::test]
async fn a_tenant_s_messages_have_a_length_and_so_many_wait() {
    let fleet = Fleet::of(0, 0).start().await;
    // Longer than the settings allow, and fewer.
    let long = "m".repeat(65 * 1024);
    let (_, error) = push(&fleet, &["ann"], &long).await;
    assert_eq!(error["extensions"]["code"], "LIMITED");
    assert_eq!(error["extensions"]["quota"], Value::Null, "no quota");
    set(&fleet, &["--payload", "66560", "--pending", "2"]);
    until("the quota holds", async || {
        push(&fleet, &["ben"], &long).await.1.is_null()
    })
    .await;
    let (_, error) = push(&fleet, &["ann"], &(long + "m")).await;
    assert_eq!(error["extensions"]["code"], "LIMITED");
    assert_eq!(error["extensions"]["quota"], "payload");
    let first = fleet.push("ann", "the one before").await;
    fleet.push("ann", "the one after it").await;
    assert_eq!(fleet.message(&first["id"]).await["status"], "PENDING");
    fleet.push("ann", "one too many").await;
    assert_eq!(fleet.message(&first["id"]).await["status"], "CANCELLED");
    let counted = "carillon_api_quota_refusals_total{quota=\"payload\"}";
    let counted = fleet.api().metric(counted).await;
    assert!((0.5..1.5).contains(&counted), "{counted}");
}

#[tokio::test]
async fn a_gateway_that_leaves_takes_its_places_along() {
    let fleet = Fleet::of(2, 0).start().await;
    set(&fleet, &["--sockets", "1"]);
    let registration = fleet.register("ann").await;
    let mut socket = fleet.upgrade(0, &registration).open().await.unwrap();
    let refusal = fleet.upgrade(1, &registration).open().await;
    is_over_quota(&refusal.err().expect("there is one"));
    assert!(fleet.gateway(0).terminate().await.success());
    assert_eq!(socket.close_code().await, 1012);
    // Sooner than if it had been killed: then its places are held for 15 s.
    within(Duration::from_secs(10), "the place is free", async || {
        fleet.upgrade(1, &registration).open().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn pushes_through_the_stream_count_as_all_others() {
    let fleet = Fleet::of(1, 1).start().await;
    set(&fleet, &["--pushes", "2"]);
    let mut socket = fleet.connect("ann").await;
    let tenant = tests::fleet::TENANT.parse().unwrap();
    let add = async |recipients: &[&str], text: &str| {
        let push = json!({ "recipients": recipients, "message": text });
        let mut add = redis::cmd("XADD");
        add.arg(fleet.keys().intake(&tenant)).arg("*");
        add.arg("type")
            .arg("push")
            .arg("data")
            .arg(push.to_string());
        fleet.commands().query::<String>(&add).await.unwrap();
    };
    add(&["ann", "ben", "cid"], "to more than ever may be").await;
    for n in 0..4 {
        add(&["ann"], &format!("by stream {n}")).await;
    }
    for n in 0..4 {
        assert_eq!(socket.text().await, format!("by stream {n}"));
    }
    let dead = "carillon_worker_dead_letters_total{why=\"quota\"}";
    let dead = fleet.worker(0).metric(dead).await;
    assert!((0.5..1.5).contains(&dead), "{dead}");
}
