//! What is done to a subject, and what that costs it.

mod list;

use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

pub(crate) use self::list::{every, legend};
use crate::clients::{Clients, Faults};
use crate::marker::Marker;
use crate::push::Pusher;
use crate::subject::{Running, Subject};
use ::tests::procfs;

/// How often memory must read the same before it counts as settled.
const STEADY_READINGS: u32 = 5;
/// How far apart those readings are.
const READING: Duration = Duration::from_millis(200);
/// Polls wait for whole milliseconds, and would have pushes be late by half of one.
const TICK: Duration = Duration::from_millis(1);
/// What is left of one is slept in naps, between which sockets are read.
const NAP: Duration = Duration::from_micros(50);
/// Deliveries with which a scenario proves its sockets alive after a storm.
const PROBES: usize = 1000;

/// One way to load a subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its short name.
    pub name: &'static str,
    /// What the sockets speak.
    pub protocol: Protocol,
    /// Recipients, or annotated pages.
    pub topics: usize,
    /// Sockets of each.
    pub sockets: usize,
    /// What happens.
    pub load: Load,
    /// A sentence about it.
    pub what: &'static str,
}

/// What the sockets of a scenario speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Recipient push: a topic is a recipient.
    Push,
    /// That of Hypothesis: a topic is a page, every socket has a filter on one.
    /// Nobody is signed in.
    Hypothesis,
    /// The same, with a user of its own signed in on each socket.
    HypothesisSignedIn,
    /// That of Misskey: a topic is a user, every socket has the user's own events.
    MisskeyMain,
    /// The same, and each has the user's home timeline and watches some notes.
    MisskeyIdle,
    /// The same: a topic are users who follow the same, every socket has a user of
    /// its own, and the home timeline beside the user's own events.
    MisskeyHome,
}

impl Protocol {
    /// What is pushed is stored or published one after the other, so that a topic
    /// may get several at once and keeps their order.
    fn is_one_by_one(self) -> bool {
        matches!(
            self,
            Self::Hypothesis | Self::HypothesisSignedIn | Self::MisskeyHome
        )
    }
}

/// What happens in a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// As fast as it goes, with at most so many pushes on their way.
    Window {
        /// Pushes on their way.
        in_flight: usize,
        /// Pushes in all.
        pushes: usize,
    },
    /// So many a second, whether the subject keeps up or not; delays count from
    /// when a push was due.
    Rate {
        /// Pushes per second.
        per_second: u32,
        /// Pushes in all.
        pushes: u32,
        /// Whether through the api instead of the store.
        api: bool,
    },
    /// The same, but annotations of pages that no socket looks at. Then one of
    /// each page, so that whatever went astray has arrived by then.
    Elsewhere {
        /// Annotations per second.
        per_second: u32,
        /// Annotations in all.
        pushes: u32,
    },
    /// Nothing, then everybody leaves and returns, twice.
    Idle,
}

/// Who pushes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Producer {
    /// Each push after the one before is stored, since order matters.
    OneByOne,
    /// All at once.
    Many,
    /// An application, through the api.
    Api,
    /// Somebody who annotates, one annotation after the other.
    Annotator,
    /// Somebody who publishes users' own events, all at once.
    Publisher,
    /// A Misskey that publishes notes, one after the other.
    Misskey,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// CPU time per delivery, in microseconds (seconds per million).
    pub cpu: Option<f64>,
    /// CPU time per annotation or note, in microseconds.
    pub annotation: Option<f64>,
    /// Deliveries per second.
    pub rate: Option<f64>,
    /// Median delay, in milliseconds.
    pub p50: Option<f64>,
    /// Delay of the slowest hundredth, in milliseconds.
    pub p99: Option<f64>,
    /// CPU time per socket opened, in milliseconds.
    pub connect: Option<f64>,
    /// Memory per idle socket, in KB of 1,000 bytes.
    pub memory: Option<f64>,
    /// Growth of that after everybody left and returned twice, in percent.
    pub growth: Option<f64>,
    /// What went wrong.
    pub faults: Faults,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = [
            (self.cpu, "CPU-s/M"),
            (self.annotation, "µs CPU per annotation or note"),
            (self.rate, "deliveries/s"),
            (self.p50, "ms p50"),
            (self.p99, "ms p99"),
            (self.connect, "ms CPU per connect"),
            (self.memory, "KB per socket"),
            (self.growth, "% growth"),
        ];
        for (figure, unit) in figures {
            if let Some(figure) = figure {
                write!(f, "{figure:.3} {unit}, ")?;
            }
        }
        let Faults {
            lost,
            repeated,
            reordered,
            misdelivered,
        } = self.faults;
        write!(
            f,
            "lost {lost}, repeated {repeated}, reordered {reordered}, misdelivered {misdelivered}"
        )
    }
}

