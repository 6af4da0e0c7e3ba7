//! Which server of a Redis Cluster has which slot.
//!
//! The map is as good as the last answer. Servers correct it whenever a command
//! comes to the wrong one, and it is asked for again when one does not answer. A
//! node that was away tells of the past: who claims a slot with an older right
//! than its owner has, by their epochs, is not believed.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rand::seq::{IndexedRandom, SliceRandom};
use redis::{AsyncConnectionConfig, Value, pipe};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::info;

use super::connector::{Place, make};
use super::dial::{Access, Server};
use super::lane::Lanes;
use super::metrics::Metrics;
use super::settings::Address;
use crate::keys::{Partition, SLOTS};

/// How long one node may take to say how the slots are spread.
const PATIENCE: Duration = Duration::from_millis(500);
/// However many commands go astray, nodes are not asked again sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// Rights that are older than those we know are believed if they are told for so
/// long: somebody made the cluster anew.
const DISBELIEF: Duration = Duration::from_secs(10);
/// What no server has.
const NOBODY: u16 = u16::MAX;

/// A Redis Cluster.
pub(super) struct Cluster {
    access: Arc<Access>,
    /// Nodes to ask before any is known.
    seeds: Vec<Address>,
    /// Held only to take or put one.
    map: RwLock<Arc<Map>>,
    /// Held while nodes are asked.
    asked: Mutex<Asked>,
    asking: AtomicBool,
    /// Which primary does what any can do, so that processes spread over them.
    favourite: usize,
    metrics: Metrics,
}

/// What came of asking.
#[derive(Default)]
struct Asked {
    at: Option<Instant>,
    /// Since when we were told of rights that are older than those we know.
    disbelieved: Option<Instant>,
}

/// How the slots are spread.
pub(super) struct Map {
    /// For each slot the index of its primary.
    slots: Box<[u16]>,
    pub(super) primaries: Vec<Primary>,
    replicas: Vec<Address>,
}

/// A node that has slots.
#[derive(Clone)]
pub(super) struct Primary {
    pub(super) address: Address,
    pub(super) lanes: Arc<Lanes>,
    /// How new its right to its slots is.
    epoch: u64,
}

impl Map {
    fn empty() -> Self {
        Self {
            slots: vec![NOBODY; usize::from(SLOTS)].into(),
            primaries: Vec::new(),
            replicas: Vec::new(),
        }
    }

    /// The server that has the slot.
    pub(super) fn of(&self, slot: u16) -> Option<&Primary> {
        self.primaries
            .get(usize::from(self.slots[usize::from(slot)]))
    }

    /// Those that are at this address.
    pub(super) fn partitions(&self, address: &Address) -> Vec<Partition> {
        let there = |partition: &Partition| {
            let one = self.of(partition.slot());
            one.is_some_and(|one| one.address == *address)
        };
        Partition::every().filter(there).collect()
    }

    fn covered(&self) -> usize {
        self.slots.iter().filter(|&&at| at != NOBODY).count()
    }

