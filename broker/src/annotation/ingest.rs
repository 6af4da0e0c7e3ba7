//! What annotation systems report: read, checked, and published.
//!
//! A report says all that a gateway needs to decide who is told, so that
//! nothing is stored and nothing looked up. Its shape is `docs/events.md`; what
//! is not of that shape is refused with the place and what was expected there,
//! and never with what stood there.

mod dead;
mod intake;
mod members;
mod publish;
mod pushed;
mod read;
mod shown;
mod told;

use std::sync::Arc;

use serde_json::Value;

pub use dead::{DeadLetter, DeadLetters, Replayed};
pub use intake::{Backlog, DEAD_LETTERS, Entry, Handled, Intake, Left, MAX_DELIVERIES};
pub use publish::{Ingest, Outcome, Progress};
pub use pushed::{PUSH, PUSH_GLOBAL, Push};

use super::{Notification, schema};
use crate::message::rules::Broken;
use crate::people::MembershipChange;
use crate::topic::{Tenant, Topic};
use members::Members;

/// The longest report, in bytes. Every gateway with a listener holds it.
pub const MAX_REPORT: usize = 256 * 1024;
/// The most reports of one call.
pub const MAX_REPORTS: usize = 100;
/// The longest id of a report, in characters.
pub const MAX_REPORT_ID: usize = 128;

/// What an annotation system reports.
#[derive(Debug)]
pub struct Report {
    /// What the system calls it. One that comes again is not published again.
    pub id: Arc<str>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// Something to an annotation.
    Annotation(Box<Notification>),
    /// A user entered or left a group, or is something else there.
    Membership {
        /// Who.
        userid: Arc<str>,
        /// And how.
        change: MembershipChange,
    },
    /// Whatever its sender says, to those who listen to the topic.
    Told {
        /// Where.
        topic: Topic,
        /// The event, in JSON.
        event: String,
    },
}

/// Why a report is not published.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// What the system calls it, if that could be read.
    pub id: Option<Arc<str>>,
    /// Why.
    pub why: Invalid,
}

/// What is wrong with a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Too long to be read.
    #[error("expected at most {MAX_REPORT} bytes")]
    Size,
    /// No JSON.
    #[error("expected {0}")]
    Json(&'static str),
    /// Not of the shape.
    #[error("{path}: expected {expected}")]
    Member {
        /// Where, its steps separated by dots.
        path: String,
        /// What should be there.
        expected: String,
    },
    /// Of the shape, and more or other than can be pushed.
    #[error("{path}: {why}")]
    Rule {
        /// Where.
        path: String,
        /// Which rule it breaks.
        why: Broken,
    },
}

impl Invalid {
    /// Its kind, in metrics and dead letters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Json(_) => "json",
            Self::Member { .. } | Self::Rule { .. } => "invalid",
        }
    }
}

impl Report {
    /// Reads one. `kind` is its type, where that is told beside it.
    ///
    /// # Errors
    /// If it is not of the shape.
    pub fn read(json: &[u8], kind: Option<&str>) -> Result<Self, Refused> {
        let nameless = |why| Refused { id: None, why };
        if MAX_REPORT < json.len() {
            return Err(nameless(Invalid::Size));
        }
        let value = schema::json::read(json).map_err(|why| nameless(not_json(&why)))?;
        let Value::Object(map) = value else {
            return Err(nameless(Invalid::Json("an object")));
        };
        let report = Members::of(&map);
        let id: Arc<str> = report
            .needed_text("id", MAX_REPORT_ID)
            .map_err(nameless)?
            .into();
        match read::what(&report, kind) {
            Ok(what) => Ok(Self { id, what }),
            Err(why) => Err(Refused { id: Some(id), why }),
        }
    }
}

/// Reads an event whose topic stands beside it.
///
/// # Errors
/// If it, or the topic, is not of the shape.
pub fn told(tenant: &Tenant, topic: &[u8], json: &[u8]) -> Result<Report, Invalid> {
    told::read(tenant, topic, json, "0-0")
}

fn not_json(why: &schema::Invalid) -> Invalid {
    Invalid::Json(match why {
        schema::Invalid::TooDeep => "arrays and objects at most 64 deep in each other",
        schema::Invalid::HalfCharacter { .. } => "texts without half a surrogate pair",
        _ => "JSON in UTF-8",
    })
}

#[cfg(test)]
mod tests;
