//! What sessions cannot do themselves because it takes time: reading what
//! waited, or whom a token names by now, making copies of global messages, noting
//! what was delivered.
//!
//! While Redis does not answer, errands wait and are tried again; no session
//! hears of it. What cannot succeed because of what is stored is given up and
//! counted, so that it holds up nobody else.

mod marks;
pub(crate) mod missed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::Error;
use broker::identity::{Authenticator, SignedIn};
use broker::keys::Partition;
use broker::link::Known;
use broker::message::GlobalMessage;
use broker::messages::{Backlog, Messages, Page, Unsent};
use broker::misskey::caller::Caller;
use broker::resumption::{Client, Resumption};
use broker::topic::Topic;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use self::missed::Recollection;
use crate::dialect::misskey::Question;
use crate::dialect::{Answer, Errand, Mark};
use crate::hub::SessionKey;
use crate::mailbox::Mailbox;
use crate::metrics::ErrandMetrics;
use crate::misskey::Misskeys;
use crate::relay::Relays;
use crate::shard::inbox::{Inbox, Mail};

/// Backlogs read at once of one partition. More would not make Redis faster, and
/// after a lost link all sockets of a node ask at the same time. In a Cluster the
/// server of some partitions may fail alone, which is to hold up no others.
const CONCURRENT: usize = 2;
/// Users looked up at once, for the same reason.
const CONCURRENT_USERS: usize = 64;
/// What is read at once for one socket: little enough that a slow reader's queue
/// holds it.
const PAGE: Page = Page {
    count: 64,
    bytes: 256 << 10,
};
/// Recipients for whom a global message is copied in one go.
const CLAIM: usize = 256;
/// How often what was read for clients that came back is looked through.
const TIDY: Duration = Duration::from_secs(10);
/// Pause before a failed errand is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Takes errands from the shards. Cheap to clone.
///
/// What waits is bounded by the sessions: each asks for one backlog at a time.
#[derive(Clone, Debug, Default)]
pub struct Errands {
    shared: Arc<Shared>,
    known: Known,
}

#[derive(Debug, Default)]
struct Shared {
    asked: Mailbox<Asked>,
    marks: Mailbox<Mark>,
    /// Marks are to be written without waiting for more.
    hurry: Notify,
    /// No more marks will come.
    finishing: AtomicBool,
    settled: watch::Sender<Settled>,
    /// The store failed last time.
    failing: AtomicBool,
}

/// How far the writing of marks is.
#[derive(Debug, Default)]
struct Settled {
    /// How many have been dealt with, those that are kept for later included.
    marks: u64,
    /// Bit by bit the partitions of those that are kept for later: their server fails.
    kept: u64,
}

impl Shared {
    /// The store failed, and will be tried again. Thousands of errands may fail
    /// together and often: only the first is news.
    fn failed(&self, what: &str, error: &Error) {
        if self.failing.swap(true, Ordering::Relaxed) {
            debug!(%error, what, "an errand failed again");
        } else {
            warn!(%error, what, "an errand failed and will be tried again");
        }
    }

    fn succeeded(&self, what: &str) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            info!(what, "errands succeed again");
        }
    }
}

/// A session's errand.
#[derive(Debug)]
pub struct Asked {
    /// The session's shard.
    pub shard: usize,
    /// The session.
    pub key: SessionKey,
    /// What it asks for.
    pub errand: Errand,
}

impl Errands {
    /// Hands errands over, emptying `asked`.
    pub fn ask(&self, asked: &mut Vec<Asked>) {
        self.shared.asked.leave(asked);
    }

    /// Takes what was handed over, to do it otherwise than [`run`](Self::run) does.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> (Vec<Asked>, Vec<Mark>) {
        let Shared { asked, marks, .. } = &*self.shared;
        (asked.take_now(), marks.take_now())
    }

    /// Hands marks over, emptying `marks`.
    pub fn mark(&self, marks: &mut Vec<Mark>) {
        self.shared.marks.leave(marks);
    }

    /// Up to when all that was published has been handed to the shards.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Has marks written without waiting for more to share the way.
    pub fn hurry(&self) {
        if self.shared.settled.borrow().marks < self.shared.marks.left() {
            self.shared.hurry.notify_one();
        }
    }

    /// No more marks will come: [`marks`](Self::write_marks) ends when all are written.
    pub fn finish(&self) {
        self.shared.finishing.store(true, Ordering::Release);
        self.shared.hurry.notify_one();
    }

    /// Resolves once all marks left so far are written.
    pub async fn all_settled(&self) {
        self.settled(u64::MAX).await;
    }

    /// The same of those whose partition has its bit among `partitions`.
    async fn settled(&self, partitions: u64) {
        let left = self.shared.marks.left();
        let written = |settled: &Settled| left <= settled.marks && settled.kept & partitions == 0;
        // The sender is in `shared`, so it cannot be gone.
        let _ = self.shared.settled.subscribe().wait_for(written).await;
    }

    /// Runs errands until `stop` resolves.
    pub async fn run(
        self,
        sources: Sources,
        shards: Vec<Arc<Inbox>>,
        metrics: ErrandMetrics,
        stop: impl Future<Output = ()>,
    ) {
        let errand = Runner {
            errands: self,
            sources,
            shards: shards.into(),
            metrics,
            recollection: Arc::default(),
        };
        tokio::select! {
            () = stop => {}
            () = errand.run() => {}
        }
    }
}

