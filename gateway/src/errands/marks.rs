//! Noting in the store what was delivered, many at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::Error;
use broker::message::GlobalMessage;
use broker::messages::{self, Marked, Messages};
use broker::topic::Topic;
use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::error;

use super::{CLAIM, Errands, RETRY, bit};
use crate::dialect::{Mark, Tag};
use crate::metrics::ErrandMetrics;

/// Marks wait at most this long for others to share the way. The first after a
/// pause does not wait.
const INTERVAL: Duration = Duration::from_millis(50);
/// Marks written at once, so that after a long absence of Redis each answer
/// still comes in time.
const MARKS_AT_ONCE: usize = 20_000;
/// Marks kept while Redis is away. Beyond, the oldest are dropped: their
/// messages stay pending and are sent again.
const MAX_MARKS: usize = 1_000_000;

impl Errands {
    /// Writes marks until [`finish`](Errands::finish) was called and all are written,
    /// or `stop` resolves, at which those not written stay pending.
    pub async fn write_marks(
        self,
        messages: Messages,
        metrics: ErrandMetrics,
        stop: impl Future<Output = ()>,
    ) {
        tokio::select! {
            () = stop => {}
            () = self.keep_writing(&messages, &metrics) => {}
        }
    }

    async fn keep_writing(&self, messages: &Messages, metrics: &ErrandMetrics) {
        let shared = &self.shared;
        let mut waiting: Vec<Mark> = Vec::new();
        // Those whose server failed, to be tried again at this time. They keep no
        // others from being written.
        let mut kept: Vec<Mark> = Vec::new();
        let mut again_at = Instant::now();
        loop {
            let last = shared.finishing.load(Ordering::Acquire);
            waiting.append(&mut shared.marks.take_now());
            if waiting.is_empty() && last && kept.is_empty() {
                return;
            }
            if waiting.is_empty() && (kept.is_empty() || Instant::now() < again_at) {
                tokio::select! {
                    mut marks = shared.marks.take() => waiting.append(&mut marks),
                    () = tokio::time::sleep_until(again_at), if !kept.is_empty() => {}
                    () = shared.hurry.notified() => continue,
                }
            }
            let began = Instant::now();
            let away = bits(&kept);
            let count = waiting.len().min(MARKS_AT_ONCE);
            let (mut now, held): (Vec<_>, Vec<_>) = waiting
                .drain(..count)
                .partition(|mark| away & bit(&mark.recipient) == 0);
            kept.extend(held);
            if again_at <= began {
                now.extend(kept.drain(..kept.len().min(MARKS_AT_ONCE)));
            }
            let (unwritten, failed) = write_apart(messages, now, metrics).await;
            kept.extend(unwritten);
            let surplus = kept.len().saturating_sub(MAX_MARKS);
            kept.drain(..surplus);
            metrics.marks_dropped.inc_by(surplus as u64);
            shared.settled.send_modify(|settled| {
                settled.marks += count as u64;
                settled.kept = bits(&kept);
            });
            match failed {
                Some(error) => {
                    metrics.retries.inc();
                    shared.failed("mark", &error);
                    again_at = Instant::now() + RETRY;
                }
                None if kept.is_empty() => shared.succeeded("mark"),
                None => {}
            }
            if !waiting.is_empty() {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(began + INTERVAL) => {}
                () = shared.hurry.notified() => {}
            }
        }
    }
}

/// The bits of the partitions of these.
fn bits(marks: &[Mark]) -> u64 {
    let each = marks.iter().map(|mark| bit(&mark.recipient));
    each.fold(0, |all, one| all | one)
}

/// Writes the marks of each partition by themselves. Those that could not be
/// written now, and why, if there are any.
async fn write_apart(
    messages: &Messages,
    marks: Vec<Mark>,
    metrics: &ErrandMetrics,
) -> (Vec<Mark>, Option<Error>) {
    let mut parts: HashMap<u64, Vec<Mark>> = HashMap::new();
    for mark in marks {
        parts.entry(bit(&mark.recipient)).or_default().push(mark);
    }
    let each = parts.into_values().map(async |part| {
        let result = write_readable(messages, &part, metrics).await;
        result.err().map(|error| (part, error))
    });
    let (mut unwritten, mut failed) = (Vec::new(), None);
    for (part, error) in join_all(each).await.into_iter().flatten() {
        unwritten.extend(part);
        failed = Some(error);
    }
    (unwritten, failed)
}

/// Writes marks; one that can never be written is given up, so that it keeps no
/// other from being written.
async fn write_readable(
    messages: &Messages,
    marks: &[Mark],
    metrics: &ErrandMetrics,
) -> Result<(), Error> {
    match write(messages, marks, metrics).await {
        Err(error) if error.is_lasting() => {}
        result => return result,
    }
    for mark in marks {
        match write(messages, std::slice::from_ref(mark), metrics).await {
            Err(error) if error.is_lasting() => {
                let recipient = &mark.recipient;
                error!(%error, %recipient, what = %mark.what.id(), "a delivery cannot be noted");
                metrics.given_up.inc();
            }
            result => result?,
        }
    }
    Ok(())
}

async fn write(messages: &Messages, marks: &[Mark], metrics: &ErrandMetrics) -> Result<(), Error> {
    let mut own = Vec::with_capacity(marks.len());
    let mut copies: Vec<(Arc<GlobalMessage>, Vec<Topic>)> = Vec::new();
    for Mark { recipient, what } in marks {
        match what {
            Tag::Message(id) => {
                own.push(messages::Mark {
                    recipient: recipient.clone(),
                    id: *id,
                });
            }
            Tag::Global(global) => {
                let same = |known: &GlobalMessage, of: &[Topic]| {
                    known.id == global.id && of[0].same_tenant(recipient)
                };
                match copies.iter_mut().find(|(known, of)| same(known, of)) {
                    Some((_, recipients)) => recipients.push(recipient.clone()),
                    None => copies.push((Arc::clone(global), vec![recipient.clone()])),
                }
            }
        }
    }
    if !own.is_empty() {
        for outcome in messages.mark(&own).await? {
            metrics.marked(match outcome {
                Marked::Delivered => "delivered",
                Marked::Already => "already",
                Marked::Cancelled => "cancelled",
            });
        }
    }
    for (global, recipients) in copies {
        for chunk in recipients.chunks(CLAIM) {
            messages.claim(&global, chunk, true).await?;
            metrics.globals_delivered.inc_by(chunk.len() as u64);
        }
    }
    Ok(())
}
