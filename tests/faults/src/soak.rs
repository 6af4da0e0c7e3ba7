//! Clients of all dialects come, listen, hear something and go, for a long time,
//! while somebody watches what is left of them: `faults soak`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use ::tests::{Fleet, Heard, Process, Socket, procfs};
use rand::RngExt as _;
use redis::cmd;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{self, Client, Dialect, Kind};
use crate::crowd;
use crate::marker;
use crate::report;
use crate::slope::Slope;
use crate::ways::{Answer, Way};

/// How often everything is looked at.
const GLANCE: Duration = Duration::from_secs(5);
/// Keys are counted by kind once in so many glances.
const COUNT_EVERY: usize = 6;
/// What is looked at before this part of the time has passed is warming up.
const WARM: f64 = 1.0 / 3.0;
/// How long a client waits for what it asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client stays at most so long after it has heard something.
const STAY: Duration = Duration::from_secs(4);
/// Keys of this kind are as many as there were events in a day.
const REMEMBERED: &str = "ingested";
const MIB: f64 = 1024.0 * 1024.0;

/// What happened so far.
#[derive(Default)]
struct Tally {
    visits: AtomicU64,
    heard: AtomicU64,
    missed: AtomicU64,
    refused: AtomicU64,
}

/// What visits need.
struct Ground {
    fleet: Fleet,
    gateways: Vec<SocketAddr>,
    next: AtomicU32,
    tally: Tally,
    over: AtomicBool,
}

/// What was seen over time, in order.
type Series = Vec<(f64, f64)>;

/// Soaks a fleet for so long, with so many clients at a time, and writes down
/// what grew. Whether nothing did, and nothing was missed.
pub(crate) async fn soak(length: Duration, sockets: usize) -> bool {
    let fleet = Fleet::of(2, 2)
        .env("CARILLON_LOG", "info")
        .env(::tests::misskey::HOSTS, "misskey.example=acme")
        // What is kept for its time goes within the hour, so that there is a
        // steady state to see.
        .env("CARILLON_RETENTION", "1m")
        .env("CARILLON_IDEMPOTENCY", "1m")
        .env("CARILLON_WORKER_TRIM_INTERVAL", "5s");
    let (fleet, clients) = crowd::invite(fleet.start().await, sockets).await;
    let ground = Arc::new(Ground {
        gateways: fleet.gateways().iter().map(Process::address).collect(),
        fleet,
        next: AtomicU32::new(0),
        tally: Tally::default(),
        over: AtomicBool::new(false),
    });
    let mut guests = JoinSet::new();
    for client in clients {
        let ground = Arc::clone(&ground);
        guests.spawn(async move {
            while !ground.over.load(Ordering::Relaxed) {
                visit(&ground, &client).await;
            }
        });
    }
    let seen = watch(&ground, length).await;
    ground.over.store(true, Ordering::Relaxed);
    while let Some(guest) = guests.join_next().await {
        guest.expect("a client does not panic");
    }
    conclude(&ground.tally, &seen, length, sockets)
}

/// A client comes, has something told to it, stays a while and goes in one of
/// three ways.
async fn visit(ground: &Ground, client: &Client) {
    let tally = &ground.tally;
    tally.visits.fetch_add(1, Ordering::Relaxed);
    let attempt = rand::random_range(0..ground.gateways.len());
    let Ok(mut socket) = client.open(&ground.gateways, attempt).await else {
        tally.refused.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_secs(1)).await;
        return;
    };
    for message in client.greeting() {
        socket.say(&message).await;
    }
    let number = ground.next.fetch_add(1, Ordering::Relaxed);
    let listen = async {
        if client.kind.dialect() != Dialect::Push {
            while !client.confirms(&text(&mut socket, client).await?) {}
        }
        publish(ground, client, number).await;
        while marker::read(&text(&mut socket, client).await?) != Some(number) {}
        Some(())
    };
    let heard = timeout(PATIENCE, listen).await;
    let heard = if heard.is_ok_and(|heard| heard.is_some()) {
        &tally.heard
    } else {
        &tally.missed
    };
    heard.fetch_add(1, Ordering::Relaxed);
    let stay = rand::rng().random_range(Duration::ZERO..STAY);
    let silence = async { while text(&mut socket, client).await.is_some() {} };
    drop(timeout(stay, silence).await);
    match rand::random_range(0..3) {
        0 => socket.close().await,
        1 => socket.ask_to_close().await,
        _ => {}
    }
}

/// The next text; none if the socket has ended. Acknowledges it if need be.
async fn text(socket: &mut Socket, client: &Client) -> Option<String> {
    loop {
        match socket.heard().await {
            Heard::Text(text) => {
                if client.kind == Kind::Acknowledging {
                    client::acknowledge(&text, socket).await;
                }
                return Some(text);
            }
            Heard::Closed(..) | Heard::Gone => return None,
            Heard::Ping | Heard::Pong | Heard::Binary(_) => {}
        }
    }
}

