//! Why a change of an annotation was not made.

use super::MAX_EXTRA;
use crate::error::Error;

/// What is told if an annotation is not what somebody takes it for.
pub(super) const CHANGED: &str = "The annotation has been changed since it was read";
const MODERATED: &str = "The moderation status has been changed since it was read";
pub(super) const MOVED: &str = "The annotation is being changed by others at the same time";

/// Why a change was not made. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is none, or who asks may not do that to it.
    #[error(
        "Either the resource you requested doesn't exist, or you are not currently authorized to see it."
    )]
    NotFound,
    /// There is no such group.
    #[error("group: Invalid group id {0}")]
    UnknownGroup(String),
    /// The user may not write in the group.
    #[error("group: You may not create annotations in the specified group!")]
    MayNotWrite,
    /// The group is about other addresses.
    #[error("group scope: Annotations for this target URI are not allowed in this group")]
    OutOfScope,
    /// It answers what is not there.
    #[error("references.0: Annotation {0} does not exist")]
    UnknownParent(String),
    /// More of something than is kept.
    #[error("{0}: at most {1}")]
    TooMuch(&'static str, usize),
    /// It is not any more what who asks believes it to be.
    #[error("{0}")]
    Conflict(&'static str),
    /// Redis failed.
    #[error(transparent)]
    Broker(#[from] Error),
}

/// What a script answered: what it did, and of that the JSON.
pub(super) fn outcome(answer: Vec<String>) -> Result<Option<String>, Refused> {
    let mut answer = answer.into_iter();
    let word = answer.next().unwrap_or_default();
    let detail = answer.next();
    match (&*word, detail) {
        ("done", body) => Ok(body),
        ("not found", _) => Err(Refused::NotFound),
        ("may not write", _) => Err(Refused::MayNotWrite),
        ("out of scope", _) => Err(Refused::OutOfScope),
        ("unknown group", Some(id)) => Err(Refused::UnknownGroup(id)),
        ("unknown parent", Some(id)) => Err(Refused::UnknownParent(id)),
        ("too many members", _) => Err(Refused::TooMuch("members", MAX_EXTRA)),
        ("again", _) => Err(Refused::Conflict(MOVED)),
        ("changed", _) => Err(Refused::Conflict(CHANGED)),
        ("moderated", _) => Err(Refused::Conflict(MODERATED)),
        _ => Err(Error::Corrupt("answer").into()),
    }
}
