//! Keys by which backends call the API: who holds one acts for a tenant, within
//! the key's scopes.
//!
//! They are kept in Redis, or stand in a file. Only a digest of a key is stored, and
//! nothing else of the secret is ever kept: a lost key cannot be read back, only
//! replaced.

mod file;
mod scope;
pub(crate) mod secret;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

pub use file::{BadKeyFile, KeyFile};
pub use scope::{BadScopes, Operation, Scopes};

use self::secret::{Prefix, Presented, Secret};
use self::store::{Record, Store};
use crate::bus::Bus;
use crate::control::Control;
use crate::error::Error;
use crate::keys::Keys;
use crate::recent::{KNOWN_FOR, Recent, UNKNOWN_FOR};
use crate::time::Timestamp;
use crate::topic::Tenant;
use crate::topology::Redis;

/// When a key was last used is noted no more often than this.
const USE_NOTED_EVERY: Duration = Duration::from_secs(5 * 60);

/// Who calls: for which tenant, by which key, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The tenant it acts for; callers never name one themselves.
    pub tenant: Tenant,
    /// The key's id, which is no secret.
    pub key_id: Arc<str>,
    /// What the key allows.
    pub scopes: Arc<Scopes>,
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewAccessKey {
    /// Whom it will act for.
    pub tenant: Tenant,
    /// What it will allow.
    pub scopes: Scopes,
    /// What people call it.
    pub name: Option<String>,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

/// A key that was made. The secret is shown now or never.
#[derive(Clone, PartialEq, Eq)]
pub struct Created {
    /// What a caller sends: `ck_<id>_<secret>_<checksum>`.
    pub secret: String,
    /// Its id, by which it is listed, disabled and rotated.
    pub id: String,
}

impl Created {
    fn of(secret: &Secret) -> Self {
        Self {
            secret: secret.reveal(),
            id: secret.id().to_owned(),
        }
    }
}

/// Shows the id only.
impl std::fmt::Debug for Created {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Created({})", self.id)
    }
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyInfo {
    /// Its id.
    pub id: String,
    /// Whom it acts for.
    pub tenant: Tenant,
    /// What it allows.
    pub scopes: Arc<Scopes>,
    /// What people call it.
    pub name: Option<String>,
    /// When it was made; unknown of a key that stands in a file.
    pub created_at: Option<Timestamp>,
    /// When it ends, or ended.
    pub expires_at: Option<Timestamp>,
    /// When it was disabled.
    pub disabled_at: Option<Timestamp>,
    /// When it was last used, to about five minutes; unknown of a key that stands in
    /// a file.
    pub last_used_at: Option<Timestamp>,
}

/// Why a key opens nothing. Whoever lacks the secret only ever sees `Unknown`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    /// Not a key, or not one of ours, or not its secret.
    #[error("unknown key")]
    Unknown,
    /// Its time is over.
    #[error("the key has expired")]
    Expired,
    /// It was disabled.
    #[error("the key is disabled")]
    Disabled,
    /// Nobody can tell at the moment.
    #[error("keys cannot be checked: {0}")]
    Unavailable(Arc<Error>),
}

/// The access keys of all tenants. Cheap to clone; all clones share what they
/// remember.
#[derive(Clone)]
pub struct AccessKeys {
    file: KeyFile,
    store: Store,
    bus: Bus,
    recent: Arc<Recent<Record>>,
}

