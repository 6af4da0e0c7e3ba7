//! Whether what came is what a case expects, and if not, where they differ.

use regex::Regex;

use super::json::Json;

/// How much of what came must be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// All of it.
    Exact,
    /// The members that are named; arrays whole, element by element.
    Subset,
}

/// Where `got` is not as expected, if anywhere: a path and a sentence.
///
/// In what is expected `{"$any": …}` stands for any value, `{"$absent": true}`
/// for a key that is not there, `{"$regex": "…"}` for a string that matches.
pub(super) fn difference(expected: &Json, got: &Json, how: Match) -> Option<String> {
    compare(expected, Some(got), how, &mut String::new())
}

fn compare(expected: &Json, got: Option<&Json>, how: Match, at: &mut String) -> Option<String> {
    let place = if at.is_empty() { "the whole" } else { &at[1..] };
    match (matcher(expected), got) {
        (Some(("$absent", _)), None) | (Some(("$any", _)), Some(_)) => return None,
        (Some(("$absent", _)), Some(got)) => {
            return Some(format!("{place}: expected to be absent, got {got}"));
        }
        (_, None) => return Some(format!("{place}: expected {expected}, is absent")),
        (Some(("$regex", pattern)), Some(got)) => return mismatch(pattern, got, place),
        _ => {}
    }
    let got = got?;
    match (expected, got) {
        (Json::Object(members), Json::Object(found)) => {
            let wrong = members.iter().find_map(|(name, value)| {
                below(at, name, |at| compare(value, found.get(name), how, at))
            });
            if wrong.is_some() || how == Match::Subset {
                return wrong;
            }
            let more = found.iter().find(|(name, _)| !members.contains_key(*name));
            more.map(|(name, value)| {
                below(at, name, |at| {
                    format!("{}: not expected, got {value}", &at[1..])
                })
            })
        }
        (Json::Array(items), Json::Array(found)) if items.len() == found.len() => {
            let pairs = items.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(n, (item, found))| {
                below(at, &n.to_string(), |at| compare(item, Some(found), how, at))
            })
        }
        _ if expected == got => None,
        _ => Some(format!("{place}: expected {expected}, got {got}")),
    }
}

/// Does something one step further down the path.
fn below<T>(at: &mut String, step: &str, work: impl FnOnce(&mut String) -> T) -> T {
    let before = at.len();
    at.push('.');
    at.push_str(step);
    let done = work(at);
    at.truncate(before);
    done
}

/// The matcher that an expected value is, if it is one.
fn matcher(expected: &Json) -> Option<(&str, &Json)> {
    let Json::Object(members) = expected else {
        return None;
    };
    let (name, value) = members.first_key_value()?;
    (members.len() == 1 && name.starts_with('$')).then_some((name, value))
}

fn mismatch(pattern: &Json, got: &Json, place: &str) -> Option<String> {
    let regex = pattern
        .as_str()
        .and_then(|pattern| Regex::new(pattern).ok());
    let Some(regex) = regex else {
        return Some(format!(
            "{place}: the case has no regular expression: {pattern}"
        ));
    };
    let matches = got.as_str().is_some_and(|text| regex.is_match(text));
    (!matches).then(|| format!("{place}: expected to match {pattern}, got {got}"))
}

/// Where a value has not the shape that is asked for, if anywhere.
///
/// A shape names the JSON type of a value, several of them with `|`; `?` behind a
/// type says that the key may be absent. An array holds the shape of each of its
/// elements, an object that of its members.
pub(super) fn misshapen(shape: &Json, value: &Json) -> Option<String> {
    bend(shape, Some(value), &mut String::new())
}

