//! The table, and the page it is kept on.

use std::fmt::Write as _;
use std::time::Duration;

use crate::audit::{Books, Counts};
use crate::resume::Resumed;
use crate::rows::Row;
use crate::tail::Tail;

/// The page in the documentation that tells what is lost when.
pub(crate) const RELIABILITY: &str = "docs/reliability.md";

/// Delivery has to resume within this time.
const RESUMED_WITHIN: Duration = Duration::from_secs(5);

/// What came of one row.
pub(crate) struct Outcome {
    /// What was broken.
    pub(crate) row: Row,
    /// What became of all that was accepted.
    pub(crate) books: Books,
    /// How long nothing or too little was delivered after everything was well.
    pub(crate) resumed: Resumed,
    /// Sockets that ended afterwards, refusals of clients that came back, and when
    /// the last of them was connected.
    pub(crate) returns: (usize, u32, Option<Duration>),
    /// Delays before the fault: half are shorter, and all but one in a hundred.
    pub(crate) delays: Option<(Duration, Duration)>,
    /// Expired messages that were not cancelled.
    pub(crate) stuck: usize,
    /// What a master took with it of what waited for recipients who are away.
    pub(crate) tail: Tail,
}

impl Outcome {
    /// The sum over all ways that are promised, or not.
    pub(crate) fn sum(&self, promised: bool) -> Counts {
        let mut sum = Counts::default();
        for (way, counts) in &self.books {
            if way.is_promised() == promised {
                sum += *counts;
            }
        }
        sum
    }

    /// Whether everything that is promised was kept.
    pub(crate) fn is_kept(&self) -> bool {
        let resumed = self.resumed_after();
        self.silent() == 0 && resumed.is_some_and(|after| after <= RESUMED_WITHIN)
    }

    /// When delivery had resumed on all dialects.
    fn resumed_after(&self) -> Option<Duration> {
        let each = self.resumed.iter().map(|&(_, after)| after);
        each.reduce(|one, other| Some(one?.max(other?))).flatten()
    }

    /// What was lost without a word.
    fn silent(&self) -> u64 {
        let (_, replicated) = self.tail.replicated;
        self.sum(true).silent + (self.stuck + replicated) as u64
    }

    /// By way, for a person who watches.
    pub(crate) fn story(&self) -> String {
        let mut story = String::new();
        for (way, c) in &self.books {
            let line = format!(
                "  {:<24} accepted {} ({} repeated), delivered {}, announced {}, silent {}, tail {}, duplicated {}",
                way.name(),
                c.accepted,
                c.repeated,
                c.delivered,
                c.announced,
                c.silent,
                c.tail,
                c.duplicated,
            );
            writeln!(story, "{line}").expect("a string takes text");
        }
        let delays = self
            .delays
            .map(|(half, most)| format!("{half:.1?}, {most:.1?}"));
        writeln!(
            story,
            "  resumed after {:.1?}; sockets ended, refusals, last back: {:.1?}; delays before {}; {} stuck; (accepted, lost) for who is away: stored {:?}, replicated {:?}",
            self.resumed,
            self.returns,
            delays.unwrap_or_default(),
            self.stuck,
            self.tail.stored,
            self.tail.replicated,
        )
        .expect("a string takes text");
        story
    }
}

/// The table of all rows.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| What happens | Redis is | accepted | delivered | lost, announced | lost, silent | lost with a primary | duplicated | resumed after | raw `PUBLISH`: sent, lost announced, lost silent |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let (sum, raw) = (outcome.sum(true), outcome.sum(false));
        let (stored, stored_lost) = outcome.tail.stored;
        let (replicated, replicated_lost) = outcome.tail.replicated;
        let away = (stored + replicated) as u64;
        let kept = away - (stored_lost + replicated_lost) as u64;
        let resumed = outcome.resumed_after().map_or_else(
            || "not".to_owned(),
            |resumed| format!("{:.1} s", resumed.as_secs_f64()),
        );
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {resumed} | {}, {}, {} |",
            outcome.row,
            outcome.row.topology(),
            sum.accepted + away,
            sum.delivered + kept,
            sum.announced,
            outcome.silent(),
            sum.tail + stored_lost as u64,
            sum.duplicated,
            raw.accepted,
            raw.announced,
            raw.silent,
        )
        .expect("a string takes text");
    }
    table
}

/// Puts a table on a page, between the marks that name who writes it; what stood
/// there is replaced.
pub(crate) fn write(page: &str, writer: &str, text: &str) {
    let path = format!("{}/../../{page}", env!("CARGO_MANIFEST_DIR"));
    let begin = format!("<!-- begin: written by {writer} -->\n");
    let end = "<!-- end -->\n";
    let was = std::fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = was.split_once(&begin).expect("the page marks its table");
    let (_, after) = rest.split_once(end).expect("the page marks its table");
    let text = format!("{before}{begin}\n{text}\n{end}{after}");
    std::fs::write(&path, text).expect("the page can be written");
}

/// A sentence about where this ran.
pub(crate) fn machine() -> String {
    let first = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split([':', '=']).nth(1));
        value
            .unwrap_or_default()
            .trim()
            .trim_matches('"')
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({}), Linux {}, {}; all processes, Redis, the clients and the backend on these cores.",
        first("/proc/cpuinfo", "model name"),
        kernel.trim(),
        first("/etc/os-release", "PRETTY_NAME"),
    )
}
