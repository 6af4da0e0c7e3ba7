//! A Misskey beside which gateways stand: where it is, what it publishes and
//! keeps in Redis, and what it is asked.

pub mod hosts;
pub mod caller;
pub mod viewer;
pub mod note;
pub mod wire;
pub mod internal;
pub mod feed;
pub mod api;
pub mod relations;
pub mod markers;
pub mod rights;

use crate::key::Key;

/// What the ids of a Misskey are ids of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// A user.
    User,
    /// A host name, the empty one for the host itself.
    Server,
    /// A channel in which notes are posted.
    Channel,
    /// A note.
    Note,
    /// A hashtag, normalised.
    Tag,
    /// A timeline that takes notes of everybody.
    Timeline,
}

impl Field {
    /// What stands for such an id.
    pub fn key(self, id: &str) -> Key {
        Key::of(self as u8, id)
    }
}