fn bend(shape: &Json, value: Option<&Json>, at: &mut String) -> Option<String> {
    let place = if at.is_empty() { "the whole" } else { &at[1..] };
    match (shape, value) {
        (Json::Text(types), None) if types.ends_with('?') => None,
        (_, None) => Some(format!("{place}: expected {shape}, is absent")),
        (Json::Text(types), Some(value)) => {
            let mut types = types.trim_end_matches('?').split('|').map(str::trim);
            let fits = types.any(|name| is(value, name));
            (!fits).then(|| format!("{place}: expected {shape}, got {value}"))
        }
        (Json::Array(shapes), Some(Json::Array(items))) => {
            let shape = shapes.first()?;
            items
                .iter()
                .enumerate()
                .find_map(|(n, item)| below(at, &n.to_string(), |at| bend(shape, Some(item), at)))
        }
        (Json::Object(shapes), Some(Json::Object(members))) => {
            shapes.iter().find_map(|(name, shape)| {
                let key = name.trim_end_matches('?');
                let value = members.get(key);
                let optional = key.len() < name.len() && value.is_none();
                (!optional).then(|| below(at, key, |at| bend(shape, value, at)))?
            })
        }
        (_, Some(value)) => Some(format!("{place}: expected {shape}, got {value}")),
    }
}

fn is(value: &Json, name: &str) -> bool {
    match name {
        "any" => true,
        "bool" => value.kind() == "boolean",
        "integer" | "int" => {
            value.kind() == "number" && !value.to_string().contains(['.', 'e', 'E'])
        }
        name => value.kind() == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(how: Match, expected: &str, got: &str) -> String {
        let (expected, got) = (Json::parse(expected).unwrap(), Json::parse(got).unwrap());
        difference(&expected, &got, how).unwrap_or_else(|| "equal".to_owned())
    }

    #[test]
    fn a_subset_names_some_members_and_whole_arrays() {
        let told = |expected, got| told(Match::Subset, expected, got);
        assert_eq!(
            told(r#"{"a":[{"b":1}]}"#, r#"{"a":[{"b":1,"c":2}],"d":3}"#),
            "equal"
        );
        assert_eq!(
            told(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#),
            "a: expected [1], got [1,2]"
        );
        assert_eq!(
            told(r#"{"a":[{"b":1}]}"#, r#"{"a":[{"b":2}]}"#),
            "a.0.b: expected 1, got 2"
        );
        assert_eq!(told(r#"{"a":1}"#, "{}"), "a: expected 1, is absent");
        assert_eq!(told("{}", "[]"), "the whole: expected {}, got []");
    }

    #[test]
    fn an_exact_match_leaves_nothing_over() {
        let told = |expected, got| told(Match::Exact, expected, got);
        assert_eq!(told(r#"{"a":{"b":1}}"#, r#"{"a":{"b":1.0}}"#), "equal");
        assert_eq!(
            told(r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":2}}"#),
            "a.c: not expected, got 2"
        );
    }

    #[test]
    fn matchers_stand_for_values() {
        for how in [Match::Exact, Match::Subset] {
            let told = |expected, got| told(how, expected, got);
            let wanted = r#"{"a":{"$any":true},"b":{"$absent":true},"c":{"$regex":"^(?i)X\\d"}}"#;
            assert_eq!(told(wanted, r#"{"a":null,"c":"x1y"}"#), "equal");
            assert_eq!(
                told(wanted, r#"{"c":"x1"}"#),
                r#"a: expected {"$any":true}, is absent"#
            );
            assert_eq!(
                told(wanted, r#"{"a":1,"b":null,"c":"x1"}"#),
                "b: expected to be absent, got null"
            );
            assert_eq!(
                told(wanted, r#"{"a":1,"c":"yx1"}"#),
                r#"c: expected to match "^(?i)X\\d", got "yx1""#
            );
        }
    }

    #[test]
    fn a_shape_names_types() {
        let told = |value: &str| {
            let shape = r#"{"id":"string","n":"number|null","tags":["string"],"more":"object?"}"#;
            let (shape, value) = (Json::parse(shape).unwrap(), Json::parse(value).unwrap());
            misshapen(&shape, &value).unwrap_or_else(|| "fits".to_owned())
        };
        assert_eq!(told(r#"{"id":"a","n":null,"tags":[],"x":1}"#), "fits");
        assert_eq!(
            told(r#"{"id":"a","n":1,"tags":["t",2],"more":{}}"#),
            r#"tags.1: expected "string", got 2"#
        );
        assert_eq!(
            told(r#"{"id":"a","n":"1","tags":[]}"#),
            r#"n: expected "number|null", got "1""#
        );
        assert_eq!(
            told(r#"{"id":"a","n":1}"#),
            r#"tags: expected ["string"], is absent"#
        );
    }
}
