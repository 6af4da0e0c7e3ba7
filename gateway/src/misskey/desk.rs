//! One host as this node knows it: who is there, what it is asked, and what is
//! told to its sockets.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use broker::Error;
use broker::identity::Authenticator;
use broker::misskey::Field;
use broker::misskey::api::{Api, Standing};
use broker::misskey::caller::{Caller, Grant, Token};
use broker::misskey::hosts::Host;
use broker::misskey::markers::Markers;
use broker::misskey::relations::{Found, Relations, Seen};
use broker::misskey::rights::Rights;
use broker::misskey::viewer::{Policies, Viewer, Visitors};
use broker::people;
use broker::topic::{Topic, TopicKind};
use broker::topology::Redis;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use super::ended::Ended;
use super::users::{Before, User, Users};
use super::{Ear, Refused};
use crate::dialect::misskey::News;
use crate::metrics::MisskeyMetrics;
use crate::shard::inbox::{Inbox, Mail};

/// Where everybody of a host listens.
const BROADCAST: &str = "broadcast";
/// Readings of one user in a row, if something is told of them during each.
const READINGS: usize = 4;
/// How long the socket of a user who is known waits for what may have changed.
const REREAD_WITHIN: Duration = Duration::from_millis(500);
/// Questions that wait for an answer of the HTTP API at the same time. Less than
/// it is asked at once, so that handshakes have a share.
const ASKING: usize = 32;
/// What users have read, on its way to Redis. More is dropped, as while Redis is away.
const MARKING: usize = 4096;

/// One host.
pub(super) struct Desk {
    pub(super) host: Arc<Host>,
    pub(super) api: Option<Api>,
    pub(super) relations: Relations,
    pub(super) markers: Markers,
    pub(super) rights: Rights,
    pub(super) users: Users,
    pub(super) ended: Ended,
    pub(super) asking: Semaphore,
    pub(super) marking: Semaphore,
    pub(super) authenticator: Authenticator,
    pub(super) metrics: MisskeyMetrics,
    /// Nothing has been heard of the host's bus for too long.
    pub(super) cut: AtomicBool,
    visitor: Arc<Caller>,
    /// None until it has been asked once.
    visiting: Mutex<Option<Arc<Viewer>>>,
    shards: Arc<[Arc<Inbox>]>,
}

impl Desk {
    /// The desk of a host whose cache is in this Redis.
    pub(super) fn new(
        host: &Arc<Host>,
        cache: Redis,
        markers: Markers,
        authenticator: Authenticator,
        shards: Arc<[Arc<Inbox>]>,
        ear: Ear,
        metrics: MisskeyMetrics,
    ) -> Self {
        let seconds = || metrics.api_seconds.clone();
        let api = host.api.clone();
        let visiting = api.is_none().then(Arc::default);
        Self {
            api: api.map(|url| Api::new(&host.name, url, seconds())),
            relations: Relations::new(cache.clone(), Arc::clone(&host.prefix)),
            rights: Rights::new(cache, Arc::clone(&host.prefix)),
            markers,
            users: Users::new(ear, metrics.viewers.clone()),
            ended: Ended::default(),
            asking: Semaphore::new(ASKING),
            marking: Semaphore::new(MARKING),
            authenticator,
            metrics,
            cut: AtomicBool::new(false),
            visitor: Arc::new(Caller {
                host: Arc::clone(host),
                account: None,
            }),
            visiting: Mutex::new(visiting),
            shards,
            host: Arc::clone(host),
        }
    }

    /// Who comes without a token.
    pub(super) async fn visitor(&self) -> Result<(Arc<Caller>, Arc<Viewer>), Refused> {
        Ok((Arc::clone(&self.visitor), self.visiting().await?))
    }

    /// What visitors may see, as far as is known; asked for only the first time.
    pub(super) async fn visiting(&self) -> Result<Arc<Viewer>, Refused> {
        let known = self.visiting_now();
        match (known, &self.api) {
            (Some(viewer), _) => Ok(viewer),
            (None, None) => Ok(Arc::default()),
            (None, Some(api)) => {
                let (policies, visitors) = api.visiting().await?;
                Ok(self.visitors_see(policies, visitors))
            }
        }
    }

