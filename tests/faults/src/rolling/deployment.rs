//! What Kubernetes does with a Deployment, as far as its pods and their clients notice:
//! its controller starts and ends pods, and kubelets ask them how they are.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use ::tests::Process;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::manifest::{self, Manifest, Probe};
use crate::crowd::Crowd;

/// How often the controller looks.
const GLANCE: Duration = Duration::from_millis(100);

/// Which of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Holds sockets.
    Gateway,
    /// Takes calls.
    Api,
    /// Does the rest.
    Worker,
}

impl Role {
    /// What its Deployment is called.
    const fn deployment(self) -> &'static str {
        match self {
            Self::Gateway => "carillon-gateway",
            Self::Api => "carillon-api",
            Self::Worker => "carillon-worker",
        }
    }

    /// Where its pods may be, whether there are any or not.
    fn places(self, crowd: &Crowd) -> &[Process] {
        match self {
            Self::Gateway => crowd.fleet.gateways(),
            Self::Api => crowd.fleet.apis(),
            Self::Worker => crowd.fleet.workers(),
        }
    }
}

/// A pod that is to stay for now.
struct Pod {
    place: usize,
    version: u32,
    /// Since when it is ready, if it is.
    ready: watch::Receiver<Option<Duration>>,
    /// It counts once it has been ready for so long.
    min_ready: Duration,
    kubelet: AbortHandle,
}

/// How a pod left.
#[derive(Clone, Debug)]
pub(crate) struct Leave {
    /// Which process it was.
    pub(crate) name: String,
    /// When it began to close its sockets, or would have.
    pub(crate) drained_from: Duration,
    /// How many it had then.
    pub(crate) sockets: f64,
    /// How it ended: by itself, unless it had to be killed.
    pub(crate) status: Option<ExitStatus>,
}

/// A Deployment and its pods.
pub(crate) struct Deployment {
    crowd: Arc<Crowd>,
    role: Role,
    manifest: Manifest,
    version: u32,
    pods: Vec<Pod>,
    kubelets: JoinSet<()>,
    leaving: JoinSet<Leave>,
}

impl Deployment {
    /// Of the processes of this role that run, as the manifests have it.
    pub(crate) fn adopt(crowd: &Arc<Crowd>, role: Role) -> Self {
        let places = role.places(crowd);
        let running = (0..places.len()).filter(|&place| places[place].is_running());
        let running: Vec<usize> = running.collect();
        let mut deployment = Self {
            crowd: Arc::clone(crowd),
            role,
            manifest: Manifest::of(role.deployment(), running.len()),
            version: 0,
            pods: Vec::new(),
            kubelets: JoinSet::new(),
            leaving: JoinSet::new(),
        };
        for place in running {
            // It has been ready for long.
            deployment.watch(place, Duration::ZERO);
        }
        deployment
    }

    /// What the manifest says.
    pub(crate) fn manifest(&self) -> Manifest {
        self.manifest
    }

    /// The processes of its pods, without those that leave.
    pub(crate) fn processes(&self) -> Vec<&Process> {
        let places = self.role.places(&self.crowd);
        self.pods.iter().map(|pod| &places[pod.place]).collect()
    }

    /// From now on pods are to be of a new version, or of the one before again.
    pub(crate) fn set_version(&mut self, version: u32) {
        self.version = version;
    }

    /// From now on there are to be so many pods.
    pub(crate) fn scale(&mut self, replicas: usize) {
        self.manifest = Manifest::of(self.role.deployment(), replicas);
    }

    /// Works until all pods are as they are to be, for at most this long; says whether
    /// they are. `prepare` is told of each process that is about to be started.
    pub(crate) async fn settle(&mut self, patience: Duration, prepare: impl Fn(&Process)) -> bool {
        let until = self.crowd.clock.now() + patience;
        while self.crowd.clock.now() < until {
            self.work(&prepare);
            let all = self.pods.iter();
            let well = all
                .filter(|pod| pod.version == self.version && self.is_available(pod))
                .count();
            if well == self.manifest.replicas && self.pods.len() == well {
                return true;
            }
            sleep(GLANCE).await;
        }
        false
    }

    /// Has the first pod go, as when its machine is drained; it is killed after this
    /// long if it has not ended.
    pub(crate) fn evict(&mut self, grace: Duration) {
        let pod = self.pods.remove(0);
        self.end(&pod, grace);
    }

    /// Waits until all that have to go have gone.
    pub(crate) async fn leaves(&mut self) -> Vec<Leave> {
        let mut leaves = Vec::new();
        while let Some(leave) = self.leaving.join_next().await {
            leaves.push(leave.expect("whoever waits for its end does not panic"));
        }
        leaves.sort_by_key(|leave| leave.drained_from);
        leaves
    }

    /// Asks no pod any more.
    pub(crate) async fn forget(mut self) {
        self.kubelets.shutdown().await;
    }

