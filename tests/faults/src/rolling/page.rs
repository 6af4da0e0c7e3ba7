//! The tables, as they stand on the page.

use std::fmt::Write as _;

use super::flow::TOLERANCE;
use super::part::Part;
use super::scale::{MAX_AGE, Scaled, WATCHED};
use super::{GATEWAYS, manifest};
use crate::client::Dialect;
use crate::report;

/// The page in the documentation.
pub(super) const OPERATIONS: &str = "docs/operations.md";

/// What stands between the marks.
pub(super) fn page(rate: u32, sockets: usize, parts: &[Part], scaled: Option<&Scaled>) -> String {
    let seconds = |setting| manifest::seconds(setting).as_secs();
    let mut text = format!(
        "{}\n{sockets} sockets on {GATEWAYS} gateways behind HAProxy, {rate} events a second, a delay of {} s, a window of {} s.\n\n\
         | What happens | seconds | sockets that ended | longest without one | refused | accepted | messages lost | silently missed | missed while away | repeated |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        report::machine(),
        seconds("CARILLON_SHUTDOWN_DELAY"),
        seconds("CARILLON_DRAIN_WINDOW"),
    );
    for part in parts {
        writeln!(text, "{}", row(part)).expect("a string takes text");
    }
    for pace in parts.iter().filter_map(|part| part.pace) {
        writeln!(
            text,
            "\nWhile gateways were replaced, {:.0} sockets a second were to come back from each. Of {} windows of 5 s, {} had between {:.0} % and {:.0} % of \
             what was planned ({:.0} % to {:.0} % were seen), and {:.0} % of all seconds.",
            pace.planned,
            pace.windows,
            pace.kept,
            100.0 * (1.0 - TOLERANCE),
            100.0 * (1.0 + TOLERANCE),
            100.0 * pace.least,
            100.0 * pace.most,
            100.0 * pace.seconds,
        )
        .expect("a string takes text");
    }
    if let Some(scaled) = scaled {
        text += &table(scaled);
    }
    text
}

/// What gateways did, one and four.
fn table(scaled: &Scaled) -> String {
    let mut text = format!(
        "\nSockets closed at an age of {} to {} s, gateways watched for {} s each time:\n\n\
         | Gateways | sockets each | CPU seconds per second, each | upgrades per second, each | messages read per second, each | frames written per second, each |\n|---|---|---|---|---|---|\n",
        MAX_AGE.as_secs() / 2,
        MAX_AGE.as_secs(),
        WATCHED.as_secs(),
    );
    for stage in &scaled.stages {
        let each = |of: &dyn Fn(usize) -> String| {
            let each: Vec<String> = (0..stage.len()).map(of).collect();
            each.join(", ")
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            stage.len(),
            each(&|n| format!("{:.0}", stage[n].sockets)),
            each(&|n| format!("{:.3}", stage[n].cpu)),
            each(&|n| format!("{:.0}", stage[n].upgrades)),
            each(&|n| format!("{:.0}", stage[n].read)),
            each(&|n| format!("{:.0}", stage[n].frames)),
        )
        .expect("a string takes text");
    }
    writeln!(
        text,
        "\nOf four gateways, none was farther from the mean than {:.1} % of its sockets. Each let in, read and wrote {:.0} % of what one alone had, \
         and took {:.0} % of its CPU.",
        100.0 * scaled.unevenness(),
        100.0 * scaled.planned_cpu(),
        100.0 * scaled.cpu(),
    )
    .expect("a string takes text");
    text
}

fn row(part: &Part) -> String {
    let sums = Dialect::ALL.map(|dialect| part.sum(dialect));
    let [push, ..] = sums;
    let sum = |of: fn(&crate::audit::Counts) -> u64| sums.iter().map(of).sum::<u64>();
    let repeats = part.repeats;
    format!(
        "| {} | {:.0} | {} | {:.1} s | {} | {} | {} | {} | {} | {} |",
        part.scene.name(),
        part.lasted.as_secs_f64(),
        part.away.len(),
        part.longest().as_secs_f64(),
        part.refused,
        sum(|counts| counts.accepted),
        push.announced + push.silent,
        sum(|counts| counts.silent),
        sum(|counts| counts.announced) - push.announced,
        repeats.plain + repeats.acknowledging + repeats.pages,
    )
}
