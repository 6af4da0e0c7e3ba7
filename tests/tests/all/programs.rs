//! The programs at the command line, beside what they do when they run.

use std::process::Output;

use tests::{Fleet, Process};

/// What it printed where, and its exit status.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().expect("it ended by itself");
    (status, text(&output.stdout), text(&output.stderr))
}

fn of_each_kind(fleet: &Fleet) -> [(&'static str, &Process); 3] {
    [
        ("gateway", fleet.gateway(0)),
        ("api", fleet.api()),
        ("worker", fleet.worker(0)),
    ]
}

#[tokio::test]
async fn a_program_says_whether_the_process_of_its_settings_lives() {
    let fleet = Fleet::start().await;
    for (name, process) in of_each_kind(&fleet) {
        let (status, out, err) = said(&process.command(&["health"]));
        assert_eq!((status, &*out), (0, &*format!("{name} lives\n")), "{err}");
        assert!(process.terminate().await.success());
        let (status, out, err) = said(&process.command(&["health"]));
        assert_eq!((status, &*out), (1, ""), "{name} is gone");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains("refused"), "{err}");
    }
}

#[tokio::test]
async fn a_frozen_process_does_not_live() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(0);
    worker.freeze();
    let (status, _, err) = said(&worker.command(&["health"]));
    worker.thaw();
    assert_eq!((status, err.lines().count()), (1, 1), "{err}");
}

#[tokio::test]
async fn programs_tell_their_version_and_usage_and_refuse_what_means_nothing() {
    let fleet = Fleet::start().await;
    for (name, process) in of_each_kind(&fleet) {
        let (status, out, _) = said(&process.command(&["--version"]));
        assert_eq!(status, 0);
        let version = concat!(" ", env!("CARGO_PKG_VERSION"));
        assert!(out.starts_with(&format!("{name}{version}")), "{out}");
        let (status, out, _) = said(&process.command(&["--help"]));
        assert_eq!(status, 0);
        assert!(out.starts_with(&format!("Usage: {name} ")), "{out}");
        let (status, out, err) = said(&process.command(&["serve"]));
        let mistake = if name == "api" { 2 } else { 64 };
        assert_eq!((status, &*out), (mistake, ""), "{name}");
        assert!(err.contains("health"), "it tells what there is: {err}");
    }
}
