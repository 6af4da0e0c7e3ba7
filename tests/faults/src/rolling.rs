//! How clients fare when gateways are replaced, and become more and fewer, as
//! Kubernetes does it with our manifests, behind HAProxy: `faults rolling`.

mod deployment;
mod flow;
mod manifest;
mod page;
mod part;
mod scale;

use std::sync::Arc;
use std::time::Duration;

use ::tests::haproxy::HaProxy;
use ::tests::redis::{Setup, Topology};
use ::tests::{Fleet, FleetBuilder};

use self::deployment::{Deployment, Role};
use self::part::{Part, Scene};
use crate::crowd::Crowd;
use crate::manners::Manners;
use crate::report;

/// Gateways that are replaced.
const GATEWAYS: usize = 3;
/// The most that run at a time beyond these: one more is started whenever one leaves,
/// and up to three leave at a time.
const SPARE: usize = 5;
/// No rollout takes longer.
const ROLLED_WITHIN: Duration = Duration::from_secs(300);
/// A rollout that is stuck is looked at for so long after its new pod would count.
const STUCK: Duration = Duration::from_secs(10);
/// So many complaints of each scene are told.
const COMPLAINTS: usize = 12;
/// What stands on the page is written by.
const COMMAND: &str = "make rolling";

/// What is played, as an argument names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Gateways, workers and apis are replaced.
    Replace,
    /// Gateways become more and fewer.
    Scale,
}

impl Act {
    /// Of this name.
    pub(crate) fn called(name: &str) -> Option<Self> {
        match name {
            "replace" => Some(Self::Replace),
            "scale" => Some(Self::Scale),
            _ => None,
        }
    }
}

/// Plays an act, or all, with so many events a second to so many sockets, and says
/// whether all held. Where it did, and all was played, it is written down.
pub(crate) async fn rolling(act: Option<Act>, rate: u32, sockets: usize) -> bool {
    let mut parts = match act {
        Some(Act::Scale) => Vec::new(),
        _ => replace(rate, sockets).await,
    };
    let mut scaled = None;
    if act != Some(Act::Replace) {
        let (part, figures) = scale::scale(rate, sockets).await;
        parts.push(part);
        scaled = Some(figures);
    }
    let text = page::page(rate, sockets, &parts, scaled.as_ref());
    print!("\n{text}");
    for part in &parts {
        for complaint in part.complaints.iter().take(COMPLAINTS) {
            println!("! {}: {complaint}", part.scene.name());
        }
    }
    let well = parts.iter().all(Part::is_well);
    if well && act.is_none() {
        report::write(page::OPERATIONS, COMMAND, &text);
    }
    well
}

/// A fleet with the settings of the manifests, behind HAProxy.
fn fleet(gateways: usize, spare: usize) -> FleetBuilder {
    let fleet = Fleet::of(gateways, 2).apis(2).spare(spare);
    let fleet = fleet.on(Setup::of(Topology::Standalone)).behind_haproxy();
    let fleet = manifest::settings()
        .into_iter()
        .fold(fleet, |fleet, (name, value)| fleet.env(name, value));
    fleet
        .env("CARILLON_LOG", "info")
        .env("CARILLON_GATEWAY_TRUSTED_PROXIES", "127.0.0.0/8")
        .env(::tests::misskey::HOSTS, "misskey.example=acme")
}

/// Everything that is done to three gateways, and to workers and apis.
async fn replace(rate: u32, sockets: usize) -> Vec<Part> {
    let fleet = fleet(GATEWAYS, SPARE).start().await;
    let crowd = Crowd::gather(fleet, sockets, Manners::Published).await;
    let mut gateways = Deployment::adopt(&crowd, Role::Gateway);
    let parts = vec![
        stuck(&crowd, &mut gateways, rate).await,
        Part::play(Scene::Gateways, &crowd, rate, async |complaints| {
            gateways.set_version(2);
            if !gateways.settle(ROLLED_WITHIN, |_| {}).await {
                complaints.push("gateways are not replaced".to_owned());
            }
            gateways.leaves().await
        })
        .await,
        rest(&crowd, rate).await,
        Part::play(Scene::Killed, &crowd, rate, async |complaints| {
            let half = manifest::seconds("CARILLON_DRAIN_WINDOW") / 2;
            gateways.evict(manifest::seconds("CARILLON_SHUTDOWN_DELAY") + half);
            if !gateways.settle(ROLLED_WITHIN, |_| {}).await {
                complaints.push("the gateway is not replaced".to_owned());
            }
            gateways.leaves().await
        })
        .await,
    ];
    tell(&crowd);
    gateways.forget().await;
    crowd.disperse().await;
    parts
}

/// A rollout whose first pod never gets ready: it cannot reach its Redis.
async fn stuck(crowd: &Arc<Crowd>, gateways: &mut Deployment, rate: u32) -> Part {
    const URL: &str = "CARILLON_REDIS_URL";
    let good = crowd.fleet.redis().url_for("gateway", |address| address);
    Part::play(Scene::Stuck, crowd, rate, async |complaints| {
        gateways.set_version(1);
        let patience = gateways.manifest().min_ready + STUCK;
        let bad = |process: &::tests::Process| process.set(URL, "redis://127.0.0.1:1");
        if gateways.settle(patience, bad).await {
            complaints.push("a version that is not ready was rolled out".to_owned());
        }
        gateways.set_version(0);
        if !gateways.settle(ROLLED_WITHIN, |_| {}).await {
            complaints.push("there is no way back".to_owned());
        }
        let leaves = gateways.leaves().await;
        for process in crowd.fleet.gateways() {
            process.set(URL, &good);
        }
        leaves
    })
    .await
}

/// Workers and apis, in the order of docs/operations.md.
async fn rest(crowd: &Arc<Crowd>, rate: u32) -> Part {
    Part::play(Scene::Rest, crowd, rate, async |complaints| {
        let mut leaves = Vec::new();
        for role in [Role::Worker, Role::Api] {
            let mut pods = Deployment::adopt(crowd, role);
            pods.set_version(1);
            if !pods.settle(ROLLED_WITHIN, |_| {}).await {
                complaints.push(format!("pods of {role:?} are not replaced"));
            }
            leaves.extend(pods.leaves().await);
            pods.forget().await;
        }
        leaves
    })
    .await
}

/// What HAProxy answered, for a person who watches.
fn tell(crowd: &Crowd) {
    let answers = crowd.fleet.haproxy().map(HaProxy::answers);
    println!("  HAProxy answered {:?}", answers.unwrap_or_default());
}
