//! What can go wrong between a process and what it keeps in Redis.

use redis::{ErrorKind, RedisError};

/// What follows in an error of Redis is what it was told, be it a password.
const REPEATED: &str = ", with args beginning with";

/// A failure of the broker, never of a caller.
///
/// Its text is for logs; it may name keys and addresses and is not shown to callers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis cannot be reached, timed out, or refused a command.
    #[error("redis: {}", told(.0))]
    Redis(#[from] RedisError),
    /// What connections to Redis need cannot be had.
    #[error("connections to redis cannot be prepared: {0}")]
    Topology(String),
    /// Redis holds keys of another layout.
    #[error("redis holds keys laid out otherwise: {field} is {found}, expected {expected}")]
    Schema {
        /// What differs.
        field: &'static str,
        /// The value found.
        found: String,
        /// The value this version writes.
        expected: String,
    },
    /// Nobody can tell at the moment whom a token names.
    #[error("tokens cannot be checked: {0}")]
    Provider(&'static str),
    /// A stored value is not what this version writes.
    #[error("a stored {0} cannot be read")]
    Corrupt(&'static str),
}

impl Error {
    /// Whether what is stored is to blame, so that the same will fail again
    /// however often it is tried. Anything else may pass: Redis comes back.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Corrupt(_) => true,
            Self::Redis(error) => {
                let wrong_type = error.code() == Some("WRONGTYPE");
                // A script that stumbled over what it found.
                let stumbled = error.code() == Some("ERR")
                    && error
                        .detail()
                        .is_some_and(|why| why.contains("user_script:"));
                let unread = matches!(
                    error.kind(),
                    ErrorKind::UnexpectedReturnType | ErrorKind::Parse
                );
                wrong_type || stumbled || unread
            }
            Self::Topology(_) | Self::Schema { .. } | Self::Provider(_) => false,
        }
    }
}

/// What Redis says of a command, without what it repeats of it.
fn told(error: &RedisError) -> String {
    let mut told = error.to_string();
    if let Some(repeated) = told.find(REPEATED) {
        told.truncate(repeated);
    }
    told
}

/// The same, as an error.
pub(crate) fn without_arguments(error: RedisError) -> RedisError {
    match error.detail() {
        Some(why) if why.contains(REPEATED) => {
            RedisError::from((error.kind(), "redis refused", told(&error)))
        }
        _ => error,
    }
}
