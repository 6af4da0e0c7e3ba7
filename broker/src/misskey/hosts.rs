//! Which Misskey hosts are served, and where each is.

mod parse;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

pub use self::parse::{BadHosts, Mistake};
use crate::sites::{ANY, name_of};
use crate::topic::Tenant;
use crate::topology::RedisSettings;

/// One Misskey, or producers that speak as one.
#[derive(Clone, PartialEq, Eq)]
pub struct Host {
    /// The name by which clients know it, in lower case, without port; `*` if it
    /// is every other one.
    pub name: Arc<str>,
    /// Whose topics its events are.
    pub tenant: Tenant,
    /// The Redis channel on which it publishes everything: the host of its
    /// configured `url`, with a port that is not the usual one. `None` if only our
    /// own topics feed it.
    pub bus: Option<Arc<str>>,
    /// The Redis of that channel, if it is not ours. Always one server.
    pub bus_redis: Option<RedisSettings>,
    /// The Redis of its caches, if it is not ours. Always one server.
    pub cache_redis: Option<RedisSettings>,
    /// What its keys begin with, without the colon.
    pub prefix: Arc<str>,
    /// Where its HTTP API is, without `api/`; ends in a slash. `None` if there is
    /// none, and our own access tokens are the only ones.
    pub api: Option<Url>,
    /// Its own streaming address, to which channels are relayed that only it can
    /// serve. `None`: they are not served.
    pub relay: Option<Url>,
    /// Whether note events without the author and visibility of their note, as
    /// older versions publish them, are sent to whoever captured the note.
    pub old_bus: bool,
}

/// Shows no address: they hold passwords.
impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.name)
    }
}

/// The Misskey hosts of a cluster, by host name. Cheap to clone.
///
/// Written as `host=tenant`, separated by commas; the host `*` stands for every
/// other one. After the tenant, in any order, each after a blank: `bus=` (see
/// [`Host::bus`]), `bus_redis=` and `cache_redis=` (`redis://` addresses, ours
/// without them), `prefix=` (without it that of the bus, else the host; of `*`,
/// the tenant), `api=` (`http` or `https`), `relay=` (`ws` or `wss`) and
/// `old_bus=true`. A comma within an address is written `%2C`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    in_order: Arc<[Arc<Host>]>,
    by_name: Arc<HashMap<Box<str>, usize>>,
}

impl Hosts {
    /// The host that a request is for, by its `Host` header; its port, its case
    /// and a dot at its end do not matter.
    pub fn host(&self, header: Option<&str>) -> Option<&Arc<Host>> {
        let named = header.and_then(|header| self.by_name.get(&*name_of(header)));
        let at = named.or_else(|| self.by_name.get(ANY))?;
        self.in_order.get(*at)
    }

    /// All of them, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.in_order.iter()
    }
}

/// The hosts cannot change while a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it names other hosts, or leads them elsewhere; only users and passwords can change without a restart"
)]
pub struct OtherHosts;

impl Hosts {
    /// Takes users and passwords from `new`, for all who share these hosts, as
    /// [`RedisSettings::renew`] does.
    ///
    /// # Errors
    /// If anything else differs. Then all stays as it is.
    pub fn renew(&self, new: &Self) -> Result<(), OtherHosts> {
        let differs = |(one, new): (&Arc<Host>, &Arc<Host>)| !one.leads_where(new);
        if self.in_order.len() != new.in_order.len() || self.iter().zip(new.iter()).any(differs) {
            return Err(OtherHosts);
        }
        for (one, new) in self.iter().zip(new.iter()) {
            for (redis, new) in one.redis().zip(new.redis()) {
                redis.renew(new).map_err(|_| OtherHosts)?;
            }
        }
        Ok(())
    }
}

impl Host {
    /// The places that it has in Redis and that are not ours.
    fn redis(&self) -> impl Iterator<Item = &RedisSettings> {
        self.bus_redis.iter().chain(&self.cache_redis)
    }

    /// Whether it is the same host in the same places, whoever asks there.
    fn leads_where(&self, other: &Self) -> bool {
        let same = |one: &Option<RedisSettings>, other: &Option<RedisSettings>| match (one, other) {
            (Some(one), Some(other)) => one.leads_where(other),
            (None, None) => true,
            _ => false,
        };
        same(&self.bus_redis, &other.bus_redis)
            && same(&self.cache_redis, &other.cache_redis)
            && *self
                == Self {
                    bus_redis: self.bus_redis.clone(),
                    cache_redis: self.cache_redis.clone(),
                    ..other.clone()
                }
    }
}

impl FromStr for Hosts {
    type Err = BadHosts;

    fn from_str(text: &str) -> Result<Self, BadHosts> {
        let in_order = parse::hosts(text)?;
        let names = in_order.iter().map(|host| host.name.as_ref().into());
        Ok(Self {
            by_name: Arc::new(names.zip(0..).collect()),
            in_order: in_order.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_to(hosts: &Hosts, header: Option<&str>) -> Option<String> {
        hosts.host(header).map(|host| host.tenant.to_string())
    }

    #[test]
    fn only_passwords_of_hosts_can_be_renewed() {
        let parse = |text: &str| text.parse::<Hosts>().unwrap();
        let hosts = parse("a.example=acme bus=a bus_redis=redis://:old@r, b.example=other");
        let shared = hosts.host(Some("a.example")).unwrap().clone();
        let new = parse("a.example=acme bus=a bus_redis=redis://:new@r, b.example=other");
        assert_ne!(hosts, new);
        assert_eq!(hosts.renew(&new), Ok(()));
        assert_eq!(hosts, new);
        assert_eq!(Some(&shared), new.host(Some("a.example")));
        for other in [
            "a.example=acme bus=a bus_redis=redis://:x@r",
            "a.example=acme bus=a bus_redis=redis://:x@s, b.example=other",
            "a.example=acme bus=a, b.example=other",
            "a.example=acme bus=b bus_redis=redis://:x@r, b.example=other",
            "a.example=acme bus=a bus_redis=redis://:x@r, b.example=third",
        ] {
            assert_eq!(hosts.renew(&parse(other)), Err(OtherHosts), "{other}");
        }
        assert_eq!(hosts, new);
    }

    #[test]
    fn a_host_leads_to_its_tenant_whatever_its_port_and_case() {
        let hosts: Hosts = "social.example=acme, *=rest".parse().unwrap();
        for header in ["social.example", "Social.Example:8080", "social.example."] {
            assert_eq!(led_to(&hosts, Some(header)).unwrap(), "acme", "{header}");
        }
        for header in [Some("other.example"), Some("*"), None] {
            assert_eq!(led_to(&hosts, header).unwrap(), "rest", "{header:?}");
        }
        let one: Hosts = "social.example=acme".parse().unwrap();
        assert_eq!(led_to(&one, Some("other.example")), None);
        assert_eq!(Hosts::default().host(Some("social.example")), None);
        let names: Vec<_> = hosts.iter().map(|host| &*host.name).collect();
        assert_eq!(names, ["social.example", "*"]);
    }
}
