//! Whom an access token of a user names.
//!
//! Whoever asks gets one of three answers: this user; nobody; or that nobody can
//! tell at the moment, which is never taken for nobody.

mod settings;
mod chain;
mod tokens;
mod vouched;
mod jwt;
mod key_set;
mod introspection;
mod profile;
pub(crate) mod upstream;

use std::sync::Arc;

pub use chain::Authenticator;
pub use settings::AuthSettings;
pub use tokens::{AccessTokenInfo, AccessTokens, Created, NewAccessToken, NotCreated};

use crate::people::Memberships;
use crate::time::Timestamp;
use crate::topic::Tenant;

/// A user who has shown a valid access token: a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Whose user it is.
    pub tenant: Tenant,
    /// `acct:<name>@<authority>`.
    pub userid: Arc<str>,
    /// The groups the user is in.
    pub memberships: Memberships,
    /// Of these, the ids that only whoever issued the token vouches for, as
    /// often as memberships are read again. None for our own tokens.
    pub vouched: Arc<[Arc<str>]>,
    /// Names the token without giving it away.
    pub token: Arc<str>,
    /// From then on the token opens nothing.
    pub expires_at: Option<Timestamp>,
}

#[cfg(test)]
pub(crate) mod tests;
