//! JSON whose numbers keep all their digits.
//!
//! A client may number its messages beyond 64 bits and expects the very number
//! back; a float would have lost it. How a number is spelled does not matter:
//! `1`, `1.0` and `10e-1` are equal.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

/// A JSON value. Two are equal whatever the order of keys and the spelling of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number of any size.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object; of a key that was given twice, the last.
    Object(BTreeMap<String, Self>),
}

/// A number as it was spelled.
#[derive(Clone, Debug)]
pub struct Number(String);

impl Json {
    /// Reads one value.
    ///
    /// # Errors
    /// If the text is not JSON.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        read(serde_json::from_str(text)?)
    }

    /// The member of an object, or the element of an array by its number.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            Self::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(Number(digits)) => digits.parse().ok(),
            _ => None,
        }
    }

    /// What kind of value it is, in JSON's words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The value with every string replaced by what `change` makes of it.
    ///
    /// # Errors
    /// The first that `change` returns.
    pub fn map_texts<E>(
        &self,
        change: &mut impl FnMut(&str) -> Result<Self, E>,
    ) -> Result<Self, E> {
        Ok(match self {
            Self::Text(text) => change(text)?,
            Self::Array(items) => {
                let items = items.iter().map(|item| item.map_texts(change));
                Self::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), value.map_texts(change)?)));
                Self::Object(members.collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Number(Number(number.to_string()))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(Number(digits)) => f.write_str(digits),
            Self::Text(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
            Self::Array(items) => {
                f.write_str("[")?;
                for (n, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if n == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (n, (name, value)) in members.iter().enumerate() {
                    let name = serde_json::Value::from(name.as_str());
                    write!(f, "{}{name}:{value}", if n == 0 { "" } else { "," })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl Number {
    /// Sign, digits without zeros at their ends, and the power of ten of the last.
    fn parts(&self) -> (bool, String, i64) {
        let (negative, unsigned) = match self.0.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.0.as_str()),
        };
        let (mantissa, power) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let kept = digits.trim_end_matches('0');
        // Lengths of what stands in a frame: they fit.
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let power = power.parse::<i64>().unwrap_or(i64::MAX);
        let dropped = length(&digits) - length(kept);
        let power = power.saturating_add(dropped - length(fraction));
        match kept.trim_start_matches('0') {
            "" => (false, String::new(), 0),
            kept => (negative, kept.to_owned(), power),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Number {}

fn read(raw: &RawValue) -> serde_json::Result<Json> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            let members = members
                .into_iter()
                .map(|(name, raw)| Ok((name, read(raw)?)));
            Json::Object(members.collect::<serde_json::Result<_>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            Json::Array(items.into_iter().map(read).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Json::Text(serde_json::from_str(text)?),
        Some(b't' | b'f') => Json::Bool(text == "true"),
        Some(b'n') => Json::Null,
        _ => Json::Number(Number(text.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn neither_order_of_keys_nor_spelling_of_numbers_matters() {
        assert_eq!(
            json(r#"{"a":1,"b":[2.50]}"#),
            json(r#"{"b":[25e-1],"a":1.0}"#)
        );
        assert_eq!(json("100"), json("1E+2"));
        assert_eq!(json("-0.0"), json("0"));
        assert_ne!(json("-1"), json("1"));
        assert_ne!(json("10"), json("1"));
        assert_ne!(json("0.1"), json("0.01"));
    }

    #[test]
    fn numbers_beyond_64_bits_are_told_apart_and_kept() {
        let long = "123456789012345678901234567890";
        assert_ne!(json(long), json("123456789012345678901234567891"));
        assert_eq!(json(&format!("[{long}]")).to_string(), format!("[{long}]"));
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        let value = json(r#"{"é\n":["\ud83d\ude00",null,true,{"":-1.5e3}],"a":{}}"#);
        assert_eq!(json(&value.to_string()), value);
    }
}
