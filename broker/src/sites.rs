//! Which host name leads to which tenant, for protocols whose clients name none.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use crate::topic::Tenant;

/// Stands for every host that is not named.
pub(crate) const ANY: &str = "*";

/// What a host name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Whose users and annotations it shows.
    pub tenant: Tenant,
    /// Where its own users come from: they are called `acct:<name>@<authority>`.
    pub authority: Arc<str>,
}

/// The sites of a cluster, by host name. Cheap to clone.
///
/// Written as `host=tenant/authority`, separated by commas. Without an authority
/// it is the host; the host `*` stands for every other one and needs one. No
/// site at all: those protocols are not served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites {
    in_order: Arc<[Site]>,
    by_host: Arc<HashMap<Box<str>, usize>>,
}

/// The text names no sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSites {
    /// An entry without `=`, or with a tenant that cannot be one.
    #[error("expected host=tenant/authority, separated by commas")]
    Form,
    /// A host, or an authority, with a port, a path or a blank.
    #[error("a host or an authority is 1 to 253 letters, digits, '-', '.', or ':' in brackets")]
    Name,
    /// `*` is no authority.
    #[error("the host * needs an authority, as in *=tenant/authority")]
    NoAuthority,
    /// Two entries for one host.
    #[error("one host is named twice")]
    Twice,
}

impl Sites {
    /// The site that a request is for, by its `Host` header; its port, its case
    /// and a dot at its end do not matter.
    pub fn site(&self, host: Option<&str>) -> Option<&Site> {
        let named = host.and_then(|host| self.by_host.get(&*name_of(host)));
        let at = named.or_else(|| self.by_host.get(ANY))?;
        self.in_order.get(*at)
    }

    /// The tenants that have sites, each once, by name.
    pub fn tenants(&self) -> BTreeSet<Tenant> {
        let tenants = self.in_order.iter().map(|site| site.tenant.clone());
        tenants.collect()
    }

    /// The first site of this tenant.
    pub fn of_tenant(&self, tenant: &Tenant) -> Option<&Site> {
        self.in_order.iter().find(|site| site.tenant == *tenant)
    }
}

impl FromStr for Sites {
    type Err = BadSites;

    fn from_str(text: &str) -> Result<Self, BadSites> {
        let mut in_order = Vec::new();
        let mut by_host = HashMap::new();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let (host, leads_to) = entry.split_once('=').ok_or(BadSites::Form)?;
            let host = host.trim().to_ascii_lowercase();
            if host != ANY && !is_name(&host) {
                return Err(BadSites::Name);
            }
            let (tenant, authority) = match leads_to.split_once('/') {
                Some((tenant, authority)) => (tenant, authority.trim().to_ascii_lowercase()),
                None if host == ANY => return Err(BadSites::NoAuthority),
                None => (leads_to, host.clone()),
            };
            if !is_name(&authority) {
                return Err(BadSites::Name);
            }
            let tenant = tenant.trim().parse().map_err(|_| BadSites::Form)?;
            if by_host.insert(host.into(), in_order.len()).is_some() {
                return Err(BadSites::Twice);
            }
            in_order.push(Site {
                tenant,
                authority: authority.into(),
            });
        }
        Ok(Self {
            in_order: in_order.into(),
            by_host: Arc::new(by_host),
        })
    }
}

/// A host without its port, as it is looked up.
pub(crate) fn name_of(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// A host's name or address; one of IPv6 in brackets.
pub(crate) fn is_name(text: &str) -> bool {
    let address = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (1..=253).contains(&text.len())
        && match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => text.bytes().all(fits),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_to(sites: &Sites, host: Option<&str>) -> Option<String> {
        let site = sites.site(host)?;
        Some(format!("{}/{}", site.tenant, site.authority))
    }

    #[test]
    fn a_host_leads_to_its_tenant_whatever_its_port_and_case() {
        let sites: Sites = "notes.example=acme/example.org, [::1]=local"
            .parse()
            .unwrap();
        let acme = Some("acme/example.org".to_owned());
        for host in ["notes.example", "Notes.Example:8080", "notes.example.:80"] {
            assert_eq!(led_to(&sites, Some(host)), acme, "{host}");
        }
        assert_eq!(led_to(&sites, Some("[::1]:80")).unwrap(), "local/[::1]");
        for host in [Some("example"), Some("notes.example.com"), Some(""), None] {
            assert_eq!(led_to(&sites, host), None, "{host:?}");
        }
    }

    #[test]
    fn a_host_that_is_not_named_leads_to_the_site_of_all_others() {
        let sites: Sites = "a.example=one,*=two/b.example".parse().unwrap();
        assert_eq!(led_to(&sites, Some("a.example")).unwrap(), "one/a.example");
        for host in [Some("c.example"), Some("*"), None] {
            assert_eq!(led_to(&sites, host).unwrap(), "two/b.example", "{host:?}");
        }
    }

    #[test]
    fn a_tenant_has_its_first_site() {
        let sites: Sites = "a.example=one,b.example=one,c.example=two".parse().unwrap();
        let first = sites.of_tenant(&"one".parse().unwrap()).unwrap();
        assert_eq!(&*first.authority, "a.example");
        assert_eq!(sites.of_tenant(&"three".parse().unwrap()), None);
        let tenants: Vec<_> = sites.tenants().iter().map(Tenant::to_string).collect();
        assert_eq!(tenants, ["one", "two"]);
    }

    #[test]
    fn no_text_is_no_site() {
        assert_eq!("".parse(), Ok(Sites::default()));
        assert_eq!(Sites::default().site(Some("localhost")), None);
    }

    #[test]
    fn what_names_no_sites_is_refused() {
        for (text, why) in [
            ("a.example", BadSites::Form),
            ("a.example=Tenant", BadSites::Form),
            ("a.example=", BadSites::Form),
            ("a.example:80=acme", BadSites::Name),
            ("=acme/b", BadSites::Name),
            ("a=acme/b/c", BadSites::Name),
            ("a=acme/", BadSites::Name),
            ("*=acme", BadSites::NoAuthority),
            ("a=acme,A=acme", BadSites::Twice),
        ] {
            assert_eq!(text.parse::<Sites>(), Err(why), "{text}");
        }
    }
}
