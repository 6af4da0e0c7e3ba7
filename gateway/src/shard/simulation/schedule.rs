//! What is to happen in a world: drawn from a seed, and made shorter while it still
//! goes wrong.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::redis::Time;

/// More than a ring ever gets here.
pub(super) const PLENTY: usize = 2000;
/// After so long a ring that cannot be read is given up.
const LONG: Time = 25_000;

/// What a world is like, before anything happens in it.
#[derive(Clone, Debug)]
pub(super) struct Climate {
    /// Primaries of a Cluster, or one server.
    pub(super) servers: usize,
    pub(super) nodes: usize,
    pub(super) shards: usize,
    /// Bytes that the kernel takes for a client that does not read.
    pub(super) socket: usize,
    /// Bytes kept for such a client.
    pub(super) queue: usize,
    /// Bytes of events that a listener may have on its hands.
    pub(super) room: u32,
    /// Bytes that Redis keeps for a link that does not read.
    pub(super) output_limit: usize,
    pub(super) ring_entries: usize,
    /// The longest that something is on its way, in milliseconds.
    pub(super) delay: Time,
    /// How long a client may say nothing before it is asked whether it is there.
    pub(super) heartbeat: Time,
    /// Seeds all that is drawn while the world goes on.
    pub(super) seed: u64,
}

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// A client of some kind comes to a node.
    Come { kind: u32, node: u32 },
    /// It goes away without a word.
    Leave(u32),
    /// It asks for a topic.
    Ask { client: u32, topic: u32 },
    /// It gives a topic up.
    GiveUp { client: u32, topic: u32 },
    /// It reads no more, for some time.
    Stall { client: u32, time: Time },
    /// Events on a topic that has a ring, one after the other at once.
    Publish { topic: u32, count: u32 },
    /// An event on a topic, past all scripts and rings.
    Raw(u32),
    /// Messages to a recipient.
    Push { recipient: u32, count: u32 },
    /// A message to all recipients.
    PushToAll,
    /// An annotation that only members of the club may hear of.
    Private,
    /// A user joins the club, or leaves it.
    Change { user: u32, member: bool },
    /// A node's link is cut off.
    Kill(u32),
    /// Nothing gets through a node's link any more.
    Freeze(u32),
    /// A server is away for some time, and comes back as it was or empty.
    Restart {
        server: u32,
        time: Time,
        with_data: bool,
    },
    /// A replica takes over after some time; it has not heard the last `lag`, and
    /// its clock is `clock` from the right one.
    Failover {
        server: u32,
        time: Time,
        lag: Time,
        clock: i64,
    },
    /// Two servers do not hear each other for some time.
    Cut { one: u32, other: u32, time: Time },
    /// Commands take long for some time.
    Slow { time: Time, by: Time },
    /// A shard does nothing for some time.
    Sleep { node: u32, shard: u32, time: Time },
    /// A node cannot reach Redis for some time.
    Isolate { node: u32, time: Time },
}

/// All that happens in a world, each after the one before.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) climate: Climate,
    pub(super) actions: Vec<(Time, Action)>,
}

/// What schedules of a seed are bad at.
struct Weather {
    /// How often each kind of trouble comes, of a hundred actions.
    links: u32,
    servers: u32,
    slowness: u32,
    /// The longest pause between two actions.
    pause: Time,
}

