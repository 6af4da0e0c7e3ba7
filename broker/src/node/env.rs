//! Settings come from environment variables, and from a file that one of them may
//! name, read once, before anything is opened. The environment wins over the file.
//!
//! All mistakes are collected and told together, and no value is ever repeated
//! in a mistake: any of them may be a secret pasted into the wrong variable.
//! Each variable may also be given as `<NAME>_FILE`, the path of a file that
//! holds the value, as secrets are mounted.

mod file;
mod secrecy;
mod sources;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub(crate) use self::file::position;
pub use self::secrecy::{Guarded, Secrecy};
use self::sources::Sources;
pub use self::sources::{Files, value_in};
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

/// The environment of a process, while its settings are read.
pub struct Env {
    sources: Sources,
    variables: Vec<Variable>,
    mistakes: Vec<String>,
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
        let mut env = Self {
            sources: Sources::new(variables),
            variables: Vec::new(),
            mistakes,
        };
        if let Some(path) = env.optional::<String>(CONFIG) {
            let mistakes = env.sources.add(file::read(&path));
            env.mistakes.extend(mistakes);
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
        let value = match self.sources.text(name) {
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
                    let called = self.sources.called(name);
                    self.mistakes.push(format!("{called}: {error}"));
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
        self.sources.files.clone()
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
        let unknown = self.sources.unknown(|name| self.is_known(name));
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
