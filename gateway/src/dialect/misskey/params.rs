//! What a client says about the channel that it opens.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The parameters of a channel.
#[derive(Debug, Default)]
pub struct Params(Map<String, Value>);

impl Params {
    /// Reads them; without any, and if they are no object, there are none.
    pub fn read(params: Option<&RawValue>) -> Self {
        let params = params.and_then(|params| serde_json::from_str(params.get()).ok());
        params.map(Self).unwrap_or_default()
    }

    /// A string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Yes or no, by what JavaScript takes for true.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        match self.0.get(name) {
            None | Some(Value::Null) => default,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(_) | Value::Object(_)) => true,
        }
    }

    /// Whatever it is.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_what_javascript_takes_for_true() {
        for (written, by_default, without) in [
            ("true", true, true),
            ("false", false, false),
            ("null", true, false),
            ("0", false, false),
            ("-0.0", false, false),
            ("0e9", false, false),
            ("1", true, true),
            ("-0.5", true, true),
            (r#""""#, false, false),
            (r#""false""#, true, true),
            ("[]", true, true),
            ("{}", true, true),
        ] {
            let json = format!(r#"{{"a":{written}}}"#);
            let raw = serde_json::from_str(&json).unwrap();
            let params = Params::read(Some(raw));
            assert_eq!(params.flag("a", true), by_default, "{written}");
            assert_eq!(params.flag("a", false), without, "{written}");
        }
        assert!(Params::read(None).flag("a", true));
        assert!(!Params::default().flag("a", false));
    }

    #[test]
    fn only_a_string_is_text() {
        let raw = serde_json::from_str(r#"{"a":"x","b":5,"c":null}"#).unwrap();
        let params = Params::read(Some(raw));
        assert_eq!(params.text("a"), Some("x"));
        assert_eq!(params.text("b").or(params.text("c")), None);
        assert_eq!(params.text("d"), None);
    }
}