impl Schedule {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let r = &mut random;
        let climate = Climate {
            servers: pick(r, &[1, 1, 3]),
            nodes: pick(r, &[1, 1, 1, 2]),
            shards: pick(r, &[1, 1, 2]),
            socket: pick(r, &[300, 2000, 100_000]),
            queue: pick(r, &[500, 5000, 100_000]),
            room: pick(r, &[700, 5000, 1 << 20]),
            output_limit: pick(r, &[2000, 1 << 20, 1 << 20]),
            ring_entries: pick(r, &[8, PLENTY, PLENTY]),
            delay: pick(r, &[1, 20, 300]),
            heartbeat: pick(r, &[60_000, 60_000, 10_000]),
            seed: r.random(),
        };
        let weather = Weather {
            links: pick(r, &[0, 3, 12]),
            servers: pick(r, &[0, 0, 2, 8]),
            slowness: pick(r, &[0, 0, 6]),
            pause: pick(r, &[3, 30, 300, 3000]),
        };
        let length = r.random_range(10..60);
        let mut actions: Vec<_> = (0..r.random_range(1..6))
            .map(|_| {
                (
                    0,
                    Action::Come {
                        kind: r.random(),
                        node: r.random(),
                    },
                )
            })
            .collect();
        let mut in_trouble = false;
        for _ in 0..length {
            let pause = match r.random_range(0..500) {
                0 => r.random_range(0..700_000),
                1..20 => r.random_range(0..20_000),
                _ if in_trouble => r.random_range(0..1500),
                _ => r.random_range(0..=weather.pause),
            };
            // What happens while something is broken is what is of interest.
            let action = match in_trouble && r.random_bool(0.7) {
                true => peaceful(r),
                false => weather.action(r),
            };
            in_trouble = action.is_trouble() || in_trouble && r.random_bool(0.5);
            actions.push((pause, action));
        }
        Self { climate, actions }
    }

    /// Whether rings may be too short, or unread for too long, or lack something.
    pub(super) fn is_rough(&self) -> bool {
        let long = |action: &Action| match *action {
            Action::Raw(_) => true,
            Action::Restart { time, .. }
            | Action::Failover { time, .. }
            | Action::Cut { time, .. }
            | Action::Isolate { time, .. } => LONG <= time,
            _ => false,
        };
        // In a Cluster a doubt may be about what was before anybody listened.
        let doubts = 1 < self.climate.servers;
        doubts
            || self.climate.ring_entries < PLENTY
            || self.actions.iter().any(|(_, action)| long(action))
    }

    /// The shortest that is found which still goes wrong.
    pub(super) fn shrunk(mut self, goes_wrong: impl Fn(&Self) -> bool) -> Self {
        let mut size = self.actions.len().div_ceil(2);
        loop {
            let mut at = 0;
            while at < self.actions.len() {
                let mut shorter = self.clone();
                let gone: Vec<_> = shorter
                    .actions
                    .drain(at..shorter.actions.len().min(at + size))
                    .collect();
                // What follows stays where it was.
                if let Some((pause, _)) = shorter.actions.get_mut(at) {
                    *pause += gone.iter().map(|(pause, _)| pause).sum::<Time>();
                }
                if goes_wrong(&shorter) {
                    self = shorter;
                } else {
                    at += size;
                }
            }
            if size == 1 {
                return self;
            }
            size = size.div_ceil(2);
        }
    }
}

impl Weather {
    fn action(&self, r: &mut SmallRng) -> Action {
        let roll = r.random_range(0..100);
        let (links, servers) = (self.links, self.links + self.servers);
        let slowness = servers + self.slowness;
        if roll < links {
            match r.random_range(0..3) {
                0 => Action::Kill(r.random()),
                1 => Action::Freeze(r.random()),
                _ => Action::Isolate {
                    node: r.random(),
                    time: some_time(r),
                },
            }
        } else if roll < servers {
            match r.random_range(0..4) {
                0 => Action::Restart {
                    server: r.random(),
                    time: some_time(r),
                    with_data: true,
                },
                1 => Action::Restart {
                    server: r.random(),
                    time: some_time(r),
                    with_data: false,
                },
                2 => Action::Failover {
                    server: r.random(),
                    time: some_time(r),
                    lag: r.random_range(0..2000),
                    clock: r.random_range(-4500..4500),
                },
                _ => Action::Cut {
                    one: r.random(),
                    other: r.random(),
                    time: some_time(r),
                },
            }
        } else if roll < slowness {
            match r.random_range(0..3) {
                0 => Action::Slow {
                    time: some_time(r),
                    by: r.random_range(0..3000),
                },
                1 => Action::Sleep {
                    node: r.random(),
                    shard: r.random(),
                    time: r.random_range(0..5000),
                },
                _ => Action::Stall {
                    client: r.random(),
                    time: some_time(r),
                },
            }
        } else {
            peaceful(r)
        }
    }
}

impl Action {
    /// Whether it breaks something.
    fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Kill(_)
                | Self::Freeze(_)
                | Self::Isolate { .. }
                | Self::Restart { .. }
                | Self::Failover { .. }
                | Self::Cut { .. }
        )
    }
}

/// What clients and producers do on any day.
fn peaceful(r: &mut SmallRng) -> Action {
    match r.random_range(0..100) {
        0..6 => Action::Come {
            kind: r.random(),
            node: r.random(),
        },
        6..9 => Action::Leave(r.random()),
        9..20 => Action::Ask {
            client: r.random(),
            topic: r.random(),
        },
        20..26 => Action::GiveUp {
            client: r.random(),
            topic: r.random(),
        },
        26..28 => Action::Raw(r.random()),
        28..33 => Action::PushToAll,
        33..35 => Action::Private,
        35..38 => Action::Change {
            user: r.random(),
            member: r.random(),
        },
        38..75 => Action::Publish {
            topic: r.random(),
            count: few(r),
        },
        _ => Action::Push {
            recipient: r.random(),
            count: few(r),
        },
    }
}

fn few(r: &mut SmallRng) -> u32 {
    pick(r, &[1, 1, 1, 1, 3, 12])
}

/// Mostly short, sometimes longer than anything is kept.
fn some_time(r: &mut SmallRng) -> Time {
    if r.random_range(0..40) == 0 {
        return r.random_range(500_000..700_000);
    }
    let most = pick(r, &[50, 2000, 2000, 20_000, 20_000]);
    r.random_range(0..most)
}

fn pick<T: Copy>(r: &mut SmallRng, among: &[T]) -> T {
    among[r.random_range(0..among.len())]
}
