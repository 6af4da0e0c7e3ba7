//! How many more sockets this node can take.
//!
//! The least of three: what settings allow, what the limit of open files allows, and
//! what fits into memory below the share from which nothing new is taken. What a
//! socket costs in memory is learned from the process itself, and begins as what
//! docs/operations.md tells. None, while new clients are refused for whatever reason.

use std::time::{Duration, Instant};

use broker::node::Node;
use broker::node::memory::{Pressure, Reading, SCARCE};
use tokio::sync::watch;

use crate::dialect::Protocol;
use crate::metrics::Metrics;
use crate::shard::Held;

/// So many sockets are needed to tell what one costs. As long as there are fewer,
/// what the process uses beside them is learned instead.
const ENOUGH: f64 = 1000.0;
/// That many sockets are few: beside those that are there, so many of the dearest kind
/// are reckoned with when it is told what the next one costs.
const FEW: f64 = 100.0;
/// Over this time what is seen is averaged, as memory comes and goes in pages, and
/// is given back late.
const SMOOTHED: Duration = Duration::from_secs(10);
/// Over this time the cost of a socket is.
const LEARNED: Duration = Duration::from_secs(30);
/// What was learned is believed between this and that many times what is documented:
/// beyond, something else than sockets has taken or given back memory.
const BELIEVED: (f64, f64) = (0.5, 16.0);

/// Bytes that an idle socket costs, the kernel's share included.
const fn documented(protocol: Protocol) -> f64 {
    match protocol {
        Protocol::Push => 4_500.0,
        Protocol::Hypothesis => 5_000.0,
        Protocol::Misskey => 10_000.0,
    }
}

/// Shows it for as long as somebody tells of memory.
pub(crate) async fn show(
    mut told: watch::Receiver<Pressure>,
    node: Node,
    ceilings: Ceilings,
    held: Held,
    metrics: Metrics,
) {
    let mut headroom = Headroom::new(ceilings, Instant::now());
    while told.changed().await.is_ok() {
        let pressure = *told.borrow_and_update();
        let seen = Seen {
            takes: !pressure.scarce && takes(&node),
            sockets: Protocol::EVERY.map(|of| count(metrics.shard.of(of).connections.get())),
            relays: count(metrics.relays.open.get()),
            held: held.bytes(),
            memory: pressure.reading,
        };
        let room = headroom.see(&seen, Instant::now());
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        metrics.admission.headroom.set(room);
    }
    metrics.admission.headroom.set(0);
}

/// Whether the node lets in whoever it has room for. While Redis does not answer it
/// is ready, and can check nobody's token.
fn takes(node: &Node) -> bool {
    node.is_ready() && node.is_up("redis")
}

fn count(gauge: i64) -> usize {
    usize::try_from(gauge).unwrap_or(0)
}

/// What does not change.
#[derive(Clone, Debug)]
pub(crate) struct Ceilings {
    /// Sockets by settings.
    pub(crate) configured: usize,
    /// Sockets and relays by the limit of open files, if there is one.
    pub(crate) descriptors: Option<usize>,
    /// What clients may speak.
    pub(crate) served: Vec<Protocol>,
}

/// What is seen of a node at a moment.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Whether it lets in whoever it has room for.
    takes: bool,
    /// Open ones, by protocol.
    sockets: [usize; Protocol::EVERY.len()],
    /// Sockets to a Misskey, each of which takes a descriptor.
    relays: usize,
    /// Bytes that wait for clients, and what clients have asked for: not what a
    /// socket costs by itself.
    held: usize,
    /// `None` if memory has no limit.
    memory: Option<Reading>,
}

/// What has been learned so far.
#[derive(Debug)]
struct Headroom {
    ceilings: Ceilings,
    seen_at: Instant,
    /// Of the memory that is used, and of the sockets.
    smooth: Option<Smooth>,
    /// What the process uses beside sockets, and what clients have it hold.
    base: f64,
    /// How many times what is documented a socket costs.
    factor: f64,
}

/// Averages over [`SMOOTHED`], all of the same moments, as what a socket costs is a
/// share of one in the other.
#[derive(Clone, Copy, Debug)]
struct Smooth {
    used: f64,
    held: f64,
    sockets: f64,
    /// What these would cost by the documents.
    cost: f64,
}

impl Headroom {
    fn new(ceilings: Ceilings, now: Instant) -> Self {
        Self {
            ceilings,
            seen_at: now,
            smooth: None,
            base: 0.0,
            factor: 1.0,
        }
    }

