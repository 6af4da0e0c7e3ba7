//! Cases that a protocol is held to: conversations written down in files, played
//! over a fleet as a client would.
//!
//! A file has `cases`; a case has an `id`, a `level`, a `title` and `steps`; a
//! step has an `op` and what it needs. Values are compared as JSON ([`json`]);
//! frames are sent and seen as they are.
//!
//! A file that has `fixtures` as well holds cases of another form, those of the
//! Misskey protocol ([`misskey`]).

mod compare;
mod frames;
pub mod json;
pub mod misskey;
pub mod people;
mod play;
mod stage;
mod step;
pub mod variables;
mod wire;
mod witness;

use std::fs;
use std::path::{Path, PathBuf};

use json::Json;
pub use play::{Outcome, Played, play, play_all};

/// A conversation, and how much depends on it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Names it among all; pages and users of a case carry it in their names.
    pub id: String,
    /// How much depends on it.
    pub level: Level,
    /// The fact that it shows.
    pub title: String,
    /// What is done and expected, in order.
    pub steps: Vec<Json>,
}

/// How much depends on a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Real clients need it.
    Must,
    /// The original does it; to deviate a little is harmless.
    Should,
    /// The original does it and arguably should not: ours does if told to be strict.
    Quirk,
    /// What ours does instead of a quirk unless told to be strict.
    Recommended,
}

impl Level {
    /// As files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Quirk => "quirk",
            Self::Recommended => "recommended",
        }
    }
}

/// What was found where cases were looked for.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The cases, in the order of their files' names.
    pub cases: Vec<Case>,
    /// Those of the Misskey protocol, file by file.
    pub misskey: Vec<misskey::Cases>,
    /// Files that hold something else, such as cases of a form not played here.
    pub others: Vec<PathBuf>,
}

/// Reads all `.json` files of a folder, or one file.
///
/// # Errors
/// If one cannot be read or has a mistake, in words.
pub fn read(place: &Path) -> Result<Found, String> {
    let mut files = vec![place.to_owned()];
    if place.is_dir() {
        let entries = fs::read_dir(place).map_err(|error| told(place, &error))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        files = paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        files.sort();
    }
    let mut found = Found::default();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| told(&file, &error))?;
        let json = Json::parse(&text).map_err(|error| told(&file, &error))?;
        if json.get("fixtures").is_some() && json.get("cases").is_some() {
            let cases = misskey::Cases::read(&json);
            found
                .misskey
                .push(cases.map_err(|error| told(&file, &error))?);
            continue;
        }
        match (json.get("meta"), json.get("cases")) {
            (Some(_), Some(Json::Array(cases))) => {
                let cases = cases.iter().map(Case::read).collect::<Result<Vec<_>, _>>();
                found
                    .cases
                    .extend(cases.map_err(|error| told(&file, &error))?);
            }
            _ => found.others.push(file),
        }
    }
    Ok(found)
}

fn told(file: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", file.display())
}

impl Case {
    fn read(case: &Json) -> Result<Self, String> {
        let text = |name: &str| {
            let text = case.get(name).and_then(Json::as_str);
            text.map(str::to_owned)
                .ok_or_else(|| format!("a case has no {name}: {case}"))
        };
        let id = text("id")?;
        let level = match text("level")?.as_str() {
            "must" => Level::Must,
            "should" => Level::Should,
            "quirk" => Level::Quirk,
            "recommended" => Level::Recommended,
            other => {
                return Err(format!(
                    "{id} has the level {other}, which nobody here knows"
                ));
            }
        };
        let Some(Json::Array(steps)) = case.get("steps") else {
            return Err(format!("{id} has no steps"));
        };
        Ok(Self {
            id,
            level,
            title: text("title")?,
            steps: steps.clone(),
        })
    }

    fn has(&self, fits: impl Fn(&Json) -> bool) -> bool {
        self.steps.iter().any(fits)
    }

    /// Whether it needs the unmodified client instead of our own sockets.
    fn needs_client(&self) -> bool {
        self.has(|step| step.get("op").and_then(Json::as_str) == Some("real_client"))
    }

    /// Whether others would disturb it or be disturbed: it changes what all
    /// share, or listens to a group in which others write.
    fn is_shy(&self) -> bool {
        self.has(|step| step.get("op").and_then(Json::as_str) == Some("admin"))
            || self.has(|step| step.to_string().contains(r#""field":"/group""#))
    }
}
