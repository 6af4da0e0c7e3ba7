//! Rings: what was published of late on topics of users, channels and notes, for
//! those who were away meanwhile.
//!
//! The script that publishes an event puts it into the ring of its tenant and
//! partition (`ring.lua`), so that whatever was told can be read again for a while.

mod read;
#[cfg(test)]
mod model;

use std::time::Duration;

pub(crate) use self::read::Rings;
use crate::annotation;
use crate::keys::Partition;
use crate::topic::{Tenant, Topic};

/// What stands in front of scripts that publish in rings.
pub const PRELUDE: &str = include_str!("ring.lua");

/// How long a ring is kept after its newest event.
pub const LIFE: Duration = Duration::from_secs(600);

/// A ring: that of a tenant in a partition, or that of its annotations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ring {
    /// Whose it is.
    pub tenant: Tenant,
    /// Where it is.
    pub partition: Partition,
    /// Annotations have one of their own: producers may be allowed to write the
    /// others, and must not make any up.
    pub annotations: bool,
}

impl Ring {
    /// The ring of this topic's events.
    pub fn of(topic: &Topic) -> Self {
        Self {
            tenant: topic.tenant(),
            partition: topic.partition(),
            annotations: annotation::is_topic(topic),
        }
    }
}

#[cfg(test)]
mod tests;
