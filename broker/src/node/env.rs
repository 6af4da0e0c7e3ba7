//! Settings come from environment variables, and from a file that one of them may
//! name, read once, before anything is opened. The environment wins over the file.
//!
//! All mistakes are collected and told together, and no value is ever repeated
//! in a mistake: any of them may be a secret pasted into the wrong variable.
//! Each variable may also be given as `<NAME>_FILE`, the path of a file that
//! holds the value, as secrets are mounted.

mod file;
mod secrecy;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::file::Place;
pub use self::secrecy::{Guarded, Secrecy};
pub use self::values::{BadBytes, BadInterval, BadPeriod, Bytes, Interval, List, Period};

/// What all our variables begin with.
const PREFIX: &str = "CARILLON_";

/// Names the file in which other settings may stand. It cannot stand there itself.
const CONFIG: &str = "CARILLON_CONFIG";

/// Ends the name of a variable that names a file instead of holding the value.
const FILE: &str = "_FILE";

/// What the variables of one process, or of one part of some, begin with. A
/// process accepts those of the others, so that one environment can serve them all.
const ROLES: [&str; 4] = [
    "CARILLON_GATEWAY_",
    "CARILLON_API_",
    "CARILLON_WORKER_",
    "CARILLON_AUTH_",
];

/// Variables without a role in their name that not every process reads.
const SHARED: [&str; 13] = [
    "CARILLON_DRAIN_WINDOW",
    "CARILLON_GLOBAL_LIFE",
    "CARILLON_HYPOTHESIS_STRICT",
    "CARILLON_IDEMPOTENCY",
    "CARILLON_MAX_MESSAGE_BYTES",
    "CARILLON_MAX_PENDING",
    "CARILLON_MAX_RECIPIENTS",
    "CARILLON_MISSKEY_FRAMES_PER_SECOND",
    "CARILLON_MISSKEY_HOSTS",
    "CARILLON_MISSKEY_MAX_RELAYS",
    "CARILLON_RETENTION",
    "CARILLON_SHUTDOWN_DELAY",
    "CARILLON_TOKEN_KEYS",
];

/// What a process exits with that was started with settings it cannot use: to
/// start it again unchanged will not help (EX_USAGE of sysexits.h).
pub const BAD_SETTINGS: u8 = 64;

/// A variable that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its full name.
    pub name: &'static str,
    /// What holds if it is not set; `None` if it must or may be absent.
    pub default: Option<String>,
    /// Whether the process refuses to start without it.
    pub required: bool,
    /// What of its value may be shown.
    pub secrecy: Secrecy,
    /// Its value as it may be shown, and where that stands; `None` if it cannot be used.
    found: Option<(String, String)>,
}

/// A value as it is written, and where.
#[derive(Clone, Debug)]
struct Written {
    text: String,
    /// Where in the file; `None`: in the environment.
    place: Option<Place>,
}

/// The files that settings were read from, instead of the environment: `<NAME>_FILE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<&'static str, PathBuf>);

impl Files {
    /// Where the value of `name` stands, if in a file.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }
}

/// What a value is that stands in a file: all but the end of its last line.
pub fn value_in(content: &str) -> &str {
    content.trim_end_matches(['\r', '\n'])
}

/// The environment of a process, while its settings are read.
pub struct Env {
    values: BTreeMap<String, Written>,
    variables: Vec<Variable>,
    mistakes: Vec<String>,
    files: Files,
}

/// Why the settings cannot be used: every mistake, none of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEnv {
    mistakes: Vec<String>,
}

impl std::error::Error for BadEnv {}

