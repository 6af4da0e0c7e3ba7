//! Settings in a TOML file, each under the name of its variable in small letters:
//! `redis_url` is `CARILLON_REDIS_URL`, and `listen` in the table `[gateway]` is
//! `CARILLON_GATEWAY_LISTEN`.
//!
//! No value is repeated in a mistake, nor what stands where TOML was expected.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::{CONFIG, FILE, PREFIX, ROLES};

/// Longer than any settings; a path that leads to something endless ends here.
const MOST: u64 = 1 << 20;
/// Letters of an unknown name that are repeated.
const NAME: usize = 64;

/// Where in a file a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    path: Arc<str>,
    line: usize,
    /// As it is written there, such as `[gateway] listen`.
    name: String,
}

impl Place {
    /// The file and the line in it.
    pub(super) fn line(&self) -> String {
        format!("{}:{}", self.path, self.line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.name)
    }
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Variables, their values as an environment would have them, and where they stand.
    pub(super) values: Vec<(String, String, Place)>,
    /// What cannot be used of it.
    pub(super) mistakes: Vec<String>,
}

/// What the file at `path` says.
pub(super) fn read(path: &str) -> Written {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 <= MOST => parse(path, &text),
        Ok(_) => Written::failed(format!("{CONFIG} names a file of more than {MOST} bytes")),
        Err(error) => Written::failed(format!("{CONFIG} cannot be read: {}", error.kind())),
    }
}

impl Written {
    fn failed(mistake: String) -> Self {
        Self {
            mistakes: vec![mistake],
            ..Self::default()
        }
    }
}

fn parse(path: &str, text: &str) -> Written {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading {
        path: path.into(),
        text,
        written: Written::default(),
    };
    for error in &errors {
        // The words come from the grammar alone.
        let (line, column) = position(text, error.span().map_or(text.len(), |span| span.start));
        let mistake = format!("{path}:{line}:{column}: {}", error.message());
        reading.written.mistakes.push(mistake);
    }
    // What is left of a file in disorder would only add mistakes that are none.
    if errors.is_empty() {
        reading.table(None, table.get_ref());
    }
    reading.written
}

struct Reading<'a> {
    path: Arc<str>,
    text: &'a str,
    written: Written,
}

impl Reading<'_> {
    /// The names of one table, in the order in which they are written.
    fn table(&mut self, within: Option<&str>, table: &DeTable<'_>) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            self.entry(within, name.get_ref(), &name.span(), value.get_ref());
        }
    }

    fn entry(
        &mut self,
        within: Option<&str>,
        name: &str,
        span: &Range<usize>,
        value: &DeValue<'_>,
    ) {
        let place = self.place(within, name, span);
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let plain = !name.is_empty() && name.bytes().all(fits);
        let upper = name.to_ascii_uppercase();
        let variable = format!("{PREFIX}{upper}");
        let of_role = ROLES.iter().find(|role| variable.starts_with(**role));
        let mistake = match (within, value) {
            (None, DeValue::Table(table)) if plain && is_role(&upper) => {
                return self.table(Some(name), table);
            }
            (_, DeValue::Table(_)) => {
                "is no table of settings: those are [gateway], [api], [worker] and [auth]"
                    .to_owned()
            }
            _ if !plain => "is not a setting".to_owned(),
            // What named this file is set, and would seem to win over this.
            (None, _) if variable.strip_suffix(FILE).unwrap_or(&variable) == CONFIG => {
                "is not a setting".to_owned()
            }
            (None, _) if let Some(role) = of_role => {
                let role = table_of(role);
                format!(
                    "is not a setting; those that begin like this stand in [{role}], without {role}_"
                )
            }
            _ => match text_of(value) {
                Ok(text) => {
                    let variable = match within {
                        Some(table) => format!("{PREFIX}{}_{upper}", table.to_ascii_uppercase()),
                        None => variable,
                    };
                    self.written.values.push((variable, text, place));
                    return;
                }
                Err(why) => format!(": {why}"),
            },
        };
        let gap = if mistake.starts_with(':') { "" } else { " " };
        self.written.mistakes.push(format!("{place}{gap}{mistake}"));
    }

    fn place(&self, within: Option<&str>, name: &str, span: &Range<usize>) -> Place {
        let name: String = name.escape_debug().take(NAME).collect();
        Place {
            path: Arc::clone(&self.path),
            line: position(self.text, span.start).0,
            name: within.map_or_else(|| name.clone(), |table| format!("[{table}] {name}")),
        }
    }
}

