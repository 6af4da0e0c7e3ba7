//! What is broken, row by row.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::tests::fleet::TENANT;
use ::tests::{Fleet, FleetBuilder, Lines, until, within};
use broker::Timestamp;
use broker::keys::Partition;
use broker::message::Draft;
use broker::messages::{Limits, Messages};
use broker::topic::Topic;
use redis::cmd;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Dialect, Kind};
use crate::crowd::Crowd;
use crate::load::{self, Load};
use crate::marker;
use crate::ways::Way;

/// Longer than a gateway needs to give up a silent link.
const FREEZE: Duration = Duration::from_secs(12);
/// How long Redis is away while nobody does anything.
const DOWN: Duration = Duration::from_secs(60);
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

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// Nothing: what the rest is compared with.
    Calm,
    /// `CLIENT KILL` of every subscription.
    LinkKilled,
    /// Nothing passes on any subscription, and nobody is told.
    LinkFrozen,
    /// Redis ends the subscriptions because they do not read.
    Overrun,
    /// Redis is killed and started again.
    Restarted,
    /// Redis is away for a minute in which nobody publishes.
    Down,
    /// A gateway is killed and started again.
    GatewayKilled,
    /// A gateway is asked to end, and started again.
    GatewayDrained,
    /// A worker is killed while it sweeps.
    WorkerKilled,
    /// The api is killed while it pushes to many.
    ApiKilled,
}

/// What striking led to.
pub(crate) struct Struck {
    /// When everything that was broken worked again, or others did its work.
    pub(crate) well_at: Duration,
    /// When a primary was lost, if one was.
    pub(crate) lost_at: Option<Duration>,
    /// Messages that should have been cancelled at their expiry, and were not.
    pub(crate) stuck: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Calm => "nothing",
            Self::LinkKilled => "link killed",
            Self::LinkFrozen => "link frozen",
            Self::Overrun => "output buffer overrun",
            Self::Restarted => "Redis restarted",
            Self::Down => "Redis down 60 s without traffic",
            Self::GatewayKilled => "gateway killed",
            Self::GatewayDrained => "gateway drained",
            Self::WorkerKilled => "worker killed mid-sweep",
            Self::ApiKilled => "api killed mid-push",
        })
    }
}

impl Row {
    /// All of them, as they stand on the page.
    pub(crate) const ALL: [Self; 10] = [
        Self::Calm,
        Self::LinkKilled,
        Self::LinkFrozen,
        Self::Overrun,
        Self::Restarted,
        Self::Down,
        Self::GatewayKilled,
        Self::GatewayDrained,
        Self::WorkerKilled,
        Self::ApiKilled,
    ];

    /// What it is called as an argument.
    pub(crate) fn name(self) -> String {
        self.to_string().replace(' ', "-")
    }

    /// What Redis is in it.
    pub(crate) fn topology(self) -> &'static str {
        "one server"
    }

    /// The fleet that it happens to, about to be started.
    pub(crate) fn fleet(self) -> FleetBuilder {
        let fleet = Fleet::of(2, 2)
            .env("CARILLON_LOG", "info")
            .env(::tests::misskey::HOSTS, "misskey.example=acme")
            .env("CARILLON_DRAIN_WINDOW", "5s")
            .env("CARILLON_WORKER_CLAIM_AFTER", "5s");
        match self {
            Self::LinkFrozen | Self::Overrun => fleet.behind_proxy(&["gateway"]),
            _ => fleet,
        }
    }

    /// Breaks it, and mends it as far as operators would.
    pub(crate) async fn strike(self, crowd: &Arc<Crowd>, load: &Load) -> Struck {
        let fleet = &crowd.fleet;
        let mut well_at = crowd.clock.now();
        let mut stuck = 0;
        match self {
            Self::Calm => {}
            Self::LinkKilled => {
                let mut kill = cmd("CLIENT");
                kill.arg("KILL").arg("TYPE").arg("PUBSUB");
                let killed: u64 = crowd.query(&kill).await;
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
                fleet.redis().process().kill();
                fleet.redis().restart().await;
                well_at = crowd.clock.now();
            }
            Self::Down => {
                load.pause();
                // What was offered is accepted, and what was accepted published.
                sleep(RESTART).await;
                fleet.redis().process().kill();
                sleep(DOWN).await;
                fleet.redis().restart().await;
                well_at = crowd.clock.now();
                load.resume();
            }
            Self::GatewayKilled => {
                fleet.gateway(0).kill();
                sleep(RESTART).await;
                fleet.gateway(0).start().await;
            }
            Self::GatewayDrained => {
                let status = fleet.gateway(0).terminate().await;
                assert!(status.success(), "a drained gateway ends with {status}");
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
            lost_at: None,
            stuck,
        }
    }
}

/// Has Redis end the subscriptions because more waits for them than it keeps.
async fn overrun(crowd: &Crowd) {
    /// Publishing so much at a time.
    const JUNK: usize = 256 * 1024;
    let proxy = crowd.fleet.proxy();
    let ask = |args: &[&str]| {
        let mut command = cmd(args[0]);
        command.arg(&args[1..]);
        command
    };
    let limit = ask(&[
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "pubsub 1mb 512kb 1",
    ]);
    crowd.query::<()>(&limit).await;
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
