//! Which Misskey hosts are served, and where each is.

use std::sync::Arc;

use url::Url;

use crate::topic::Tenant;
use crate::topology::RedisSettings;

/// One Misskey, or producers that speak as one.
#[derive(Clone, PartialEq, Eq)]
pub struct Host {
    /// The name by which clients know it, in lower case, without port.
    pub name: Arc<str>,
    /// Whose topics its events are.
    pub tenant: Tenant,
    /// The Redis channel on which it publishes everything: the host of its
    /// configured `url`, with a port that is not the usual one. `None` if only our
    /// own topics feed it.
    pub bus: Option<Arc<str>>,
    /// The Redis of that channel, if it is not ours.
    pub bus_redis: Option<RedisSettings>,
    /// The Redis of its caches, if it is not ours.
    pub cache_redis: Option<RedisSettings>,
    /// What its keys begin with, without the colon.
    pub prefix: Arc<str>,
    /// Where its HTTP API is, without `/api`. `None` if there is none, and our own
    /// access tokens are the only ones.
    pub api: Option<Url>,
    /// Its own streaming address, to which channels are relayed that only it can
    /// serve. `None`: they are not served.
    pub relay: Option<Url>,
    /// Whether note events without the author and visibility of their note, as
    /// older versions publish them, are sent to whoever captured the note.
    pub old_bus: bool,
}

/// Shows no address: they hold passwords.
impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({})", self.name)
    }
}