    fn nodes(&self) -> impl Iterator<Item = &Address> {
        let primaries = self.primaries.iter().map(|primary| &primary.address);
        primaries.chain(&self.replicas)
    }
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, access: Arc<Access>, metrics: Metrics) -> Self {
        Self {
            access,
            seeds,
            map: RwLock::new(Arc::new(Map::empty())),
            asked: Mutex::default(),
            asking: AtomicBool::new(false),
            favourite: rand::random_range(0..usize::from(SLOTS)),
            metrics,
        }
    }

    /// How the slots are spread, as far as is known.
    pub(super) fn map(&self) -> Arc<Map> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&map)
    }

    fn put(&self, map: Map) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    /// How they are spread, asked for if nothing is known at all.
    pub(super) async fn known(&self) -> io::Result<Arc<Map>> {
        let map = self.map();
        if !map.primaries.is_empty() {
            return Ok(map);
        }
        self.refresh(Duration::ZERO).await?;
        Ok(self.map())
    }

    /// Who does what any primary can do: always the same while it can, as what is
    /// published by different ones may overtake each other.
    pub(super) fn soundest<'m>(&self, map: &'m Map) -> Option<&'m Primary> {
        let count = map.primaries.len();
        let nth = |n| &map.primaries[(self.favourite + n) % count];
        let sound = (0..count).map(nth).find(|one| !one.lanes.are_doubtful());
        sound.or_else(|| map.primaries.first())
    }

    /// The lanes to the node at this address, which may be new to us.
    pub(super) fn lanes(&self, address: &Address) -> Arc<Lanes> {
        self.lanes_in(&self.map(), address)
    }

    fn lanes_in(&self, map: &Map, address: &Address) -> Arc<Lanes> {
        let known = map.primaries.iter().find(|one| one.address == *address);
        known.map_or_else(
            || {
                let place = Place::Fixed(self.server(address.clone()));
                Arc::new(Lanes::to(place, self.metrics.clone()))
            },
            |one| Arc::clone(&one.lanes),
        )
    }

    /// How to connect to the node at this address.
    pub(super) fn server(&self, address: Address) -> Server {
        Server {
            address,
            access: Arc::clone(&self.access),
        }
    }

    /// A server said that the slot is at this address.
    pub(super) fn moved(&self, slot: u16, address: &Address) {
        let old = self.map();
        if old.of(slot).is_some_and(|one| one.address == *address) {
            return;
        }
        let mut primaries = old.primaries.clone();
        let known = primaries.iter().position(|one| one.address == *address);
        let index = known.unwrap_or_else(|| {
            primaries.push(Primary {
                address: address.clone(),
                lanes: self.lanes_in(&old, address),
                epoch: 0,
            });
            primaries.len() - 1
        });
        let mut slots = old.slots.clone();
        slots[usize::from(slot)] = index as u16;
        self.put(Map {
            slots,
            primaries,
            replicas: old.replicas.clone(),
        });
    }

    /// Any node, but not `avoided` if there is another.
    pub(super) async fn any(&self, avoided: Option<&Address>) -> io::Result<Server> {
        // Nodes come and go without a word to those who only listen.
        self.refresh(PAUSE).await?;
        let map = self.map();
        let all: Vec<&Address> = map.nodes().collect();
        let others: Vec<&Address> = all
            .iter()
            .copied()
            .filter(|&one| Some(one) != avoided)
            .collect();
        let from = if others.is_empty() { &all } else { &others };
        let one = from.choose(&mut rand::rng());
        let one = one.ok_or_else(|| io::Error::other("the cluster has no nodes"))?;
        Ok(self.server(Address::clone(one)))
    }

    /// Asks anew in the background, unless that is under way.
    pub(super) fn refresh_soon(self: &Arc<Self>) {
        if self.asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            // Whoever needs the answer asks again, and is told why there is none.
            drop(this.refresh(PAUSE).await);
            this.asking.store(false, Ordering::Release);
        });
    }

    /// Asks how the slots are spread, unless an answer is not older than this.
    ///
    /// # Errors
    /// If no node says.
    pub(super) async fn refresh(&self, age: Duration) -> io::Result<()> {
        let wanted_at = Instant::now();
        let mut asked = self.asked.lock().await;
        let known = !self.map().primaries.is_empty();
        // Somebody asked while we waited, or just before.
        if known && asked.at.is_some_and(|at| wanted_at < at + age.max(PAUSE)) {
            return Ok(());
        }
        let result = self.ask_around().await;
        asked.at = Some(Instant::now());
        let claims = result?;
        if self.are_of_the_past(&claims) {
            let since = *asked.disbelieved.get_or_insert_with(Instant::now);
            if since.elapsed() < DISBELIEF {
                return Ok(());
            }
        }
        asked.disbelieved = None;
        self.put_new(claims);
        Ok(())
    }

    /// Whether a slot is claimed with an older right than its owner has.
    fn are_of_the_past(&self, claims: &[Range]) -> bool {
        let map = self.map();
        claims.iter().any(|claim| {
            let others = claim.slots.clone().filter_map(|slot| map.of(slot as u16));
            let mut others = others.filter(|owner| claim.nodes.first() != Some(&owner.address));
            others.any(|owner| claim.epoch < owner.epoch)
        })
    }

    fn put_new(&self, ranges: Vec<Range>) {
        let old = self.map();
        let mut new = Map::empty();
        for range in ranges {
            let Range {
                slots,
                epoch,
                nodes,
            } = range;
            let mut nodes = nodes.into_iter();
            let Some(address) = nodes.next() else {
                continue;
            };
            let at = new.primaries.iter().position(|one| one.address == address);
            let index = at.unwrap_or_else(|| {
                let lanes = self.lanes_in(&old, &address);
                new.primaries.push(Primary {
                    address,
                    lanes,
                    epoch,
                });
                new.primaries.len() - 1
            });
            new.slots[slots].fill(index as u16);
            for replica in nodes {
                if !new.replicas.contains(&replica) {
                    new.replicas.push(replica);
                }
            }
        }
        let same = old.slots.iter().zip(&new.slots).all(|(&old_at, &new_at)| {
            let was = old
                .primaries
                .get(usize::from(old_at))
                .map(|one| &one.address);
            let is = new
                .primaries
                .get(usize::from(new_at))
                .map(|one| &one.address);
            was == is
        });
        if !same {
            let (primaries, replicas) = (new.primaries.len(), new.replicas.len());
            info!(
                primaries,
                replicas,
                slots = new.covered(),
                "the slots of redis are spread anew"
            );
        }
        self.put(new);
    }

    /// The first answer that accounts for all slots, or the one that does for most.
    async fn ask_around(&self) -> io::Result<Vec<Range>> {
        let map = self.map();
        let mut nodes: Vec<&Address> = map.nodes().collect();
        nodes.shuffle(&mut rand::rng());
        let strangers = self
            .seeds
            .iter()
            .filter(|&seed| map.nodes().all(|node| node != seed));
        nodes.extend(strangers);
        let mut best: Vec<Range> = Vec::new();
        let covers = |ranges: &[Range]| ranges.iter().map(|range| range.slots.len()).sum::<usize>();
        let mut why = io::Error::other("none is named");
        for node in nodes {
            match timeout(PATIENCE, self.ask(node)).await {
                Ok(Ok(ranges)) if covers(&ranges) == usize::from(SLOTS) => return Ok(ranges),
                Ok(Ok(ranges)) if covers(&best) < covers(&ranges) => best = ranges,
                Ok(Ok(_)) => why = io::Error::other("it has no slots"),
                Ok(Err(error)) => why = error,
                Err(_) => why = io::ErrorKind::TimedOut.into(),
            }
        }
        if best.is_empty() {
            let why = format!("no node of the cluster answers; the last: {why}");
            return Err(io::Error::other(why));
        }
        Ok(best)
    }

    async fn ask(&self, node: &Address) -> io::Result<Vec<Range>> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let server = self.server(node.clone());
        let mut made = make(&server, config, 0).await.map_err(io::Error::other)?;
        let mut questions = pipe();
        questions
            .cmd("CLUSTER")
            .arg("SLOTS")
            .cmd("CLUSTER")
            .arg("NODES");
        let answers = questions.query_async(&mut made.commands).await;
        let (ranges, nodes): (Vec<Vec<Value>>, String) = answers.map_err(io::Error::other)?;
        let epochs = epochs(&nodes);
        let read = |range| Range::read(range, node, &epochs);
        let ranges: Option<Vec<_>> = ranges.into_iter().map(read).collect();
        ranges.ok_or_else(|| io::Error::other("its answer makes no sense"))
    }
}

