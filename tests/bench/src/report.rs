//! Medians, ratios, and the page they are kept on.

use std::fmt::Write as _;

use crate::clients::Faults;
use crate::scenario::{self, Figures};
use crate::subject::Subject;

/// The page in the documentation; what stands between the marks is replaced.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");
const BEGIN: &str = "<!-- begin: written by make bench -->\n";
const END: &str = "<!-- end -->\n";

/// The figures of all runs.
#[derive(Default)]
pub(crate) struct Report {
    runs: Vec<(&'static str, Subject, Figures)>,
}

impl Report {
    /// Adds one run.
    pub(crate) fn add(&mut self, scenario: &'static str, subject: Subject, figures: Figures) {
        self.runs.push((scenario, subject, figures));
    }

    /// Whether every delivery arrived once, in order, where it belongs.
    pub(crate) fn is_clean(&self) -> bool {
        self.runs
            .iter()
            .all(|(_, _, figures)| figures.faults == Faults::default())
    }

    /// The table of medians.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| | CPU-s/M gateway | limit | ratio | Node.js | CPU µs per annotation or note | deliveries/s | p50 ms | p99 ms | KB per socket | growth | CPU ms per connect | lost, repeated, reordered, misdelivered |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for scenario in scenario::every() {
            let of = |subject, figure: fn(&Figures) -> Option<f64>| {
                self.median(scenario.name, subject, figure)
            };
            let ours = |figure| of(Subject::Gateway, figure);
            let cpu = ours(|f| f.cpu);
            let limit = of(Subject::Limit, |f| f.cpu);
            let ratio = cpu.zip(limit).map(|(cpu, limit)| cpu / limit);
            let faults = self.faults(scenario.name);
            if !self.runs.iter().any(|(name, ..)| *name == scenario.name) {
                continue;
            }
            let cells = [
                show(cpu, 2),
                show(limit, 2),
                show(ratio, 2),
                show(of(Subject::Node, |f| f.cpu), 2),
                show(ours(|f| f.annotation), 0),
                show(ours(|f| f.rate), 0),
                show(ours(|f| f.p50), 2),
                show(ours(|f| f.p99), 2),
                show(ours(|f| f.memory), 2),
                ours(|f| f.growth).map_or_else(|| "–".to_owned(), |g| format!("{g:.1} %")),
                show(ours(|f| f.connect), 3),
            ];
            let Faults {
                lost,
                repeated,
                reordered,
                misdelivered,
            } = faults;
            writeln!(
                table,
                "| {scenario} | {} | {lost}, {repeated}, {reordered}, {misdelivered} |",
                cells.join(" | ")
            )
            .expect("a string takes text");
        }
        table
    }

    /// Puts the table on its page.
    pub(crate) fn write(&self) {
        let page = std::fs::read_to_string(PAGE).expect("docs/benchmarks.md is there");
        let (before, rest) = page.split_once(BEGIN).expect("the page marks its table");
        let (_, after) = rest.split_once(END).expect("the page marks its table");
        let machine = machine();
        let table = self.table();
        let legend = scenario::legend();
        let page = format!("{before}{BEGIN}\n{machine}\n\n{table}\n{legend}{END}{after}");
        std::fs::write(PAGE, page).expect("docs/benchmarks.md can be written");
    }

    fn median(
        &self,
        scenario: &str,
        subject: Subject,
        figure: fn(&Figures) -> Option<f64>,
    ) -> Option<f64> {
        let runs = self
            .runs
            .iter()
            .filter(|(name, of, _)| *name == scenario && *of == subject);
        let mut values: Vec<f64> = runs.filter_map(|(_, _, figures)| figure(figures)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn faults(&self, scenario: &str) -> Faults {
        let mut all = Faults::default();
        for (name, _, figures) in &self.runs {
            if *name == scenario {
                all += figures.faults;
            }
        }
        all
    }
}

fn show(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
}

/// A sentence about where this ran.
fn machine() -> String {
    let first = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split([':', '='])
            .nth(1)
            .unwrap_or_default()
            .trim()
            .trim_matches('"')
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} cores ({}), Linux {}, {}; everything on these cores. Medians of {} runs.",
        cores,
        first("/proc/cpuinfo", "model name"),
        kernel.trim(),
        first("/etc/os-release", "PRETTY_NAME"),
        crate::RUNS,
    )
}
