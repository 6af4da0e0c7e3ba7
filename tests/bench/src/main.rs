//! How much a delivery costs the gateway, beside what it must cost.
//!
//! In one go: the limit program ([`limit`]), which does nothing but `send()`, and
//! the gateway with everything around it, under the same scenarios
//! ([`scenario`]), seen through the same sockets ([`clients`]). Every payload
//! carries a [`marker`], so that what is lost, repeated, out of order or
//! misdelivered is counted.

#![allow(clippy::disallowed_methods)] // A benchmark is no process of the cluster: its thread may well sleep.

mod clients;
mod limit;
mod marker;
mod misskey;
mod people;
mod push;
mod report;
mod scenario;
mod subject;

use std::process::ExitCode;

/// Runs whose median is told.
const RUNS: usize = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("limit") => {
            limit::run(&args[1]);
            ExitCode::SUCCESS
        }
        Some("--help" | "-h") => {
            println!("bench [SCENARIO…]\n{}", scenario::legend());
            ExitCode::SUCCESS
        }
        _ => measure(&args),
    }
}

fn measure(chosen: &[String]) -> ExitCode {
    let mut report = report::Report::default();
    for run in 1..=RUNS {
        for scenario in scenario::every().filter(|s| chosen.is_empty() || s.is_named(chosen)) {
            for &subject in scenario.subjects() {
                let figures = scenario::run(&scenario, subject);
                println!("run {run} {scenario} {subject}: {figures}");
                report.add(scenario.name, subject, figures);
            }
        }
    }
    print!("\n{}", report.table());
    if chosen.is_empty() {
        report.write();
    }
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
