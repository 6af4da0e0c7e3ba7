//! Addresses on the bus: what may be subscribed to, and who owns it.

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::key::Seeded;
use crate::keys::{self, Partition};

/// A customer of the cluster. Nothing crosses from one tenant to another.
///
/// 1 to 32 characters of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

/// The text is not a tenant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant is named by 1 to 32 characters of a-z, 0-9 and -")]
pub struct BadTenant;

impl Tenant {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Tenant {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tenant {
    type Err = BadTenant;

    fn from_str(name: &str) -> Result<Self, BadTenant> {
        let fits = (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(BadTenant)
        }
    }
}

/// What kind of thing a topic speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKind {
    /// Everything that concerns one user.
    User,
    /// A named stream of events.
    Channel,
    /// What happens to one note.
    Note,
    /// Messages pushed to one recipient.
    Recipient,
    /// Messages pushed to every recipient of the tenant.
    All,
}

impl TopicKind {
    const EVERY: [Self; 5] = [
        Self::User,
        Self::Channel,
        Self::Note,
        Self::Recipient,
        Self::All,
    ];

    /// The name on the bus.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Channel => "channel",
            Self::Note => "note",
            Self::Recipient => "recipient",
            Self::All => "all",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An address on the bus: a tenant, a kind, and an id within both.
///
/// One shared string, `<tenant>:<kind>:<id>`, so that a topic costs a
/// subscription no more than a pointer. The id is percent-encoded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Something for each topic. Clients choose the ids in topics.
pub type TopicMap<V> = HashMap<Topic, V, Seeded>;

impl Topic {
    /// The topic of `kind` about `id` (in clear).
    pub fn new(tenant: &Tenant, kind: TopicKind, id: &str) -> Self {
        Self(format!("{tenant}:{}:{}", kind.as_str(), encode(id)).into())
    }

    /// What is pushed to `recipient`.
    pub fn recipient(tenant: &Tenant, recipient: &str) -> Self {
        Self::new(tenant, TopicKind::Recipient, recipient)
    }

    /// What is pushed to every recipient.
    pub fn all(tenant: &Tenant) -> Self {
        Self::new(tenant, TopicKind::All, "")
    }

    /// Reads `<tenant>:<kind>:<id>` as it stands on the bus.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, ':');
        let (tenant, kind, _id) = (parts.next()?, parts.next()?, parts.next()?);
        tenant.parse::<Tenant>().ok()?;
        TopicKind::parse(kind)?;
        Some(Self(name.into()))
    }

    /// `<tenant>:<kind>:<id>`, the id percent-encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The owner.
    pub fn tenant(&self) -> Tenant {
        Tenant(self.part(0).into())
    }

    /// The owner's name.
    pub fn owner(&self) -> &str {
        self.part(0)
    }

    /// Whether it is this one's.
    pub fn is_of(&self, tenant: &Tenant) -> bool {
        self.part(0) == tenant.as_str()
    }

    /// Whether both have the same owner.
    pub fn same_tenant(&self, other: &Self) -> bool {
        self.part(0) == other.part(0)
    }

    /// The kind.
    pub fn kind(&self) -> TopicKind {
        TopicKind::parse(self.part(1)).expect("a topic is built with a known kind")
    }

    /// The id, in clear.
    pub fn id(&self) -> Cow<'_, str> {
        decode(self.part(2))
    }

    /// Which of the partitions this topic's keys live in.
    pub fn partition(&self) -> Partition {
        let tenant = self.part(0);
        keys::partition(tenant, &self.0[tenant.len() + 1..])
    }

    fn part(&self, n: usize) -> &str {
        self.0
            .splitn(3, ':')
            .nth(n)
            .expect("a topic has three parts")
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

/// Percent-encodes what must not stand in a Redis name: control characters,
/// braces (they would move the key to another slot), spaces and `%` itself.
pub(crate) fn encode(id: &str) -> Cow<'_, str> {
    let plain = |b: u8| !b.is_ascii_control() && !matches!(b, b'{' | b'}' | b'%' | b' ');
    if id.bytes().all(plain) {
        return Cow::Borrowed(id);
    }
    let mut out = String::with_capacity(id.len() + 8);
    for c in id.chars() {
        match u8::try_from(c) {
            Ok(b) if b.is_ascii() && !plain(b) => out.push_str(&format!("%{b:02X}")),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The inverse of [`encode`]; what is not an escape stays as it is.
pub(crate) fn decode(id: &str) -> Cow<'_, str> {
    if !id.contains('%') {
        return Cow::Borrowed(id);
    }
    let mut out = String::with_capacity(id.len());
    let mut rest = id;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let byte = rest
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> Tenant {
        "acme".parse().unwrap()
    }

    #[test]
    fn a_topic_reads_back_what_it_was_made_of() {
        for id in ["u1", "a:b:c", "{x} 100%", "tab\there", "grün", ""] {
            let topic = Topic::recipient(&acme(), id);
            assert_eq!(topic.tenant(), acme());
            assert_eq!(topic.kind(), TopicKind::Recipient);
            assert_eq!(topic.id(), id);
            assert_eq!(Topic::parse(topic.as_str()), Some(topic));
        }
    }

    #[test]
    fn nothing_in_an_id_can_move_a_key_to_another_slot() {
        assert_eq!(
            Topic::recipient(&acme(), "{0}").as_str(),
            "acme:recipient:%7B0%7D"
        );
    }

    #[test]
    fn names_that_are_not_topics_are_refused() {
        for name in [
            "",
            "acme",
            "acme:recipient",
            "acme:nobody:x",
            "Acme:user:x",
            ":user:x",
        ] {
            assert_eq!(Topic::parse(name), None, "{name}");
        }
    }

    #[test]
    fn tenants_are_short_and_plain() {
        for name in ["", "Acme", "a b", "a:b", "{a}", &"a".repeat(33)] {
            assert_eq!(name.parse::<Tenant>(), Err(BadTenant), "{name}");
        }
    }
}
