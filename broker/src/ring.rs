//! Rings: what was published of late on topics of users, channels and notes, for
//! those who were away meanwhile.
//!
//! The script that publishes an event puts it into the ring of its tenant and
//! partition (`ring.lua`), so that whatever was told can be read again for a while.

use std::time::Duration;

/// What stands in front of scripts that publish in rings.
pub const PRELUDE: &str = include_str!("ring.lua");

/// How long a ring is kept after its newest event.
pub const LIFE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