    /// How many more there can be.
    fn see(&mut self, seen: &Seen, now: Instant) -> usize {
        let sockets: usize = seen.sockets.iter().sum();
        let mut room = self.ceilings.configured.saturating_sub(sockets);
        if let Some(descriptors) = self.ceilings.descriptors {
            room = room.min(descriptors.saturating_sub(sockets + seen.relays));
        }
        if let Some(reading) = seen.memory {
            let cost = Protocol::EVERY.iter().zip(seen.sockets);
            let cost = cost.map(|(of, sockets)| documented(*of) * sockets as f64);
            let smooth = self.learn(
                Smooth {
                    used: reading.used as f64,
                    held: seen.held as f64,
                    sockets: sockets as f64,
                    cost: cost.sum(),
                },
                now,
            );
            let left = reading.limit as f64 * SCARCE - smooth.used;
            // Those that came since are in the one number and not in the other.
            let lately = sockets as f64 - smooth.sockets;
            let fits = left / (self.factor * self.one(smooth)) - lately;
            room = room.min(fits.max(0.0) as usize);
        }
        if seen.takes { room } else { 0 }
    }

    /// Takes in what is seen, and gives the averages.
    fn learn(&mut self, now_seen: Smooth, now: Instant) -> Smooth {
        let passed = now.saturating_duration_since(self.seen_at);
        self.seen_at = now;
        let over = |time: Duration| 1.0 - (-passed.as_secs_f64() / time.as_secs_f64()).exp();
        let weight = over(SMOOTHED);
        let smooth = self
            .smooth
            .map_or(now_seen, |then| then.toward(now_seen, weight));
        self.smooth = Some(smooth);
        let own = smooth.used - smooth.held;
        if smooth.sockets < ENOUGH {
            self.base = own - self.factor * smooth.cost;
        } else {
            // The more there are, the less what else the process does counts.
            let learned = (own - self.base) / smooth.cost;
            let trust = (smooth.sockets - ENOUGH) / smooth.sockets * over(LEARNED);
            let factor = self.factor + (learned - self.factor) * trust;
            self.factor = factor.clamp(BELIEVED.0, BELIEVED.1);
        }
        smooth
    }

    /// What one more socket costs by the documents: as those that are there do on
    /// average, and as long as these are few, as the dearest do.
    fn one(&self, smooth: Smooth) -> f64 {
        let dearest = self.ceilings.served.iter().map(|of| documented(*of));
        let dearest = dearest.fold(0.0, f64::max);
        (smooth.cost + FEW * dearest) / (smooth.sockets + FEW)
    }
}

