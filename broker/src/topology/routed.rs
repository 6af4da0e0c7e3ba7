//! Runs commands where they belong, and again where they certainly did not run.
//!
//! A server that has not the slot, is loading, or is no master says so instead of
//! running the command; the same goes for one that cannot be reached. What Redis
//! may have heard is never said twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout};

use super::Servers;
use super::cluster::Cluster;
use super::connector::{Connection, RESPONSE_TIMEOUT};
use super::lane::{Lanes, leads_astray};
use super::route::Route;
use super::settings::Address;

/// The first pause before another attempt; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a question that any server can answer waits for the first asked.
const PATIENCE: Duration = Duration::from_millis(400);
/// Where servers send us one after the other before we pause.
const HOPS: usize = 5;

/// One caller's commands.
pub(super) struct Routed<'a> {
    servers: &'a Servers,
    /// Where the last command ran.
    last: Option<Arc<Lanes>>,
    /// Until when to try.
    deadline: Instant,
    /// Whether the last failure was that of connecting.
    pub(super) unsent: bool,
}

/// What is to run.
#[derive(Clone, Copy)]
enum Work<'w> {
    One(&'w Cmd),
    /// Commands of which each answers for itself.
    Each(&'w Pipeline),
    /// Commands that run together or not at all, their place among all answers
    /// and how many of those count.
    Transaction(&'w Pipeline, usize, usize),
}

/// What Redis said.
enum Said {
    One(Value),
    Many(Vec<Value>),
}

/// What became of one attempt.
enum Attempt {
    Done(RedisResult<Said>),
    /// It did not run; this says why.
    NotRun(RedisError),
    /// It did not run, and does here.
    At(Address, RedisError),
    /// It did not run, and does here if asked for in so many words.
    Ask(Address, RedisError),
}

impl<'a> Routed<'a> {
    pub(super) fn new(servers: &'a Servers) -> Self {
        Self {
            servers,
            last: None,
            deadline: Instant::now() + RESPONSE_TIMEOUT,
            unsent: false,
        }
    }

    /// Runs it, again and again while it certainly did not run and there is time.
    async fn persist(&mut self, route: Route, work: Work<'_>) -> RedisResult<Said> {
        let mut pause = PAUSE;
        let mut hops = 0;
        let mut ask: Option<Address> = None;
        loop {
            let asking = ask.is_some();
            let attempt = match self.lanes(route, ask.take()).await {
                Err(error) => Attempt::NotRun(error),
                Ok(lanes) => {
                    let attempt = self.attempt(&lanes, work, asking);
                    let attempt = if route == Route::Question {
                        let soon = timeout(PATIENCE, attempt).await;
                        // Another may be quicker.
                        soon.unwrap_or_else(|elapsed| {
                            lanes.doubt();
                            Attempt::NotRun(std::io::Error::from(elapsed).into())
                        })
                    } else {
                        attempt.await
                    };
                    self.last = Some(lanes);
                    attempt
                }
            };
            let why = match attempt {
                Attempt::Done(result) => return result,
                Attempt::NotRun(why) => why,
                Attempt::At(address, why) => {
                    if let (Servers::Many(cluster), Route::Slot(slot)) = (self.servers, route) {
                        cluster.moved(slot, &address);
                        cluster.refresh_soon();
                    }
                    hops += 1;
                    if hops < HOPS {
                        continue;
                    }
                    why
                }
                Attempt::Ask(address, why) => {
                    hops += 1;
                    if hops < HOPS {
                        ask = Some(address);
                        continue;
                    }
                    why
                }
            };
            // One server is where it is: waiting for it is up to the caller.
            let hopeless =
                self.unsent && matches!(self.servers, Servers::One(lanes) if lanes.are_fixed());
            if hopeless || self.deadline <= Instant::now() + pause {
                return Err(why);
            }
            if let Servers::Many(cluster) = self.servers {
                cluster.refresh_soon();
            }
            let share = rand::random_range(0.5..1.0);
            sleep(pause.mul_f64(share)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn attempt(&mut self, lanes: &Lanes, work: Work<'_>, asking: bool) -> Attempt {
        let taken = match lanes.take().await {
            Ok(taken) => taken,
            Err(error) => {
                self.unsent = true;
                return Attempt::NotRun(error);
            }
        };
        self.unsent = false;
        let result = work.run(taken.connection.clone(), asking).await;
        let Some(error) = why_failed(&result) else {
            return Attempt::Done(result);
        };
        lanes.settle(&taken, &error).await;
        let Servers::Many(cluster) = self.servers else {
            return match error.code() {
                Some("LOADING") => Attempt::NotRun(error),
                _ if leads_astray(&error) => Attempt::NotRun(error),
                _ => Attempt::Done(result),
            };
        };
        let named = || {
            error
                .redirect_node()
                .and_then(|(node, _)| Address::parse(node, 0))
        };
        match error.code() {
            Some("MOVED") => match named() {
                Some(address) => Attempt::At(address, error),
                None => Attempt::NotRun(error),
            },
            Some("ASK") => match named() {
                Some(address) => Attempt::Ask(address, error),
                None => Attempt::NotRun(error),
            },
            Some("TRYAGAIN" | "CLUSTERDOWN" | "LOADING") => Attempt::NotRun(error),
            _ if leads_astray(&error) => Attempt::NotRun(error),
            code => {
                if code.is_none() {
                    cluster.refresh_soon();
                }
                Attempt::Done(result)
            }
        }
    }

    async fn lanes(&mut self, route: Route, ask: Option<Address>) -> RedisResult<Arc<Lanes>> {
        let there = self.last.as_ref().filter(|_| route == Route::There);
        let result = match (self.servers, ask) {
            (Servers::One(lanes), _) => Ok(Arc::clone(lanes)),
            (Servers::Many(_), None) if let Some(lanes) = there => Ok(Arc::clone(lanes)),
            (Servers::Many(cluster), Some(address)) => Ok(cluster.lanes(&address)),
            (Servers::Many(cluster), None) => find(cluster, route).await,
        };
        self.unsent = result.is_err();
        result
    }

    async fn one(&mut self, command: &Cmd) -> RedisResult<Value> {
        let route = match self.servers {
            Servers::One(_) => Route::Any,
            Servers::Many(_) => Route::of(command),
        };
        match self.persist(route, Work::One(command)).await? {
            Said::One(value) => Ok(value),
            Said::Many(values) => Ok(Value::Array(values)),
        }
    }

    /// All of a transaction, whose keys share a slot.
    async fn transaction(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let mut routes = pipeline.cmd_iter().map(Route::of);
        let route = routes.find(|route| matches!(route, Route::Slot(_)));
        let work = Work::Transaction(pipeline, offset, count);
        let said = self.persist(route.unwrap_or(Route::Any), work).await?;
        Ok(said.values())
    }

    /// Commands for one server, of which each answers for itself.
    async fn together(&mut self, route: Route, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let said = self.persist(route, Work::Each(pipeline)).await?;
        let mut answers = said.values();
        for (command, answer) in pipeline.cmd_iter().zip(&mut answers) {
            if let Value::ServerError(error) = answer
                && was_not_run(error.code())
            {
                *answer = self.one(command).await?;
            }
        }
        Ok(answers)
    }

    async fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let Servers::Many(cluster) = self.servers else {
            return self.together(Route::Any, pipeline).await;
        };
        let mut parts: Vec<(Address, Route, Pipeline, Vec<usize>)> = Vec::new();
        let map = cluster.known().await.inspect_err(|_| self.unsent = true)?;
        for (at, command) in pipeline.cmd_iter().enumerate() {
            let route = Route::of(command);
            let server = match route {
                Route::Slot(slot) => map.of(slot),
                Route::Any | Route::Question | Route::There => map.primaries.first(),
            };
            let address = server.map_or_else(|| Address::new("", 0), |one| one.address.clone());
            match parts.iter_mut().find(|part| part.0 == address) {
                Some((_, _, part, places)) => {
                    part.add_command(command.clone());
                    places.push(at);
                }
                None => {
                    let mut part = Pipeline::new();
                    part.add_command(command.clone());
                    parts.push((address, route, part, vec![at]));
                }
            }
        }
        if let [(_, route, ..)] = parts[..] {
            return self.together(route, pipeline).await;
        }
        let mut answers = vec![Value::Nil; pipeline.len()];
        let (servers, deadline) = (self.servers, self.deadline);
        let run = parts.iter().map(async |(_, route, part, places)| {
            let mut own = Self::new(servers);
            own.deadline = deadline;
            let result = own.together(*route, part).await;
            (result, own.unsent, places)
        });
        let mut failed = None;
        for (result, unsent, places) in join_all(run).await {
            match result {
                Ok(values) => {
                    for (&at, value) in places.iter().zip(values) {
                        answers[at] = value;
                    }
                }
                Err(error) => {
                    self.unsent = unsent;
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(answers), Err)
    }
}

impl Work<'_> {
    /// Runs it here. A command for a slot that is on its way to this server is
    /// answered only if asked for in so many words.
    async fn run(self, mut connection: Connection, asking: bool) -> RedisResult<Said> {
        let on = &mut connection.commands;
        match self {
            Self::One(command) if asking => {
                let mut both = redis::pipe();
                both.cmd("ASKING").add_command(command.clone());
                let answers = on.send_packed_commands(&both, 0, 2).await?;
                Ok(Said::One(
                    answers.into_iter().next_back().unwrap_or(Value::Nil),
                ))
            }
            Self::One(command) => on.send_packed_command(command).await.map(Said::One),
            Self::Each(all) => {
                let answers = on.send_packed_commands(all, 0, all.len()).await;
                answers.map(Said::Many)
            }
            Self::Transaction(all, offset, count) => {
                let answers = on.send_packed_commands(all, offset, count).await;
                answers.map(Said::Many)
            }
        }
    }
}

impl Said {
    fn values(self) -> Vec<Value> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// Why nothing came of it. Each of several commands answers for itself, but for
/// those of a transaction, which failed by one of them.
fn why_failed(result: &RedisResult<Said>) -> Option<RedisError> {
    match result {
        Ok(Said::One(Value::ServerError(error))) => Some(error.clone().into()),
        Ok(_) => None,
        Err(error) => {
            let inner = error.clone().into_server_errors();
            let first = inner.and_then(|all| all.first().map(|(_, error)| error.clone()));
            Some(first.map_or_else(|| error.clone(), RedisError::from))
        }
    }
}

/// Whether a command answered like this did not run where it was sent to, but
/// may elsewhere or later.
fn was_not_run(code: &str) -> bool {
    let codes = [
        "MOVED",
        "ASK",
        "TRYAGAIN",
        "CLUSTERDOWN",
        "LOADING",
        "READONLY",
        "MASTERDOWN",
        "NOREPLICAS",
    ];
    codes.contains(&code)
}

/// The lanes to the server that a command is for.
pub(super) async fn find(cluster: &Arc<Cluster>, route: Route) -> RedisResult<Arc<Lanes>> {
    let map = cluster.known().await?;
    let found = match route {
        Route::Slot(slot) => map.of(slot),
        Route::Any | Route::Question | Route::There => cluster.soundest(&map),
    };
    found.map(|one| Arc::clone(&one.lanes)).ok_or_else(|| {
        cluster.refresh_soon();
        std::io::Error::other("no server of the cluster has the slot").into()
    })
}

impl ConnectionLike for Routed<'_> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.one(cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        if offset == 0 {
            Box::pin(self.pipeline(pipeline))
        } else {
            Box::pin(self.transaction(pipeline, offset, count))
        }
    }

    fn get_db(&self) -> i64 {
        0
    }
}
