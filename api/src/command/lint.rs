//! Whether the events in a file are as they should be, without any Redis.

use std::io::Read as _;
use std::ops::Range;

use broker::Timestamp;
use broker::lint::{Kind, check};
use broker::message::rules::Rules;
use serde::de::IgnoredAny;

use super::parse::Lint;
use super::{Failed, print, tell};
use crate::config;

/// The name by which the standard input is meant.
const STDIN: &str = "-";

/// Says of each mistake in which line it is and what was expected.
pub(super) fn run(lint: &Lint) -> Result<(), Failed> {
    let rules = config::rules_of_environment()?;
    let text = match &*lint.file {
        STDIN => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).map(|_| text)
        }
        file => std::fs::read(file),
    };
    let text = text.map_err(|error| Failed(format!("{}: {error}", lint.file)))?;
    let (events, mistakes) = examine(&text, lint, &rules, Timestamp::now());
    for Mistake { line, what } in &mistakes {
        print(&format!("{}:{line}: {what}", lint.file))?;
    }
    match (events, mistakes.len()) {
        (0, _) => Err(Failed(format!("{}: there is no event in it", lint.file))),
        (_, 0) => {
            tell(&format!("{events} as they should be"));
            Ok(())
        }
        (_, wrong) => Err(Failed(format!(
            "{wrong} of {events} are not as they should be"
        ))),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: usize,
    what: String,
}

/// How many events there are, and what is wrong with them.
fn examine(text: &[u8], lint: &Lint, rules: &Rules, now: Timestamp) -> (usize, Vec<Mistake>) {
    let pieces = pieces(text);
    let mistake = |place: &Range<usize>| {
        let event = &text[place.clone()];
        let line = 1 + newlines(&text[..place.start]);
        let kind = lint.kind.unwrap_or_else(|| match lint.topic {
            Some(_) => Kind::Own,
            None => Kind::of(event),
        });
        let wrong = check(event, kind, lint.topic.as_deref(), rules, now).err()?;
        Some(match serde_json::from_slice::<IgnoredAny>(event) {
            Ok(_) => Mistake {
                line,
                what: wrong.to_string(),
            },
            // Where the JSON ends being any is where to look.
            Err(error) => Mistake {
                line: line + error.line().saturating_sub(1),
                what: format!("{wrong}, at column {}", error.column()),
            },
        })
    };
    (pieces.len(), pieces.iter().filter_map(mistake).collect())
}

/// Where the events are: one in the whole text, or one in each line.
fn pieces(text: &[u8]) -> Vec<Range<usize>> {
    let is_json =
        |place: &Range<usize>| serde_json::from_slice::<IgnoredAny>(&text[place.clone()]).is_ok();
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let place = start..start + line.len();
        start = place.end;
        let blank = line.len() - line.trim_ascii_start().len();
        if blank < line.len() {
            let end = place.start + line.trim_ascii_end().len();
            lines.push(place.start + blank..end);
        }
    }
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
        return Vec::new();
    };
    let whole = first.start..last.end;
    let object = |place: &&Range<usize>| text[place.start] == b'{' && is_json(place);
    if 1 < lines.len() && (is_json(&whole) || !lines.iter().any(|place| object(&place))) {
        return vec![whole];
    }
    lines
}

fn newlines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FINE: &str = r#"{"type":"greeting","body":{"a":1}}"#;

    fn lint(text: &str) -> (usize, Vec<String>) {
        let lint = Lint {
            file: "x".to_owned(),
            kind: None,
            topic: None,
        };
        let rules = Rules {
            text: 10,
            recipients: 2,
            retention: Duration::from_secs(86_400),
        };
        let (events, mistakes) = examine(text.as_bytes(), &lint, &rules, Timestamp::now());
        let mistakes = mistakes
            .into_iter()
            .map(|m| format!("{}: {}", m.line, m.what));
        (events, mistakes.collect())
    }

    #[test]
    fn each_line_is_an_event_or_the_whole_is_one() {
        assert_eq!(lint(FINE), (1, vec![]));
        assert_eq!(lint(&format!("{FINE}\n\n  {FINE}\r\n")), (2, vec![]));
        let pretty = "\n{\n  \"type\": \"greeting\",\n  \"body\": {}\n}\n";
        assert_eq!(lint(pretty), (1, vec![]));
        assert_eq!(lint("\n \n"), (0, vec![]));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_its_place_and_what_was_expected() {
        let text = format!(
            "{FINE}\n{}\n{}\n{}\n{}\n{{\n",
            r#"{"id":"a","action":"create","annotation":{"id":"a","user":"ada"}}"#,
            r#"{"recipients":["ada",""],"message":"x"}"#,
            r#"{"message":"more than ten bytes"}"#,
            r#"{"v":2,"type":"x"}"#,
        );
        let expected = [
            "2: annotation.user: expected acct:<name>@<authority>, at most 256 bytes",
            "3: recipients.1: must not be empty",
            "4: message: has 19 bytes; at most 10 are allowed",
            "5: v: expected 1",
            "6: expected JSON in UTF-8, at column 1",
        ];
        assert_eq!(lint(&text), (6, expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn broken_json_over_several_lines_is_told_where_it_breaks() {
        let text = "{\n  \"type\": \"x\",\n  \"body\": [1,,2]\n}";
        let expected = "3: expected JSON in UTF-8, at column 14";
        assert_eq!(lint(text), (1, vec![expected.to_owned()]));
    }
}
