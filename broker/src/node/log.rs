//! What a process writes to its standard error.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing::{Event, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::time::Timestamp;
use crate::trace::Correlation;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One JSON object per line: `timestamp`, `level`, `target`, `message`, the fields
    /// of the event beside them, and `request_id`, `trace_id` and `span_id` of the
    /// request for which it was written.
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
        .map_event_format(Correlated)
        .finish()
}

/// Lines in JSON that name the request for which they are written.
struct Correlated<F>(F);

impl<S, N, F> FormatEvent<S, N> for Correlated<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Correlation { request_id, ids } = Correlation::current();
        if request_id.is_none() && ids.is_none() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end().strip_suffix('}').ok_or(std::fmt::Error)?;
        writer.write_str(line)?;
        // All three are made of characters that need no escaping. A quote that is part
        // of a text has a backslash in front, so this finds members only.
        if let Some(id) = request_id.filter(|_| !line.contains(r#""request_id":"#)) {
            write!(writer, r#","request_id":"{id}""#)?;
        }
        if let Some((trace, span)) = ids {
            write!(writer, r#","trace_id":"{trace}","span_id":"{span}""#)?;
        }
        writeln!(writer, "}}")
    }
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
    use crate::trace::Span;

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
    fn a_line_names_the_request_for_which_it_is_written() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let lines = json_lines(EnvFilter::new("info"), Arc::new(writer));
        {
            let _logging = lines.set_default();
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
            let of = |parent| Span::of_request(&"api-7".into(), parent);
            of(Some(parent)).within(|| tracing::info!("quoted \"request_id\": {{}}"));
            of(None).within(|| tracing::info!(request_id = "api-7", "named already"));
            tracing::info!("of nobody");
        }
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        assert_eq!(written.matches(r#""request_id":"api-7""#).count(), 2);
        let lines: Vec<serde_json::Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(lines[0]["span_id"], "b7ad6b7169203331");
        assert_eq!(lines[0]["request_id"], "api-7");
        assert_eq!(lines[1].get("trace_id"), None);
        assert_eq!(lines[1]["request_id"], "api-7");
        assert_eq!(lines[2].get("request_id"), None);
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
