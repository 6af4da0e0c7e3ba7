//! JSON from a client: bounded in depth, and all of it characters.

use serde_json::Value;

use super::{Invalid, MAX_DEPTH};

/// The longest path that is told, in bytes.
const MAX_PATH: usize = 200;

/// Reads a value.
///
/// JSON can spell halves of characters, `\ud83d`, which are no text. Clients
/// that cut a text between the halves send them, and are told where.
pub(in crate::annotation) fn read(json: &[u8]) -> Result<Value, Invalid> {
    let json = std::str::from_utf8(json).map_err(|_| Invalid::NotJson)?;
    let halves = halves(json)?;
    if halves.is_empty() {
        return parse(json);
    }
    // A half is where two substitutes for it make a difference.
    let one = parse(&substituted(json, &halves, "\\ufffd"))?;
    let other = parse(&substituted(json, &halves, "\\ufffe"))?;
    let mut path = Vec::new();
    find_difference(&one, &other, &mut path);
    Err(Invalid::HalfCharacter { path: told(&path) })
}

fn parse(json: &str) -> Result<Value, Invalid> {
    serde_json::from_str(json).map_err(|_| Invalid::NotJson)
}

/// Where escapes stand that spell half a character.
fn halves(json: &str) -> Result<Vec<usize>, Invalid> {
    let bytes = json.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut depth, mut in_text) = (0, 0_usize, false);
    while let Some(&byte) = bytes.get(at) {
        let mut width = 1;
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => match unit(bytes, at) {
                Some(0xd800..=0xdbff) => {
                    if let Some(0xdc00..=0xdfff) = unit(bytes, at + 6) {
                        width = 12;
                    } else {
                        found.push(at);
                        width = 6;
                    }
                }
                Some(0xdc00..=0xdfff) => {
                    found.push(at);
                    width = 6;
                }
                // What else is escaped is one byte, or digits.
                _ => width = 2,
            },
            b'[' | b'{' if !in_text => {
                depth += 1;
                if MAX_DEPTH < depth {
                    return Err(Invalid::TooDeep);
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += width;
    }
    Ok(found)
}

/// The UTF-16 unit that an escape spells.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    // A sign is no digit, though the number would parse with one.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn substituted(json: &str, halves: &[usize], substitute: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut end = 0;
    for &at in halves {
        out.push_str(&json[end..at]);
        out.push_str(substitute);
        end = at + substitute.len();
    }
    out.push_str(&json[end..]);
    out
}

/// Whether they differ, and the way to the first difference; a name that differs
/// is not on it.
fn find_difference(one: &Value, other: &Value, path: &mut Vec<String>) -> bool {
    match (one, other) {
        (Value::Array(ones), Value::Array(others)) => {
            ones.iter()
                .zip(others)
                .enumerate()
                .any(|(index, (one, other))| {
                    path.push(index.to_string());
                    let differ = find_difference(one, other, path);
                    if !differ {
                        path.pop();
                    }
                    differ
                })
        }
        (Value::Object(ones), Value::Object(others)) => ones.iter().any(|(name, one)| {
            let Some(other) = others.get(name) else {
                return true;
            };
            path.push(name.clone());
            let differ = find_difference(one, other, path);
            if !differ {
                path.pop();
            }
            differ
        }),
        _ => one != other,
    }
}

/// The path in words. What stands around a quoted text goes by its own name.
fn told(path: &[String]) -> String {
    let names: Vec<_> = path.iter().map(String::as_str).collect();
    let mut told = match names.as_slice() {
        ["target", _, "selector", _, end @ ("prefix" | "suffix")] => (*end).to_owned(),
        [] => "payload".to_owned(),
        names => names.join("."),
    };
    told.truncate(told.floor_char_boundary(MAX_PATH));
    told
}
