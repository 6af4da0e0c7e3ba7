//! The cases that protocols are held to, and whoever plays them.

use std::path::Path;

use tests::Fleet;
use tests::cases::json::Json;
use tests::cases::variables::Variables;
use tests::cases::{self, Case, Level, Outcome};

fn read(file: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    cases::read(&folder.join(file)).unwrap().cases
}

#[tokio::test]
async fn every_case_of_the_hypothesis_protocol_holds() {
    let cases = [read("hypothesis.json"), read("hypothesis-recommended.json")].concat();
    let mut skipped = Vec::new();
    let mut failed = Vec::new();
    for (case, outcome) in cases::play_all(&cases).await {
        match outcome {
            Outcome::Passed => {}
            Outcome::Skipped => skipped.push(case.id.as_str()),
            Outcome::Failed(story) => failed.push(story),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert_eq!(skipped, ["cl-001", "cl-003", "cl-005"]);
}

#[test]
fn every_quirk_of_the_original_has_a_form_that_is_recommended() {
    let mut quirks = read("hypothesis.json");
    quirks.retain(|case| case.level == Level::Quirk);
    let recommended = read("hypothesis-recommended.json");
    let ids = |cases: &[Case]| cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&quirks), ids(&recommended));
    assert!(
        recommended
            .iter()
            .all(|case| case.level == Level::Recommended)
    );
}

/// How a conversation over a running cluster goes: each line is a step.
async fn told(fleet: &Fleet, steps: &[&str]) -> String {
    let case = Case {
        id: "c".to_owned(),
        level: Level::Must,
        title: "A fact".to_owned(),
        steps: steps
            .iter()
            .map(|step| Json::parse(step).unwrap())
            .collect(),
    };
    let played = cases::play(fleet, &Variables::default(), &[&case]).await;
    match &played[0].1 {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Skipped => "skipped".to_owned(),
        Outcome::Failed(story) => story.clone(),
    }
}

#[tokio::test]
async fn a_case_fails_with_its_steps_where_anything_comes_that_is_not_expected() {
    const CONNECT: &str = r#"{"op":"connect","socket":"A"}"#;
    const PING: &str = r#"{"op":"send_json","socket":"A","json":{"type":"ping","id":1}}"#;
    let fleet = Fleet::start().await;
    let fleet = &fleet;

    let right =
        r#"{"op":"expect_json","socket":"A","json":{"type":"pong","ok":true,"reply_to":1.0}}"#;
    assert_eq!(told(fleet, &[CONNECT, PING, right]).await, "passed");
    let wrong = r#"{"op":"expect_json","socket":"A","json":{"type":"pong"},"match":"exact"}"#;
    let told_whole = told(fleet, &[CONNECT, PING, wrong]).await;
    assert!(
        told_whole.starts_with("c (must): A fact\n   1. ok     connect A\n"),
        "{told_whole}"
    );
    assert!(
        told_whole.contains("\n   3. FAILED expect_json A {"),
        "{told_whole}"
    );
    assert!(
        told_whole.contains("\n             ok: not expected, got true\n"),
        "{told_whole}"
    );
    assert!(told_whole.contains(r#"the whole frame: {"ok":true,"reply_to":1,"type":"pong"}"#));

    for (steps, why) in [
        (
            &[
                CONNECT,
                PING,
                r#"{"op":"expect_none","socket":"A","within_ms":400}"#,
            ][..],
            "expected no frame, got the text {",
        ),
        (
            &[CONNECT, PING, r#"{"op":"barrier","socket":"A"}"#],
            "reply_to: expected 7000001, got 1",
        ),
        (
            &[
                CONNECT,
                r#"{"op":"expect_json","socket":"A","json":{},"within_ms":50}"#,
            ],
            "expected a text frame of JSON within 50ms, got nothing",
        ),
        (
            &[
                CONNECT,
                r#"{"op":"expect_close","socket":"A","within_ms":50}"#,
            ],
            "expected a close frame, got nothing",
        ),
        (
            &[
                CONNECT,
                r#"{"op":"send_close","socket":"A","code":1000}"#,
                r#"{"op":"expect_close","socket":"A","code":1001}"#,
            ],
            "expected another close, got a close with 1000",
        ),
        (
            &[
                CONNECT,
                r#"{"op":"expect_pong","socket":"A","hex":"00","within_ms":50}"#,
            ],
            "expected a control frame within 50ms, got none such",
        ),
        (
            &[r#"{"op":"connect","socket":"A","path":"/nowhere"}"#],
            "expected status 101, got status 404",
        ),
        (
            &[r#"{"op":"http","path":"/ws","expect":{"status":200}}"#],
            "expected status 200; got status 400",
        ),
        (
            &[r#"{"op":"http","path":"/ws","expect":{"json_subset":{"ok":true}}}"#],
            "ok: expected true, got false; got status 400",
        ),
        (
            &[r#"{"op":"assert_equal","left":1,"right":2}"#],
            "differ at the whole: expected 1",
        ),
        (
            &[r#"{"op":"barrier","socket":"B"}"#],
            "there is no socket B",
        ),
        (
            &[r#"{"op":"http","path":"${gone}"}"#],
            "${gone} stands for nothing",
        ),
        (
            &[CONNECT, r#"{"op":"dance","socket":"A"}"#],
            "nobody here knows the op dance",
        ),
    ] {
        let told = told(fleet, steps).await;
        assert!(told.contains(why), "{told}\n\nis not because {why}");
    }
}

#[test]
fn files_that_hold_something_else_are_told_apart() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = cases::read(&tests.join("clients")).unwrap();
    assert!(found.cases.is_empty());
    assert!(found.others.contains(&tests.join("clients/package.json")));
    assert!(cases::read(&tests.join("nowhere")).is_err());
}
