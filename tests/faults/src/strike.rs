//! How things are broken, and mended as far as operators would.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::tests::fleet::TENANT;
use ::tests::redis::Server;
use ::tests::{Lines, until, within};
use broker::Timestamp;
use broker::keys::Partition;
use broker::message::Draft;
use broker::messages::{Limits, Messages};
use broker::topic::Topic;
use redis::{Value, cmd};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Dialect, Kind};
use crate::crowd::Crowd;
use crate::load::{self, Load};
use crate::marker;
use crate::rows::Row;
use crate::tail::{self, Tail};
use crate::ways::Way;

/// Longer than a gateway needs to give up a silent link.
const FREEZE: Duration = Duration::from_secs(12);
/// How long Redis is away while nobody does anything.
const DOWN: Duration = Duration::from_secs(60);
/// How long the nodes of a Cluster are cut off from each other: less than it takes
/// them to replace one.
const CUT: Duration = Duration::from_secs(3);
/// A dead process is started again after this.
const RESTART: Duration = Duration::from_secs(2);
/// Messages that expire at once, so that a worker has something to sweep.
const EXPIRING: usize = 20_000;
/// To so many recipients who are never connected.
const ABSENT: usize = 50;
/// How long after the first of them was stored.
const EXPIRY: Duration = Duration::from_secs(5);
/// Calls under way when the api is killed, and how many each pushes to.
const CALLS: usize = 8;
const MANY: usize = 100;
/// They are cancelled within this time after their expiry.
const SWEPT_WITHIN: Duration = Duration::from_secs(10);

/// What striking led to.
pub(crate) struct Struck {
    /// When everything that was broken worked again, or others did its work.
    pub(crate) well_at: Duration,
    /// When a primary was lost, if one was.
    pub(crate) lost_at: Option<Duration>,
    /// Messages that should have been cancelled at their expiry, and were not.
    pub(crate) stuck: usize,
    /// What a master took with it of what waited for recipients who are away.
    pub(crate) tail: Tail,
}

impl Row {
    /// Breaks it, and mends it as far as operators would.
    pub(crate) async fn strike(self, crowd: &Arc<Crowd>, load: &Load) -> Struck {
        let fleet = &crowd.fleet;
        let mut well_at = crowd.clock.now();
        let mut stuck = 0;
        let mut tail = Tail::default();
        let mut lost_at = None;
        match self {
            Self::Calm => {}
            Self::LinkKilled => {
                let kill = ["CLIENT", "KILL", "TYPE", "PUBSUB"];
                let killed: u64 = fleet.redis().ask("", &kill).expect("Redis is there");
                assert!(0 < killed, "nobody subscribes");
            }
            Self::LinkFrozen => {
                fleet.proxy().freeze(Lines::Subscriptions);
                sleep(FREEZE).await;
                fleet.proxy().heal();
                well_at = crowd.clock.now();
            }
            Self::Overrun => {
                overrun(crowd).await;
                well_at = crowd.clock.now();
            }
            Self::Restarted => {
                fleet.redis().kill();
                fleet.redis().restart().await;
                well_at = crowd.clock.now();
            }
            Self::Down => {
                load.pause();
                // What was offered is accepted, and what was accepted published.
                sleep(RESTART).await;
                fleet.redis().kill();
                sleep(DOWN).await;
                fleet.redis().restart().await;
                well_at = crowd.clock.now();
                load.resume();
            }
            Self::SentinelFailover | Self::PrimaryKilled => {
                lost_at = Some(well_at);
                kill_primary(crowd).await;
                well_at = crowd.clock.now();
                fleet.redis().restart().await;
            }
            Self::MasterCutOff => {
                lost_at = Some(well_at);
                (tail, well_at) = tail::cut_off_and_kill(crowd).await;
            }
            Self::SlotMoved => {
                let keys = fleet.keys();
                let tenant = TENANT.parse().expect("the tenant is valid");
                fleet.redis().move_slot_of(&keys.intake(&tenant));
                let partition = broker::annotation::topic(&tenant).partition();
                fleet.redis().move_slot_of(&keys.log(partition, &tenant));
                well_at = crowd.clock.now();
            }
            Self::BusCut => {
                cut_bus(crowd).await;
                well_at = crowd.clock.now();
            }
            Self::GatewayKilled => {
                fleet.gateway(0).kill();
                sleep(RESTART).await;
                fleet.gateway(0).start().await;
            }
            Self::GatewayDrained => {
                let status = fleet.gateway(0).terminate().await;
                assert!(status.success(), "a drained gateway ends with {status}");
                // Until then its clients are on their way to the other, one after the other.
                well_at = crowd.clock.now();
                fleet.gateway(0).start().await;
            }
            Self::WorkerKilled => {
                let expiry = sweep_and_kill(crowd).await;
                sleep(RESTART).await;
                fleet.worker(0).start().await;
                sleep((expiry + SWEPT_WITHIN).since(Timestamp::now())).await;
                stuck = pending(crowd).await;
            }
            Self::ApiKilled => {
                push_and_kill(crowd).await;
                well_at = crowd.clock.now();
            }
        }
        Struck {
            well_at,
            lost_at,
            stuck,
            tail,
        }
    }
}