/// The epoch of each node, by its id: lines of `id address flags primary ping pong
/// epoch link slots…`.
fn epochs(nodes: &str) -> HashMap<&str, u64> {
    let lines = nodes.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.nth(5)?.parse().ok()?))
    });
    lines.collect()
}

/// Slots in a row that one primary has.
struct Range {
    slots: std::ops::Range<usize>,
    /// That of its right to them.
    epoch: u64,
    /// The primary, then its replicas.
    nodes: Vec<Address>,
}

impl Range {
    /// `[first, last, [host, port, id, …]…]`, as `asked` said.
    fn read(values: Vec<Value>, asked: &Address, epochs: &HashMap<&str, u64>) -> Option<Self> {
        let mut values = values.into_iter();
        let mut number = || match values.next()? {
            Value::Int(n) => usize::try_from(n).ok().filter(|&n| n < usize::from(SLOTS)),
            _ => None,
        };
        let (first, last) = (number()?, number()?);
        let mut epoch = None;
        let node = |value: Value| {
            let Value::Array(parts) = value else {
                return None;
            };
            let mut parts = parts.into_iter();
            let host = parts.next()?;
            let port = match parts.next()? {
                Value::Int(port) => u16::try_from(port).ok()?,
                _ => return None,
            };
            if epoch.is_none() {
                let id: String = redis::from_redis_value(parts.next()?).ok()?;
                epoch = Some(epochs.get(&*id).copied().unwrap_or(0));
            }
            // A node that does not know its own name answers at the one we used.
            Some(
                match redis::from_redis_value::<Option<String>>(host).ok()? {
                    Some(host) if !matches!(&*host, "" | "?") => Address::new(&host, port),
                    _ => Address::new(&asked.host, port),
                },
            )
        };
        let nodes = values.map(node).collect::<Option<Vec<_>>>()?;
        (first <= last).then_some(Self {
            slots: first..last + 1,
            epoch: epoch.unwrap_or(0),
            nodes,
        })
    }
}
