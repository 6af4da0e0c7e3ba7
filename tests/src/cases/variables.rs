//! `${…}` in the steps of a case: who takes part, and what was saved on the way.

use std::collections::BTreeMap;

use super::json::Json;

/// What the names in a case stand for.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, Json>);

impl Variables {
    /// From now on `${name}` is this value, and `${name.path}` what is in it:
    /// members by their keys, elements by their numbers.
    pub fn set(&mut self, name: &str, value: Json) {
        self.0.insert(name.to_owned(), value);
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// If nobody said.
    pub fn get(&self, name: &str) -> Result<&Json, String> {
        let mut steps = name.split('.');
        let first = steps.next().unwrap_or_default();
        let missing = |step| format!("${{{name}}} stands for nothing: there is no {step}");
        let mut found = self.0.get(first).ok_or_else(|| missing(first))?;
        for step in steps {
            found = found.get(step).ok_or_else(|| missing(step))?;
        }
        Ok(found)
    }

    /// The value with its variables replaced. A string that is a variable and
    /// nothing else becomes that very value, whatever its type.
    ///
    /// # Errors
    /// If a variable stands for nothing.
    pub fn fill(&self, value: &Json) -> Result<Json, String> {
        value.map_texts(&mut |text| self.fill_text(text))
    }

    fn fill_text(&self, text: &str) -> Result<Json, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            let value = self.get(name)?;
            if before.is_empty() && after.is_empty() && filled.is_empty() {
                return Ok(value.clone());
            }
            filled.push_str(before);
            match value {
                Json::Text(text) => filled.push_str(text),
                other => filled.push_str(&other.to_string()),
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(Json::Text(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let mut variables = Variables::default();
        variables.set("case", "c-1".into());
        let saved = r#"{"id":"a1","payload":[{"n":7}]}"#;
        variables.set("ann", Json::parse(saved).unwrap());
        match variables.fill(&Json::parse(text).unwrap()) {
            Ok(value) => value.to_string(),
            Err(error) => error,
        }
    }

    #[test]
    fn a_variable_is_a_value_or_a_part_of_a_text() {
        assert_eq!(
            filled(r#"{"u":["https://d/${case}/x?${ann.id}"],"p":"${ann.payload.0}"}"#),
            r#"{"p":{"n":7},"u":["https://d/c-1/x?a1"]}"#
        );
        assert_eq!(filled(r#""${ann.payload.0.n}""#), "7");
        assert_eq!(filled(r#""$i, {} and ${""#), r#""$i, {} and ${""#);
    }

    #[test]
    fn a_variable_that_nobody_set_is_told() {
        assert_eq!(
            filled(r#""${gone.id}""#),
            "${gone.id} stands for nothing: there is no gone"
        );
        assert_eq!(
            filled(r#""${ann.x.y}""#),
            "${ann.x.y} stands for nothing: there is no x"
        );
    }
}
