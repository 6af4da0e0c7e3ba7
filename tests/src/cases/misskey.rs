//! Cases of the Misskey protocol: what is done to a host and its sockets, and
//! what is to be seen afterwards.
//!
//! A file has `fixtures`, which all its cases find in their hosts, and `cases`; a
//! case has an `id`, the `versions` of Misskey in which it holds, who connects
//! (`as`), `steps` and what to `expect`. Steps are objects with one member, which
//! names them. Each case plays on a host, a bus, cache keys and a tenant of its
//! own, so all play at the same time.

mod ear;
mod expect;
mod fixtures;
mod stage;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};

use super::Outcome;
use super::json::Json;
use crate::fleet::Fleet;
use crate::misskey::{HOSTS, Misskey};
use fixtures::Fixtures;
use stage::Stage;

/// How often gateways ping: often enough that a case can wait for a socket to
/// be cut, seldom enough that none is cut because the machine is busy.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Cases played at the same time. Most of their time they wait for frames that
/// must not come; but all begin with what costs a slow machine much.
const ABREAST: usize = 16;

/// The cases of one file, and what they find.
#[derive(Clone, Debug)]
pub struct Cases {
    fixtures: Fixtures,
    cases: Vec<Case>,
}

/// What is done, and what is seen afterwards.
#[derive(Clone, Debug)]
pub struct Case {
    /// Names it among all.
    pub id: String,
    /// The versions in which it holds: `all`, or some, as `V25` or `V26b+`.
    versions: String,
    /// What it shows, if the file says so.
    note: String,
    /// Who connects.
    viewer: String,
    steps: Vec<Json>,
    expect: Vec<Json>,
}

impl Cases {
    /// The cases of a file.
    ///
    /// # Errors
    /// If it has a mistake, in words.
    pub fn read(file: &Json) -> Result<Self, String> {
        let fixtures = file.get("fixtures").ok_or("there are no fixtures")?;
        let Some(Json::Array(cases)) = file.get("cases") else {
            return Err("there are no cases".to_owned());
        };
        Ok(Self {
            fixtures: Fixtures::read(fixtures)?,
            cases: cases.iter().map(Case::read).collect::<Result<_, _>>()?,
        })
    }

    /// Plays them all over a fleet of their own.
    ///
    /// # Panics
    /// If the fleet cannot be started.
    pub async fn play(&self) -> Vec<(&Case, Outcome)> {
        let places = self.cases.iter().enumerate();
        let places: Vec<(&Case, Place)> = places
            .map(|(n, case)| (case, Place::new(n, self.fixtures.world(case))))
            .collect();
        let hosts = places.iter().map(|(case, place)| place.setting(case));
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let fleet = Fleet::of(2, 0)
            .env(HOSTS, &hosts)
            .env(
                "CARILLON_GATEWAY_HEARTBEAT",
                &format!("{}s", HEARTBEAT.as_secs()),
            )
            .start()
            .await;
        let fleet = &fleet;
        for (_, place) in &places {
            place.misskey.cache_in(&fleet.redis().url(), &place.host);
            fleet.hush(&place.misskey);
        }
        let one = async |(n, (case, place)): (usize, &(&'_ Case, Place))| {
            (n, outcome(fleet, &self.fixtures, case, place).await)
        };
        let played = futures_util::stream::iter(places.iter().enumerate()).map(one);
        let mut played: Vec<_> = played.buffer_unordered(ABREAST).collect().await;
        played.sort_by_key(|(n, _)| *n);
        let outcomes = played.into_iter().map(|(_, outcome)| outcome);
        let outcomes: Vec<_> = outcomes.collect();
        fleet.doubt_if(outcomes.iter().any(Outcome::is_failure));
        self.cases.iter().zip(outcomes).collect()
    }
}

/// Where a case plays: a host that is its own.
struct Place {
    /// The host's name, its bus, and the prefix of its keys.
    host: String,
    tenant: String,
    misskey: Misskey,
}

impl Place {
    fn new(number: usize, world: crate::misskey::World) -> Self {
        Self {
            host: format!("case-{number}.example"),
            tenant: format!("case-{number}"),
            misskey: Misskey::of(world),
        }
    }

    /// By which a gateway serves it.
    fn setting(&self, case: &Case) -> String {
        let Self { host, tenant, .. } = self;
        let old_bus = if case.versions.starts_with("V25") {
            " old_bus=true"
        } else {
            ""
        };
        let api = self.misskey.url();
        format!("{host}={tenant} bus={host} prefix={host} api={api}{old_bus}")
    }
}

async fn outcome(fleet: &Fleet, fixtures: &Fixtures, case: &Case, place: &Place) -> Outcome {
    let mut stage = Stage::new(fleet, fixtures, case, place);
    // A panic of the fleet fails this case, not all of them.
    let played = AssertUnwindSafe(stage.play(case)).catch_unwind().await;
    match played {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err((step, failure))) => Outcome::Failed(case.story(step, &failure, &stage.seen())),
        Err(panic) => {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.unwrap_or_else(|| "the harness gave up".to_owned());
            Outcome::Failed(case.story(0, &why, &[]))
        }
    }
}

impl Case {
    fn read(case: &Json) -> Result<Self, String> {
        let text = |name: &str| case.get(name).and_then(Json::as_str).map(str::to_owned);
        let list = |name: &str| match case.get(name) {
            Some(Json::Array(items)) => Ok(items.clone()),
            None if name == "steps" => Ok(Vec::new()),
            _ => Err(format!("a case has no {name}: {case}")),
        };
        Ok(Self {
            id: text("id").ok_or_else(|| format!("a case has no id: {case}"))?,
            versions: text("versions").unwrap_or_else(|| "all".to_owned()),
            note: text("note").unwrap_or_default(),
            viewer: text("as").unwrap_or_else(|| "none".to_owned()),
            steps: list("steps")?,
            expect: list("expect")?,
        })
    }

    /// Who opens sockets: two of them if it says so (`two_viewers:A,B`).
    fn viewers(&self) -> impl Iterator<Item = &str> {
        let viewers = self.viewer.strip_prefix("two_viewers:");
        viewers.unwrap_or(&self.viewer).split(',').map(str::trim)
    }

    /// Steps and expectations up to the one that failed, why it did, and what
    /// was seen.
    fn story(&self, failed: usize, failure: &str, seen: &[String]) -> String {
        const LONGEST: usize = 400;
        let mut story = format!("{} ({}): {}", self.id, self.versions, self.note);
        let lines = self.steps.iter().chain(&self.expect);
        for (n, step) in lines.enumerate().take(failed + 1) {
            let mark = if n == failed { "FAILED" } else { "ok" };
            let what = if n < self.steps.len() { "" } else { "expect " };
            let step: String = step.to_string().chars().take(LONGEST).collect();
            story.push_str(&format!("\n  {:>2}. {mark:<6} {what}{step}", n + 1));
        }
        for line in failure.lines() {
            story.push_str(&format!("\n             {line}"));
        }
        for frame in seen {
            let frame: String = frame.chars().take(LONGEST).collect();
            story.push_str(&format!("\n        seen {frame}"));
        }
        story
    }
}
