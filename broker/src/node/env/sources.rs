//! What is written for each variable, and where: in the environment, in the file of
//! settings, or in a file of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{Place, Written};
use super::{FILE, PREFIX};

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

/// All that is written for variables.
pub(super) struct Sources {
    values: BTreeMap<String, Value>,
    /// Those of `values` that were read.
    pub(super) files: Files,
}

/// A value as it is written, and where.
struct Value {
    text: String,
    /// Where in the file of settings; `None`: in the environment.
    place: Option<Place>,
}

impl Sources {
    /// What stands in an environment.
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let value = |(name, text)| (name, Value { text, place: None });
        Self {
            values: variables.into_iter().map(value).collect(),
            files: Files::default(),
        }
    }

    /// Adds what stands in a file of settings, unless the environment says otherwise.
    /// Returns what is wrong with it.
    pub(super) fn add(&mut self, Written { values, mistakes }: Written) -> Vec<String> {
        let is_set = |name: &str| self.set(name).is_some();
        let missing = |(name, ..): &(String, String, Place)| {
            let base = name.strip_suffix(FILE).unwrap_or(name);
            !is_set(name) && !is_set(base) && !is_set(&format!("{base}{FILE}"))
        };
        let added: Vec<_> = values.into_iter().filter(missing).collect();
        for (name, text, place) in added {
            let place = Some(place);
            self.values.insert(name, Value { text, place });
        }
        mistakes
    }

    /// What is written for `name`, if anything. An empty value counts as none, because
    /// that is how most tools that fill in environments say "not set".
    fn set(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.text.is_empty())
    }

    /// What a mistake calls it that concerns `name`: as it is called where it stands.
    pub(super) fn called(&self, name: &str) -> String {
        let value = self.set(name);
        let value = value.or_else(|| self.set(&format!("{name}{FILE}")));
        match value.and_then(|value| value.place.as_ref()) {
            Some(place) => place.to_string(),
            None => name.to_owned(),
        }
    }

    /// The value of `name`, and where it stands.
    ///
    /// # Errors
    /// If that cannot be told, or read: a mistake, to be told.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<(String, String)>, String> {
        let file_variable = format!("{name}{FILE}");
        match (self.set(name), self.set(&file_variable)) {
            (None, None) => Ok(None),
            (Some(value), None) => {
                let place = value.place.as_ref();
                let whence = place.map_or_else(|| "environment".to_owned(), Place::line);
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
                    let called = self.called(&file_variable);
                    Err(format!("{called} cannot be read: {}", error.kind()))
                }
            },
        }
    }

    /// What is written for a name that is not `known`, as mistakes.
    pub(super) fn unknown(&self, known: impl Fn(&str) -> bool) -> Vec<String> {
        self.values
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX) && !known(name))
            .map(|(name, value)| match &value.place {
                Some(place) => format!("{place} is not a setting"),
                None => format!("{name} is not a setting"),
            })
            .collect()
    }
}
