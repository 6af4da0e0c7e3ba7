//! The function by which trusted producers publish: one command, without a hop,
//! and what it publishes can be read again after a gap as what our scripts publish.
//!
//! Redis keeps functions by name. A name means the same for ever: what is changed
//! gets a new one, so that two releases can serve their producers side by side.
//! Our own processes use scripts, never functions.

use std::sync::LazyLock;

use redis::Value;
use serde_json::{Map, Value as Json};

use crate::annotation::ingest::Invalid;
use crate::error::Error;
use crate::event;
use crate::keys;
use crate::ring;
use crate::topology::Redis;

/// What the library is called.
pub const LIBRARY: &str = "carillon_v1";
/// What the function is called.
pub const FUNCTION: &str = "carillon_publish_v1";
/// The longest event that it takes, in bytes.
pub const MAX_EVENT: usize = 64 * 1024;

/// The library's source.
pub fn source() -> &'static str {
    static SOURCE: LazyLock<String> = LazyLock::new(|| {
        let tags = keys::TAGS.map(|tag| format!("'{tag}'")).join(", ");
        let publish = include_str!("function/publish.lua");
        let prelude = ring::PRELUDE;
        format!("#!lua name={LIBRARY}\n{prelude}local TAGS = {{ {tags} }}\n\n{publish}")
    });
    &SOURCE
}

/// The longest type of an event, in characters.
const MAX_TYPE: usize = 128;

/// That an event is one that the function takes, and that gateways read.
///
/// # Errors
/// If it is not; in the words of the function.
pub fn check(json: &[u8]) -> Result<(), Invalid> {
    let wrong = |path: &str, expected: String| {
        Err(Invalid::Member {
            path: path.to_owned(),
            expected,
        })
    };
    let json = json.trim_ascii_start();
    if MAX_EVENT < json.len() {
        return wrong("event", format!("at most {MAX_EVENT} bytes"));
    }
    let object = json.first().filter(|first| **first == b'{');
    let members = object.and_then(|_| serde_json::from_slice::<Map<String, Json>>(json).ok());
    let Some(members) = members else {
        return wrong("event", "a JSON object in UTF-8".to_owned());
    };
    let member = |name: &str| members.get(name).filter(|value| !value.is_null());
    let kind = member("type").and_then(Json::as_str);
    let is_whole = |number: &Json| number.as_f64().is_some_and(event::is_whole);
    let whole = |name: &str| member(name).is_none_or(is_whole);
    if member("v").and_then(Json::as_u64) != Some(1) {
        wrong("v", "1".to_owned())
    } else if kind.is_none_or(|kind| kind.is_empty() || kind.chars().nth(MAX_TYPE).is_some()) {
        wrong("type", format!("a string of 1 to {MAX_TYPE} characters"))
    } else if !whole("x") || !whole("ts") {
        wrong("x, ts", "whole numbers of milliseconds".to_owned())
    } else {
        Ok(())
    }
}

/// How it stands with the function on one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was there.
    There,
    /// It was missing and has been loaded.
    Loaded,
    /// Something else has its name, and was left as it is.
    Foreign,
    /// This Redis knows no functions; those from 7.0 on do.
    Unsupported,
}

/// Makes sure that producers find the function on every server that has keys, and
/// says how it stands with each.
///
/// # Errors
/// If Redis fails, or a server refuses to keep it.
pub async fn ensure(redis: &Redis) -> Result<Vec<Standing>, Error> {
    let found = look(redis).await?;
    if !found.contains(&None) {
        return Ok(found.into_iter().flatten().collect());
    }
    let mut load = redis::pipe();
    load.cmd("FUNCTION").arg("LOAD").arg(source());
    // Those that have it refuse, as do those that got it meanwhile.
    let loads = redis.on_every_primary::<Value>(&load).await?;
    let refused = loads.into_iter().find_map(|one| one.answer.err());
    let standing = look(redis).await?.into_iter().zip(found);
    let standing: Option<Vec<_>> = standing
        .map(|(now, before)| match (now, before) {
            (Some(Standing::There), None) => Some(Standing::Loaded),
            (now, _) => now,
        })
        .collect();
    standing.ok_or_else(|| refused.unwrap_or(Error::Corrupt("list of functions")))
}

/// How it stands with each server; nothing where it is missing.
async fn look(redis: &Redis) -> Result<Vec<Option<Standing>>, Error> {
    let mut list = redis::pipe();
    list.cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME");
    list.arg(LIBRARY).arg("WITHCODE");
    let standing = |answer: Result<(Value,), Error>| match answer {
        Ok((Value::Array(libraries),)) if libraries.is_empty() => Ok(None),
        Ok((library,)) if has(&library, source().as_bytes()) => Ok(Some(Standing::There)),
        Ok(_) => Ok(Some(Standing::Foreign)),
        Err(Error::Redis(error)) if is_unknown(&error) => Ok(Some(Standing::Unsupported)),
        Err(error) => Err(error),
    };
    let answers = redis.on_every_primary(&list).await?.into_iter();
    answers.map(|one| standing(one.answer)).collect()
}

/// Whether one of the texts in an answer is this one.
fn has(answer: &Value, text: &[u8]) -> bool {
    match answer {
        Value::BulkString(bytes) => bytes == text,
        Value::VerbatimString { text: told, .. } => told.as_bytes() == text,
        Value::Array(items) | Value::Set(items) => items.iter().any(|item| has(item, text)),
        Value::Map(pairs) => pairs.iter().any(|(_, item)| has(item, text)),
        _ => false,
    }
}

fn is_unknown(error: &redis::RedisError) -> bool {
    error.code() == Some("ERR")
        && error
            .detail()
            .is_some_and(|why| why.contains("unknown command"))
}

#[cfg(test)]
mod tests;