/// Kills the primary that holds the ingest stream, and waits until another takes
/// writes in its place.
async fn kill_primary(crowd: &Crowd) {
    let redis = crowd.fleet.redis();
    redis.replicates().await;
    let tenant = TENANT.parse().expect("the tenant is valid");
    let key = crowd.fleet.keys().intake(&tenant);
    let primary = redis.master_of(&key);
    primary.process().kill();
    replaced(crowd, primary).await;
}

/// Waits until another server takes writes in place of this one.
pub(crate) async fn replaced(crowd: &Crowd, killed: &Server) {
    let redis = crowd.fleet.redis();
    let tenant = TENANT.parse().expect("the tenant is valid");
    let key = crowd.fleet.keys().intake(&tenant);
    until("another takes writes", async || {
        let other = redis.find_master_of(&key);
        let other = other.filter(|of| of.address() != killed.address());
        other.is_some_and(|of| writes(of, &key))
    })
    .await;
}

/// Whether this server takes writes: it forgets something that is not there.
fn writes(server: &Server, key: &str) -> bool {
    server.ask::<u64>(&["XDEL", key, "0-1"]).is_ok()
}

/// Cuts the connections between all nodes of a Cluster whenever they have been
/// made again, for a while. What is published meanwhile stays where it was, and
/// those who subscribe notice nothing.
async fn cut_bus(crowd: &Crowd) {
    let healed_at = crowd.clock.now() + CUT;
    while crowd.clock.now() < healed_at {
        for server in crowd.fleet.redis().servers() {
            for node in connected_to(server) {
                let kill = ["DEBUG", "CLUSTERLINK", "KILL", "TO", &node];
                server.ask::<()>(&kill).expect("it may be debugged");
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    crowd.fleet.redis().serves().await;
}

/// The nodes to which this one has a connection now. To cut one that is not there
/// would kill the server.
fn connected_to(server: &Server) -> Vec<String> {
    let links: Vec<HashMap<String, Value>> = server
        .ask(&["CLUSTER", "LINKS"])
        .expect("it tells of its links");
    let text = |value: &Value| redis::from_redis_value_ref::<String>(value).ok();
    let member = |link: &HashMap<String, Value>, name: &str| link.get(name).and_then(text);
    let to = links.iter();
    let to = to.filter(|link| member(link, "direction").as_deref() == Some("to"));
    to.filter_map(|link| member(link, "node")).collect()
}

/// Has Redis end the subscriptions because more waits for them than it keeps.
async fn overrun(crowd: &Crowd) {
    /// Publishing so much at a time.
    const JUNK: usize = 256 * 1024;
    let proxy = crowd.fleet.proxy();
    let limit = [
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "pubsub 1mb 512kb 1",
    ];
    let set = crowd.fleet.redis().ask::<()>("", &limit);
    set.expect("Redis is there");
    proxy.freeze(Lines::Subscriptions);
    // Not JSON: it is dropped by whoever reads it.
    let game = crowd
        .clients()
        .iter()
        .find(|client| client.kind == Kind::Visitor);
    let game = game.expect("there are visitors").name();
    let mut junk = cmd("PUBLISH");
    junk.arg(format!(
        "carillon:c:{TENANT}:channel:reversiGameStream:{game}"
    ));
    junk.arg("x".repeat(JUNK));
    until("Redis has ended the subscriptions", async || {
        crowd.query::<u64>(&junk).await == 0
    })
    .await;
    proxy.heal();
}

/// Stores many messages that expire at once, and kills a worker when some of them
/// are cancelled and others are not. Returns when they expire.
async fn sweep_and_kill(crowd: &Crowd) -> Timestamp {
    let tenant = TENANT.parse().expect("the tenant is valid");
    let messages = Messages::new(
        crowd.commands.clone(),
        crowd.fleet.keys(),
        Limits::default(),
    );
    let draft = Draft {
        text: marker::BELL.into(),
        label: None,
        expires_at: Some(Timestamp::now() + EXPIRY),
        deliver_at: None,
    };
    let absent: Vec<_> = absent().map(Into::into).collect();
    for _ in 0..EXPIRING / absent.len() {
        let pushed = messages.push(&tenant, &absent, &draft, None).await;
        assert!(pushed.iter().all(Result::is_ok), "Redis is there");
    }
    let before = expiring(crowd).await;
    within(EXPIRY * 2, "a worker sweeps", async || {
        let left = expiring(crowd).await;
        assert!(0 < left, "it has swept all of them already");
        left < before
    })
    .await;
    crowd.fleet.worker(0).kill();
    println!(
        "  {} of {EXPIRING} were still to be swept",
        expiring(crowd).await
    );
    draft.expires_at.expect("it was set just now")
}

/// Who is never connected.
fn absent() -> impl Iterator<Item = String> {
    (0..ABSENT).map(|n| format!("absent-{n}"))
}

/// How many messages wait to be cancelled at their expiry.
async fn expiring(crowd: &Crowd) -> usize {
    let keys = crowd.fleet.keys();
    let mut left = 0;
    for partition in Partition::every() {
        let mut count = cmd("ZCARD");
        count.arg(keys.expiring(partition));
        left += crowd.query::<usize>(&count).await;
    }
    left
}

/// How many messages of the absent are pending.
async fn pending(crowd: &Crowd) -> usize {
    let keys = crowd.fleet.keys();
    let tenant = TENANT.parse().expect("the tenant is valid");
    let mut left = 0;
    for name in absent() {
        let mut count = cmd("ZCARD");
        count.arg(keys.pending(&Topic::recipient(&tenant, &name)));
        left += crowd.query::<usize>(&count).await;
    }
    left
}

/// Kills the api while it answers calls that push to many: some of what they ask
/// for is done, some is not.
async fn push_and_kill(crowd: &Arc<Crowd>) {
    let clients = crowd.clients_of(Dialect::Push);
    let calls = clients.chunks(MANY).take(CALLS);
    let mut under_way = JoinSet::new();
    let mut numbers = Vec::new();
    for clients in calls {
        let clients = clients.to_vec();
        let offered = clients.iter().map(|client| {
            let now = crowd.clock.now();
            crowd.ledger.offer(Way::Api, client.number, now)
        });
        let offered: Vec<u32> = offered.collect();
        numbers.extend(offered.iter().copied());
        let crowd = Arc::clone(crowd);
        under_way.spawn(async move { load::offer_many(&crowd, &offered, &clients).await });
    }
    until("one of them is heard", async || {
        clients.iter().any(|client| {
            client.read(|diary| diary.told.iter().any(|told| numbers.contains(&told.event)))
        })
    })
    .await;
    crowd.fleet.api().kill();
    let answered = crowd.ledger.events();
    let answered = numbers
        .iter()
        .filter(|&&number| answered[number as usize].accepted.is_some());
    println!(
        "  {} of {} pushes were answered",
        answered.count(),
        numbers.len()
    );
    crowd.fleet.api().start().await;
    while let Some(offered) = under_way.join_next().await {
        offered.expect("offering does not panic");
    }
}
