//! What is lost when things fail, `faults [ROW…]`, what is left over after a long
//! time, `faults soak`, and how clients fare when gateways are replaced, and become
//! more and fewer, `faults rolling`.
//!
//! For each row ([`rows`]) a fleet of its own, clients of all dialects
//! ([`client`]), and events by all ways ([`ways`]) at a steady rate ([`load`]).
//! Every event has a number ([`marker`]); what was accepted ([`ledger`]) is held
//! against what each client heard while its socket was open ([`audit`]).

#![allow(clippy::disallowed_methods)] // No process of the cluster: it has no settings to read once.

mod audit;
mod client;
mod clock;
mod crowd;
mod ledger;
mod load;
mod manners;
mod marker;
mod report;
mod resume;
mod rolling;
mod rows;
mod slope;
mod soak;
mod strike;
mod tail;
mod ways;

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::sleep;

use crate::audit::Scope;
use crate::crowd::Crowd;
use crate::load::Load;
use crate::manners::Manners;
use crate::report::Outcome;
use crate::rolling::Act;
use crate::rows::Row;

/// How long there is load before something is broken, and after it works again.
const BEFORE: Duration = Duration::from_secs(6);
const AFTER: Duration = Duration::from_secs(12);

/// A number from the environment.
fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    if chosen == ["soak"] {
        let length = Duration::from_secs(60) * setting("SOAK_MINUTES", 30);
        let well = soak::soak(length, setting("SOAK_SOCKETS", 400) as usize).await;
        return ExitCode::from(u8::from(!well));
    }
    if let Some((_, acts)) = chosen
        .split_first()
        .filter(|(first, _)| *first == "rolling")
    {
        let act = acts.first().map(|name| {
            Act::called(name).unwrap_or_else(|| panic!("it is replace or scale, not {name}"))
        });
        let sockets = setting("ROLLING_SOCKETS", 6000) as usize;
        let well = rolling::rolling(act, setting("ROLLING_RATE", 600), sockets).await;
        return ExitCode::from(u8::from(!well));
    }
    let (rate, sockets) = (
        setting("FAULTS_RATE", 2000),
        setting("FAULTS_SOCKETS", 2000),
    );
    let is_chosen = |row: &&Row| chosen.is_empty() || chosen.contains(&row.name());
    let rows: Vec<&Row> = Row::ALL.iter().filter(is_chosen).collect();
    if rows.is_empty() {
        let names: Vec<String> = Row::ALL.iter().map(|row| row.name()).collect();
        println!("faults [ROW…]\nrows: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut outcomes = Vec::new();
    for &row in rows {
        println!("{row}");
        let outcome = run(row, rate, sockets as usize).await;
        print!("{}", outcome.story());
        outcomes.push(outcome);
    }
    let table = report::table(&outcomes);
    print!("\n{table}");
    if chosen.is_empty() {
        let load = format!("{rate} events a second to {sockets} sockets.");
        let text = format!("{}\n{load}\n\n{table}", report::machine());
        report::write(report::RELIABILITY, "make faults", &text);
    }
    let kept = outcomes.iter().all(Outcome::is_kept);
    ExitCode::from(u8::from(!kept))
}

/// One row, on a fleet of its own.
async fn run(row: Row, rate: u32, sockets: usize) -> Outcome {
    let crowd = Crowd::gather(row.fleet().start().await, sockets, Manners::Patient).await;
    let load = Load::start(&crowd, rate);
    sleep(BEFORE).await;
    let struck_at = crowd.clock.now();
    let struck = row.strike(&crowd, &load).await;
    sleep(AFTER).await;
    let until = crowd.clock.now();
    load.stop().await;
    audit::settle(&crowd, Duration::ZERO).await;
    let scope = Scope {
        first: 0,
        lost_at: struck.lost_at,
        told_within: audit::TOLD_WITHIN,
    };
    let (books, stories) = audit::audit(&crowd, &scope).await;
    for story in stories.iter().take(10) {
        println!("  silent: {story}");
    }
    let delays = resume::delays(&crowd, struck_at);
    let of = |share: usize| delays.get(delays.len() * share / 100).copied();
    let outcome = Outcome {
        row,
        books,
        resumed: resume::resumed(&crowd, struck.well_at, until),
        returns: resume::returns(&crowd, struck.well_at),
        delays: of(50).zip(of(99)),
        stuck: struck.stuck,
        tail: struck.tail,
    };
    if std::env::var_os("FAULTS_METRICS").is_some() {
        for gateway in crowd.fleet.gateways() {
            let metrics = gateway.metrics().await;
            let of_links = [
                "broker", "closed", "gap", "link", "probes", "repeated", "replayed", "topics",
            ];
            let told = |line: &&str| {
                let name = line.strip_prefix("carillon_gateway_");
                let is_of_links = |name: &str| of_links.iter().any(|of| name.starts_with(of));
                name.is_some_and(is_of_links) && !line.ends_with(" 0")
            };
            for line in metrics
                .lines()
                .filter(told)
                .filter(|line| !line.contains("bucket"))
            {
                println!("  {}: {line}", gateway.name());
            }
        }
    }
    crowd.disperse().await;
    outcome
}
