//! Settings come from environment variables, read once, before anything is opened.
//!
//! All mistakes are collected and told together, and no value is ever repeated
//! in a mistake: any of them may be a secret pasted into the wrong variable.
//! Each variable may also be given as `<NAME>_FILE`, the path of a file that
//! holds the value, as secrets are mounted.

mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use values::{BadBytes, BadInterval, BadPeriod, Bytes, Interval, List, Period};

/// What all our variables begin with.
const PREFIX: &str = "CARILLON_";

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
    values: BTreeMap<String, String>,
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
        Self {
            values,
            variables: Vec::new(),
            mistakes,
            files: Files::default(),
        }
    }

    /// An environment of just these variables.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            values: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            variables: Vec::new(),
            mistakes: Vec::new(),
            files: Files::default(),
        }
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
        self.read(name, Some(default), false).unwrap_or_else(|| {
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
        self.read(name, None, false)
    }

    /// The value of `name`, without which the process cannot start. `None` only
    /// after a mistake, of which [`finish`](Self::finish) tells.
    pub fn required<T: FromStr>(&mut self, name: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        self.read(name, None, true)
    }

    fn read<T: FromStr>(
        &mut self,
        name: &'static str,
        default: Option<&str>,
        required: bool,
    ) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        if !self.variables.iter().any(|known| known.name == name) {
            self.variables.push(Variable {
                name,
                default: default.map(str::to_owned),
                required,
            });
        }
        let value = match self.text(name) {
            Ok(value) => value,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return None;
            }
        };
        match value {
            Some(value) => match value.parse() {
                Ok(value) => Some(value),
                Err(error) => {
                    self.mistakes.push(format!("{name}: {error}"));
                    None
                }
            },
            None => {
                if required {
                    self.mistakes.push(format!("{name} must be set"));
                }
                None
            }
        }
    }

    /// What is written for `name`. An empty value counts as none, because that
    /// is how most tools that fill in environments say "not set".
    fn text(&mut self, name: &'static str) -> Result<Option<String>, String> {
        let set = |name: &str| self.values.get(name).filter(|value| !value.is_empty());
        let file_variable = format!("{name}{FILE}");
        match (set(name), set(&file_variable)) {
            (None, None) => Ok(None),
            (Some(value), None) => Ok(Some(value.clone())),
            (Some(_), Some(_)) => Err(format!("{name} and {file_variable} are both set")),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) => {
                    self.files.0.insert(name, path.into());
                    Ok(Some(value_in(&text).to_owned()))
                }
                Err(error) => Err(format!("{file_variable} cannot be read: {}", error.kind())),
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

    /// Whether the settings can be used. To be called when all were read.
    ///
    /// # Errors
    /// Every mistake: values that cannot be read, required ones that are
    /// missing, and variables with our prefix that nobody asks for.
    pub fn finish(mut self) -> Result<(), BadEnv> {
        let unknown: Vec<String> = self
            .values
            .keys()
            .filter(|name| name.starts_with(PREFIX) && !self.is_known(name))
            .map(|name| format!("{name} is not a setting"))
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
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_its_default() {
        let mut env = Env::from_pairs([("CARILLON_API_PAGE", "20"), ("CARILLON_API_NONE", "")]);
        assert_eq!(env.get::<u32>("CARILLON_API_PAGE", "50"), 20);
        assert_eq!(env.get::<u32>("CARILLON_API_LIMIT", "100"), 100);
        assert_eq!(env.optional::<u32>("CARILLON_API_NONE"), None);
        let defaults: Vec<_> = env
            .variables()
            .iter()
            .map(|v| (v.name, v.default.as_deref()))
            .collect();
        assert_eq!(
            defaults,
            [
                ("CARILLON_API_PAGE", Some("50")),
                ("CARILLON_API_LIMIT", Some("100")),
                ("CARILLON_API_NONE", None),
            ]
        );
        assert_eq!(env.finish(), Ok(()));
    }

    #[test]
    fn all_mistakes_are_told_together_and_without_values() {
        let mut env = Env::from_pairs([
            ("CARILLON_API_PAGE", "hush-hush"),
            ("CARILLON_API_PAEG", "hush-hush"),
        ]);
        env.get::<u32>("CARILLON_API_PAGE", "50");
        env.required::<String>("CARILLON_API_KEY");
        let told = env.finish().unwrap_err().to_string();
        assert_eq!(
            told.lines().collect::<Vec<_>>(),
            [
                "the settings cannot be used:",
                "  CARILLON_API_PAGE: invalid digit found in string",
                "  CARILLON_API_KEY must be set",
                "  CARILLON_API_PAEG is not a setting",
            ]
        );
    }

    #[test]
    fn one_environment_serves_all_processes() {
        let mut env = Env::from_pairs([
            ("CARILLON_API_LISTEN", "x"),
            ("CARILLON_GATEWAY_LISTEN", "y"),
            ("CARILLON_TOKEN_KEYS_FILE", "/run/keys"),
        ]);
        env.get::<String>("CARILLON_API_LISTEN", "z");
        assert_eq!(env.finish(), Ok(()));
    }

    #[test]
    fn a_value_can_be_in_a_file() {
        let path = std::env::temp_dir().join(format!("carillon-env-{}", std::process::id()));
        std::fs::write(&path, "41\n").unwrap();
        let path = path.to_str().unwrap();
        let mut env = Env::from_pairs([("CARILLON_API_PAGE_FILE", path)]);
        assert_eq!(env.get::<u32>("CARILLON_API_PAGE", "50"), 41);
        assert_eq!(env.finish(), Ok(()));

        let mut env =
            Env::from_pairs([("CARILLON_API_PAGE_FILE", path), ("CARILLON_API_PAGE", "1")]);
        env.get::<u32>("CARILLON_API_PAGE", "50");
        assert!(
            env.finish().is_err(),
            "which of the two holds would be a guess"
        );
        std::fs::remove_file(path).unwrap();

        let mut env = Env::from_pairs([("CARILLON_API_PAGE_FILE", path)]);
        env.get::<u32>("CARILLON_API_PAGE", "50");
        assert!(env.finish().is_err(), "the file is gone");
    }
}
