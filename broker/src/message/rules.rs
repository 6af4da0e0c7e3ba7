//! What must hold of a push, by whatever way it is asked for.
//!
//! Who asks is told which argument is at fault in words of their own; what is
//! wrong with it is said here.

use std::sync::Arc;
use std::time::Duration;

use crate::time::{BadTimestamp, Timestamp};

/// Longest name of a recipient or a topic, in bytes.
pub const MAX_NAME: usize = 256;
/// Longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

/// How much a push may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Longest text, in bytes.
    pub text: usize,
    /// Most recipients of one push.
    pub recipients: usize,
    /// How far ahead an expiry may lie, and a time of delivery must not: messages
    /// are kept no longer.
    pub retention: Duration,
}

/// What is wrong with an argument of a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A name without a character.
    #[error("must not be empty")]
    EmptyName,
    /// A name that is too long.
    #[error("must have at most {MAX_NAME} bytes")]
    LongName,
    /// A name that could not be shown.
    #[error("must not have control characters")]
    Control,
    /// No text.
    #[error("the text of the message is mandatory")]
    NoText,
    /// A text that is too long.
    #[error("has {0} bytes; at most {1} are allowed")]
    LongText(usize, usize),
    /// Nobody to push to.
    #[error("at least one must be named")]
    NoRecipient,
    /// Too many to push to.
    #[error("has {0} recipients; at most {1} are allowed in one call")]
    ManyRecipients(usize, usize),
    /// No point in time.
    #[error(transparent)]
    NoTime(#[from] BadTimestamp),
    /// An expiry that has passed.
    #[error("lies in the past")]
    Past,
    /// An expiry that is too far ahead.
    #[error("may lie at most {} days ahead", .0.as_secs_f64() / 86_400.0)]
    Far(Duration),
    /// A time of delivery at which nothing is left to be delivered.
    #[error("must lie before the expiry")]
    Expired,
    /// A time of delivery that is too far ahead.
    #[error("must lie less than {} days ahead", .0.as_secs_f64() / 86_400.0)]
    Gone(Duration),
    /// No idempotency key.
    #[error("expected 1 to {MAX_IDEMPOTENCY_KEY} bytes without control characters")]
    Key,
}

impl Broken {
    /// Whether it is too much of something that would be fine otherwise.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::LongText(..) | Self::ManyRecipients(..))
    }
}

impl Rules {
    /// A text, as it can be pushed.
    ///
    /// # Errors
    /// If there is none, or it is too long.
    pub fn text(&self, text: Option<String>) -> Result<Arc<str>, Broken> {
        match text.filter(|text| !text.is_empty()) {
            None => Err(Broken::NoText),
            Some(text) if self.text < text.len() => Err(Broken::LongText(text.len(), self.text)),
            Some(text) => Ok(text.into()),
        }
    }

    /// That so many recipients may be named.
    ///
    /// # Errors
    /// If they may not.
    pub fn recipients(&self, named: usize) -> Result<(), Broken> {
        match named {
            0 => Err(Broken::NoRecipient),
            _ if self.recipients < named => Err(Broken::ManyRecipients(named, self.recipients)),
            _ => Ok(()),
        }
    }

    /// An expiry of what was asked for at `now`.
    ///
    /// # Errors
    /// If it has passed by then, or lies further ahead than messages are kept.
    pub fn expiry(&self, at: Timestamp, now: Timestamp) -> Result<Timestamp, Broken> {
        if at <= now {
            Err(Broken::Past)
        } else if self.retention < at.since(now) {
            Err(Broken::Far(self.retention))
        } else {
            Ok(at)
        }
    }

    /// A time before which what was asked for at `now` is not sent. One that has
    /// passed asks for it to be sent at once: so a repeat of the push is not
    /// refused because it took long.
    ///
    /// # Errors
    /// If the message has expired by then, or is not kept so long.
    pub fn delivery(
        &self,
        at: Timestamp,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Timestamp, Broken> {
        if expires_at.is_some_and(|expires_at| expires_at <= at) {
            Err(Broken::Expired)
        } else if self.retention <= at.since(now) {
            Err(Broken::Gone(self.retention))
        } else {
            Ok(at)
        }
    }
}

/// A name as recipients and topics have it.
///
/// # Errors
/// If it is none.
pub fn name(name: &str) -> Result<Arc<str>, Broken> {
    if name.is_empty() {
        Err(Broken::EmptyName)
    } else if MAX_NAME < name.len() {
        Err(Broken::LongName)
    } else if name.chars().any(char::is_control) {
        Err(Broken::Control)
    } else {
        Ok(name.into())
    }
}

/// That `key` can make a push safe to repeat.
///
/// # Errors
/// If it cannot.
pub fn idempotency_key(key: &str) -> Result<(), Broken> {
    let fits = (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && !key.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Broken::Key) }
}