/// Has something told to the client, by any way that leads to it.
async fn publish(ground: &Ground, client: &Client, number: u32) {
    let ways = Way::ALL.into_iter();
    let ways: Vec<Way> = ways
        .filter(|way| way.dialect() == client.kind.dialect() && 0 < way.share(false))
        .collect();
    let way = ways[rand::random_range(0..ways.len())];
    let commands = ground.fleet.commands();
    while let Answer::Unknown = way.offer(&ground.fleet, &commands, number, client).await {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Looks at everything now and then, for `length`.
async fn watch(ground: &Ground, length: Duration) -> BTreeMap<String, Series> {
    let began = Instant::now();
    let mut seen = BTreeMap::<String, Series>::new();
    for glance in 0_usize.. {
        let at = began + GLANCE * u32::try_from(glance).expect("a short run");
        if began + length < at {
            break;
        }
        sleep_until(at).await;
        let now = began.elapsed().as_secs_f64() / 3600.0;
        let mut note = |what: &str, value: f64| {
            seen.entry(what.to_owned()).or_default().push((now, value));
        };
        for process in processes(&ground.fleet) {
            note(process.name(), procfs::resident(process.pid()) as f64 / MIB);
        }
        let info: redis::InfoDict = ground
            .fleet
            .redis()
            .ask("", &["INFO", "memory"])
            .expect("Redis is there");
        let used: f64 = info.get("used_memory").expect("it is told");
        note("Redis, data", used / MIB);
        if glance % COUNT_EVERY == 0 {
            let kinds = kinds_of_keys(&ground.fleet).await;
            let all: usize = kinds.values().sum();
            let remembered = kinds.get(REMEMBERED).copied().unwrap_or(0);
            note("keys", (all - remembered) as f64);
            note("keys of events", remembered as f64);
            println!("{:.0} s: {kinds:?}", now * 3600.0);
        }
    }
    seen
}

fn processes(fleet: &Fleet) -> impl Iterator<Item = &Process> {
    let workers = (0..2).map(|n| fleet.worker(n));
    fleet.gateways().iter().chain([fleet.api()]).chain(workers)
}

/// How many keys of each kind there are.
async fn kinds_of_keys(fleet: &Fleet) -> BTreeMap<String, usize> {
    let commands = fleet.commands();
    let mut kinds = BTreeMap::new();
    let mut cursor = 0;
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("COUNT").arg(1000);
        let (next, keys): (u64, Vec<String>) = commands.query(&scan).await.expect("Redis is there");
        for key in keys {
            *kinds.entry(kind(&key).to_owned()).or_default() += 1;
        }
        if next == 0 {
            return kinds;
        }
        cursor = next;
    }
}

/// `pd` of `carillon:{tag}:pd:acme:ada`.
fn kind(key: &str) -> &str {
    let (_, rest) = key.split_once(':').unwrap_or(("", key));
    let rest = match rest.split_once("}:") {
        Some((_, rest)) => rest,
        None => rest,
    };
    rest.split(':').next().unwrap_or(rest)
}

/// Says what grew, writes it down if this took long enough to mean something, and
/// returns whether all is well.
fn conclude(
    tally: &Tally,
    seen: &BTreeMap<String, Series>,
    length: Duration,
    sockets: usize,
) -> bool {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (visits, missed) = (of(&tally.visits), of(&tally.missed));
    let mut text = format!(
        "{:.0} minutes with {sockets} clients at a time: {visits} connections, {} events heard, {missed} not, {} refusals.\n\n\
         | | at the beginning | at the end | slope per hour, after warming up | verdict |\n|---|---|---|---|---|\n",
        length.as_secs_f64() / 60.0,
        of(&tally.heard),
        of(&tally.refused),
    );
    let mut well = missed == 0;
    for (what, series) in seen {
        let warm = series.len() - (series.len() as f64 * (1.0 - WARM)) as usize;
        let Some(slope) = Slope::of(&series[warm..]) else {
            continue;
        };
        let (Some(first), Some(last)) = (series.first(), series.last()) else {
            continue;
        };
        let unit = if what.starts_with("keys") { "" } else { " MiB" };
        // One key for each event of a day, and the memory of all of it, are data.
        let is_data = what == "keys of events" || what.starts_with("Redis");
        let verdict = match slope.grows() {
            false => "does not grow",
            true if is_data => "data, kept for a day",
            true => "grows",
        };
        well &= is_data || !slope.grows();
        writeln!(
            text,
            "| {what} | {:.1}{unit} | {:.1}{unit} | {:+.2} ± {:.2}{unit} | {verdict} |",
            first.1, last.1, slope.rate, slope.within
        )
        .expect("a string takes text");
    }
    print!("{text}");
    report::write(
        report::RELIABILITY,
        "make soak",
        &format!("{}\n{text}", report::machine()),
    );
    well
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_kinds() {
        for (key, expected) in [
            ("carillon:{bd}:pd:demo:ada", "pd"),
            ("carillon:{in}:acme", "acme"),
            ("carillon:meta", "meta"),
            ("carillon:key:17", "key"),
        ] {
            assert_eq!(kind(key), expected);
        }
    }
}
