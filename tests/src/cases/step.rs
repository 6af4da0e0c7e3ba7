//! One step of a case, as it was written, and answers held against it.

use std::time::Duration;

use super::compare::{Match, difference};
use super::json::Json;
use crate::http::Response;

/// How long to listen for nothing where a step does not say, in milliseconds.
const USUAL: u64 = 400;

/// A step whose variables are replaced.
pub(super) struct Step(pub(super) Json);

impl Step {
    pub(super) fn member(&self, name: &str) -> Result<&Json, String> {
        let member = self.0.get(name);
        member.ok_or_else(|| format!("the step has no {name}"))
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, String> {
        let text = self.member(name)?.as_str();
        text.ok_or_else(|| format!("{name} of the step is no string"))
    }

    pub(super) fn optional_text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, String> {
        let number = self.member(name)?.as_u64();
        number.ok_or_else(|| format!("{name} of the step is no number"))
    }

    pub(super) fn flag(&self, name: &str, usual: bool) -> bool {
        match self.0.get(name) {
            Some(Json::Bool(value)) => *value,
            _ => usual,
        }
    }

    /// How long nothing must come.
    pub(super) fn quiet(&self) -> Duration {
        Duration::from_millis(self.number("within_ms").unwrap_or(USUAL))
    }

    /// The members of an object, as texts.
    pub(super) fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let Some(Json::Object(members)) = self.0.get(name) else {
            return Vec::new();
        };
        let text = |value: &Json| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let pairs = members.iter();
        pairs
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    /// The bytes that `hex` spells.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        let hex = self.optional_text("hex").unwrap_or("");
        let byte = |at: usize| {
            hex.get(at..at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let bytes: Option<_> = (0..hex.len()).step_by(2).map(byte).collect();
        bytes.ok_or_else(|| format!("{hex} is not hexadecimal"))
    }
}

/// Holds an answer of HTTP against what a step expects of it.
pub(super) fn check(expected: &Json, response: &Response) -> Result<(), String> {
    let Json::Object(members) = expected else {
        return Err(format!("the step expects {expected}, which is no object"));
    };
    for (name, wanted) in members {
        let wrong = match (name.as_str(), wanted) {
            ("status", Json::Array(several)) => {
                let status = Json::from(u64::from(response.status));
                (!several.contains(&status)).then(|| format!("expected a status of {wanted}"))
            }
            ("status", wanted) => {
                let status = Json::from(u64::from(response.status));
                (*wanted != status).then(|| format!("expected status {wanted}"))
            }
            ("json_subset" | "json", wanted) => {
                let how = match name.as_str() {
                    "json" => Match::Exact,
                    _ => Match::Subset,
                };
                match Json::parse(&response.text()) {
                    Ok(body) => difference(wanted, &body, how),
                    Err(_) => Some("expected JSON".to_owned()),
                }
            }
            ("headers", Json::Object(headers)) => headers.iter().find_map(|(name, wanted)| {
                let got = response.header(&name.to_lowercase()).unwrap_or("");
                difference(wanted, &got.into(), Match::Exact).map(|at| format!("{name}: {at}"))
            }),
            ("absent_headers", Json::Array(names)) => {
                let names = names.iter().filter_map(Json::as_str);
                let mut present =
                    names.filter(|name| response.header(&name.to_lowercase()).is_some());
                present
                    .next()
                    .map(|name| format!("expected no header {name}"))
            }
            (name, _) => Some(format!("nobody here knows the expectation {name}")),
        };
        if let Some(wrong) = wrong {
            return Err(format!("{wrong}; got {}", tell(response)));
        }
    }
    Ok(())
}

/// An answer for a person to read.
pub(super) fn tell(response: &Response) -> String {
    const BODY: usize = 600;
    let text: String = response.text().chars().take(BODY).collect();
    let headers = response.headers.iter();
    let headers = headers.map(|(name, value)| format!("{name}: {value}"));
    let headers = headers.collect::<Vec<_>>().join(", ");
    format!("status {} ({headers}) {text}", response.status)
}
