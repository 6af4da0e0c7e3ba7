//! Gateways become four, and one again, under the same load.

use std::time::Duration;

use ::tests::{Process, procfs};
use tokio::time::{Instant, sleep, sleep_until};

use super::deployment::{Deployment, Role};
use super::part::{Part, Scene};
use super::{ROLLED_WITHIN, tell};
use crate::crowd::Crowd;
use crate::manners::Manners;

/// So many gateways at most.
const MANY: usize = 4;
/// Sockets are closed when they are half to all of this old: far less than anybody
/// would set, so that they have spread while somebody watches. Clients take a socket
/// that was open for less than a minute for a failure.
pub(super) const MAX_AGE: Duration = Duration::from_secs(120);
/// From then on the first are closed, as always afterwards.
const AGING: Duration = Duration::from_secs(MAX_AGE.as_secs() / 2);
/// After that the last one is back.
const BACK: Duration = Duration::from_secs(5);
/// How long gateways are watched.
pub(super) const WATCHED: Duration = Duration::from_secs(20);
/// Sockets may be so unevenly spread, as a share of the mean.
const UNEVEN: f64 = 0.15;
/// Each of four takes at most so much of the CPU that it is planned to take.
const CPU: f64 = 1.5;

/// Counts clients that were let in.
const UPGRADES: &str = r#"carillon_gateway_accepts_total{outcome="ok"}"#;

/// What a gateway did in a second, while it was watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Open sockets, at the end.
    pub(super) sockets: f64,
    /// CPU seconds.
    pub(super) cpu: f64,
    /// Clients that it let in.
    pub(super) upgrades: f64,
    /// Messages that it read from Redis.
    pub(super) read: f64,
    /// Frames that it wrote.
    pub(super) frames: f64,
}

/// What each of so many gateways did.
pub(super) struct Scaled {
    /// One, four, and one again.
    pub(super) stages: [Vec<Use>; 3],
}

impl Scaled {
    /// By how much the number of sockets of a gateway is off the mean at most.
    pub(super) fn unevenness(&self) -> f64 {
        let [_, many, _] = &self.stages;
        let mean = many.iter().map(|each| each.sockets).sum::<f64>() / many.len() as f64;
        let off = many.iter().map(|each| (each.sockets - mean).abs() / mean);
        off.fold(0.0, f64::max)
    }

    /// What each of four is planned to take of the CPU that one took: as much less as it
    /// lets in, reads and writes less. What is said on a topic is read by each that has a listener.
    pub(super) fn planned_cpu(&self) -> f64 {
        self.share(|each| each.upgrades + each.read + each.frames)
    }

    /// What each of four took of it.
    pub(super) fn cpu(&self) -> f64 {
        self.share(|each| each.cpu)
    }

    /// What each of four did on average, as a share of what one did.
    fn share(&self, of: impl Fn(&Use) -> f64) -> f64 {
        let [one, many, _] = &self.stages;
        let mean = many.iter().map(&of).sum::<f64>() / many.len() as f64;
        mean / of(&one[0])
    }

    /// What is not as it was to be.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if UNEVEN < self.unevenness() {
            complaints.push("sockets are spread unevenly".to_owned());
        }
        if self.planned_cpu() * CPU < self.cpu() {
            complaints.push("four take too much CPU".to_owned());
        }
        complaints
    }
}

/// From one to four and back.
pub(super) async fn scale(rate: u32, sockets: usize) -> (Part, Scaled) {
    let age = format!("{}s", MAX_AGE.as_secs());
    let fleet = super::fleet(1, MANY - 1).env("CARILLON_GATEWAY_MAX_AGE", &age);
    let crowd = Crowd::gather(fleet.start().await, sockets, Manners::Published).await;
    let mut gateways = Deployment::adopt(&crowd, Role::Gateway);
    let mut stages = [const { Vec::new() }; 3];
    let mut part = Part::play(Scene::Scale, &crowd, rate, async |complaints| {
        sleep(AGING).await;
        stages[0] = watch(&gateways.processes()).await;
        gateways.scale(MANY);
        let spread_at = Instant::now() + MAX_AGE + BACK;
        if !gateways.settle(ROLLED_WITHIN, |_| {}).await {
            complaints.push("there are not four".to_owned());
        }
        sleep_until(spread_at).await;
        stages[1] = watch(&gateways.processes()).await;
        gateways.scale(1);
        if !gateways.settle(ROLLED_WITHIN, |_| {}).await {
            complaints.push("there is not one again".to_owned());
        }
        let leaves = gateways.leaves().await;
        sleep(BACK).await;
        stages[2] = watch(&gateways.processes()).await;
        leaves
    })
    .await;
    tell(&crowd);
    gateways.forget().await;
    crowd.disperse().await;
    let scaled = Scaled { stages };
    part.complaints.extend(scaled.complaints());
    (part, scaled)
}

/// What each does in a second.
async fn watch(gateways: &[&Process]) -> Vec<Use> {
    async fn look(process: &Process) -> Use {
        Use {
            sockets: process.metric("carillon_gateway_connections").await,
            cpu: procfs::cpu(process.pid()).as_secs_f64(),
            upgrades: process.metric(UPGRADES).await,
            read: process
                .metric("carillon_gateway_broker_messages_total")
                .await,
            frames: process.metric("carillon_gateway_frames_sent_total").await,
        }
    }
    let began = Instant::now();
    let mut uses = Vec::new();
    for process in gateways {
        uses.push(look(process).await);
    }
    sleep(WATCHED).await;
    let seconds = began.elapsed().as_secs_f64();
    for (process, before) in gateways.iter().zip(&mut uses) {
        let after = look(process).await;
        *before = Use {
            sockets: after.sockets,
            cpu: (after.cpu - before.cpu) / seconds,
            upgrades: (after.upgrades - before.upgrades) / seconds,
            read: (after.read - before.read) / seconds,
            frames: (after.frames - before.frames) / seconds,
        };
    }
    println!("  {uses:.2?}");
    uses
}
