//! Asking another system over HTTP, so that its troubles stay its own.
//!
//! An answer is bounded in time and bytes. Who fails several times in a row is
//! given a rest, during which nobody waits for it. Neither addresses nor tokens
//! are in what is told of a failure.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::error::Error;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Failures in a row after which it is given a rest.
const FAILURES: u32 = 5;
/// How long a rest is. After it, one question tells whether it is over.
const REST: Duration = Duration::from_secs(5);

/// What asking may cost.
pub(crate) struct Bounds {
    /// How long an answer may take, all of it.
    pub(crate) timeout: Duration,
    /// Most bytes of an answer.
    pub(crate) body: usize,
    /// Questions under way at the same time. Made-up tokens are questions too.
    pub(crate) at_once: usize,
    /// How long to wait until one may begin. It does not count as a failure: who
    /// asks about many tokens must not have it given a rest.
    pub(crate) place_timeout: Duration,
    /// Whether it means itself, and not whom it is asked about, when it says
    /// that too much is asked of it (429).
    pub(crate) tires: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            body: 64 << 10,
            at_once: 32,
            place_timeout: Duration::from_millis(250),
            tires: true,
        }
    }
}

/// Another system that is asked.
pub(crate) struct Upstream {
    /// What it is, for the log.
    what: Box<str>,
    bounds: Bounds,
    /// None if there is no way to ask anything.
    client: Option<Client>,
    places: Semaphore,
    /// Never held across an await.
    health: Mutex<Health>,
}

/// An answer that was read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    resting_until: Option<Instant>,
}

impl Upstream {
    /// One that is called `what` in the log.
    pub(crate) fn new(what: &str, bounds: Bounds) -> Self {
        let client = Client::builder()
            // A redirect could take the token to somebody else.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("carillon/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client
            .inspect_err(|error| warn!(%error, "{what} cannot be asked: no HTTPS here"))
            .ok();
        Self {
            what: what.into(),
            places: Semaphore::new(bounds.at_once),
            bounds,
            client,
            health: Mutex::default(),
        }
    }

    /// What it answers to the request that `question` makes.
    ///
    /// # Errors
    /// If it does not answer in time, answers too much, or fails by its own word
    /// (a status from 500 on, or 429).
    pub(crate) async fn ask(
        &self,
        question: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<Reply, Error> {
        let client = self.client.as_ref();
        let client = client.ok_or(Error::Provider("there is no HTTPS here"))?;
        let place = tokio::time::timeout(self.bounds.place_timeout, self.places.acquire());
        let _place = place
            .await
            .map_err(|_| Error::Provider("too many ask at the same time"))?;
        if !self.begins(Instant::now()) {
            return Err(Error::Provider("its failures are being waited out"));
        }
        let answer = tokio::time::timeout(self.bounds.timeout, self.answer(question(client)))
            .await
            .unwrap_or(Err(Error::Provider("no answer came in time")));
        self.ended(answer.is_ok(), Instant::now());
        let busy = |reply: &Reply| reply.status == StatusCode::TOO_MANY_REQUESTS;
        match answer {
            Ok(reply) if busy(&reply) => Err(Error::Provider("too much is asked of it")),
            answer => answer,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Reply, Error> {
        let unread = |_| Error::Provider("it cannot be reached");
        let mut response = request.send().await.map_err(unread)?;
        let status = response.status();
        let busy = status == StatusCode::TOO_MANY_REQUESTS;
        if status.is_server_error() || busy && self.bounds.tires {
            return Err(Error::Provider("it says that it failed"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unread)? {
            if self.bounds.body < body.len() + chunk.len() {
                return Err(Error::Provider("its answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, body })
    }

    /// Whether it may be asked now. The first to ask after a rest prolongs it
    /// for all others.
    fn begins(&self, now: Instant) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match health.resting_until {
            Some(until) if now < until => false,
            Some(_) => {
                health.resting_until = Some(now + REST);
                true
            }
            None => true,
        }
    }

    fn ended(&self, well: bool, now: Instant) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = health.resting_until.is_some();
        if well {
            *health = Health::default();
            if rested {
                info!("{} answers again", self.what);
            }
            return;
        }
        health.failures = health.failures.saturating_add(1);
        if FAILURES <= health.failures {
            health.resting_until = Some(now + REST);
            if !rested {
                warn!(
                    "{} fails; whom it would be asked about is refused",
                    self.what
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_is_given_a_rest_and_then_asked_once() {
        let upstream = Upstream::new("the test", Bounds::default());
        let start = Instant::now();
        for _ in 0..FAILURES {
            assert!(upstream.begins(start));
            upstream.ended(false, start);
        }
        assert!(!upstream.begins(start + REST - Duration::from_millis(1)));
        assert!(upstream.begins(start + REST));
        assert!(!upstream.begins(start + REST));
        upstream.ended(false, start + REST);
        assert!(!upstream.begins(start + REST + REST / 2));
        assert!(upstream.begins(start + REST * 2));
        upstream.ended(true, start + REST * 2);
        assert!(upstream.begins(start + REST * 2));
        upstream.ended(false, start + REST * 2);
        assert!(
            upstream.begins(start + REST * 2),
            "one failure is no outage"
        );
    }
}