/// Line and column of what stands in `text` at this byte, both from 1 on.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (line, before[start..].chars().count() + 1)
}

/// Whether this is the name of a table, in capitals.
fn is_role(upper: &str) -> bool {
    ROLES
        .iter()
        .any(|role| table_of(role) == upper.to_ascii_lowercase())
}

/// `gateway`, of `CARILLON_GATEWAY_`.
fn table_of(role: &str) -> String {
    let name = role.strip_prefix(PREFIX).unwrap_or(role);
    name.trim_end_matches('_').to_ascii_lowercase()
}

/// The value as an environment would have it.
fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::Array(entries) => {
            let entries = entries.iter().map(|entry| match entry.get_ref() {
                DeValue::Array(_) => Err("a list holds no lists"),
                DeValue::String(text) if text.contains(',') => {
                    Err("an entry of a list holds a comma, which parts entries")
                }
                entry => text_of(entry),
            });
            Ok(entries.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Datetime(_) | DeValue::Table(_) => {
            Err("expected text, a number, true or false, or a list of these")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let written = parse("c.toml", text);
        assert_eq!(written.mistakes, Vec::<String>::new(), "{text}");
        let values = written.values.into_iter();
        values.map(|(name, value, _)| (name, value)).collect()
    }

    fn mistakes(text: &str) -> Vec<String> {
        parse("c.toml", text).mistakes
    }

    #[test]
    fn names_are_those_of_variables_and_tables_those_of_processes() {
        let text = r#"
            redis_url = "redis://h"
            max_pending = 1_000
            hypothesis_strict = true
            sites = ["a.example=acme", "*=rest/example.org"]
            token_keys_file = "/run/keys"

            [gateway]
            listen = "0.0.0.0:8080"
            origins = []

            [auth]
            chain = ["own", "jwt"]
        "#;
        let told: Vec<_> = values(text)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            told,
            [
                "CARILLON_REDIS_URL=redis://h",
                "CARILLON_MAX_PENDING=1000",
                "CARILLON_HYPOTHESIS_STRICT=true",
                "CARILLON_SITES=a.example=acme,*=rest/example.org",
                "CARILLON_TOKEN_KEYS_FILE=/run/keys",
                "CARILLON_GATEWAY_LISTEN=0.0.0.0:8080",
                "CARILLON_GATEWAY_ORIGINS=",
                "CARILLON_AUTH_CHAIN=own,jwt",
            ]
        );
        let share = values("trace_sample = 0.01");
        assert_eq!(share[0].1, "0.01");
    }

    #[test]
    fn what_can_be_no_setting_is_told_with_its_line() {
        let text = "\
Redis = 'hush'
gateway_listen = 'hush'
max_pending = 1979-05-27
sites = ['a=hush,b=hush']

[redis]
url = 'hush'

[api.limits]
body = 'hush'
";
        assert_eq!(
            mistakes(text),
            [
                "c.toml:1: Redis is not a setting",
                "c.toml:2: gateway_listen is not a setting; those that begin like this stand in [gateway], without gateway_",
                "c.toml:3: max_pending: expected text, a number, true or false, or a list of these",
                "c.toml:4: sites: an entry of a list holds a comma, which parts entries",
                "c.toml:6: redis is no table of settings: those are [gateway], [api], [worker] and [auth]",
                "c.toml:9: [api] limits is no table of settings: those are [gateway], [api], [worker] and [auth]",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_line_and_column_and_never_repeated() {
        for (text, at) in [
            ("a = 1\ntoken_keys = hush:hush", "c.toml:2:"),
            ("hush hush", "c.toml:1:"),
            ("token_keys = \"hush", "c.toml:1:"),
            ("hush = 1\nhush = 2", "c.toml:2:"),
            ("a = \"\\hush\"", "c.toml:1:"),
        ] {
            let told = mistakes(text);
            assert!(!told.is_empty(), "{text}");
            for mistake in told {
                assert!(mistake.starts_with(at), "{mistake}");
                assert!(!mistake.contains("hush"), "{mistake}");
            }
        }
    }
}
