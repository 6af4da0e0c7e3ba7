//! A simulated world around what a link decides and around shards: their code is
//! what runs, everything else is made up. Redis loses connections, restarts, fails
//! over and loses what its replica had not heard; clients come, go and read slowly;
//! time passes as fast as it can.
//!
//! A seed says what happens. `SIM_SEED=<seed>` lives through one again, and
//! `SIM_SECONDS=<n>` through as many new ones as fit in the time (`make simulate`).

mod pipe;
mod client;
mod redis;
mod subject;
mod schedule;
mod setting;
mod world;

use std::cell::Cell;
use std::env;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

pub(super) use self::pipe::Pipe;
use self::schedule::Schedule;
use self::setting::Setting;
use self::world::World;

/// Seeds that every run of the tests goes through.
const FEW: u64 = 500;

thread_local! {
    /// Whether panics of this thread are looked for, and no news.
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// Panics that are looked for say nothing of themselves.
fn keep_quiet() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !LOOKING.get() {
            before(info);
        }
    }));
}

/// Lives through a schedule; what went wrong, if anything did.
fn live(schedule: &Schedule, setting: &Setting) -> Result<(), String> {
    LOOKING.set(true);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        World::new(schedule, setting).live(schedule);
    }));
    LOOKING.set(false);
    lived.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        text.unwrap_or_else(|| "it panicked".to_owned())
    })
}

/// Lives through a seed, and if that goes wrong says how, in as few words as can be
/// found.
fn try_seed(seed: u64, setting: &Setting) {
    let schedule = Schedule::of(seed);
    let Err(first) = live(&schedule, setting) else {
        return;
    };
    let short = schedule.shrunk(|schedule| live(schedule, setting).is_err());
    let last = live(&short, setting).expect_err("it goes wrong");
    let story: String = short
        .actions
        .iter()
        .map(|(pause, action)| format!("\n  after {pause} ms {action:?}"))
        .collect();
    panic!(
        "SIM_SEED={seed}: {first}\nshortest found: {last}\n  {:?}{story}",
        short.climate
    );
}

#[expect(clippy::disallowed_methods, reason = "it is no setting of a process")]
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

#[test]
fn nothing_is_lost_repeated_or_reordered_whatever_happens() {
    keep_quiet();
    let setting = Setting::new();
    if let Some(seed) = number("SIM_SEED") {
        return try_seed(seed, &setting);
    }
    let Some(seconds) = number("SIM_SECONDS") else {
        return (0..FEW).for_each(|seed| try_seed(seed, &setting));
    };
    let (begun, time) = (Instant::now(), Duration::from_secs(seconds));
    let mut lived = 0;
    while begun.elapsed() < time {
        try_seed(rand::random(), &setting);
        lived += 1;
    }
    println!("{lived} schedules in {seconds} s");
}
