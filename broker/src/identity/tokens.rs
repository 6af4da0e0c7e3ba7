//! Our own access tokens: opaque, and only a digest of each is kept.
//!
//! They are not remembered by who checks them: Redis is near, and a token that
//! was revoked ends with the answer to the revocation.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Script, cmd};
use subtle::ConstantTimeEq;

use super::SignedIn;
use crate::access::secret::{Prefix, Presented, Secret};
use crate::error::Error;
use crate::event::event_json;
use crate::keys::Keys;
use crate::people::{BadUserid, Memberships, People, SIGNED_OUT, SignedOut, check_userid, topic};
use crate::time::Timestamp;
use crate::topic::Tenant;
use crate::topology::Redis;

/// Most tokens of one user that open something at the same time.
const MAX_TOKENS: usize = 1000;

/// Ends a token and tells the sockets that were opened with it. Whoever gets the
/// answer knows that it opens nothing, whoever hears the word finds it gone.
static REVOKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local gone = redis.call('DEL', KEYS[1])
         if gone == 1 then redis.call('PUBLISH', ARGV[1], '0-0 ' .. ARGV[2]) end
         return gone",
    )
});

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewAccessToken {
    /// Whose user it names.
    pub tenant: Tenant,
    /// The user it names.
    pub userid: Arc<str>,
    /// What people call it.
    pub name: Option<String>,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

/// A token that was made. It is shown now or never.
#[derive(Clone, PartialEq, Eq)]
pub struct Created {
    /// What a client sends: `ct_<id>_<secret>_<checksum>`.
    pub token: String,
    /// Its id, by which it is listed and revoked.
    pub id: String,
}

/// Shows the id only.
impl std::fmt::Debug for Created {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Created({})", self.id)
    }
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenInfo {
    /// Its id.
    pub id: Arc<str>,
    /// Whose user it names.
    pub tenant: Tenant,
    /// The user it names.
    pub userid: Arc<str>,
    /// What people call it.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotCreated {
    /// Not the id of a user.
    #[error(transparent)]
    BadUserid(#[from] BadUserid),
    /// The user was deleted.
    #[error("the user was deleted")]
    Deleted,
    /// The user has as many as can be.
    #[error("a user can have at most {MAX_TOKENS} tokens; revoke one")]
    Full,
    /// Redis failed; there may be a token that nobody knows.
    #[error(transparent)]
    Broker(#[from] Error),
}

impl AccessTokenInfo {
    /// Its user, in these groups.
    pub(super) fn signed_in(self, memberships: Memberships) -> SignedIn {
        SignedIn {
            tenant: self.tenant,
            userid: self.userid,
            memberships,
            vouched: Arc::default(),
            token: self.id,
            expires_at: self.expires_at,
        }
    }
}

/// The access tokens of all users. Cheap to clone.
#[derive(Clone)]
pub struct AccessTokens {
    redis: Redis,
    keys: Keys,
    people: People,
}

impl AccessTokens {
    /// Those kept in this Redis.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self {
            people: People::new(redis.clone(), keys.clone()),
            redis,
            keys,
        }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// See [`NotCreated`].
    pub async fn create(&self, new: &NewAccessToken) -> Result<Created, NotCreated> {
        check_userid(&new.userid)?;
        if self
            .people
            .present(&new.tenant, &new.userid)
            .await?
            .is_none()
        {
            return Err(NotCreated::Deleted);
        }
        let now = self.redis.time().await?;
        let listed = self.keys.access_tokens(&new.tenant, &new.userid);
        let mut count = redis::pipe();
        count
            .zrembyscore(&listed, "-inf", now.millis())
            .ignore()
            .zcard(&listed);
        let (has,): (usize,) = self.redis.pipeline(&count).await?;
        if MAX_TOKENS <= has {
            return Err(NotCreated::Full);
        }

        let secret = Secret::generate(Prefix::AccessToken);
        // Listed first: whatever happens in between, no token that opens
        // something is missing from the list.
        let mut list = cmd("ZADD");
        match new.expires_at {
            Some(at) => list.arg(&listed).arg(at.millis()),
            None => list.arg(&listed).arg("+inf"),
        };
        self.redis.query::<()>(list.arg(secret.id())).await?;

        let key = self.keys.access_token(secret.id());
        let mut both = redis::pipe();
        both.atomic();
        let mut fields = vec![
            ("digest", URL_SAFE_NO_PAD.encode(secret.digest())),
            ("tenant", new.tenant.to_string()),
            ("user", new.userid.to_string()),
            ("created", now.millis().to_string()),
        ];
        fields.extend(new.name.clone().map(|name| ("name", name)));
        let ends = new.expires_at.map(Timestamp::millis);
        fields.extend(ends.map(|at| ("expires", at.to_string())));
        both.hset_multiple(&key, &fields).ignore();
        if let Some(at) = ends {
            both.pexpire_at(&key, at).ignore();
        }
        self.redis.pipeline::<()>(&both).await?;
        Ok(Created {
            token: secret.reveal(),
            id: secret.id().to_owned(),
        })
    }

    /// Ends a token, and with it the sockets that were opened with it. Returns
    /// what it was; `None`: this tenant has no such token, or no longer.
    ///
    /// # Errors
    /// If Redis fails. The token may be ended then.
    pub async fn revoke(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<AccessTokenInfo>, Error> {
        let Some(found) = self.find_by_id(id).await? else {
            return Ok(None);
        };
        if found.tenant != *tenant {
            return Ok(None);
        }
        let word = SignedOut {
            token: Some(id.into()),
        };
        let mut call = REVOKE.prepare_invoke();
        call.key(self.keys.access_token(id))
            .arg(self.keys.channel(&topic(tenant, &found.userid)))
            .arg(event_json(SIGNED_OUT, Some(&word), None));
        let gone: bool = self.redis.invoke(&call).await?;
        let listed = self.keys.access_tokens(tenant, &found.userid);
        self.redis
            .query::<()>(cmd("ZREM").arg(listed).arg(id))
            .await?;
        Ok(Some(found).filter(|_| gone))
    }

    /// The tokens of a user that open something, oldest first.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn list(&self, tenant: &Tenant, userid: &str) -> Result<Vec<AccessTokenInfo>, Error> {
        let listed = self.keys.access_tokens(tenant, userid);
        let ids: Vec<String> = self
            .redis
            .query(cmd("ZRANGE").arg(listed).arg(0).arg(-1))
            .await?;
        let mut tokens = Vec::with_capacity(ids.len());
        for id in ids {
            tokens.extend(self.read(&id).await?.map(|(_, info)| info));
        }
        tokens.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(tokens)
    }

    /// Whether the text has the form of one.
    pub(super) fn recognises(token: &str) -> bool {
        token.starts_with(Prefix::AccessToken.as_str())
    }

    /// What this token is; nothing if it opens nothing.
    pub(super) async fn find(&self, token: &str) -> Result<Option<AccessTokenInfo>, Error> {
        let Some(presented) = Presented::parse(Prefix::AccessToken, token) else {
            return Ok(None);
        };
        let found = self.read(presented.id).await?;
        Ok(found
            .and_then(|(digest, info)| bool::from(digest.ct_eq(&presented.digest)).then_some(info)))
    }

    /// What the token of this id is; nothing if it opens nothing.
    pub(super) async fn find_by_id(&self, id: &str) -> Result<Option<AccessTokenInfo>, Error> {
        Ok(self.read(id).await?.map(|(_, info)| info))
    }

    /// Which tokens, by their ids, open something still.
    pub(super) async fn open(&self, ids: &[Arc<str>]) -> Result<Vec<bool>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = redis::pipe();
        for id in ids {
            all.exists(self.keys.access_token(id));
        }
        self.redis.pipeline(&all).await
    }

    /// A token that has not ended, and its digest.
    async fn read(&self, id: &str) -> Result<Option<([u8; 32], AccessTokenInfo)>, Error> {
        let key = self.keys.access_token(id);
        let fields: HashMap<String, String> = self.redis.query(cmd("HGETALL").arg(key)).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        let found = from_fields(id, fields).ok_or(Error::Corrupt("access token"))?;
        // Redis removes it in time, but for the last moment.
        let ended = found.1.expires_at.is_some_and(|at| at <= Timestamp::now());
        Ok(Some(found).filter(|_| !ended))
    }
}

fn from_fields(
    id: &str,
    mut fields: HashMap<String, String>,
) -> Option<([u8; 32], AccessTokenInfo)> {
    let time = |name: &str| match fields.get(name) {
        None => Some(None),
        Some(millis) => Some(Some(Timestamp::from_millis(millis.parse().ok()?))),
    };
    let digest = URL_SAFE_NO_PAD.decode(fields.get("digest")?).ok()?;
    let (created_at, expires_at) = (time("created")??, time("expires")?);
    let info = AccessTokenInfo {
        id: id.into(),
        tenant: fields.get("tenant")?.parse().ok()?,
        userid: fields.get("user")?.as_str().into(),
        created_at,
        expires_at,
        name: fields.remove("name"),
    };
    Some((digest.try_into().ok()?, info))
}
