//! Doing one thing again and again until the node drains, and telling of its
//! failures without repeating oneself.

use std::time::Duration;

use broker::Error;
use broker::node::Node;
use prometheus::IntCounter;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

/// Does `round` at every interval until the node drains, and tells `outcome` what
/// came of it. A round is dropped when the node drains: its steps are scripts, so
/// nothing is half done.
pub(crate) async fn rounds<R>(
    every: Duration,
    node: &Node,
    round: impl Fn() -> R,
    mut outcome: impl FnMut(Result<(), Error>),
) where
    R: Future<Output = Result<(), Error>>,
{
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while node.until_drain(ticks.tick()).await.is_some() {
        match node.until_drain(round()).await {
            None => return,
            Some(done) => outcome(done),
        }
    }
}

/// The failures of one task. All are counted; of those in a row the first is
/// logged, and their end.
pub(crate) struct Failures<'a> {
    /// How many there were.
    count: &'a IntCounter,
    /// What the log says of the first.
    first: &'static str,
    /// What it says of their end.
    over: &'static str,
    failing: bool,
}

impl<'a> Failures<'a> {
    pub(crate) const fn new(
        count: &'a IntCounter,
        first: &'static str,
        over: &'static str,
    ) -> Self {
        Self {
            count,
            first,
            over,
            failing: false,
        }
    }

    /// Takes note of what came of one more try.
    pub(crate) fn note(&mut self, done: &Result<(), Error>) {
        let failing = std::mem::replace(&mut self.failing, done.is_err());
        match done {
            Ok(()) if failing => info!("{}", self.over),
            Ok(()) => {}
            Err(error) => {
                self.count.inc();
                if !failing {
                    warn!(%error, "{}", self.first);
                }
            }
        }
    }
}
