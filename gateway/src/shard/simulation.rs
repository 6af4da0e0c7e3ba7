//! A simulated world around what a link decides and around shards: their code is
//! what runs, everything else is made up. Redis loses connections, restarts, fails
//! over and loses what its replica had not heard; clients come, go and read slowly;
//! time passes as fast as it can.
//!
//! A seed says what happens. `SIM_SEED=<seed>` lives through one again, and
//! `SIM_SECONDS=<n>` through as many new ones as fit in the time on all cores
//! (`make simulate`, which has the compiler make them fast).

mod pipe;
mod client;
mod redis;
mod subject;
mod schedule;
mod setting;
mod world;

use std::cell::Cell;
use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
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

/// Lives through a seed.
///
/// # Errors
/// If that goes wrong: how, in as few words as can be found.
fn try_seed(seed: u64, setting: &Setting) -> Result<(), String> {
    let schedule = Schedule::of(seed);
    let Err(first) = live(&schedule, setting) else {
        return Ok(());
    };
    let short = schedule.shrunk(|schedule| live(schedule, setting).is_err());
    let last = live(&short, setting).expect_err("it goes wrong");
    let story: String = short
        .actions
        .iter()
        .map(|(pause, action)| format!("\n  after {pause} ms {action:?}"))
        .collect();
    Err(format!(
        "SIM_SEED={seed}: {first}\nshortest found: {last}\n  {:?}{story}",
        short.climate
    ))
}

/// How much was lived through.
#[derive(Clone, Copy, Debug, Default)]
struct Lived {
    schedules: u64,
    /// What it took of a core's time, if the system says so.
    busy: Duration,
}

/// Lives through new seeds until the time is over or something went wrong.
fn try_until(end: Instant, over: &AtomicBool) -> Result<Lived, String> {
    let setting = Setting::new();
    let mut schedules = 0;
    while Instant::now() < end && !over.load(Ordering::Relaxed) {
        let tried = try_seed(rand::random(), &setting);
        tried.inspect_err(|_| over.store(true, Ordering::Relaxed))?;
        schedules += 1;
    }
    // Linux says of a thread first how long it ran.
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let busy = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    let busy = Duration::from_nanos(busy.unwrap_or(0));
    Ok(Lived { schedules, busy })
}

/// Lives through as many new seeds as fit in the time, on all cores, and says how
/// many those were.
fn try_for(time: Duration) -> Result<(), String> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (end, over) = (Instant::now() + time, AtomicBool::new(false));
    let all = thread::scope(|scope| {
        let threads = (0..cores).map(|_| scope.spawn(|| try_until(end, &over)));
        let threads: Vec<_> = threads.collect();
        let lived = threads.into_iter().map(ScopedJoinHandle::join);
        lived
            .map(|lived| lived.expect("panics are caught where they happen"))
            .try_fold(Lived::default(), |all, lived| {
                let lived = lived?;
                Ok::<_, String>(Lived {
                    schedules: all.schedules + lived.schedules,
                    busy: all.busy + lived.busy,
                })
            })
    })?;
    let Lived { schedules, busy } = all;
    let rate = |time: Duration| schedules as f64 / time.as_secs_f64();
    println!(
        "{schedules} schedules in {} s: {:.0} per second, on {cores} cores; {:.0} per second of a core's time",
        time.as_secs(),
        rate(time),
        rate(busy)
    );
    Ok(())
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
    let tried = match (number("SIM_SEED"), number("SIM_SECONDS")) {
        (Some(seed), _) => try_seed(seed, &Setting::new()),
        (None, Some(seconds)) => try_for(Duration::from_secs(seconds)),
        (None, None) => {
            let setting = Setting::new();
            (0..FEW).try_for_each(|seed| try_seed(seed, &setting))
        }
    };
    if let Err(story) = tried {
        panic!("{story}");
    }
}
