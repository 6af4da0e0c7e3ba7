//! Programs of others, unmodified, against a whole cluster.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::fleet::TENANT;
use tests::hypothesis::userid;
use tests::misskey::HOST;
use tests::port::Port;
use tests::{Fleet, Misskey};

/// Runs one of the scripts in `tests/clients`, which is told these facts.
///
/// Needs node, Chromium and the packages of `tests/clients`; `make need-browser`
/// fetches what is missing.
pub(crate) fn drive(script: &str, facts: &Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.parent().unwrap().join("target");
    let cluster = target.join(format!("cluster-{}-{script}.json", std::process::id()));
    std::fs::write(&cluster, facts.to_string()).unwrap();
    let output = Command::new("node")
        .arg(root.join("clients").join(script))
        .args([&cluster, &target.join("screenshots")])
        .stdin(Stdio::null())
        .output();
    std::fs::remove_file(&cluster).unwrap();
    let output = output.expect("node is installed");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn the_published_client_of_hypothesis_lives_through_drains_and_kills() {
    let fleet = Fleet::of(3, 1).balanced().start().await;
    let reader = fleet.person("reader").await;
    let writer = fleet.person("writer").await;
    let gateways: Vec<_> = fleet.gateways().iter().map(tests::Process::pid).collect();
    drive(
        "hypothesis.mjs",
        &json!({
            "api": format!("http://{}/api/", fleet.api().address()),
            "reader": reader,
            "readerId": userid("reader"),
            "writer": writer,
            "gateways": gateways,
        }),
    );
}

/// As many clients as lose their gateway at once; half of them have a socket there.
const STORM: usize = 1000;

#[tokio::test]
async fn a_thousand_clients_of_misskey_are_back_after_a_kill_without_a_storm() {
    let misskey = Misskey::start();
    let mut tokens = Vec::new();
    misskey.change(|world| {
        tokens.extend((0..STORM).map(|n| world.user(&format!("u{n}"))));
    });
    let fleet = Fleet::of(2, 0)
        .misskey(&misskey)
        // Slow enough that some have to wait, and would be a storm if refused.
        .env("CARILLON_GATEWAY_ACCEPT_RATE", "200")
        .start()
        .await;
    fleet.hush(&misskey);
    let port = Port::claim();
    let gateways = fleet.gateways().iter().map(|gateway| {
        json!({ "address": gateway.address(), "admin": gateway.admin(), "pid": gateway.pid() })
    });
    drive(
        "misskey-storm.mjs",
        &json!({
            "host": HOST,
            "redis": fleet.redis().address(),
            "port": port.address().port(),
            "tokens": tokens,
            "gateways": gateways.collect::<Vec<_>>(),
        }),
    );
}

#[tokio::test]
async fn the_published_client_of_misskey_lives_through_kills_and_drains() {
    let misskey = Misskey::start();
    let mut token = String::new();
    misskey.change(|world| {
        token = world.user("u1");
        let following = json!({ "f1": { "withReplies": false } });
        world.relate("u1", "userFollowings", following);
    });
    let fleet = Fleet::of(3, 0).misskey(&misskey).balanced();
    let fleet = fleet.start().await;
    misskey.cache_in(&fleet.redis().url(), HOST);
    fleet.hush(&misskey);
    let gateways: Vec<_> = fleet.gateways().iter().map(tests::Process::pid).collect();
    let balancer = fleet.balancer().expect("there is one");
    drive(
        "misskey.mjs",
        &json!({
            "origin": format!("http://{balancer}"),
            "host": HOST,
            "tenant": TENANT,
            "redis": fleet.redis().address().to_string(),
            "token": token,
            "gateways": gateways,
        }),
    );
}
