//! The chain: each link recognises tokens by their form, and the first that does
//! decides.

use super::{AccessTokens, AuthSettings, SignedIn};
use crate::error::Error;
use crate::keys::Keys;
use crate::people::People;
use crate::sites::Site;
use crate::topology::Redis;

/// Tells whom tokens name. Cheap to clone; all clones share what they remember.
#[derive(Clone)]
pub struct Authenticator {
    tokens: AccessTokens,
    people: People,
}

impl Authenticator {
    /// One that asks this Redis, and whom the settings name.
    pub fn new(redis: Redis, keys: Keys, _settings: &AuthSettings) -> Self {
        Self {
            tokens: AccessTokens::new(redis.clone(), keys.clone()),
            people: People::new(redis, keys),
        }
    }

    /// Whom this token names on this site. `None`: nobody; it is unknown, has
    /// expired, is another tenant's, or its user was deleted.
    ///
    /// # Errors
    /// If nobody can tell now. To go on as if it named nobody would take from
    /// the user what is theirs without a sign.
    pub async fn signed_in(&self, site: &Site, token: &str) -> Result<Option<SignedIn>, Error> {
        let Some(found) = self.tokens.find(token).await? else {
            return Ok(None);
        };
        if found.tenant != site.tenant {
            return Ok(None);
        }
        let memberships = self.people.present(&found.tenant, &found.userid).await?;
        Ok(memberships.map(|memberships| found.signed_in(memberships)))
    }

    /// The same user as they are now, or `None` if the token has ended since.
    /// Never from memory: for a socket that listens to its user's topic only
    /// now, or missed what was told there. All of `known` counts but its
    /// memberships.
    ///
    /// # Errors
    /// If nobody can tell now.
    pub async fn again(&self, known: &SignedIn) -> Result<Option<SignedIn>, Error> {
        let Some(found) = self.tokens.find_by_id(&known.token).await? else {
            return Ok(None);
        };
        let memberships = self.people.present(&known.tenant, &known.userid).await?;
        Ok(memberships.map(|memberships| found.signed_in(memberships)))
    }
}