impl AccessKeys {
    /// The keys kept in this Redis.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self {
            bus: Bus::new(redis.clone(), keys.clone()),
            file: KeyFile::default(),
            store: Store::new(redis, keys),
            recent: Arc::default(),
        }
    }

    /// Beside them those of `file`. What their ids open, it alone decides.
    pub fn with_file(self, file: KeyFile) -> Self {
        Self { file, ..self }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// If Redis cannot be reached; then there may be a key whose secret nobody knows.
    pub async fn create(&self, new: &NewAccessKey) -> Result<Created, Error> {
        let secret = Secret::generate(Prefix::AccessKey);
        let record = Record {
            digest: secret.digest(),
            tenant: new.tenant.clone(),
            scopes: Arc::new(new.scopes.clone()),
            name: new.name.clone(),
            created_at: Some(self.store.now().await?),
            expires_at: new.expires_at,
            disabled_at: None,
            last_used_at: None,
        };
        self.store.insert(secret.id(), &record).await?;
        Ok(Created::of(&secret))
    }

    /// All keys of Redis, oldest first, those that open nothing any more too.
    ///
    /// # Errors
    /// If Redis cannot be reached, or holds what is no key.
    pub async fn list(&self) -> Result<Vec<AccessKeyInfo>, Error> {
        let mut keys = Vec::new();
        for id in self.store.ids().await? {
            if let Some(record) = self.store.find(&id).await? {
                keys.push(record.info(id));
            }
        }
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(keys)
    }

    /// Ends a key, for every process within about a second. `false`: there is no
    /// such key.
    ///
    /// # Errors
    /// If Redis cannot be reached. The key may then be disabled and processes may
    /// remember it for up to 30 seconds; to disable it again does no harm.
    pub async fn disable(&self, id: &str) -> Result<bool, Error> {
        if self.store.find(id).await?.is_none() {
            return Ok(false);
        }
        let now = self.store.now().await?;
        self.store.disable(id, now).await?;
        self.changed(id).await?;
        Ok(true)
    }

    /// Makes a key like this one, which itself ends after `overlap`. `None`: there
    /// is no such key, or it opens nothing any more.
    ///
    /// # Errors
    /// If Redis cannot be reached. The old key then ends no sooner than asked.
    pub async fn rotate(&self, id: &str, overlap: Duration) -> Result<Option<Created>, Error> {
        let now = self.store.now().await?;
        let Some(old) = self.store.find(id).await? else {
            return Ok(None);
        };
        if old.usable(now).is_err() {
            return Ok(None);
        }
        let created = self
            .create(&NewAccessKey {
                tenant: old.tenant.clone(),
                scopes: Scopes::clone(&old.scopes),
                name: old.name.clone(),
                expires_at: old.expires_at,
            })
            .await?;
        let end = now + overlap;
        let end = old.expires_at.map_or(end, |expires_at| expires_at.min(end));
        self.store.expire(id, end).await?;
        self.changed(id).await?;
        Ok(Some(created))
    }

    /// Who calls with this key.
    ///
    /// A key of the file is looked for nowhere else. One that was read from Redis is
    /// remembered for 30 seconds, also while Redis cannot be reached; one that does not
    /// exist, for 5.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn authenticate(&self, presented: &str) -> Result<Identity, AccessError> {
        let presented =
            Presented::parse(Prefix::AccessKey, presented).ok_or(AccessError::Unknown)?;
        let now = Timestamp::now();
        let record = match self.file.find(presented.id) {
            Some(record) => Some(record),
            None => self
                .recent
                .get(presented.id, Instant::now(), self.read(&presented, now))
                .await
                .map_err(AccessError::Unavailable)?,
        };
        // An unknown id costs a comparison too, so that time does not tell.
        let digest = record.as_ref().map_or([0; 32], |record| record.digest);
        let fits = bool::from(digest.ct_eq(&presented.digest));
        let record = record.filter(|_| fits).ok_or(AccessError::Unknown)?;
        record.usable(now)?;
        Ok(Identity {
            tenant: record.tenant.clone(),
            key_id: presented.id.into(),
            scopes: record.scopes.clone(),
        })
    }

    /// Forgets what is remembered of a key, because another process changed it
    /// ([`Control::KeyChanged`]).
    pub fn forget(&self, id: &str) {
        self.recent.forget(id);
    }

    async fn changed(&self, id: &str) -> Result<(), Error> {
        self.forget(id);
        let id = id.to_owned();
        self.bus.tell(&Control::KeyChanged { id }).await
    }

    /// Reads a key, and notes that it was used if this is its secret.
    async fn read(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Option<(Record, Duration)>, Error> {
        let record = self.store.find(presented.id).await?;
        if let Some(record) = &record
            && bool::from(record.digest.ct_eq(&presented.digest))
            && record
                .last_used_at
                .is_none_or(|at| USE_NOTED_EVERY <= now.since(at))
        {
            // Only for people to look at: a failure is not worth refusing the call.
            let _ = self.store.used(presented.id, now).await;
        }
        Ok(record.map(|record| {
            let life = match record.disabled_at {
                None => KNOWN_FOR,
                Some(_) => UNKNOWN_FOR,
            };
            (record, life)
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpStream;

    use super::*;
    use crate::fixture;

    fn keys() -> AccessKeys {
        let (redis, keys) = fixture::redis();
        AccessKeys::new(redis, keys)
    }

    fn new() -> NewAccessKey {
        NewAccessKey {
            tenant: "acme".parse().unwrap(),
            scopes: "websockets-manager-api:query:*".parse().unwrap(),
            name: Some("shop".to_owned()),
            expires_at: None,
        }
    }

    #[tokio::test]
    async fn a_key_opens_what_it_was_made_for() {
        let keys = keys();
        let made = keys.create(&new()).await.unwrap();
        let identity = keys.authenticate(&made.secret).await.unwrap();
        assert_eq!(identity.tenant, new().tenant);
        assert_eq!(&*identity.key_id, made.id);
        assert!(identity.scopes.allows(Operation::Query, "messages"));
        assert!(!identity.scopes.allows(Operation::Mutation, "pushMessage"));
    }

    #[tokio::test]
    async fn only_a_digest_is_stored() {
        let (redis, names) = fixture::redis();
        let keys = AccessKeys::new(redis.clone(), names.clone());
        let made = keys.create(&new()).await.unwrap();
        let stored: Vec<String> = redis
            .query(redis::cmd("HVALS").arg(names.access_key(&made.id)))
            .await
            .unwrap();
        let secret = &made.secret["ck_0123456789_".len()..][..43];
        assert!(stored.iter().all(|value| !value.contains(secret)));
        assert_eq!(format!("{made:?}"), format!("Created({})", made.id));
    }

    #[tokio::test]
    async fn without_its_secret_a_key_is_unknown() {
        let keys = keys();
        let made = keys.create(&new()).await.unwrap();
        let other = Secret::generate(Prefix::AccessKey);
        let grafted = other.with_id(&made.id).reveal();
        for text in [
            "",
            "ck_",
            &made.id,
            &Secret::generate(Prefix::AccessKey).reveal(),
            &grafted,
            &made.secret.to_uppercase(),
            &format!("{}x", made.secret),
        ] {
            let refused = keys.authenticate(text).await;
            assert!(matches!(refused, Err(AccessError::Unknown)), "{text}");
        }
        assert!(keys.authenticate(&made.secret).await.is_ok());
    }

    #[tokio::test]
    async fn a_disabled_key_ends_here_at_once_and_elsewhere_when_told() {
        let (redis, names) = fixture::redis();
        let here = AccessKeys::new(redis.clone(), names.clone());
        let elsewhere = AccessKeys::new(redis, names);
        let made = here.create(&new()).await.unwrap();
        elsewhere.authenticate(&made.secret).await.unwrap();

        assert!(here.disable(&made.id).await.unwrap());
        let refused = here.authenticate(&made.secret).await;
        assert!(matches!(refused, Err(AccessError::Disabled)));
        assert!(elsewhere.authenticate(&made.secret).await.is_ok());
        elsewhere.forget(&made.id);
        let refused = elsewhere.authenticate(&made.secret).await;
        assert!(matches!(refused, Err(AccessError::Disabled)));

        let grafted = Secret::generate(Prefix::AccessKey)
            .with_id(&made.id)
            .reveal();
        let refused = here.authenticate(&grafted).await;
        assert!(matches!(refused, Err(AccessError::Unknown)));
        assert!(!here.disable("0000000000").await.unwrap());
    }

    #[tokio::test]
    async fn others_are_told_that_a_key_changed() {
        let (redis, names) = fixture::redis();
        let keys = AccessKeys::new(redis, names.clone());
        let made = keys.create(&new()).await.unwrap();
        let mut listener = TcpStream::connect(fixture::address()).await.unwrap();
        let subscribe = format!("SUBSCRIBE {}\r\n", names.control_channel());
        listener.write_all(subscribe.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(listener).lines();
        while lines.next_line().await.unwrap().unwrap() != ":1" {}

        keys.disable(&made.id).await.unwrap();
        let told = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if let Ok(told) = serde_json::from_str::<Control>(&line) {
                break told;
            }
        };
        assert_eq!(told, Control::KeyChanged { id: made.id });
    }

    #[tokio::test]
    async fn a_key_ends_when_it_expires() {
        let keys = keys();
        let past = Timestamp::now() - Duration::from_secs(1);
        let expired = NewAccessKey {
            expires_at: Some(past),
            ..new()
        };
        let made = keys.create(&expired).await.unwrap();
        let refused = keys.authenticate(&made.secret).await;
        assert!(matches!(refused, Err(AccessError::Expired)));
        assert_eq!(keys.rotate(&made.id, Duration::ZERO).await.unwrap(), None);
    }

    #[tokio::test]
    async fn rotation_leaves_both_keys_valid_for_the_overlap() {
        let keys = keys();
        let old = keys.create(&new()).await.unwrap();
        let overlap = Duration::from_secs(3600);
        let made = keys.rotate(&old.id, overlap).await.unwrap().unwrap();
        let was = keys.authenticate(&old.secret).await.unwrap();
        let is = keys.authenticate(&made.secret).await.unwrap();
        assert_eq!((was.tenant, was.scopes), (is.tenant, is.scopes));

        let listed = keys.list().await.unwrap();
        let find = |id: &str| listed.iter().find(|key| key.id == id).unwrap();
        assert!(find(&old.id).expires_at.is_some());
        assert_eq!(find(&made.id).expires_at, None);

        keys.rotate(&made.id, Duration::ZERO)
            .await
            .unwrap()
            .unwrap();
        let refused = keys.authenticate(&made.secret).await;
        assert!(matches!(refused, Err(AccessError::Expired)));
        assert_eq!(keys.rotate("0000000000", overlap).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_list_says_when_keys_were_used_but_not_what_they_are() {
        let keys = keys();
        let made = keys.create(&new()).await.unwrap();
        let listed = keys.list().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].last_used_at, None);
        keys.authenticate(&made.secret).await.unwrap();
        let listed = keys.list().await.unwrap();
        assert!(listed[0].last_used_at.is_some());
        assert_eq!(listed[0].name.as_deref(), Some("shop"));
        assert_eq!(*listed[0].scopes, new().scopes);
    }

    #[tokio::test]
    async fn a_key_used_a_moment_ago_works_while_redis_is_gone() {
        let (_, names) = fixture::redis();
        let (redis, line) = fixture::cuttable().await;
        let keys = AccessKeys::new(redis, names);
        let used = keys.create(&new()).await.unwrap();
        let unused = keys.create(&new()).await.unwrap();
        keys.authenticate(&used.secret).await.unwrap();

        line.abort();
        assert!(line.await.unwrap_err().is_cancelled());
        assert!(keys.authenticate(&used.secret).await.is_ok());
        let refused = keys.authenticate(&unused.secret).await;
        assert!(matches!(refused, Err(AccessError::Unavailable(_))));
        let refused = keys.authenticate("ck_nonsense").await;
        assert!(matches!(refused, Err(AccessError::Unknown)));
    }
}
