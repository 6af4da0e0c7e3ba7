//! Whom an access token of a user names.

use std::sync::Arc;

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
    /// Names the token without giving it away.
    pub token: Arc<str>,
    /// From then on the token opens nothing.
    pub expires_at: Option<Timestamp>,
}
