//! The cases that protocols are held to, and whoever plays them.

use std::path::Path;
use std::time::Duration;

use tests::Fleet;
use tests::cases::json::Json;
use tests::cases::misskey::Cases;
use tests::cases::variables::Variables;
use tests::cases::{self, Case, Level, Outcome};
use tests::until::PATIENCE;

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

#[tokio::test]
async fn every_case_of_the_misskey_protocol_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let found = cases::read(&folder).unwrap().misskey;
    let mut played = Vec::new();
    for cases in &found {
        played.push(cases.play().await);
    }
    let outcomes = played.iter().flatten();
    let failed = outcomes.filter_map(|(_, outcome)| match outcome {
        Outcome::Failed(story) => Some(story.as_str()),
        _ => None,
    });
    let failed = failed.collect::<Vec<_>>().join("\n\n");
    assert!(failed.is_empty(), "{failed}");
    let counts: Vec<_> = played.iter().map(Vec::len).collect();
    assert_eq!(counts, [67, 117]);
}

/// A case of the Misskey protocol that fails, and why it does.
const FAILING: [(&str, &str, &str, &str); 17] = [
    ("u2", "", r#"{"open":true}"#, "there is no principal u2"),
    (
        "wrong",
        "",
        r#"{"open":true}"#,
        "wrong was refused with 401",
    ),
    ("none", "", r#"{"open":true}"#, "none has no socket"),
    (
        "u1",
        r#"{"dance":1}"#,
        r#"{"open":true}"#,
        "nobody here knows the step dance",
    ),
    (
        "u1",
        r#"{"send_raw":"{{you}}"}"#,
        r#"{"open":true}"#,
        "{{you}} stands for nothing",
    ),
    (
        "u1",
        CONNECT,
        r#"{"dance":1}"#,
        "nobody here knows the expectation dance",
    ),
    (
        "u1",
        CONNECT,
        r#"{"open":false}"#,
        "the server has closed it",
    ),
    (
        "u1",
        CONNECT,
        r#"{"frame":{"type":"connected","body":{"id":"b"}},"within_ms":5000}"#,
        r#"body.id: expected "b", got "a""#,
    ),
    (
        "u1",
        CONNECT,
        r#"{"frame":{"type":"connected"},"match":"exact","within_ms":5000}"#,
        "body: not expected",
    ),
    (
        "u1",
        CONNECT,
        r#"{"frame":{"type":"channel"},"within_ms":50}"#,
        "nothing like it came",
    ),
    (
        "u1",
        CONNECT,
        r#"{"no_frame":{"type":"connected"},"within_ms":20000}"#,
        "it came",
    ),
    (
        "u1",
        CONNECT,
        r#"{"only_frames":[],"within_ms":5000}"#,
        "this came as well: {",
    ),
    (
        "u1",
        CONNECT,
        r#"{"count_frames":{"type":"connected","n":0},"within_ms":5000}"#,
        "1 of them came",
    ),
    (
        "u1",
        CONNECT,
        r#"{"frames_in_order":["n1"],"within_ms":50}"#,
        r#"expected ["n1"], got []"#,
    ),
    (
        "u1",
        CONNECT,
        r#"{"frame_without":{"type":"connected"},"path":"body.id"}"#,
        "it has something there",
    ),
    (
        "u1",
        r#"{"set_key":{"key":"k","value":"v"}}"#,
        r#"{"key_absent":"k","within_ms":50}"#,
        "k is still there",
    ),
    (
        "none",
        r#"{"http_get":{"path":"/streaming"}}"#,
        r#"{"http_status":200}"#,
        "expected 200, got 503",
    ),
];
const CONNECT: &str =
    r#"{"send":{"type":"connect","body":{"channel":"main","id":"a","pong":true}}}"#;

#[tokio::test]
async fn a_case_of_the_misskey_protocol_fails_where_anything_is_not_as_expected() {
    let cases = FAILING
        .iter()
        .enumerate()
        .map(|(n, (viewer, step, expected, _))| {
            format!(r#"{{"id":"{n}","as":"{viewer}","steps":[{step}],"expect":[{expected}]}}"#)
        });
    let file = format!(
        r#"{{"fixtures":{{"principals":{{"u1":{{"token":"u1tokenu1tokenu1"}},"wrong":{{"token":"","user":"u9"}}}}}},
            "cases":[{}]}}"#,
        cases.collect::<Vec<_>>().join(",")
    );
    let cases = Cases::read(&Json::parse(&file).unwrap()).unwrap();
    let played = Box::pin(cases.play()).await;
    for ((viewer, step, expected, why), (_, outcome)) in FAILING.iter().zip(played) {
        let what = format!("{viewer} {step} {expected}");
        let Outcome::Failed(story) = outcome else {
            panic!("{what} has not failed");
        };
        assert!(story.contains(why), "{story}\n\nis not because {why}");
    }
}

/// How a conversation over a running cluster goes: each line is a step.
async fn told(fleet: &Fleet, steps: &[&str], patience: Duration) -> String {
    let case = Case {
        id: "c".to_owned(),
        level: Level::Must,
        title: "A fact".to_owned(),
        steps: steps
            .iter()
            .map(|step| Json::parse(step).unwrap())
            .collect(),
    };
    let played = cases::play(fleet, &Variables::default(), &[&case], patience).await;
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
    assert_eq!(
        told(fleet, &[CONNECT, PING, right], PATIENCE).await,
        "passed"
    );
    let wrong = r#"{"op":"expect_json","socket":"A","json":{"type":"pong"},"match":"exact"}"#;
    let told_whole = told(fleet, &[CONNECT, PING, wrong], PATIENCE).await;
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
                r#"{"op":"send_close","socket":"A","code":1000}"#,
                r#"{"op":"expect_close","socket":"A","code":1001}"#,
            ],
            "expected another close, got a close with 1000",
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
        let told = told(fleet, steps, PATIENCE).await;
        assert!(told.contains(why), "{told}\n\nis not because {why}");
    }

    for (step, why) in [
        (
            r#"{"op":"expect_json","socket":"A","json":{}}"#,
            "expected a text frame of JSON within 50ms, got nothing",
        ),
        (
            r#"{"op":"expect_close","socket":"A"}"#,
            "expected a close frame, got nothing",
        ),
        (
            r#"{"op":"expect_pong","socket":"A","hex":"00"}"#,
            "expected a control frame within 50ms, got none such",
        ),
    ] {
        let told = told(fleet, &[CONNECT, step], Duration::from_millis(50)).await;
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
