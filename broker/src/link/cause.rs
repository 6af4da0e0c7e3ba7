//! Why a connection to Redis ended.

use std::io;

use super::resp::BadReply;
use crate::error::Error;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// There was none.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It broke.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// Redis ended it.
    #[error("redis closed the connection")]
    Closed,
    /// It did not bring what we published ourselves, though other things.
    #[error("what we published was not heard")]
    Deaf,
    /// It brought nothing, not even what we published ourselves.
    #[error("nothing heard for two probe intervals")]
    Silent,
    /// By the code alone: the rest of what Redis says may repeat what it was told.
    #[error("redis refused a command: {0}")]
    Refused(String),
    /// Redis does not speak as Redis does.
    #[error(transparent)]
    Garbled(#[from] BadReply),
}

impl Cause {
    /// Redis did not tell the time.
    pub(crate) fn unknown_time(error: Error) -> Self {
        Self::Connect(io::Error::other(error))
    }

    /// Redis said this to a command.
    pub(crate) fn refused(why: &[u8]) -> Self {
        let code: Vec<u8> = why
            .iter()
            .copied()
            .take_while(u8::is_ascii_uppercase)
            .collect();
        Self::Refused(String::from_utf8(code).expect("it is ASCII"))
    }

    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Lost(_) => "lost",
            Self::Closed => "closed",
            Self::Deaf => "deaf",
            Self::Silent => "silent",
            Self::Refused(_) => "refused",
            Self::Garbled(_) => "garbled",
        }
    }

    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "redis cannot be reached",
            Self::Lost(_) | Self::Closed => "the connection to redis was lost",
            Self::Deaf => "redis does not bring all that is published",
            Self::Silent => "redis is silent",
            Self::Refused(_) => "redis refuses to subscribe",
            Self::Garbled(_) => "redis sent nonsense",
        }
    }
}
