//! Plays cases: those that bear it at the same time, the others one by one, in
//! the order of their files.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};

use super::json::Json;
use super::people::gather;
use super::stage::Stage;
use super::variables::Variables;
use super::{Case, Level};
use crate::fleet::{Fleet, FleetBuilder};
use crate::until::PATIENCE;

/// Brings the quirks of the original back.
const STRICT: &str = "CARILLON_HYPOTHESIS_STRICT";

/// Cases played at the same time; more would only wait for each other.
const ABREAST: usize = 24;

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything came as expected.
    Passed,
    /// It needs the unmodified client and was not played.
    Skipped,
    /// Something did not: the steps, and what was expected and came.
    Failed(String),
}

impl Outcome {
    /// Whether something did not come as expected.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// A case and how it went.
pub type Played<'a> = (&'a Case, Outcome);

/// Plays all cases over fleets of their own: quirks over one that is told to be
/// strict, the others over one as it is.
///
/// # Panics
/// If a fleet cannot be started.
pub async fn play_all(cases: &[Case]) -> Vec<Played<'_>> {
    let quirk = |case: &&Case| case.level == Level::Quirk;
    let (quirks, others): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(quirk);
    let (others, quirks) = tokio::join!(
        play_over(Fleet::of(2, 1), &others),
        play_over(Fleet::of(2, 1).env(STRICT, "true"), &quirks),
    );
    [others, quirks].concat()
}

async fn play_over<'a>(fleet: FleetBuilder, cases: &[&'a Case]) -> Vec<Played<'a>> {
    if cases.is_empty() {
        return Vec::new();
    }
    let fleet = fleet.start().await;
    let people = gather(&fleet).await;
    let played = play(&fleet, &people, cases, PATIENCE).await;
    fleet.doubt_if(played.iter().any(|(_, outcome)| outcome.is_failure()));
    played
}

/// Plays cases over a fleet whose people are gathered, with so much patience for
/// what must come.
pub async fn play<'a>(
    fleet: &Fleet,
    people: &Variables,
    cases: &[&'a Case],
    patience: Duration,
) -> Vec<Played<'a>> {
    let (alone, beside): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.is_shy());
    let one = async |case: &'a Case| (case, Box::pin(outcome(fleet, people, case, patience)).await);
    let beside = futures_util::stream::iter(beside).map(one);
    let mut played: Vec<_> = beside.buffered(ABREAST).collect().await;
    for case in alone {
        played.push(one(case).await);
    }
    played
}

async fn outcome(fleet: &Fleet, people: &Variables, case: &Case, patience: Duration) -> Outcome {
    if case.needs_client() {
        return Outcome::Skipped;
    }
    let mut stage = Stage::new(fleet, people, &case.id, patience);
    for (n, step) in case.steps.iter().enumerate() {
        // A panic of the fleet fails this case, not all of them.
        let played = AssertUnwindSafe(stage.play(step)).catch_unwind().await;
        let failure = match played {
            Ok(Ok(())) => continue,
            Ok(Err(failure)) => failure,
            Err(panic) => panic
                .downcast_ref::<String>()
                .cloned()
                .unwrap_or_else(|| "the harness gave up".to_owned()),
        };
        stage.clear().await;
        return Outcome::Failed(story(case, n, &failure));
    }
    stage.clear().await;
    Outcome::Passed
}

/// The steps up to the one that failed, and why it did.
fn story(case: &Case, failed: usize, failure: &str) -> String {
    let mut story = format!("{} ({}): {}", case.id, case.level.name(), case.title);
    for (n, step) in case.steps.iter().enumerate().take(failed + 1) {
        let mark = if n == failed { "FAILED" } else { "ok" };
        story.push_str(&format!("\n  {:>2}. {mark:<6} {}", n + 1, line(step)));
    }
    for line in failure.lines() {
        story.push_str(&format!("\n             {line}"));
    }
    story
}

/// A step in one line: its op and its socket, then the rest of it as written.
fn line(step: &Json) -> String {
    let Json::Object(members) = step else {
        return step.to_string();
    };
    let mut rest = members.clone();
    let mut words: Vec<String> = ["op", "socket"]
        .iter()
        .filter_map(|name| rest.remove(*name)?.as_str().map(str::to_owned))
        .collect();
    if !rest.is_empty() {
        words.push(Json::Object(rest).to_string());
    }
    words.join(" ")
}
