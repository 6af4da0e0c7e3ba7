//! One process of the cluster: starting, running, draining, gone.
//!
//! Whoever starts a task waits for it: tasks are started through the [`Node`],
//! watch it to learn when to end, and `main` returns once all of them have.

pub mod admin;
pub mod entrance;
pub mod env;
pub mod health;
pub mod log;
pub mod memory;
pub mod program;
pub mod register;
pub mod secrets;
pub mod settings;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::time::Timestamp;

/// Where a process is in its life. It only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not serving yet.
    Starting,
    /// Serving.
    Running,
    /// Wants nothing new, and parts from what it has at its own pace.
    Draining,
    /// Told twice to leave: ends what is open at once.
    Hurrying,
}

impl Phase {
    /// The name in `/ready`, in logs and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Hurrying => "hurrying",
        }
    }
}

/// Why a part of a process is down that has not said anything yet.
const STARTING: &str = "starting";

/// What one part of a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Works.
    Up,
    /// Works worse than it should; the process still wants traffic.
    Degraded(String),
    /// Does not work; the process wants no new traffic.
    Down(String),
}

impl State {
    /// The name in `/ready` and in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded(_) => "degraded",
            Self::Down(_) => "down",
        }
    }

    /// Why it is not simply up.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Up => None,
            Self::Degraded(reason) | Self::Down(reason) => Some(reason),
        }
    }

    /// Whether the log should tell of it after `before`: not of other words for
    /// the same, but of what keeps a part from ever coming up.
    fn is_news_after(&self, before: &Self) -> bool {
        self.as_str() != before.as_str() || (before.reason() == Some(STARTING) && self != before)
    }
}

/// One process. Cheap to clone; all clones are the same process.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    role: &'static str,
    name: String,
    phase: watch::Sender<Phase>,
    /// Never held across an await; each use is a map access.
    conditions: Mutex<BTreeMap<&'static str, (State, Timestamp)>>,
    tasks: TaskTracker,
    failed: CancellationToken,
}

impl Node {
    /// A process that plays `role` (`gateway`, `api`, `worker`) and is called
    /// `name` by the others.
    pub fn new(role: &'static str, name: String) -> Self {
        Self {
            inner: Arc::new(Inner {
                role,
                name,
                phase: watch::Sender::new(Phase::Starting),
                conditions: Mutex::default(),
                tasks: TaskTracker::new(),
                failed: CancellationToken::new(),
            }),
        }
    }

    /// What the other processes call it, unique in the cluster.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it does in the cluster.
    pub fn role(&self) -> &'static str {
        self.inner.role
    }

    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        *self.inner.phase.borrow()
    }

    /// It serves now. Does nothing once it drains.
    pub fn running(&self) {
        self.advance(Phase::Running);
    }

    /// It leaves: no new work, the rest at its own pace.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// It leaves at once.
    pub fn hurry(&self) {
        self.advance(Phase::Hurrying);
    }

    fn advance(&self, to: Phase) {
        let moved = self.inner.phase.send_if_modified(|phase| {
            let later = *phase < to;
            if later {
                *phase = to;
            }
            later
        });
        if moved {
            info!(
                role = self.role(),
                node = self.name(),
                "{} is {}",
                self.name(),
                to.as_str()
            );
        }
    }

    /// Resolves once it drains or hurries.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves once it hurries.
    pub async fn hurrying(&self) {
        self.reached(Phase::Hurrying).await;
    }

    async fn reached(&self, phase: Phase) {
        let mut phases = self.inner.phase.subscribe();
        // The sender lives in `self`, so it cannot be gone.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    /// What `f` resolves to, or nothing if the node drains first.
    pub async fn until_drain<F: Future>(&self, f: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.draining() => None,
            output = f => Some(output),
        }
    }

    /// A part of this process whose state decides whether it is ready.
    /// It is down ("starting") until told otherwise.
    pub fn condition(&self, name: &'static str) -> Condition {
        let starting = || (State::Down(STARTING.to_owned()), Timestamp::now());
        self.conditions().entry(name).or_insert_with(starting);
        Condition {
            node: self.clone(),
            name,
        }
    }

    /// Whether it wants new traffic: it is running, and no condition is down.
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Running
            && !self
                .conditions()
                .values()
                .any(|(state, _)| matches!(state, State::Down(_)))
    }

    /// Whether this condition is up; one that nobody has told of is not.
    pub fn is_up(&self, condition: &str) -> bool {
        let conditions = self.conditions();
        conditions
            .get(condition)
            .is_some_and(|(state, _)| *state == State::Up)
    }

    fn conditions(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, (State, Timestamp)>> {
        self.inner
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task that [`finished`](Self::finished) waits for. It should end
    /// soon after the node drains. If it panics, the node fails.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let watch = self.watch(name);
        self.inner.tasks.spawn(async move {
            let _watch = watch;
            task.await;
        });
    }

    /// To be held by a thread or task that this process cannot do without: if it
    /// panics while it holds this, the node fails.
    pub fn watch(&self, name: &'static str) -> Watch {
        Watch {
            node: self.clone(),
            name,
        }
    }

    /// Something broke that only a new process can mend: drains, and remembers
    /// to exit with a failure.
    pub fn fail(&self, reason: &str) {
        error!(
            role = self.role(),
            node = self.name(),
            "{} cannot go on: {reason}",
            self.name()
        );
        self.inner.failed.cancel();
        self.drain();
    }

    /// Resolves once it has [failed](Self::fail).
    pub async fn failing(&self) {
        self.inner.failed.cancelled().await;
    }

    /// Resolves once all tasks have ended.
    pub async fn finished(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// What the process should exit with: a failure if the node [failed](Self::fail).
    pub fn exit_code(&self) -> ExitCode {
        if self.inner.failed.is_cancelled() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    /// From now on the first SIGTERM or SIGINT drains, and the second hurries.
    ///
    /// The task that listens is not waited for: it ends with the runtime, so
    /// that a signal is heard until the very end.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn on_signals(&self) {
        let node = self.clone();
        let (mut terminate, mut interrupt) = match (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                warn!(%error, "signals cannot be heard; this process ends only by being killed");
                return;
            }
        };
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                info!(signal = name, "{name} received");
                if node.phase() < Phase::Draining {
                    node.drain();
                } else {
                    node.hurry();
                }
            }
        });
    }
}

