//! The examples of `docs/events.md`, run as they stand there.

use std::process::Command;

use serde_json::{Value, json};
use tests::{Fleet, until};

use super::{Ear, acme, ingest};

pub(super) const PAGE: &str = include_str!("../../../../docs/events.md");

/// The blocks of this language.
pub(super) fn blocks(language: &str) -> Vec<&'static str> {
    let start = format!("{language}\n");
    let blocks = PAGE.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix(&*start))
        .collect()
}

/// The events of the page.
pub(super) fn events() -> Vec<Value> {
    let blocks = blocks("json");
    let events = blocks
        .into_iter()
        .map(|block| serde_json::from_str(block).unwrap());
    events.collect()
}

#[tokio::test]
async fn the_events_of_the_page_are_published() {
    let fleet = Fleet::of(0, 0).start().await;
    let events = events();
    assert!(4 <= events.len());
    let outcomes = ingest(&fleet, &events).await;
    assert!(
        outcomes.iter().all(|outcome| outcome == "published"),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn the_programs_of_the_page_run() {
    let fleet = Fleet::of(0, 1).start().await;
    let mut ear = Ear::on(&fleet, &acme()).await;
    let run = |program: &str, code: &str| {
        let mut command = Command::new(program);
        command.arg("-c").arg(code);
        command.env("CARILLON_API", format!("http://{}", fleet.api().address()));
        command.env("ACCESS_KEY", fleet.access_key());
        let server = fleet.redis().master_of(&fleet.keys().intake(&acme()));
        command.env("REDIS_URL", format!("redis://{}", server.address()));
        let output = command.output().expect("it is installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{code}\n{said}\n{complaint}");
        said
    };
    for code in blocks("sh") {
        if code.contains("annotation") || code.contains("PUBLISH") {
            run("sh", code);
        }
    }
    let python = blocks("python")[0];
    assert!(python.lines().count() <= 10);
    assert!(run("python3", python).contains("'published'"));
    let mut heard = Vec::new();
    until("all are told of", async || {
        heard.extend(ear.heard(&fleet).await);
        heard.len() == 3
    })
    .await;
    heard.sort();
    assert_eq!(
        heard,
        ["4f2Xm", "4f2Xn", "4f2Xo"],
        "as curl, Python and redis-cli say"
    );
}

#[tokio::test]
async fn the_answer_of_the_page_is_given() {
    let fleet = Fleet::of(0, 0).start().await;
    let told: Value = serde_json::from_str(blocks("answer")[0]).unwrap();
    let event = |id: &str, uri: &str| {
        let mut event = super::report(id);
        event["annotation"]["uri"] = json!(uri);
        event
    };
    ingest(&fleet, &[event("b", "http://b/")]).await;
    let events = [
        event("a", "http://a/"),
        event("b", "http://b/"),
        event("c", ""),
    ];
    let body = json!({ "events": events }).to_string();
    let (_, answer) = super::post(&fleet, Some(fleet.access_key()), body.as_bytes()).await;
    assert_eq!(answer, told);
}
