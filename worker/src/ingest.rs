//! Publishing what annotation systems add to their streams.

use std::time::Duration;

use broker::Error;
use broker::annotation::ingest::{Entry, Intake};
use broker::node::{Node, Phase};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::rounds::Failures;

/// Pause after a failure.
const RETRY: Duration = Duration::from_millis(500);
/// Looks for what other workers left, and at what waits, per time after which
/// they count as dead.
const LOOKS: u32 = 3;

/// Takes and publishes until the node drains. What was taken is published
/// first, unless Redis fails: given back it would wait for as long as if this
/// worker had died.
pub(crate) async fn run(mut intake: Intake, config: &Config, metrics: &Metrics, node: &Node) {
    if intake.is_idle() {
        return;
    }
    let mut look_at = Instant::now();
    let mut tidy_at = Instant::now() + config.trim_interval;
    let mut failures = Failures::new(
        &metrics.ingests_failed,
        "ingest failed and is tried again",
        "ingest works again",
    );
    while node.phase() < Phase::Draining {
        let round = async {
            let taken = intake.next().await?;
            let mut failed = publish(&mut intake, &taken, metrics).await;
            if look_at <= Instant::now() {
                let other = take_over(&mut intake, config.claim_after, metrics).await?;
                failed = failed.or(other);
                look_at = Instant::now() + config.claim_after / LOOKS;
            }
            if tidy_at <= Instant::now() {
                metrics.ingest_dropped.inc_by(intake.tidy().await?);
                tidy_at = Instant::now() + config.trim_interval;
            }
            Ok::<_, Error>(failed)
        };
        let (done, everything) = match round.await {
            Ok(failed) => (failed.map_or(Ok(()), Err), false),
            Err(error) => (Err(error), true),
        };
        // It does not work again while something failed and has not succeeded since.
        if done.is_err() || !intake.is_failing() {
            failures.note(&done);
        }
        if everything {
            node.until_drain(sleep(RETRY)).await;
        }
    }
}

/// Publishes entries. Says if that failed for a tenant; they are tried again then.
async fn publish(intake: &mut Intake, entries: &[Entry], metrics: &Metrics) -> Option<Error> {
    let handled = intake.handle(entries).await;
    metrics.handled(&handled);
    handled.failed
}

/// Publishes what others have taken and not finished: one by one, so that an
/// entry that a worker dies of is not held against those beside it. Then looks
/// at what waits. Says if publishing failed for a tenant.
async fn take_over(
    intake: &mut Intake,
    idle: Duration,
    metrics: &Metrics,
) -> Result<Option<Error>, Error> {
    let mut failed = None;
    for left in intake.left(idle).await? {
        let Some(entry) = intake.claim(&left, idle).await? else {
            continue;
        };
        metrics.ingest_claimed.inc();
        match intake.give_up(&left, &entry).await? {
            Some(given_up) => metrics.handled(&given_up),
            None => {
                let other = publish(intake, std::slice::from_ref(&entry), metrics).await;
                failed = failed.or(other);
            }
        }
    }
    let backlog = intake.backlog().await?;
    metrics.ingest_pending.set(backlog.entries as i64);
    metrics.ingest_lag.set(backlog.lag.as_secs_f64());
    metrics.dead_letters_kept.set(backlog.dead as i64);
    Ok(failed)
}
