//! What a process writes to its standard error.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::util::SubscriberInitExt;

use crate::time::Timestamp;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One JSON object per line: `timestamp`, `level`, `target`, `message`, and
    /// the fields of the event beside them.
    Json,
    /// For people.
    Text,
}

/// The text does not name a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, json or text")]
pub struct BadLogFormat;

impl FromStr for LogFormat {
    type Err = BadLogFormat;

    fn from_str(text: &str) -> Result<Self, BadLogFormat> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(BadLogFormat),
        }
    }
}

/// Which log lines are written: a level, or levels by target (`info,broker::link=debug`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// The text is not a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a level (error, warn, info, debug, trace) or a list such as info,broker=debug")]
pub struct BadLogFilter;

impl LogFilter {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogFilter {
    type Err = BadLogFilter;

    fn from_str(text: &str) -> Result<Self, BadLogFilter> {
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(BadLogFilter),
        }
    }
}

/// Starts logging to standard error. The first call in a process counts. A line that
/// nobody takes is lost, and nothing else: to complain of it there would be a panic.
///
/// A filter that cannot be read counts as `info`; settings refuse one earlier.
pub fn init(format: LogFormat, filter: &str) {
    let filter = EnvFilter::builder()
        .parse(filter)
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    // An error means that logging has begun already.
    if json {
        if json_lines(filter, std::io::stderr).try_init().is_ok() {
            log_panics();
        }
    } else {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(Clock)
            .with_writer(std::io::stderr)
            .log_internal_errors(false)
            .with_ansi(terminal);
        let _ = lines.try_init();
    }
}

/// One JSON object per line, whatever an event holds.
fn json_lines<W>(filter: EnvFilter, writer: W) -> impl SubscriberInitExt
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Clock)
        .with_writer(writer)
        .log_internal_errors(false)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .finish()
}

/// Panics become log lines too. Only a literal message is repeated: one that was
/// put together may quote data, such as the text that could not be sliced.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload().downcast_ref::<&'static str>();
        let place = panic.location().map(ToString::to_string);
        error!(
            location = place,
            "panicked: {}",
            message.copied().unwrap_or("(message withheld)")
        );
    }));
}

/// Log lines carry time as everything else here does.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_event_is_one_json_object_on_a_line_of_its_own() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let lines = json_lines(EnvFilter::new("info"), Arc::new(writer));
        {
            let _logging = lines.set_default();
            tracing::info!(address = %"127.0.0.1:80", reason = "two\nlines", "listening");
            tracing::debug!("not asked for");
            tracing::warn!(sockets = 3, "full");
        }
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        let lines: Vec<serde_json::Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "listening");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["address"], "127.0.0.1:80");
        assert_eq!(lines[0]["reason"], "two\nlines");
        assert_eq!(lines[1]["sockets"], 3);
        let at = lines[1]["timestamp"].as_str().unwrap();
        assert!(at.parse::<Timestamp>().is_ok(), "{at}");
    }

    #[test]
    fn filters_are_levels_by_target() {
        for text in ["info", "warn,broker::link=debug", "off"] {
            assert_eq!(text.parse::<LogFilter>().unwrap().as_str(), text);
        }
        for text in ["broker=loud", "a=b=c"] {
            assert_eq!(text.parse::<LogFilter>(), Err(BadLogFilter), "{text}");
        }
    }
}
