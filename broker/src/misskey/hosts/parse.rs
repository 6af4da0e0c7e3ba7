//! How Misskey hosts are written as a setting.
//!
//! Addresses may hold passwords: a mistake says where it is and what was
//! expected, and repeats nothing.

use std::collections::HashSet;
use std::sync::Arc;

use url::Url;

use super::Host;
use crate::sites::{ANY, is_name};
use crate::topic::Tenant;
use crate::topology::{BadRedisSettings, RedisSettings};

/// The longest name of a bus or of a prefix.
const MAX_NAME: usize = 255;

/// The text names no hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry}: {mistake}")]
pub struct BadHosts {
    /// Which of the entries is wrong, from 1 on.
    pub entry: usize,
    /// What is wrong with it.
    pub mistake: Mistake,
}

/// What can be wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// No `host=tenant` at its beginning.
    #[error("expected host=tenant, then name=value after blanks; write a comma in a value as %2C")]
    Form,
    /// The host has a port, a path or a character that no host has.
    #[error("a host is 1 to 253 letters, digits, '-', '.', ':' in brackets, or * for all others")]
    Host,
    /// The tenant cannot be one.
    #[error("a tenant is named by 1 to 32 characters of a-z, 0-9 and -")]
    Tenant,
    /// A host that an earlier entry has.
    #[error("the host is named twice")]
    Twice,
    /// A setting that no host has.
    #[error("a host has bus, bus_redis, cache_redis, prefix, api, relay and old_bus")]
    Unknown,
    /// One setting with two values.
    #[error("{0} is given twice")]
    Again(&'static str),
    /// A name that is empty, too long or not plain.
    #[error("{0} is 1 to 255 printable characters without blanks")]
    Name(&'static str),
    /// An address that leads to no Redis.
    #[error("{0}: {1}")]
    Redis(&'static str, BadRedisSettings),
    /// An address that is none of HTTP.
    #[error("api is an http:// or https:// address without user, query and fragment")]
    Api,
    /// An address that is none of a WebSocket.
    #[error("relay is a ws:// or wss:// address without user, query and fragment")]
    Relay,
    /// Neither true nor false.
    #[error("old_bus is true or false")]
    OldBus,
    /// The Redis of a bus that is not named.
    #[error("bus_redis without bus")]
    NoBus,
    /// Another host's bus feeds this tenant already.
    #[error("two hosts with a bus have one tenant: each would show the other's events")]
    SharedTenant,
    /// Another host has this bus already.
    #[error("two hosts have one bus")]
    SharedBus,
}

/// The hosts, in order.
pub(super) fn hosts(text: &str) -> Result<Vec<Arc<Host>>, BadHosts> {
    let entries = text.split(',').map(str::trim).filter(|e| !e.is_empty());
    let mut hosts = Vec::new();
    let mut taken = Taken::default();
    for (entry, number) in entries.zip(1..) {
        let wrong = |mistake| BadHosts {
            entry: number,
            mistake,
        };
        let host = host(entry).map_err(wrong)?;
        taken.take(&host).map_err(wrong)?;
        hosts.push(Arc::new(host));
    }
    Ok(hosts)
}

/// What no two hosts may share.
#[derive(Default)]
struct Taken {
    names: HashSet<Arc<str>>,
    fed: HashSet<Tenant>,
    buses: Vec<(Arc<str>, Option<RedisSettings>)>,
}

impl Taken {
    fn take(&mut self, host: &Host) -> Result<(), Mistake> {
        if !self.names.insert(Arc::clone(&host.name)) {
            return Err(Mistake::Twice);
        }
        let Some(bus) = &host.bus else {
            return Ok(());
        };
        if !self.fed.insert(host.tenant.clone()) {
            return Err(Mistake::SharedTenant);
        }
        let bus = (Arc::clone(bus), host.bus_redis.clone());
        if self.buses.contains(&bus) {
            return Err(Mistake::SharedBus);
        }
        self.buses.push(bus);
        Ok(())
    }
}

fn host(entry: &str) -> Result<Host, Mistake> {
    let mut words = entry.split_whitespace();
    let named = words.next().and_then(|word| word.split_once('='));
    let (name, tenant) = named.ok_or(Mistake::Form)?;
    let name = name.to_ascii_lowercase();
    if name != ANY && !is_name(&name) {
        return Err(Mistake::Host);
    }
    let tenant: Tenant = tenant.parse().map_err(|_| Mistake::Tenant)?;
    let mut given = Given::default();
    for word in words {
        let (name, value) = word.split_once('=').ok_or(Mistake::Form)?;
        given.take(name, value)?;
    }
    if given.bus.is_none() && given.bus_redis.is_some() {
        return Err(Mistake::NoBus);
    }
    let prefix = given.prefix.or_else(|| given.bus.clone());
    Ok(Host {
        prefix: prefix.unwrap_or_else(|| own_prefix(&name, &tenant)),
        name: name.into(),
        tenant,
        bus: given.bus,
        bus_redis: given.bus_redis,
        cache_redis: given.cache_redis,
        api: given.api,
        relay: given.relay,
        old_bus: given.old_bus.unwrap_or(false),
    })
}

fn own_prefix(name: &str, tenant: &Tenant) -> Arc<str> {
    if name == ANY {
        tenant.as_str().into()
    } else {
        name.into()
    }
}

/// What an entry says beside host and tenant.
#[derive(Default)]
struct Given {
    bus: Option<Arc<str>>,
    bus_redis: Option<RedisSettings>,
    cache_redis: Option<RedisSettings>,
    prefix: Option<Arc<str>>,
    api: Option<Url>,
    relay: Option<Url>,
    old_bus: Option<bool>,
}

impl Given {
    fn take(&mut self, name: &str, value: &str) -> Result<(), Mistake> {
        match name {
            "bus" => once("bus", &mut self.bus, plain("bus", value)?),
            "prefix" => once("prefix", &mut self.prefix, plain("prefix", value)?),
            "bus_redis" => {
                let redis = redis("bus_redis", value)?;
                once("bus_redis", &mut self.bus_redis, redis)
            }
            "cache_redis" => {
                let redis = redis("cache_redis", value)?;
                once("cache_redis", &mut self.cache_redis, redis)
            }
            "api" => {
                let mut url = url(value, ["http", "https"]).ok_or(Mistake::Api)?;
                if !url.path().ends_with('/') {
                    url.set_path(&format!("{}/", url.path()));
                }
                once("api", &mut self.api, url)
            }
            "relay" => {
                let url = url(value, ["ws", "wss"]).ok_or(Mistake::Relay)?;
                once("relay", &mut self.relay, url)
            }
            "old_bus" => {
                let old = value.parse().map_err(|_| Mistake::OldBus)?;
                once("old_bus", &mut self.old_bus, old)
            }
            _ => Err(Mistake::Unknown),
        }
    }
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), Mistake> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Mistake::Again(name)),
    }
}

