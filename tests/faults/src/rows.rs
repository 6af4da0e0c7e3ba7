//! What can be broken, row by row.

use std::fmt;

use ::tests::redis::{Setup, Topology};
use ::tests::{Fleet, FleetBuilder};

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
    /// The master is killed, and sentinels name another.
    SentinelFailover,
    /// The same, of a master that had been cut off from its replicas.
    MasterCutOff,
    /// A primary of the Cluster is killed, and its replica takes over.
    PrimaryKilled,
    /// Two slots of the Cluster move to other primaries, with what is in them.
    SlotMoved,
    /// The nodes of the Cluster are cut off from each other for a while.
    BusCut,
    /// A gateway is killed and started again.
    GatewayKilled,
    /// A gateway is asked to end, and started again.
    GatewayDrained,
    /// A worker is killed while it sweeps.
    WorkerKilled,
    /// The api is killed while it pushes to many.
    ApiKilled,
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
            Self::SentinelFailover => "Sentinel failover",
            Self::MasterCutOff => "Sentinel failover of a master cut off",
            Self::PrimaryKilled => "Cluster primary killed",
            Self::SlotMoved => "slot moved",
            Self::BusCut => "Cluster bus link cut",
            Self::GatewayKilled => "gateway killed",
            Self::GatewayDrained => "gateway drained",
            Self::WorkerKilled => "worker killed mid-sweep",
            Self::ApiKilled => "api killed mid-push",
        })
    }
}

impl Row {
    /// All of them, as they stand on the page.
    pub(crate) const ALL: [Self; 15] = [
        Self::Calm,
        Self::LinkKilled,
        Self::LinkFrozen,
        Self::Overrun,
        Self::Restarted,
        Self::Down,
        Self::SentinelFailover,
        Self::MasterCutOff,
        Self::PrimaryKilled,
        Self::SlotMoved,
        Self::BusCut,
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
        match self.setup().topology {
            Topology::Standalone => "one server",
            Topology::Sentinel => "with sentinels",
            Topology::Cluster => "a Cluster",
        }
    }

    fn setup(self) -> Setup {
        match self {
            Self::SentinelFailover | Self::MasterCutOff => {
                Setup::quick_to_fail_over(Topology::Sentinel)
            }
            Self::PrimaryKilled => Setup::quick_to_fail_over(Topology::Cluster),
            Self::SlotMoved | Self::BusCut => Setup::of(Topology::Cluster),
            _ => Setup::of(Topology::Standalone),
        }
    }

    /// The fleet that it happens to, about to be started.
    pub(crate) fn fleet(self) -> FleetBuilder {
        let fleet = Fleet::of(2, 2)
            .on(self.setup())
            .env("CARILLON_LOG", "info")
            .env(::tests::misskey::HOSTS, "misskey.example=acme")
            .env("CARILLON_DRAIN_WINDOW", "5s")
            .env("CARILLON_WORKER_CLAIM_AFTER", "5s");
        match self {
            Self::LinkFrozen | Self::Overrun => fleet.behind_proxy(&["gateway"]),
            _ => fleet,
        }
    }
}
