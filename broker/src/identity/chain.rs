//! The chain: each link recognises tokens by their form, and the first that does
//! decides.
//!
//! What providers say is remembered for half a minute at most, so that a storm
//! of reconnects does not become theirs. While one cannot be asked, what it said
//! holds for the rest of that time; all else is refused as undecided. Our own
//! store is read each time, for deleted users and memberships too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::introspection::Introspection;
use super::jwt::Jwt;
use super::profile::Profile;
use super::settings::Link;
use super::vouched::Vouched;
use super::{AccessTokens, AuthSettings, SignedIn};
use crate::error::Error;
use crate::keys::Keys;
use crate::people::{Memberships, People, Role};
use crate::recent::{KNOWN_FOR, Recent};
use crate::sites::Site;
use crate::time::Timestamp;
use crate::topic::Tenant;
use crate::topology::Redis;

/// Longer texts are no tokens.
const MAX_TOKEN: usize = 8 * 1024;
/// Characters of a digest that tell tokens apart where they are only named.
const NAME: usize = 16;
/// Parts the link from the digest in the name of a provider's token; ids of our
/// own have none.
const PARTED: char = ':';

/// Tells whom tokens name. Cheap to clone; all clones share what they remember.
#[derive(Clone)]
pub struct Authenticator {
    tokens: AccessTokens,
    people: People,
    providers: Arc<Providers>,
}

struct Providers {
    chain: Vec<Link>,
    tenant: Option<Tenant>,
    jwt: Option<Jwt>,
    introspection: Option<Introspection>,
    profile: Option<Profile>,
    /// By digest, as nothing else of a token is kept.
    recent: Recent<Vouched>,
}

impl Authenticator {
    /// One that asks this Redis, and whom the settings name.
    pub fn new(redis: Redis, keys: Keys, settings: &AuthSettings) -> Self {
        let claims = &settings.claims;
        let jwt = settings.jwt.as_ref();
        let introspection = settings.introspection.as_ref();
        let providers = Providers {
            chain: settings.chain.clone(),
            tenant: settings.tenant.clone(),
            jwt: jwt.map(|jwt| Jwt::new(jwt, claims.clone())),
            introspection: introspection.map(|one| Introspection::new(one, claims.clone())),
            profile: settings.profile.clone().map(Profile::new),
            recent: Recent::default(),
        };
        Self {
            tokens: AccessTokens::new(redis.clone(), keys.clone()),
            people: People::new(redis, keys),
            providers: Arc::new(providers),
        }
    }

    /// Whom this token names on this site. `None`: nobody; it is unknown, has
    /// expired, is another tenant's, or its user was deleted.
    ///
    /// # Errors
    /// If nobody can tell now. To go on as if it named nobody would take from
    /// the user what is theirs without a sign.
    pub async fn signed_in(&self, site: &Site, token: &str) -> Result<Option<SignedIn>, Error> {
        match self.providers.recognise(token) {
            None => Ok(None),
            Some(Link::Own) => self.own(&site.tenant, token).await,
            // Rare beside our own, and large.
            Some(link) => Box::pin(self.by_provider(link, site, token)).await,
        }
    }

    /// The same user as they are now, or `None` if the token has ended since.
    /// Never from memory: for a socket that listens to its user's topic only
    /// now, or missed what was told there. All of `known` counts but its
    /// memberships. A provider is not asked again: its tokens end when they expire.
    ///
    /// # Errors
    /// If nobody can tell now.
    pub async fn again(&self, known: &SignedIn) -> Result<Option<SignedIn>, Error> {
        let ours = !known.token.contains(PARTED);
        if ours && self.tokens.find_by_id(&known.token).await?.is_none() {
            return Ok(None);
        }
        let ended = known.expires_at.is_some_and(|at| at <= Timestamp::now());
        let memberships = self.people.present(&known.tenant, &known.userid).await?;
        Ok(memberships.filter(|_| !ended).map(|memberships| SignedIn {
            memberships: with_vouched(memberships, &known.vouched),
            ..known.clone()
        }))
    }

    /// Whether the text has the form of one of our own tokens.
    pub fn is_own(token: &str) -> bool {
        AccessTokens::recognises(token)
    }

    /// Whom this token of our own names; `None`: nobody, or a user of another tenant.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn own(&self, tenant: &Tenant, token: &str) -> Result<Option<SignedIn>, Error> {
        let Some(found) = self.tokens.find(token).await? else {
            return Ok(None);
        };
        if found.tenant != *tenant {
            return Ok(None);
        }
        let memberships = self.people.present(&found.tenant, &found.userid).await?;
        Ok(memberships.map(|memberships| found.signed_in(memberships)))
    }

    /// Which of our own tokens, by their ids, open something still.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn own_open(&self, ids: &[Arc<str>]) -> Result<Vec<bool>, Error> {
        self.tokens.open(ids).await
    }

    async fn by_provider(
        &self,
        link: Link,
        site: &Site,
        token: &str,
    ) -> Result<Option<SignedIn>, Error> {
        if self.providers.tenant.as_ref() != Some(&site.tenant) {
            return Ok(None);
        }
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(token));
        let now = Instant::now();
        let asked = self.providers.ask(link, token, now);
        let answer = self.providers.recent.get(&digest, now, asked).await;
        let vouched = answer.map_err(|error| match &*error {
            Error::Provider(why) => Error::Provider(why),
            _ => Error::Provider("it could not be asked"),
        })?;
        let Some(vouched) = vouched else {
            return Ok(None);
        };
        let ended = vouched.expires_at.is_some_and(|at| at <= Timestamp::now());
        let Some(userid) = vouched.userid(&site.authority).filter(|_| !ended) else {
            return Ok(None);
        };
        let memberships = self.people.present(&site.tenant, &userid).await?;
        Ok(memberships.map(|memberships| SignedIn {
            tenant: site.tenant.clone(),
            userid,
            memberships: with_vouched(memberships, &vouched.groups),
            vouched: vouched.groups.clone(),
            token: format!("{}{PARTED}{}", link.as_str(), &digest[..NAME]).into(),
            expires_at: vouched.expires_at,
        }))
    }
}

impl Providers {
    /// Who decides about the token.
    fn recognise(&self, token: &str) -> Option<Link> {
        if token.is_empty() || MAX_TOKEN < token.len() {
            return None;
        }
        let mut chain = self.chain.iter().copied();
        chain.find(|link| match link {
            Link::Own => AccessTokens::recognises(token),
            Link::Jwt => Jwt::recognises(token),
            Link::Introspection | Link::Profile => true,
        })
    }

    /// What a provider says now, and how long that is to be remembered.
    async fn ask(
        &self,
        link: Link,
        token: &str,
        now: Instant,
    ) -> Result<Option<(Vouched, Duration)>, Error> {
        let vouched = match (link, &self.jwt, &self.introspection, &self.profile) {
            (Link::Jwt, Some(jwt), ..) => jwt.ask(token, now).await?,
            (Link::Introspection, _, Some(introspection), _) => introspection.ask(token).await?,
            (Link::Profile, .., Some(profile)) => profile.ask(token).await?,
            _ => None,
        };
        Ok(vouched.map(|vouched| (vouched, KNOWN_FOR)))
    }
}

/// The memberships of our store, and as a member where a provider says so.
fn with_vouched(mut memberships: Memberships, vouched: &[Arc<str>]) -> Memberships {
    for group in vouched {
        memberships.entry(group.clone()).or_insert(Role::Member);
    }
    memberships
}