impl fmt::Display for BadEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        for mistake in &self.mistakes {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

impl Env {
    /// The environment of this process. Other variables than ours are ignored.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn from_process() -> Self {
        let mut mistakes = Vec::new();
        let mut values = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            if !name.starts_with(PREFIX) {
                continue;
            }
            match value.into_string() {
                Ok(value) => {
                    values.insert(name, value);
                }
                Err(_) => mistakes.push(format!("{name} is not UTF-8")),
            }
        }
        Self::new(values, mistakes)
    }

    /// An environment of just these variables.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let pairs = pairs.into_iter();
        let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
        Self::new(pairs.collect(), Vec::new())
    }

    /// These variables, and what stands in the file that they name.
    fn new(variables: BTreeMap<String, String>, mistakes: Vec<String>) -> Self {
        let written = |(name, text)| (name, Written { text, place: None });
        let mut env = Self {
            values: variables.into_iter().map(written).collect(),
            variables: Vec::new(),
            mistakes,
            files: Files::default(),
        };
        if let Some(path) = env.optional::<String>(CONFIG) {
            let file::Written { values, mistakes } = file::read(&path);
            env.mistakes.extend(mistakes);
            let is_set = |name: &str| env.set(name).is_some();
            let missing: Vec<_> = values
                .into_iter()
                .filter(|(name, ..)| {
                    let base = name.strip_suffix(FILE).unwrap_or(name);
                    !is_set(name) && !is_set(base) && !is_set(&format!("{base}{FILE}"))
                })
                .collect();
            for (name, text, place) in missing {
                let place = Some(place);
                env.values.insert(name, Written { text, place });
            }
        }
        env
    }

    /// The value of `name`, or of its `default`. After a mistake the default
    /// stands in until [`finish`](Self::finish) tells of it.
    ///
    /// # Panics
    /// If the default itself is not a value: a mistake in the program.
    pub fn get<T: FromStr>(&mut self, name: &'static str, default: &str) -> T
    where
        T::Err: fmt::Display,
    {
        self.or_default(name, default, Secrecy::Open)
    }

    fn or_default<T: FromStr>(&mut self, name: &'static str, default: &str, secrecy: Secrecy) -> T
    where
        T::Err: fmt::Display,
    {
        self.read(name, Some(default), false, secrecy)
            .unwrap_or_else(|| {
                default
                    .parse()
                    .unwrap_or_else(|error| panic!("the default of {name} cannot be read: {error}"))
            })
    }

    /// The value of `name`, if it is set.
    pub fn optional<T: FromStr>(&mut self, name: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        self.read(name, None, false, Secrecy::Open)
    }

    /// The value of `name`, without which the process cannot start. `None` only
    /// after a mistake, of which [`finish`](Self::finish) tells.
    pub fn required<T: FromStr>(&mut self, name: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        self.read(name, None, true, Secrecy::Open)
    }

    /// To read a value that is never shown.
    pub fn secret(&mut self) -> Guarded<'_> {
        Guarded {
            env: self,
            secrecy: Secrecy::Secret,
        }
    }

    /// To read an address that is shown without its passwords.
    pub fn address(&mut self) -> Guarded<'_> {
        Guarded {
            env: self,
            secrecy: Secrecy::Address,
        }
    }

    fn read<T: FromStr>(
        &mut self,
        name: &'static str,
        default: Option<&str>,
        required: bool,
        secrecy: Secrecy,
    ) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let mut variable = Variable {
            name,
            default: default.map(str::to_owned),
            required,
            secrecy,
            found: None,
        };
        let value = match self.text(name) {
            Ok(None) if required => {
                self.mistakes.push(format!("{name} must be set"));
                None
            }
            Ok(None) => {
                let whence = default.map_or("not set", |_| "default");
                let shown = secrecy.shown(default.unwrap_or_default());
                variable.found = Some((shown, whence.to_owned()));
                None
            }
            Ok(Some((text, whence))) => match text.parse() {
                Ok(value) => {
                    variable.found = Some((secrecy.shown(&text), whence));
                    Some(value)
                }
                Err(error) => {
                    self.mistakes
                        .push(format!("{}: {error}", self.called(name)));
                    None
                }
            },
            Err(mistake) => {
                self.mistakes.push(mistake);
                None
            }
        };
        if !self.variables.iter().any(|known| known.name == name) {
            self.variables.push(variable);
        }
        value
    }

    /// What is written for `name`, if anything. An empty value counts as none, because
    /// that is how most tools that fill in environments say "not set".
    fn set(&self, name: &str) -> Option<&Written> {
        self.values.get(name).filter(|value| !value.text.is_empty())
    }

    /// What a mistake calls it that concerns `name`: as it is called where it stands.
    fn called(&self, name: &str) -> String {
        let written = self
            .set(name)
            .or_else(|| self.set(&format!("{name}{FILE}")));
        match written.and_then(|written| written.place.as_ref()) {
            Some(place) => place.to_string(),
            None => name.to_owned(),
        }
    }

    /// The value of `name`, and where it stands.
    fn text(&mut self, name: &'static str) -> Result<Option<(String, String)>, String> {
        let file_variable = format!("{name}{FILE}");
        match (self.set(name), self.set(&file_variable)) {
            (None, None) => Ok(None),
            (Some(value), None) => {
                let whence = match &value.place {
                    Some(place) => place.line(),
                    None => "environment".to_owned(),
                };
                Ok(Some((value.text.clone(), whence)))
            }
            (Some(_), Some(_)) => Err(format!("{name} and {file_variable} are both set")),
            (None, Some(path)) => match std::fs::read_to_string(&path.text) {
                Ok(text) => {
                    let whence = path.text.clone();
                    self.files.0.insert(name, whence.clone().into());
                    Ok(Some((value_in(&text).to_owned(), whence)))
                }
                Err(error) => {
                    let called = match &path.place {
                        Some(place) => place.to_string(),
                        None => file_variable,
                    };
                    Err(format!("{called} cannot be read: {}", error.kind()))
                }
            },
        }
    }

    /// A mistake that only shows when several values are seen together.
    pub fn complain(&mut self, mistake: impl Into<String>) {
        self.mistakes.push(mistake.into());
    }

    /// What is wrong with what was read so far.
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }

    /// The files that were read for the variables that were asked for so far.
    pub fn files(&self) -> Files {
        self.files.clone()
    }

    /// Every variable that was asked for so far.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Every setting that was read and can be used, one a line: `NAME = value`, and
    /// where it stands. What is secret is masked.
    pub fn report(&self) -> String {
        let found = |variable: &Variable| {
            let (value, whence) = variable.found.as_ref()?;
            Some(format!("{} = {value}  # {whence}\n", variable.name))
        };
        self.variables.iter().filter_map(found).collect()
    }

    /// Whether the settings can be used. To be called when all were read.
    ///
    /// # Errors
    /// Every mistake: values that cannot be read, required ones that are
    /// missing, and variables with our prefix that nobody asks for.
    pub fn finish(mut self) -> Result<(), BadEnv> {
        let unknown: Vec<String> = self
            .values
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX) && !self.is_known(name))
            .map(|(name, written)| match &written.place {
                Some(place) => format!("{place} is not a setting"),
                None => format!("{name} is not a setting"),
            })
            .collect();
        self.mistakes.extend(unknown);
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(BadEnv {
                mistakes: self.mistakes,
            })
        }
    }

    fn is_known(&self, name: &str) -> bool {
        if name.strip_suffix(FILE) == Some(CONFIG) {
            return false;
        }
        // Some settings are paths, and are named like that.
        let whole = name;
        let name = name.strip_suffix(FILE).unwrap_or(name);
        let asked = |known: &Variable| known.name == name || known.name == whole;
        let of_another = |role: &&str| {
            name.starts_with(*role) && !self.variables.iter().any(|v| v.name.starts_with(*role))
        };
        self.variables.iter().any(asked) || SHARED.contains(&name) || ROLES.iter().any(of_another)
    }
}

#[cfg(test)]
mod tests;
