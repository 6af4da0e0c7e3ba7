//! The programs of `docs/events.md` in other languages, run as they stand there, as
//! users of Redis that may do nothing else.

use std::path::Path;
use std::process::Command;

use broker::event::Event;
use futures_util::StreamExt as _;
use tests::Fleet;
use tests::until::PATIENCE;
use tokio::time::timeout;

use super::rights::{sign_in, until_loaded};
use super::{blocks, page};

/// Runs code of this language, which finds Redis by this address; what it printed.
fn run(language: &str, code: &str, url: &str) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (program, option) = match language {
        "python" => (tests.join("../target/producers/bin/python3"), "-c"),
        "js" => ("node".into(), "--input-type=module"),
        _ => ("sh".into(), "-c"),
    };
    let mut command = Command::new(program);
    command.arg(option);
    if language == "js" {
        command.arg("-e");
    }
    command.arg(code).env("REDIS_URL", url);
    let output = command.current_dir(tests.join("clients")).output();
    let output = output.expect("it is installed by make need-producers");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{code}\n{said}\n{complaint}");
    said
}

/// The programs of a language that reach Redis: one that adds, one that calls.
fn programs(language: &str) -> [String; 2] {
    let mut all = blocks(&page(), language);
    all.retain(|code| code.contains("carillon"));
    if language == "sh" {
        all.retain(|code| code.contains("type push") || code.contains("FCALL"));
    }
    for code in &all {
        assert!(code.lines().count() <= 10, "{code}");
    }
    all.try_into().expect("the page has two of each")
}

#[tokio::test]
async fn programs_of_ten_lines_or_less_push_and_publish() {
    let fleet = Fleet::of(1, 1).start().await;
    let mut ada = fleet.connect("ada").await;
    until_loaded(&fleet).await;
    let adder = sign_in(&fleet, "adder", "carillon:{in}:acme");
    let caller = sign_in(&fleet, "caller", "carillon:{2f}:rb:acme");
    let mut told = fleet.redis().ear("carillon:{2f}:rb:acme").await;
    told.subscribe("carillon:c:acme:channel:news")
        .await
        .unwrap();
    let mut frames = told.on_message();
    for (language, text, body) in [
        ("python", "Hello from Python", r#"{"by": "Python"}"#),
        ("js", "Hello from Node", r#"{"by":"Node"}"#),
        ("sh", "Your order is on its way", r#"{"text": "Hello"}"#),
    ] {
        let [add, call] = programs(language);
        run(language, &add, &adder);
        assert_eq!(ada.text().await, text);
        let said = run(language, &call, &caller);
        assert!(
            said.contains(char::is_numeric) && !said.contains("ERR"),
            "{said}"
        );
        let frame = timeout(PATIENCE, frames.next()).await.expect("it comes");
        let event = Event::parse(frame.unwrap().get_payload_bytes()).unwrap();
        assert!(said.contains(&event.entry.unwrap().to_string()), "{said}");
        assert_eq!(event.body.get(), body);
    }
}

#[test]
fn programs_in_go_name_what_those_in_python_name() {
    for (go, python) in programs("go").iter().zip(programs("python")) {
        let names = |code: &str| {
            let all = [
                "carillon:{in}:acme",
                "carillon_publish_v1",
                "14 bd cc 9a",
                "12 bb ce 6f",
                "acme:channel:news",
                "carillon:c:",
                ":rb:acme",
            ];
            all.map(|name| code.contains(name))
        };
        assert_eq!(names(go), names(&python), "{go}");
    }
}
