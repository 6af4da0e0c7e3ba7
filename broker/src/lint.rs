//! Whether events keep to their contract, told without any Redis: by the readers
//! that read them in earnest.

use std::str::FromStr;

use serde_json::Value;

use crate::annotation::ingest::{self, Invalid, PUSH, PUSH_GLOBAL, Push, Report};
use crate::function;
use crate::message::rules::Rules;
use crate::time::Timestamp;
use crate::topic::Tenant;

/// What an event is given to Carillon as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A report of an annotation system, about an annotation or a membership.
    Report,
    /// A message for some recipients.
    Push,
    /// A message for all recipients.
    PushGlobal,
    /// An event for a topic that stands beside it, in a stream.
    Own,
    /// An event for `PUBLISH`, or the function.
    Frame,
}

/// The text names no kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected annotation, membership, push, push-global, event or frame")]
pub struct BadKind;

impl FromStr for Kind {
    type Err = BadKind;

    fn from_str(name: &str) -> Result<Self, BadKind> {
        match name {
            "annotation" | "membership" => Ok(Self::Report),
            PUSH => Ok(Self::Push),
            PUSH_GLOBAL => Ok(Self::PushGlobal),
            "event" => Ok(Self::Own),
            "frame" => Ok(Self::Frame),
            _ => Err(BadKind),
        }
    }
}

impl Kind {
    /// The kind that an event's members tell; a push by what it is for, a report
    /// by what it is about, a frame by its version.
    pub fn of(json: &[u8]) -> Self {
        let Ok(Value::Object(event)) = serde_json::from_slice(json) else {
            return Self::Report;
        };
        let has = |name| event.contains_key(name);
        let kind = event.get("type").and_then(Value::as_str);
        match kind {
            _ if has("v") => Self::Frame,
            Some(PUSH_GLOBAL) => Self::PushGlobal,
            Some(PUSH) => Self::Push,
            _ if has("recipients") => Self::Push,
            _ if has("message") && !has("body") => Self::PushGlobal,
            Some("annotation" | "membership") if !has("body") => Self::Report,
            Some(_) if !has("action") && !has("annotation") => Self::Own,
            _ => Self::Report,
        }
    }
}

/// That an event of this kind, given now, is as it should be; and so is the topic
/// that stands beside it, if one does.
///
/// # Errors
/// If it is not: with the place and what was expected there.
pub fn check(
    json: &[u8],
    kind: Kind,
    topic: Option<&str>,
    rules: &Rules,
    now: Timestamp,
) -> Result<(), Invalid> {
    match kind {
        Kind::Report => Report::read(json, None)
            .map(drop)
            .map_err(|refused| refused.why),
        Kind::Push => Push::read(json, PUSH, rules, now).map(drop),
        Kind::PushGlobal => Push::read(json, PUSH_GLOBAL, rules, now).map(drop),
        Kind::Own => {
            let anybody: Tenant = "tenant".parse().expect("it is short and plain");
            let topic = topic.unwrap_or("user:somebody").as_bytes();
            ingest::told(&anybody, topic, json).map(drop)
        }
        Kind::Frame => function::check(json),
    }
}