/// Errands that take turns.
struct Queue {
    waiting: VecDeque<Asked>,
    places: Arc<Semaphore>,
}

impl Queue {
    fn of(places: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// The next whose turn it is, and its place, which is free again when dropped.
    fn next(&mut self) -> Option<(Asked, OwnedSemaphorePermit)> {
        if self.waiting.is_empty() {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.waiting.pop_front().map(|asked| (asked, place))
    }
}

/// The bit of the recipient's partition.
fn bit(recipient: &Topic) -> u64 {
    1 << recipient.partition().index()
}

/// A global message, and the sessions whose recipients want their copies.
type Claims = (Arc<GlobalMessage>, Vec<(Asked, Topic)>);

/// Who knows what errands ask for.
#[derive(Clone)]
pub struct Sources {
    /// Knows what waits.
    pub messages: Messages,
    /// Knows whom access tokens name.
    pub authenticator: Authenticator,
    /// Knows the users of Misskey hosts.
    pub misskeys: Misskeys,
    /// Opens relays to Misskey hosts.
    pub relays: Relays,
    /// Knows which clients were here of late.
    pub resumption: Resumption,
}

/// What an errand needs.
#[derive(Clone)]
struct Runner {
    errands: Errands,
    sources: Sources,
    shards: Arc<[Arc<Inbox>]>,
    metrics: ErrandMetrics,
    recollection: Arc<Recollection>,
}

impl Runner {
    async fn run(self) {
        let mut tidying = tokio::time::interval(TIDY);
        let mut running = JoinSet::new();
        let mut queues: Vec<Queue> = Partition::every().map(|_| Queue::of(CONCURRENT)).collect();
        let mut users = Queue::of(CONCURRENT_USERS);
        loop {
            let asked = tokio::select! {
                asked = self.errands.shared.asked.take() => asked,
                _ = tidying.tick() => {
                    self.recollection.tidy();
                    continue;
                }
                // It leaves its place to another.
                Some(_) = running.join_next() => Vec::new(),
            };
            let mut claims: Vec<Claims> = Vec::new();
            let (mut back, mut reached) = (Vec::new(), Vec::new());
            for asked in asked {
                match &asked.errand {
                    Errand::Claim { recipient, global } => {
                        let (global, recipient) = (Arc::clone(global), recipient.clone());
                        let same = |known: &GlobalMessage, of: &[(Asked, Topic)]| {
                            known.id == global.id && of[0].1.same_tenant(&recipient)
                        };
                        match claims.iter_mut().find(|(known, of)| same(known, of)) {
                            Some((_, claims)) => claims.push((asked, recipient)),
                            None => claims.push((global, vec![(asked, recipient)])),
                        }
                    }
                    Errand::Missed {
                        annotations,
                        client,
                    } => {
                        let (topic, client) = (annotations.clone(), Client::clone(client));
                        back.push((asked, topic, client));
                    }
                    Errand::Reached { client, until } => {
                        reached.push((Client::clone(client), *until));
                    }
                    // It lives as long as its relay, which has a place of its own.
                    Errand::Misskey(asking) if asking.question == Question::Relay => {
                        let (runner, caller) = (self.clone(), Arc::clone(&asking.caller));
                        running.spawn(async move { runner.relay(&asked, &caller).await });
                    }
                    // A host that is slow must hold up nobody but its own users;
                    // it bounds for itself what it is asked at once.
                    Errand::Misskey(_) => {
                        let runner = self.clone();
                        running.spawn(async move { runner.read(asked).await });
                    }
                    Errand::Backlog { recipient, .. } => {
                        let at = usize::from(recipient.partition().index());
                        queues[at].waiting.push_back(asked);
                    }
                    Errand::Identity(_) | Errand::Mark(_) => users.waiting.push_back(asked),
                }
            }
            // Before the places are looked at: whoever ends later is heard of above.
            while running.try_join_next().is_some() {}
            for queue in queues.iter_mut().chain([&mut users]) {
                while let Some((asked, place)) = queue.next() {
                    let runner = self.clone();
                    running.spawn(async move {
                        runner.read(asked).await;
                        drop(place);
                    });
                }
            }
            if !back.is_empty() {
                let runner = self.clone();
                running.spawn(async move { runner.missed(back).await });
            }
            if !reached.is_empty() {
                let runner = self.clone();
                running.spawn(async move { runner.reached(&reached).await });
            }
            for claims in claims {
                let runner = self.clone();
                running.spawn(async move { runner.claim(claims).await });
            }
        }
    }

    async fn read(&self, asked: Asked) {
        match &asked.errand {
            Errand::Backlog {
                recipient,
                label,
                since,
                after,
            } => {
                let unsent = Unsent {
                    label: label.as_deref(),
                    after: *after,
                    since: Some(*since),
                };
                self.backlog(&asked, recipient, unsent).await;
            }
            Errand::Identity(known) => self.identity(&asked, known).await,
            Errand::Misskey(asking) => {
                if let Some(reply) = self.sources.misskeys.ask(asking).await {
                    self.answer(&asked, Answer::Misskey(reply));
                }
            }
            Errand::Claim { .. }
            | Errand::Mark(_)
            | Errand::Missed { .. }
            | Errand::Reached { .. } => {}
        }
    }

    async fn identity(&self, asked: &Asked, known: &SignedIn) {
        let identity = self
            .retry("identity", || self.sources.authenticator.again(known))
            .await;
        // Who cannot be told is not let go on as before, nor made nobody.
        let identity = identity.unwrap_or_else(|error| {
            error!(%error, userid = %known.userid, "whom a token names cannot be read");
            None
        });
        self.answer(asked, Answer::Identity(identity));
    }

    async fn backlog(&self, asked: &Asked, recipient: &Topic, unsent: Unsent<'_>) {
        // What this node has sent must not be found pending.
        self.errands.settled(bit(recipient)).await;
        let backlog = self
            .retry("backlog", || {
                self.sources.messages.backlog(recipient, unsent, PAGE)
            })
            .await;
        let (messages, more) = match backlog {
            Ok(Backlog {
                revoked_at: Some(at),
                ..
            }) if unsent.since.is_some_and(|since| since <= at) => {
                return self.answer(asked, Answer::Revoked);
            }
            Ok(backlog) => {
                self.metrics.unreadable.inc_by(backlog.unreadable);
                (backlog.messages, backlog.more)
            }
            // The socket goes on with what happens from now on.
            Err(error) => {
                error!(%error, recipient = %recipient, "what waits for a recipient cannot be read");
                (Vec::new(), None)
            }
        };
        self.answer(asked, Answer::Backlog { messages, more });
    }

    async fn relay(&self, asked: &Asked, caller: &Caller) {
        let shard = &self.shards[asked.shard];
        let send = |mail| shard.send(mail);
        self.sources.relays.serve(caller, asked.key, send).await;
    }

    async fn claim(&self, (global, claims): Claims) {
        for chunk in claims.chunks(CLAIM) {
            let recipients: Vec<_> = chunk.iter().map(|(_, topic)| topic.clone()).collect();
            let ids = self
                .retry("claim", || {
                    self.sources.messages.claim(&global, &recipients, false)
                })
                .await;
            let ids = match ids {
                Ok(ids) => ids,
                Err(error) => {
                    error!(%error, global = %global.id, "copies of a global message cannot be made");
                    continue;
                }
            };
            for ((asked, _), id) in chunk.iter().zip(ids) {
                self.answer(
                    asked,
                    Answer::Claimed {
                        global: Arc::clone(&global),
                        id,
                    },
                );
            }
        }
    }

    fn answer(&self, asked: &Asked, answer: Answer) {
        self.shards[asked.shard].send(Mail::Answer(asked.key, answer));
    }

    /// Tries until it succeeds, as Redis will be back.
    ///
    /// # Errors
    /// If it never will.
    async fn retry<T, F>(
        &self,
        what: &'static str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match attempt().await {
                Ok(value) => {
                    self.errands.shared.succeeded(what);
                    return Ok(value);
                }
                Err(error) if error.is_lasting() => {
                    self.metrics.given_up.inc();
                    return Err(error);
                }
                Err(error) => {
                    self.metrics.retries.inc();
                    self.errands.shared.failed(what, &error);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}
