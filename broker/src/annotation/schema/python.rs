//! A value as Python's `repr` shows it: what clients find in an error's text.

use std::fmt::{self, Write};

use serde_json::Value;

/// The longest text, in bytes; what exceeds it ends in an ellipsis.
const MAX_SHOWN: usize = 200;

/// The value, or its beginning.
pub(super) fn repr(value: &Value) -> String {
    let mut out = Beginning(String::new());
    if write_value(value, &mut out).is_err() {
        out.0.push('…');
    }
    out.0
}

/// Takes no more than fits, so that a long value costs no more than a short one.
struct Beginning(String);

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if MAX_SHOWN < self.0.len() + text.len() {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn write_value(value: &Value, out: &mut Beginning) -> fmt::Result {
    match value {
        Value::Null => out.write_str("None"),
        Value::Bool(true) => out.write_str("True"),
        Value::Bool(false) => out.write_str("False"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => write_float(float, out),
            None => write!(out, "{number}"),
        },
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.write_char('[')?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.write_str(", ")?;
                }
                write_value(item, out)?;
            }
            out.write_char(']')
        }
        Value::Object(members) => {
            out.write_char('{')?;
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.write_str(", ")?;
                }
                write_text(name, out)?;
                out.write_str(": ")?;
                write_value(member, out)?;
            }
            out.write_char('}')
        }
    }
}

fn write_text(text: &str, out: &mut Beginning) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\\' => out.write_str("\\\\")?,
            c if c == quote => write!(out, "\\{c}")?,
            c if c != ' ' && (c.is_control() || c.is_whitespace()) => match u32::from(c) {
                code @ ..=0xff => write!(out, "\\x{code:02x}")?,
                code @ ..=0xffff => write!(out, "\\u{code:04x}")?,
                code => write!(out, "\\U{code:08x}")?,
            },
            c => out.write_char(c)?,
        }
    }
    out.write_char(quote)
}

/// Both show the fewest digits that read back the same, and change to exponents
/// at the same sizes; Python gives an exponent a sign and two digits.
fn write_float(float: f64, out: &mut Beginning) -> fmt::Result {
    let text = format!("{float:?}");
    match text.split_once('e') {
        None => out.write_str(&text),
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            let digits = digits.strip_suffix(".0").unwrap_or(digits);
            write!(out, "{digits}e{sign}{exponent:0>2}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_in_python() {
        let cases = [
            (json!(null), "None"),
            (json!([true, false]), "[True, False]"),
            (json!({"a": {"b": 1}, "c": []}), "{'a': {'b': 1}, 'c': []}"),
            (json!("it's"), "\"it's\""),
            (json!("'\""), "'\\'\"'"),
            (json!("\"x\""), "'\"x\"'"),
            (
                json!("\\\n\r\t\0\u{7f}\u{a0}\u{2028}"),
                r"'\\\n\r\t\x00\x7f\xa0\u2028'",
            ),
            (json!("é😀"), "'é😀'"),
            (
                json!([1.0, 1.5, -0.0, 1e16, 1.5e-7, 1e22, 123456789012345.0]),
                "[1.0, 1.5, -0.0, 1e+16, 1.5e-07, 1e+22, 123456789012345.0]",
            ),
            (json!(-5), "-5"),
        ];
        for (value, shown) in cases {
            assert_eq!(repr(&value), shown);
        }
    }

    #[test]
    fn long_values_end_in_an_ellipsis() {
        let shown = repr(&json!("é".repeat(1000)));
        assert!(shown.starts_with("'éé") && shown.ends_with("é…"), "{shown}");
        assert!(shown.len() <= MAX_SHOWN + "…".len());
        assert_eq!(repr(&json!("a".repeat(MAX_SHOWN - 2))).len(), MAX_SHOWN);
    }
}