fn plain(name: &'static str, value: &str) -> Result<Arc<str>, Mistake> {
    let fits = (1..=MAX_NAME).contains(&value.len()) && !value.contains(char::is_control);
    fits.then(|| value.into()).ok_or(Mistake::Name(name))
}

fn redis(name: &'static str, value: &str) -> Result<RedisSettings, Mistake> {
    value.parse().map_err(|why| Mistake::Redis(name, why))
}

/// An address of one of these schemes, with nothing in it that we would not use.
fn url(value: &str, schemes: [&str; 2]) -> Option<Url> {
    let url: Url = value.parse().ok()?;
    let fits = schemes.contains(&url.scheme())
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    fits.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Host {
        let mut hosts = hosts(text).unwrap();
        assert_eq!(hosts.len(), 1);
        Host::clone(&hosts.remove(0))
    }

    #[test]
    fn a_misskey_is_found_by_what_is_written() {
        let host = one(
            "Social.Example=acme bus=social.example:3000 bus_redis=redis://:hush@10.0.0.1/2 \
             cache_redis=redis://10.0.0.2:7000 prefix=mk api=http://10.0.0.3:3000 \
             relay=ws://10.0.0.3:3000/streaming old_bus=true",
        );
        assert_eq!(&*host.name, "social.example");
        assert_eq!(host.tenant.as_str(), "acme");
        assert_eq!(host.bus.as_deref(), Some("social.example:3000"));
        assert_eq!(&*host.prefix, "mk");
        assert_eq!(host.api.unwrap().as_str(), "http://10.0.0.3:3000/");
        let relay = host.relay.unwrap();
        assert_eq!(relay.as_str(), "ws://10.0.0.3:3000/streaming");
        assert!(host.bus_redis.is_some() && host.cache_redis.is_some() && host.old_bus);
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let host = one("social.example=acme");
        assert_eq!(
            (host.bus, host.bus_redis, host.cache_redis),
            (None, None, None)
        );
        assert_eq!((host.api, host.relay, host.old_bus), (None, None, false));
        assert_eq!(&*host.prefix, "social.example");
        assert_eq!(&*one("a.example=acme bus=b.example").prefix, "b.example");
        assert_eq!(&*one("*=acme").prefix, "acme", "no host has such a name");
        let api = one("a.example=acme api=https://b.example/misskey").api;
        assert_eq!(api.unwrap().as_str(), "https://b.example/misskey/");
        assert_eq!(hosts(""), Ok(Vec::new()));
    }

    #[test]
    fn hosts_may_share_a_tenant_if_one_bus_feeds_it() {
        let two = hosts("a.example=acme bus=a.example, www.a.example=acme").unwrap();
        assert_eq!(two.len(), 2);
        let apart = "a.example=a bus=x bus_redis=redis://h:1, b.example=b bus=x";
        assert_eq!(hosts(apart).map(|hosts| hosts.len()), Ok(2), "two servers");
    }

    #[test]
    fn a_mistake_says_where_it_is_and_repeats_nothing() {
        use Mistake::*;
        let long = format!("a=b bus={}", "x".repeat(256));
        for (text, entry, mistake) in [
            ("a.example", 1, Form),
            ("a=b bus", 1, Form),
            ("a=b,,c=d api=http://h/?hu,sh", 2, Api),
            ("a=b,c=d bus=hu,sh@h", 3, Form),
            ("a.example:80=b", 1, Host),
            ("=b", 1, Host),
            ("a=B", 1, Tenant),
            ("a=", 1, Tenant),
            ("a=b, A=c", 2, Twice),
            ("a=b hush=hush", 1, Unknown),
            ("a=b bus=x bus=x", 1, Again("bus")),
            ("a=b prefix=", 1, Name("prefix")),
            (&long, 1, Name("bus")),
            (
                "a=b bus=x bus_redis=hush",
                1,
                Redis("bus_redis", BadRedisSettings::Scheme),
            ),
            (
                "a=b cache_redis=redis+sentinel://hush:1",
                1,
                Redis("cache_redis", BadRedisSettings::NoMaster),
            ),
            ("a=b api=ftp://hush", 1, Api),
            ("a=b api=https://u:hush@h", 1, Api),
            ("a=b relay=https://hush", 1, Relay),
            ("a=b relay=ws://h/?i=hush", 1, Relay),
            ("a=b old_bus=hush", 1, OldBus),
            ("a=b bus_redis=redis://h:1", 1, NoBus),
            ("a=t bus=a, b=t bus=b", 2, SharedTenant),
            ("a=t bus=x, b=u bus=x", 2, SharedBus),
        ] {
            let told = hosts(text).unwrap_err();
            assert_eq!(told, BadHosts { entry, mistake }, "{text}");
            let told = told.to_string();
            assert!(
                !told.contains("hush") && told.starts_with("entry "),
                "{told}"
            );
        }
    }
}
