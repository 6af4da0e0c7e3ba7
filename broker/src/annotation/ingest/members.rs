//! The members of an object that somebody sent, each with its place.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Invalid;

/// The members of one object. `null` is as good as nothing.
pub(super) struct Members<'a> {
    /// What its members' places begin with.
    path: String,
    members: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    /// Those of the outermost object.
    pub(super) fn of(members: &'a Map<String, Value>) -> Self {
        let path = String::new();
        Self { path, members }
    }

    /// All of them.
    pub(super) fn all(&self) -> &'a Map<String, Value> {
        self.members
    }

    /// What is wrong with the member `name`.
    pub(super) fn bad(&self, name: &str, expected: impl Into<String>) -> Invalid {
        Invalid::Member {
            path: format!("{}{name}", self.path),
            expected: expected.into(),
        }
    }

    /// There are no others. A slip in a name would otherwise go unnoticed, and
    /// with it who must not be told.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Invalid> {
        if self.members.keys().all(|name| names.contains(&&**name)) {
            return Ok(());
        }
        let place = match self.path.trim_end_matches('.') {
            "" => "event",
            place => place,
        };
        Err(Invalid::Member {
            path: place.to_owned(),
            expected: format!("no other members than {}", names.join(", ")),
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// A value of few, which `expected` lists.
    pub(super) fn one<T: DeserializeOwned>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Invalid> {
        let read = |value: &Value| {
            let word = value.as_str().map(|word| Value::String(word.to_owned()));
            let read = word.and_then(|word| serde_json::from_value(word).ok());
            read.ok_or_else(|| self.bad(name, expected))
        };
        self.get(name).map(read).transpose()
    }

    pub(super) fn needed<T: DeserializeOwned>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<T, Invalid> {
        self.one(name, expected)?
            .ok_or_else(|| self.bad(name, expected))
    }

    /// Text, which may be empty.
    pub(super) fn any_text(&self, name: &str) -> Result<Option<&'a str>, Invalid> {
        let read = |value: &'a Value| value.as_str().ok_or_else(|| self.bad(name, "a string"));
        self.get(name).map(read).transpose()
    }

    /// Text of 1 to `max` characters.
    pub(super) fn text(&self, name: &str, max: usize) -> Result<Option<&'a str>, Invalid> {
        let read = |value| is_text(value, max).ok_or_else(|| self.bad(name, text_of(max)));
        self.get(name).map(read).transpose()
    }

    pub(super) fn needed_text(&self, name: &str, max: usize) -> Result<&'a str, Invalid> {
        self.text(name, max)?
            .ok_or_else(|| self.bad(name, text_of(max)))
    }

    /// A list of at most `most` texts of 1 to `max` characters.
    pub(super) fn texts(
        &self,
        name: &str,
        most: usize,
        max: usize,
    ) -> Result<Option<Vec<&'a str>>, Invalid> {
        let Some(list) = self.list(name)? else {
            return Ok(None);
        };
        if most < list.len() {
            return Err(self.bad(name, format!("at most {most} items")));
        }
        let items = list.iter().enumerate().map(|(index, item)| {
            is_text(item, max).ok_or_else(|| self.bad(&format!("{name}.{index}"), text_of(max)))
        });
        items.collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<&'a [Value]>, Invalid> {
        let read = |value: &'a Value| match value {
            Value::Array(items) => Ok(items.as_slice()),
            _ => Err(self.bad(name, "an array")),
        };
        self.get(name).map(read).transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Invalid> {
        let read = |value: &Value| {
            let flag = value.as_bool();
            flag.ok_or_else(|| self.bad(name, "true or false"))
        };
        self.get(name).map(read).transpose()
    }

    /// A whole number from 0 to `max`.
    pub(super) fn number(&self, name: &str, max: u32) -> Result<Option<u32>, Invalid> {
        let read = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number
                .filter(|number| *number <= max)
                .ok_or_else(|| self.bad(name, format!("a whole number from 0 to {max}")))
        };
        self.get(name).map(read).transpose()
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, Invalid> {
        let read = |value: &'a Value| {
            let members = value.as_object();
            let members = members.ok_or_else(|| self.bad(name, "an object"))?;
            let path = format!("{}{name}.", self.path);
            Ok(Self { path, members })
        };
        self.get(name).map(read).transpose()
    }

    pub(super) fn needed_object(&self, name: &str) -> Result<Self, Invalid> {
        self.object(name)?
            .ok_or_else(|| self.bad(name, "an object"))
    }
}

fn is_text(value: &Value, max: usize) -> Option<&str> {
    let fits = |text: &&str| !text.is_empty() && text.chars().nth(max).is_none();
    value.as_str().filter(fits)
}

fn text_of(max: usize) -> String {
    format!("a string of 1 to {max} characters")
}