    /// What visitors may see has been said; whom it concerns is told.
    pub(super) fn visitors_see(&self, policies: Policies, visitors: Visitors) -> Arc<Viewer> {
        let mut visiting = self.visiting.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Arc<Viewer>| (known.policies, known.visitors) == (policies, visitors);
        if let Some(known) = visiting.as_ref().filter(same) {
            return Arc::clone(known);
        }
        let viewer = Viewer {
            policies,
            visitors,
            ..Viewer::default()
        };
        let viewer = viewer.later();
        let first = visiting.replace(Arc::clone(&viewer)).is_none();
        drop(visiting);
        if !first {
            self.tell(&self.stream(BROADCAST), &News::Viewer(Arc::clone(&viewer)));
        }
        viewer
    }

    pub(super) fn visiting_now(&self) -> Option<Arc<Viewer>> {
        let visiting = self.visiting.lock();
        visiting.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who comes with this token.
    pub(super) async fn user(&self, token: &str) -> Result<(Arc<Caller>, Arc<Viewer>), Refused> {
        if token.is_empty() {
            return Err(Refused::Unauthorized);
        }
        if Authenticator::is_own(token) {
            return self.own_user(token).await;
        }
        let Some(api) = &self.api else {
            return Err(Refused::Unauthorized);
        };
        let token = Token::new(token);
        let mut standing = api.standing(&token).await?;
        let suspect = |signed: &str| self.ended.has_user(Field::User.key(signed));
        if let Some(Standing::Signed(signed)) = standing.as_deref()
            && suspect(&signed.user)
        {
            // What is remembered may be older than the user's end.
            api.forget(&token);
            standing = api.standing(&token).await?;
        }
        let signed = match standing.as_deref() {
            Some(Standing::Signed(signed)) if !self.ended.has_token(&token) => signed,
            None | Some(Standing::Signed(_)) => return Err(Refused::Unauthorized),
            Some(Standing::Suspended) => return Err(Refused::Suspended),
            Some(Standing::Unclear) => return Err(Refused::Fault),
        };
        let user = self.users.enter(&signed.user);
        self.fill(&user, Some(&token)).await?;
        let viewer = user.told(|viewer, seen| {
            viewer.policies = signed.policies;
            if let Some(muted) = signed
                .muted_servers
                .as_ref()
                .filter(|_| !seen.has_profile())
            {
                viewer.muted_servers = muted.clone();
            }
        });
        let grant = Grant::of(&token);
        let caller = user.caller(&self.host, &token, grant, None);
        self.changed(&user, viewer);
        Ok((caller, user.viewer().ok_or(Refused::Fault)?))
    }

    async fn own_user(&self, token: &str) -> Result<(Arc<Caller>, Arc<Viewer>), Refused> {
        let signed_in = self.authenticator.own(&self.host.tenant, token).await?;
        let signed_in = signed_in.ok_or(Refused::Unauthorized)?;
        let name = name(&signed_in.userid).ok_or(Refused::Unauthorized)?;
        let user = self.users.enter(&name.into());
        let topic = people::topic(&self.host.tenant, &signed_in.userid);
        self.users.listen(&user, topic);
        self.fill(&user, None).await?;
        let (token, own) = (Token::new(token), Some(signed_in.token));
        let caller = user.caller(&self.host, &token, Grant::Native, own);
        Ok((caller, user.viewer().ok_or(Refused::Fault)?))
    }

    /// What the user follows and mutes is otherwise than before, if it is:
    /// sockets are told.
    pub(super) fn changed(&self, user: &User, viewer: Option<Arc<Viewer>>) {
        if let Some(viewer) = viewer {
            self.tell(&self.of_user(&user.id), &News::Viewer(viewer));
        }
    }

    /// Reads what the user follows and mutes, for somebody who has just come; who
    /// comes meanwhile shares the reading. What the cache lacks the first time, the
    /// host is made to put there, with this token.
    pub(super) async fn fill(&self, user: &User, token: Option<&Token>) -> Result<(), Error> {
        let came = Instant::now();
        let _filling = user.filling.lock().await;
        if user.is_read_since(came) {
            return Ok(());
        }
        if user.viewer().is_some() {
            // Who changed something before coming sees it. Who is known gets in
            // without a cache, too.
            let before = user.before();
            let found = timeout(REREAD_WITHIN, self.read(user, before.seen)).await;
            if let Ok(Ok(found)) = found {
                self.note(user, before, found);
            }
            return Ok(());
        }
        for _ in 0..READINGS {
            let mut before = user.before();
            let mut found = self.read(user, before.seen).await?;
            if let (true, Some(api), Some(token)) = (found.is_incomplete(), &self.api, token) {
                api.refill(token).await?;
                before = user.before();
                found = self.read(user, before.seen).await?;
            }
            if user.found(before, found).is_ok() {
                return Ok(());
            }
        }
        Err(Error::Provider("what it tells of a user does not settle"))
    }

    pub(super) async fn read(&self, user: &User, seen: Seen) -> Result<Found, Error> {
        let mut found = self.read_all(&[(Arc::clone(&user.id), seen)]).await?;
        found.pop().ok_or(Error::Corrupt("cache"))
    }

    /// What is kept of these users.
    pub(super) async fn read_all(&self, users: &[(Arc<str>, Seen)]) -> Result<Vec<Found>, Error> {
        match self.relations.read(users).await {
            Ok((found, unreadable)) => {
                self.metrics.reads.inc_by(users.len() as u64);
                self.metrics.unreadable.inc_by(unreadable.0);
                Ok(found)
            }
            Err(error) => {
                self.metrics.reads_failed.inc();
                debug!(%error, host = %self.host.name, "relations of users cannot be read");
                Err(error)
            }
        }
    }

    /// Notes what was found of a user; sockets are told if it is another than
    /// before. What was told in between counts instead (`false`), and is read
    /// next time.
    pub(super) fn note(&self, user: &User, before: Before, found: Found) -> bool {
        let noted = user.found(before, found);
        noted.map(|viewer| self.changed(user, viewer)).is_ok()
    }

    /// The topic of a user.
    pub(super) fn of_user(&self, id: &str) -> Topic {
        Topic::new(&self.host.tenant, TopicKind::User, id)
    }

    /// The topic of a stream that is neither a user's nor a note's.
    pub(super) fn stream(&self, name: &str) -> Topic {
        Topic::new(&self.host.tenant, TopicKind::Channel, name)
    }

    /// Tells whoever listens to the topic on this node.
    pub(super) fn tell(&self, topic: &Topic, news: &News) {
        for shard in &*self.shards {
            shard.send(Mail::News(topic.clone(), news.clone()));
        }
    }

    /// A user may not be here any more: all sockets of theirs end.
    pub(super) fn user_ended(&self, id: &str) {
        let key = Field::User.key(id);
        self.ended.user(key, Instant::now());
        if let (Some(user), Some(api)) = (self.users.get(key), &self.api) {
            user.tokens()
                .iter()
                .for_each(|(token, _)| api.forget(token));
        }
        self.tell(&self.of_user(id), &News::SignedOut(None));
    }

    /// A token has ended: it is forgotten, and its sockets with it.
    pub(super) fn token_ended(&self, user: &str, token: &Token) {
        self.ended.token(token, Instant::now());
        if let Some(api) = &self.api {
            api.forget(token);
        }
        self.tell(&self.of_user(user), &News::SignedOut(Some(token.clone())));
    }
}

/// The name in `acct:<name>@<authority>`.
pub(super) fn name(userid: &str) -> Option<&str> {
    Some(userid.strip_prefix("acct:")?.split_once('@')?.0)
}
