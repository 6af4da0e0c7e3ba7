//! The streams to which other systems add what happened, and how workers share
//! what is in them.
//!
//! An entry stays in its stream until it was published, or moved to the dead
//! letters. Who takes one and dies leaves it to whoever looks next; as reports
//! are published and messages pushed once, it does not matter how far the first
//! had come.

mod entry;
mod held;
mod push;

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use redis::{Cmd, Script, cmd};

pub use self::entry::{DEAD_LETTERS, Entry};
use self::entry::{Letter, Told, Wish, added_at};
use self::held::{Held, Let};
use super::{Ingest, MAX_REPORT, Outcome, Push, Report};
use crate::error::Error;
use crate::keys::Keys;
use crate::message::rules::Rules;
use crate::messages::Messages;
use crate::quota::Quotas;
use crate::topic::Tenant;
use crate::topology::{OwnConnection, Redis};
use crate::trace::{Kind, Span, Tracing};

/// The consumer group that all workers are in.
const GROUP: &str = "workers";
/// Entries taken at once of each tenant.
const BATCH: usize = 32;
/// How long one look waits for entries. A worker that leaves lets it end, so
/// that nothing is taken that it does not handle.
const WAIT: Duration = Duration::from_millis(500);
/// How long Redis may say nothing to it.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Entries that failed are tried again after this.
const RETRY: Duration = Duration::from_millis(500);
/// An entry that was taken so often is given up: its takers died of it.
pub const MAX_DELIVERIES: u64 = 5;
/// What a stream holds while nobody takes anything; the oldest is dropped for more.
const MAX_WAITING: usize = 100_000;
/// How many dead letters are kept of each tenant, about, and for how long.
const MAX_DEAD: usize = 1000;
const DEAD_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long Redis remembers a worker that takes nothing any more.
const WORKER_LIFE: Duration = Duration::from_secs(3600);

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("intake/claim.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("settle.lua")));
static TIDY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("tidy.lua")));

/// What other systems add to the streams of these tenants, as one worker takes it.
pub struct Intake {
    redis: Redis,
    keys: Keys,
    ingest: Ingest,
    messages: Messages,
    rules: Rules,
    quotas: Quotas,
    tracing: Tracing,
    held: Held,
    /// For whom something failed the last time.
    failing: HashSet<Tenant>,
    worker: String,
    /// By the keys of their streams.
    tenants: HashMap<String, Tenant>,
    reading: Option<OwnConnection>,
}

/// An entry whose taker has not been heard of since.
#[derive(Clone, Debug)]
pub struct Left {
    tenant: Tenant,
    id: String,
    /// How often it was taken.
    deliveries: u64,
}

/// What became of entries.
#[derive(Debug, Default)]
pub struct Handled {
    /// Of reports that could be read.
    pub outcomes: Vec<Outcome>,
    /// How many were pushes, stored now or before.
    pub pushed: u64,
    /// The kinds of what is wrong with the others.
    pub dead: Vec<&'static str>,
    /// Why some were not handled. They are still there.
    pub failed: Option<Error>,
}

/// What waits in all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many entries, taken or not.
    pub entries: u64,
    /// How long the oldest of them has been there.
    pub lag: Duration,
    /// How many dead letters there are.
    pub dead: u64,
}

/// The key of a stream, and entries of it.
type OfStream = (String, Vec<Told>);

impl Intake {
    /// Takes what the systems of `tenants` add, as `worker`. What is for
    /// recipients goes to `messages`, if it keeps to the `rules`.
    pub fn new(
        redis: Redis,
        keys: Keys,
        messages: Messages,
        rules: Rules,
        worker: &str,
        tenants: impl IntoIterator<Item = Tenant>,
    ) -> Self {
        let tenants = tenants.into_iter();
        Self {
            ingest: Ingest::new(redis.clone(), keys.clone()),
            tenants: tenants.map(|t| (keys.intake(&t), t)).collect(),
            worker: worker.to_owned(),
            messages,
            rules,
            quotas: Quotas::new(redis.clone(), keys.clone()),
            tracing: Tracing::default(),
            held: Held::default(),
            failing: HashSet::new(),
            reading: None,
            redis,
            keys,
        }
    }

    /// The same, recording some of what it handles.
    #[must_use]
    pub fn traced(mut self, tracing: Tracing) -> Self {
        self.ingest = self.ingest.traced(tracing.clone());
        self.messages = self.messages.traced(tracing.clone());
        self.tracing = tracing;
        self
    }