impl Scenario {
    /// Whether it is among the names.
    pub(crate) fn is_named(&self, names: &[String]) -> bool {
        names.iter().any(|name| name == self.name)
    }

    /// Who can run it: the limit program has neither memory nor an api to speak
    /// of, and looks for nobody.
    pub(crate) fn subjects(&self) -> &'static [Subject] {
        match (self.protocol, self.load) {
            (Protocol::MisskeyHome, _) => &[Subject::Limit, Subject::Gateway, Subject::Node],
            (_, Load::Window { .. })
            | (Protocol::Push | Protocol::MisskeyMain, Load::Rate { api: false, .. }) => {
                &[Subject::Limit, Subject::Gateway]
            }
            _ => &[Subject::Gateway],
        }
    }

    /// How many users of a Misskey it needs, if it is about one.
    pub(crate) fn users(&self) -> Option<usize> {
        match self.protocol {
            Protocol::MisskeyMain | Protocol::MisskeyIdle => Some(self.topics),
            Protocol::MisskeyHome => Some(self.topics * self.sockets),
            Protocol::Push | Protocol::Hypothesis | Protocol::HypothesisSignedIn => None,
        }
    }

    fn producer(&self) -> Producer {
        match (self.protocol, self.load) {
            (Protocol::Hypothesis | Protocol::HypothesisSignedIn, _) => Producer::Annotator,
            (Protocol::MisskeyMain | Protocol::MisskeyIdle, _) => Producer::Publisher,
            (Protocol::MisskeyHome, _) => Producer::Misskey,
            (Protocol::Push, Load::Rate { api: true, .. }) => Producer::Api,
            (Protocol::Push, _) if self.topics == 1 => Producer::OneByOne,
            (Protocol::Push, _) => Producer::Many,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Runs a scenario once, against a subject of its own.
pub(crate) fn run(scenario: &Scenario, subject: Subject) -> Figures {
    let running = Running::start(subject, scenario);
    let open = || {
        let path = |socket| running.path(scenario, socket);
        let greeting = |socket| running.greeting(scenario, socket);
        let (topics, sockets) = (scenario.topics, scenario.sockets);
        Clients::open(running.address(), topics, sockets, path, greeting)
    };
    if let Load::Idle = scenario.load {
        return idle(&running, scenario.producer(), open);
    }
    let mut clients = open();
    let mut pusher = running.pusher(scenario.producer());
    // Whoever has heard something is subscribed, and all that is made once is made.
    window(&mut clients, &mut pusher, 256, scenario.topics, |n| n);

    let mut dice = Dice::default();
    clients.begin();
    let cpu = procfs::cpu(running.pid());
    match scenario.load {
        Load::Window { in_flight, pushes } => {
            window(&mut clients, &mut pusher, in_flight, pushes, |_| {
                dice.roll(scenario.topics)
            });
        }
        Load::Rate {
            per_second, pushes, ..
        } => {
            let next = |clients: &mut Clients, due| {
                let mut choose = || dice.roll(scenario.topics);
                let topic = if scenario.protocol.is_one_by_one() {
                    choose()
                } else {
                    free(clients, choose)
                };
                clients.expect(topic, due)
            };
            rate(&mut clients, &mut pusher, per_second, pushes, next);
        }
        Load::Elsewhere { per_second, pushes } => {
            rate(&mut clients, &mut pusher, per_second, pushes, |_, due| {
                Marker::elsewhere(due)
            });
        }
        Load::Idle => {}
    }
    let elapsed = clients.elapsed();
    let cpu = procfs::cpu(running.pid()) - cpu;
    let cpu = cpu.as_secs_f64() * 1e6;
    let annotation = match scenario.load {
        Load::Rate { pushes, .. } if scenario.protocol.is_one_by_one() => {
            Some(cpu / f64::from(pushes))
        }
        Load::Elsewhere { pushes, .. } => {
            window(&mut clients, &mut pusher, 100, scenario.topics, |n| n);
            return Figures {
                annotation: Some(cpu / f64::from(pushes)),
                faults: clients.faults(),
                ..Figures::default()
            };
        }
        _ => None,
    };
    let faults = clients.faults();
    let delays = clients.latencies();
    let at = |share: usize| {
        delays
            .get(delays.len() * share / 100)
            .map(|&us| f64::from(us) / 1e3)
    };
    Figures {
        cpu: Some(cpu / delays.len() as f64),
        annotation,
        rate: Some(delays.len() as f64 / elapsed.as_secs_f64()),
        p50: at(50),
        p99: at(99),
        faults,
        ..Figures::default()
    }
}

/// Pushes as fast as it goes, with at most `in_flight` on their way. Only a lone
/// topic gets a second push before the first arrived: pushes set out at once
/// have no order among themselves.
fn window(
    clients: &mut Clients,
    pusher: &mut Pusher,
    in_flight: usize,
    pushes: usize,
    mut choose: impl FnMut(usize) -> usize,
) {
    let mut pushed = 0;
    while pushed < pushes {
        while pushed < pushes && clients.in_flight() < in_flight {
            let topic = free(clients, || choose(pushed));
            let marker = clients.expect(topic, clients.elapsed());
            pusher.push(marker);
            pushed += 1;
        }
        if !clients.turn(Duration::from_secs(10)) {
            break;
        }
    }
    clients.finish();
}

/// Pushes at a steady rate.
fn rate(
    clients: &mut Clients,
    pusher: &mut Pusher,
    per_second: u32,
    pushes: u32,
    mut next: impl FnMut(&mut Clients, Duration) -> Marker,
) {
    let due = |n: u32| Duration::from_secs(1) * n / per_second;
    let mut pushed = 0;
    while pushed < pushes {
        while pushed < pushes && due(pushed) <= clients.elapsed() {
            pusher.push(next(clients, due(pushed)));
            pushed += 1;
        }
        let left = due(pushed).saturating_sub(clients.elapsed());
        if TICK <= left {
            clients.turn(left - TICK);
        } else {
            clients.turn(Duration::ZERO);
            thread::sleep(left.min(NAP));
        }
    }
    clients.finish();
}

fn free(clients: &Clients, mut choose: impl FnMut() -> usize) -> usize {
    loop {
        let topic = choose();
        if clients.on_the_way_to(topic) == 0 || clients.topics() == 1 {
            return topic;
        }
    }
}

fn idle(running: &Running, producer: Producer, open: impl Fn() -> Clients) -> Figures {
    let pid = running.pid();
    let (empty, descriptors) = (settled(pid), open_files(pid));
    let cpu = procfs::cpu(pid);
    let mut clients = open();
    let cpu = procfs::cpu(pid) - cpu;
    let count = clients.len();
    let first = settled(pid);
    for _ in 0..2 {
        drop(clients);
        while open_files(pid) > descriptors + 10 {
            thread::sleep(READING);
        }
        clients = open();
    }
    let last = settled(pid);
    let mut pusher = running.pusher(producer);
    let apart = clients.topics() / PROBES;
    window(&mut clients, &mut pusher, 100, PROBES, |n| n * apart);
    let per_socket = |bytes: u64| bytes.saturating_sub(empty) as f64 / count as f64 / 1e3;
    Figures {
        connect: Some(cpu.as_secs_f64() * 1e3 / count as f64),
        memory: Some(per_socket(first)),
        growth: Some((per_socket(last) / per_socket(first) - 1.0) * 100.0),
        faults: clients.faults(),
        ..Figures::default()
    }
}

/// Resident memory once it stopped changing.
fn settled(pid: u32) -> u64 {
    let (mut memory, mut same) = (procfs::resident(pid), 0);
    while same < STEADY_READINGS {
        thread::sleep(READING);
        let now = procfs::resident(pid);
        same = if now == memory { same + 1 } else { 0 };
        memory = now;
    }
    memory
}

fn open_files(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files
        .expect("our own child's descriptors can be listed")
        .count()
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}