impl Smooth {
    fn toward(self, now: Self, weight: f64) -> Self {
        let mix = |then: f64, now: f64| then + (now - then) * weight;
        Self {
            used: mix(self.used, now.used),
            held: mix(self.held, now.held),
            sockets: mix(self.sockets, now.sockets),
            cost: mix(self.cost, now.cost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMIT: u64 = 1024 * MIB;

    fn ceilings() -> Ceilings {
        Ceilings {
            configured: 100_000,
            descriptors: Some(60_000),
            served: vec![Protocol::Push],
        }
    }

    /// So many sockets of recipients.
    fn seen(sockets: usize, used: u64) -> Seen {
        Seen {
            takes: true,
            sockets: [sockets, 0, 0],
            relays: 0,
            held: 0,
            memory: Some(Reading { used, limit: LIMIT }),
        }
    }

    /// Looks ten times a second.
    struct Looks {
        headroom: Headroom,
        now: Instant,
    }

    impl Looks {
        fn new(ceilings: Ceilings) -> Self {
            let now = Instant::now();
            let headroom = Headroom::new(ceilings, now);
            Self { headroom, now }
        }

        fn look(&mut self, seen: &Seen) -> usize {
            self.now += Duration::from_millis(100);
            self.headroom.see(seen, self.now)
        }

        fn look_for(&mut self, seconds: usize, seen: &Seen) -> usize {
            for _ in 0..10 * seconds {
                self.look(seen);
            }
            self.look(seen)
        }
    }

    #[test]
    fn without_a_limit_of_memory_settings_and_descriptors_say() {
        let mut looks = Looks::new(ceilings());
        let mut seen = seen(500, 0);
        seen.memory = None;
        assert_eq!(looks.look(&seen), 59_500);
        seen.relays = 300;
        assert_eq!(looks.look(&seen), 59_200, "each takes a descriptor");
        let configured = 1000;
        let mut looks = Looks::new(Ceilings {
            configured,
            ..ceilings()
        });
        assert_eq!(looks.look(&seen), 500);
        seen.sockets = [900, 100, 100];
        assert_eq!(
            looks.look(&seen),
            0,
            "settings came down below what is open"
        );
    }

    #[test]
    fn nothing_is_left_while_nobody_is_let_in() {
        let mut looks = Looks::new(ceilings());
        let mut seen = seen(500, 30 * MIB);
        assert!(0 < looks.look(&seen));
        seen.takes = false;
        assert_eq!(looks.look(&seen), 0);
    }

    #[test]
    fn an_empty_process_has_room_for_what_the_documents_say() {
        let mut looks = Looks::new(Ceilings {
            descriptors: None,
            ..ceilings()
        });
        let used = 840 * MIB;
        let left = LIMIT as f64 * SCARCE - used as f64;
        let expected = (left / documented(Protocol::Push)) as usize;
        assert_eq!(looks.look(&seen(0, used)), expected);
        assert!(looks.look(&seen(0, 871 * MIB)) < expected);
        let at_the_ceiling = looks.look_for(120, &seen(0, 871 * MIB));
        assert_eq!(at_the_ceiling, 0);
    }

    /// Sockets come at a rate, each of which costs so much.
    fn come(looks: &mut Looks, base: u64, each: u64, most: usize) -> Vec<usize> {
        let mut rooms = Vec::new();
        let mut sockets = 0;
        while sockets < most {
            sockets += 20;
            let used = base + each * sockets as u64;
            rooms.push(looks.look(&seen(sockets, used)));
        }
        rooms
    }

    #[test]
    fn what_a_socket_costs_is_learned_from_the_process() {
        for each in [3 << 10, 12 << 10, 40 << 10] {
            let no_files = Ceilings {
                descriptors: None,
                ..ceilings()
            };
            let mut looks = Looks::new(no_files);
            come(&mut looks, 100 * MIB, each, 15_000);
            let used = 100 * MIB + each * 15_000;
            let room = looks.look_for(180, &seen(15_000, used)) as f64;
            let fits = (LIMIT as f64 * SCARCE - used as f64) / each as f64;
            let fits = fits.min(85_000.0);
            assert!(
                (room / fits - 1.0).abs() < 0.1,
                "{room} for {fits} at {each}"
            );
        }
    }

    #[test]
    fn it_falls_steadily_as_sockets_come() {
        let mut looks = Looks::new(Ceilings {
            descriptors: None,
            ..ceilings()
        });
        let rooms = come(&mut looks, 100 * MIB, 12 << 10, 40_000);
        let first = rooms[0] as f64;
        for pair in rooms.windows(2) {
            let step = pair[0] as f64 - pair[1] as f64;
            assert!(-1.0 <= step && step < first / 100.0, "{step} of {first}");
        }
        assert!(rooms[rooms.len() - 1] < rooms[0] / 3);
    }

    #[test]
    fn memory_that_comes_and_goes_moves_it_little() {
        let mut looks = Looks::new(Ceilings {
            descriptors: None,
            ..ceilings()
        });
        come(&mut looks, 100 * MIB, 10 << 10, 20_000);
        let used = 100 * MIB + (10 << 10) * 20_000;
        let calm = looks.look_for(180, &seen(20_000, used)) as f64;
        for n in 0..600_u64 {
            let room = looks.look(&seen(20_000, used + n % 5 * 2 * MIB)) as f64;
            assert!((room / calm - 1.0).abs() < 0.06, "{room} beside {calm}");
        }
    }

    #[test]
    fn what_clients_have_it_hold_is_not_taken_for_the_cost_of_a_socket() {
        let mut looks = Looks::new(Ceilings {
            descriptors: None,
            ..ceilings()
        });
        come(&mut looks, 100 * MIB, 6 << 10, 20_000);
        let used = 100 * MIB + (6 << 10) * 20_000;
        looks.look_for(180, &seen(20_000, used));
        let factor = looks.headroom.factor;
        let mut holding = seen(20_000, used + 300 * MIB);
        holding.held = 300 * MIB as usize;
        looks.look_for(180, &holding);
        assert!((looks.headroom.factor / factor - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_redis_that_is_away_keeps_everybody_out_though_the_node_is_ready() {
        let node = Node::new("gateway", "g1".to_owned());
        let redis = node.condition("redis");
        node.running();
        redis.up();
        assert!(takes(&node));
        redis.degraded("silent");
        assert!(node.is_ready() && !takes(&node));
        redis.up();
        node.drain();
        assert!(!takes(&node));
    }
}