    /// Whether there is anybody to take from.
    pub fn is_idle(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Whether something [failed](Handled::failed) and has not succeeded since.
    pub fn is_failing(&self) -> bool {
        !self.failing.is_empty()
    }

    /// Waits a moment for entries that nobody has taken, and takes some. Those
    /// of one tenant are in the order in which they were added. Nothing new is taken
    /// of a tenant that has pushed as much as it may, until it may again.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        let due = self.held.due(Instant::now());
        if !due.is_empty() {
            return Ok(due);
        }
        let wait = self
            .held
            .next(Instant::now())
            .map_or(WAIT, |at| at.min(WAIT));
        let free = |(_, tenant): &(&String, &Tenant)| !self.held.holds(tenant);
        let keys: Vec<_> = self
            .tenants
            .iter()
            .filter(free)
            .map(|(key, _)| key)
            .collect();
        if keys.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(Vec::new());
        }
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.worker);
        command.arg("COUNT").arg(BATCH);
        // 0 would mean for ever.
        command.arg("BLOCK").arg(wait.as_millis().max(1) as u64);
        command.arg("STREAMS");
        for key in &keys {
            command.arg(key);
        }
        for _ in &keys {
            command.arg(">");
        }
        let mut connection = match self.reading.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.query::<Option<Vec<OfStream>>>(&command).await;
        if connection.is_usable() {
            self.reading = Some(connection);
        }
        match answer {
            Ok(streams) => Ok(self.entries(streams.unwrap_or_default())),
            // The streams are new, or Redis has lost them.
            Err(Error::Redis(error)) if error.code() == Some("NOGROUP") => {
                self.begin().await?;
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// All streams are where any of them is.
    async fn connect(&self) -> Result<OwnConnection, Error> {
        let any = self.tenants.keys().next().map_or("", String::as_str);
        self.redis.own_connection_of(any, PATIENCE).await
    }

    fn entries(&self, streams: Vec<OfStream>) -> Vec<Entry> {
        let of = |(key, entries): OfStream| {
            let tenant = self.tenants.get(&key)?;
            Some(entries.into_iter().map(|told| Entry::new(tenant, told)))
        };
        streams.into_iter().filter_map(of).flatten().collect()
    }

    /// Makes the groups that are missing; they begin with what is there already.
    async fn begin(&self) -> Result<(), Error> {
        for key in self.tenants.keys() {
            let mut command = cmd("XGROUP");
            command.arg("CREATE").arg(key).arg(GROUP).arg(0);
            match self.redis.query::<()>(command.arg("MKSTREAM")).await {
                Err(Error::Redis(error)) if error.code() == Some("BUSYGROUP") => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Entries that somebody took `idle` ago and has not finished.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn left(&self, idle: Duration) -> Result<Vec<Left>, Error> {
        self.keep_held().await?;
        let mut found = Vec::new();
        for (key, tenant) in &self.tenants {
            let mut command = cmd("XPENDING");
            command.arg(key).arg(GROUP).arg("IDLE").arg(millis(idle));
            command.arg("-").arg("+").arg(BATCH);
            let pending: Vec<(String, String, u64, u64)> = match self.redis.query(&command).await {
                Err(Error::Redis(error)) if error.code() == Some("NOGROUP") => continue,
                result => result?,
            };
            found.extend(pending.into_iter().map(|(id, _, _, deliveries)| Left {
                tenant: tenant.clone(),
                id,
                deliveries,
            }));
        }
        Ok(found)
    }

    /// Takes one over; nothing if somebody else did, or it is gone.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn claim(&self, left: &Left, idle: Duration) -> Result<Option<Entry>, Error> {
        let mut call = CLAIM.key(self.keys.intake(&left.tenant));
        call.arg(GROUP).arg(&self.worker).arg(millis(idle));
        call.arg(&left.id).arg(MAX_REPORT);
        let claimed: Option<Told> = self.redis.invoke(&call).await?;
        Ok(claimed.map(|told| Entry::new(&left.tenant, told)))
    }

    /// Gives up an entry that was taken too often, if so it was.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn give_up(&self, left: &Left, entry: &Entry) -> Result<Option<Handled>, Error> {
        if left.deliveries < MAX_DELIVERIES {
            return Ok(None);
        }
        let why = Letter {
            entry,
            why: "deliveries",
            words: format!(
                "expected a worker to survive it; {} did not",
                left.deliveries
            ),
        };
        self.settle(&left.tenant, &[], &[why]).await?;
        Ok(Some(Handled {
            dead: vec!["deliveries"],
            ..Handled::default()
        }))
    }

    /// Publishes entries, and ends them. May be repeated with the same. Those that
    /// are more than their tenant may push now are held, and come
    /// [next](Self::next) when it may; so are those of a tenant for whom something
    /// [failed](Handled::failed), as that may concern nobody else.
    pub async fn handle(&mut self, entries: &[Entry]) -> Handled {
        let mut handled = Handled::default();
        for of_tenant in entries.chunk_by(|one, other| one.tenant == other.tenant) {
            let tenant = &of_tenant[0].tenant;
            let known = Span::default();
            let now = SystemTime::now();
            let span = self
                .tracing
                .begin(Kind::Consumer, "carillon.ingest", &known, now);
            span.note("carillon.tenant", tenant.as_str().to_owned());
            span.note("carillon.entries", of_tenant.len() as i64);
            let handling = self.handle_of(tenant, of_tenant, &mut handled);
            match span.around(handling).await {
                Ok(()) => {
                    self.failing.remove(tenant);
                }
                Err(error) => {
                    span.failed("redis");
                    self.held.hold(of_tenant, Instant::now() + RETRY);
                    self.failing.insert(tenant.clone());
                    handled.failed = Some(error);
                }
            }
        }
        handled
    }

    /// The same for entries of one tenant.
    async fn handle_of(
        &mut self,
        tenant: &Tenant,
        of_tenant: &[Entry],
        handled: &mut Handled,
    ) -> Result<(), Error> {
        let (mut wishes, mut ids, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        let rules = self.rules_of(tenant).await?;
        for (at, entry) in of_tenant.iter().enumerate() {
            let wish = match entry.read(&rules) {
                Ok(wish) => wish,
                Err(letter) => {
                    letters.push(letter);
                    continue;
                }
            };
            match self.may_push(tenant, wish.messages()).await? {
                Let::Now => {
                    ids.push(entry.id.as_str());
                    wishes.push((entry, wish));
                }
                // What comes after it must not come before it.
                Let::Later(wait) => {
                    self.held.hold(&of_tenant[at..], Instant::now() + wait);
                    break;
                }
                Let::Never(words) => letters.push(Letter {
                    entry,
                    why: "quota",
                    words,
                }),
            }
        }
        let alike = |(_, one): &(_, Wish), (_, other): &(_, Wish)| {
            std::mem::discriminant(one) == std::mem::discriminant(other)
        };
        for run in wishes.chunk_by(alike) {
            self.grant(tenant, run, handled).await?;
        }
        self.settle(tenant, &ids, &letters).await?;
        handled.dead.extend(letters.iter().map(|letter| letter.why));
        Ok(())
    }

    /// Does what entries ask for that all ask for the same.
    async fn grant(
        &self,
        tenant: &Tenant,
        run: &[(&Entry, Wish)],
        handled: &mut Handled,
    ) -> Result<(), Error> {
        let (mut reports, mut pushes) = (Vec::<&Report>::new(), Vec::<(&str, &Push)>::new());
        for (entry, wish) in run {
            match wish {
                Wish::Report(report) => reports.push(report),
                Wish::Push(push) => pushes.push((entry.name(), push)),
            }
        }
        let progress = self.ingest.publish(tenant, &reports).await;
        if let Some(error) = progress.failed {
            return Err(error);
        }
        push::push(&self.messages, tenant, &pushes).await?;
        handled.outcomes.extend(progress.outcomes);
        handled.pushed += pushes.len() as u64;
        Ok(())
    }

    async fn settle(
        &self,
        tenant: &Tenant,
        published: &[&str],
        dead: &[Letter<'_>],
    ) -> Result<(), Error> {
        let mut call = SETTLE.prepare_invoke();
        call.key(self.keys.intake(tenant))
            .key(self.keys.dead_letters(tenant))
            .arg(GROUP)
            .arg(MAX_DEAD)
            .arg(published.len())
            .arg(published);
        for letter in dead {
            call.arg(&letter.fields()[..]);
        }
        self.redis.invoke(&call).await
    }

    /// What waits.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        let mut backlog = Backlog::default();
        let now = self.redis.time().await?;
        for (key, tenant) in &self.tenants {
            let mut all = redis::pipe();
            all.cmd("XLEN").arg(self.keys.dead_letters(tenant));
            all.cmd("XLEN").arg(key);
            all.add_command(first(key));
            let (dead, entries, oldest): (u64, u64, Vec<Told>) = self.redis.pipeline(&all).await?;
            backlog.dead += dead;
            backlog.entries += entries;
            if let Some(at) = oldest.first().and_then(|(id, _)| added_at(id)) {
                backlog.lag = backlog.lag.max(now.since(at));
            }
        }
        Ok(backlog)
    }

    /// Bounds the streams and forgets what is long past; says how many entries
    /// were dropped that nobody had published.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn tidy(&self) -> Result<u64, Error> {
        let oldest = self.redis.time().await? - DEAD_LIFE;
        let mut dropped = 0;
        for (key, tenant) in &self.tenants {
            let mut call = TIDY.prepare_invoke();
            call.key(key)
                .key(self.keys.dead_letters(tenant))
                .arg(GROUP)
                .arg(MAX_WAITING)
                .arg(oldest.millis().max(0))
                .arg(millis(WORKER_LIFE));
            dropped += self.redis.invoke::<u64>(&call).await?;
        }
        Ok(dropped)
    }
}

fn first(key: &str) -> Cmd {
    let mut command = cmd("XRANGE");
    command.arg(key).arg("-").arg("+").arg("COUNT").arg(1);
    command
}

fn millis(period: Duration) -> u64 {
    period.as_millis().try_into().unwrap_or(u64::MAX)
}