    /// Starts and ends what may be by now.
    fn work(&mut self, prepare: &impl Fn(&Process)) {
        let Manifest {
            replicas,
            surge,
            unavailable,
            ..
        } = self.manifest;
        while let Some(end) = self.kubelets.try_join_next() {
            if let Err(error) = end
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        let pods = self.pods.iter();
        let mut new = pods.filter(|pod| pod.version == self.version).count();
        while new < replicas && self.pods.len() < replicas + surge {
            self.start(prepare);
            new += 1;
        }
        // Whoever does not work goes first, then whoever is the oldest.
        while let Some(old) = self.goer() {
            let available = self
                .pods
                .iter()
                .filter(|pod| self.is_available(pod))
                .count();
            let stay = available - usize::from(self.is_available(&self.pods[old]));
            if stay + unavailable < replicas {
                break;
            }
            let pod = self.pods.remove(old);
            self.end(&pod, self.manifest.grace);
        }
    }

    /// Who may go: a pod of another version, or the newest if there are too many.
    fn goer(&self) -> Option<usize> {
        let old = |pod: &Pod| pod.version != self.version;
        let others = || (0..self.pods.len()).filter(|&at| old(&self.pods[at]));
        let idle = others().find(|&at| !self.is_available(&self.pods[at]));
        idle.or_else(|| others().next()).or_else(|| {
            let newest = self.pods.len().checked_sub(1)?;
            (self.manifest.replicas < self.pods.len()).then_some(newest)
        })
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let since = *pod.ready.borrow();
        since.is_some_and(|since| since + pod.min_ready <= self.crowd.clock.now())
    }

    /// Starts a pod of the version that is to be, where nothing runs.
    fn start(&mut self, prepare: &impl Fn(&Process)) {
        let places = self.role.places(&self.crowd);
        let place = places.iter().position(|process| !process.is_running());
        let place = place.expect("there is room for everything that runs at a time");
        prepare(&places[place]);
        places[place].spawn();
        self.watch(place, self.manifest.min_ready);
    }

    fn watch(&mut self, place: usize, min_ready: Duration) {
        let (ready, is_ready) = watch::channel(None);
        let (crowd, role, manifest) = (Arc::clone(&self.crowd), self.role, self.manifest);
        let kubelet = self.kubelets.spawn(async move {
            attend(&crowd, &role.places(&crowd)[place], manifest, &ready).await;
        });
        self.pods.push(Pod {
            place,
            version: self.version,
            ready: is_ready,
            min_ready,
            kubelet,
        });
    }

    /// Asks a pod to end, and kills it if it has not after this long.
    fn end(&mut self, pod: &Pod, grace: Duration) {
        pod.kubelet.abort();
        let (crowd, role) = (Arc::clone(&self.crowd), self.role);
        self.leaving.spawn(leave(crowd, role, pod.place, grace));
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        assert!(
            std::thread::panicking() || self.leaving.is_empty(),
            "nobody has waited for those that leave"
        );
    }
}

/// Asks a pod how it is, as its kubelet does, and tells since when it is ready.
async fn attend(
    crowd: &Crowd,
    process: &Process,
    manifest: Manifest,
    ready: &watch::Sender<Option<Duration>>,
) {
    let mut failures = 0;
    while !answers(process, "/live", manifest.startup).await {
        failures += 1;
        assert!(
            failures < manifest.startup.failures,
            "{} does not start",
            process.name()
        );
        sleep(manifest.startup.period).await;
    }
    let readiness = async {
        let mut failures = 0;
        loop {
            if answers(process, "/ready", manifest.readiness).await {
                failures = 0;
                let now = crowd.clock.now();
                ready.send_if_modified(|since| since.replace(since.unwrap_or(now)).is_none());
            } else {
                failures += 1;
                if manifest.readiness.failures <= failures {
                    ready.send_replace(None);
                }
            }
            sleep(manifest.readiness.period).await;
        }
    };
    let liveness = async {
        let mut failures = 0;
        while failures < manifest.liveness.failures {
            sleep(manifest.liveness.period).await;
            let lives = answers(process, "/live", manifest.liveness).await;
            failures = if lives { 0 } else { failures + 1 };
        }
        panic!("{} would have been started again", process.name());
    };
    tokio::select! {
        () = readiness => {}
        () = liveness => {}
    }
}

async fn answers(process: &Process, path: &str, probe: Probe) -> bool {
    let answer = timeout(probe.timeout, process.ask(path)).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
}

/// Has a process end as its kubelet would.
async fn leave(crowd: Arc<Crowd>, role: Role, place: usize, grace: Duration) -> Leave {
    let process = &role.places(&crowd)[place];
    process.signal("TERM");
    let told_at = crowd.clock.now();
    let drained_from = told_at + manifest::seconds("CARILLON_SHUTDOWN_DELAY");
    let mut sockets = 0.0;
    let mut counted = role != Role::Gateway;
    let status = loop {
        if let Some(status) = process.has_ended() {
            break Some(status);
        }
        let now = crowd.clock.now();
        if told_at + grace <= now {
            process.kill();
            break None;
        }
        // Shortly before it closes the first one.
        if !counted && drained_from <= now + GLANCE * 2 {
            sockets = process.metric("carillon_gateway_connections").await;
            counted = true;
        }
        sleep(GLANCE / 4).await;
    };
    Leave {
        name: process.name().to_owned(),
        drained_from,
        sockets,
        status,
    }
}