/// How one part of a process reports its state.
#[derive(Clone)]
pub struct Condition {
    node: Node,
    name: &'static str,
}

impl Condition {
    /// It works.
    pub fn up(&self) {
        self.set(State::Up);
    }

    /// It works, but not as it should. Shown in `/ready`, which stays 200.
    pub fn degraded(&self, reason: impl Into<String>) {
        self.set(State::Degraded(reason.into()));
    }

    /// It does not work. `/ready` answers 503 until it does.
    pub fn down(&self, reason: impl Into<String>) {
        self.set(State::Down(reason.into()));
    }

    fn set(&self, state: State) {
        let mut conditions = self.node.conditions();
        let (was, since) = conditions
            .get_mut(self.name)
            .expect("a condition is entered when it is made and never taken out");
        if was.as_str() != state.as_str() {
            *since = Timestamp::now();
        }
        if state.is_news_after(was) {
            let (name, is) = (self.name, state.as_str());
            match state.reason() {
                None => info!(condition = name, "{name} is {is}"),
                Some(reason) => warn!(condition = name, "{name} is {is}: {reason}"),
            }
        }
        *was = state;
    }
}

/// Held while something runs that may not end by a panic.
pub struct Watch {
    node: Node,
    name: &'static str,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // True only while a panic unwinds through the holder: a task that is
        // dropped because the runtime ends is no failure.
        if std::thread::panicking() {
            self.node.fail(&format!("{} panicked", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node::new("worker", "w1".to_owned())
    }

    #[test]
    fn a_node_is_ready_while_it_runs_and_nothing_is_down() {
        let node = node();
        let link = node.condition("link");
        node.running();
        assert!(!node.is_ready());
        link.up();
        assert!(node.is_ready());
        link.degraded("slow");
        assert!(node.is_ready());
        link.down("lost");
        assert!(!node.is_ready());
        link.up();
        node.drain();
        assert!(!node.is_ready());
    }

    #[test]
    fn a_node_never_goes_back_to_an_earlier_phase() {
        let node = node();
        node.hurry();
        node.drain();
        node.running();
        assert_eq!(node.phase(), Phase::Hurrying);
    }

    #[test]
    fn a_condition_remembers_since_when_and_why() {
        let node = node();
        let link = node.condition("link");
        let since = node.conditions()["link"].1;
        link.down("refused");
        assert_eq!(
            node.conditions()["link"],
            (State::Down("refused".to_owned()), since)
        );
        assert_eq!(node.condition("link").name, "link");
        assert_eq!(
            node.conditions()["link"].0.reason(),
            Some("refused"),
            "asked for again, a condition keeps its state"
        );
    }

    #[test]
    fn what_never_came_up_is_told_once_with_its_reason() {
        let down = |why: &str| State::Down(why.to_owned());
        let starting = down(STARTING);
        assert!(down("refused").is_news_after(&starting));
        assert!(!starting.is_news_after(&starting));
        assert!(!down("timed out").is_news_after(&down("refused")));
        assert!(State::Up.is_news_after(&down("timed out")));
    }

    #[tokio::test]
    async fn a_task_that_panics_drains_the_node_and_fails_it() {
        let node = node();
        node.spawn("sweep", async { panic!("a task's invariant broke") });
        node.draining().await;
        node.finished().await;
        assert_eq!(node.exit_code(), ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn a_node_is_finished_when_its_tasks_are() {
        let node = node();
        let (done, mut ended) = tokio::sync::oneshot::channel();
        let inner = node.clone();
        node.spawn("sweep", async move {
            inner.draining().await;
            done.send(()).unwrap();
        });
        node.drain();
        node.finished().await;
        assert_eq!(ended.try_recv(), Ok(()));
        assert_eq!(node.exit_code(), ExitCode::SUCCESS);
    }

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_hurries() {
        let node = node();
        node.on_signals();
        let terminate = || {
            let pid = std::process::id().to_string();
            let mut kill = std::process::Command::new("kill");
            assert!(kill.args(["-TERM", &pid]).status().unwrap().success());
        };
        terminate();
        node.draining().await;
        assert_eq!(node.phase(), Phase::Draining);
        terminate();
        node.hurrying().await;
    }

    #[tokio::test]
    async fn waiting_ends_when_the_node_drains() {
        let node = node();
        assert_eq!(node.until_drain(async { 7 }).await, Some(7));
        node.drain();
        assert_eq!(node.until_drain(std::future::pending::<()>()).await, None);
    }
}
