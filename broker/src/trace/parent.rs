//! To what a span belongs that was made elsewhere, as W3C Trace Context writes it.
//!
//! What is read here comes from outside: from callers, and through Redis from
//! whoever may publish. It is of one length, and either right or not there.

use std::fmt;
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};

/// Bytes of a `traceparent`; those of later versions may have more behind a dash.
const LENGTH: usize = 55;

/// A span that was made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent(SpanContext);

/// That an event belongs to a trace that is recorded.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The span in which it was published.
    pub parent: Parent,
    /// When it reached this process.
    pub received_at: SystemTime,
}

impl Parent {
    /// Reads a `traceparent`; nothing of what is none.
    pub fn read(text: &str) -> Option<Self> {
        let (fixed, more) = text.trim_ascii().split_at_checked(LENGTH)?;
        let mut parts = fixed.split('-');
        let mut part = |length| {
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let fits = |part: &&str| part.len() == length && part.bytes().all(is_hex);
            parts.next().filter(fits)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let known = match version {
            "00" => more.is_empty(),
            "ff" => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let context = SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            TraceFlags::new(flags) & TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        (known && context.is_valid()).then_some(Self(context))
    }

    /// Whether whoever made it records it.
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    pub(super) fn of(context: &SpanContext) -> Self {
        Self(context.clone())
    }

    pub(super) fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(context) = self;
        let flags = context.trace_flags().to_u8() & TraceFlags::SAMPLED.to_u8();
        write!(
            f,
            "00-{}-{}-{flags:02x}",
            context.trace_id(),
            context.span_id()
        )
    }
}

impl Traced {
    /// The same of an event that comes now; nothing unless its `traceparent` is one
    /// and says that it is recorded.
    pub(crate) fn read(traceparent: &str) -> Option<Box<Self>> {
        let parent = Parent::read(traceparent).filter(Parent::is_sampled)?;
        Some(Box::new(Self {
            parent,
            received_at: SystemTime::now(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_written_as_it_was_read() {
        let parent = Parent::read(GOOD).unwrap();
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), GOOD);
        let unsampled = Parent::read(&GOOD.replace("-01", "-00")).unwrap();
        assert!(!unsampled.is_sampled());
        assert!(Traced::read(&unsampled.to_string()).is_none());
        assert_eq!(Traced::read(GOOD).unwrap().parent, parent);
    }

    #[test]
    fn other_flags_and_later_versions_are_read_as_far_as_they_are_known() {
        let flags = Parent::read(&GOOD.replace("-01", "-ff")).unwrap();
        assert_eq!(flags.to_string(), GOOD);
        for later in ["", "-00", "-what the future brings"] {
            let text = format!("{}{later}", GOOD.replacen("00-", "fe-", 1));
            assert_eq!(Parent::read(&text).unwrap().to_string(), GOOD, "{text}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        let long = "0".repeat(1 << 20);
        for text in [
            "",
            "-",
            "hello",
            &long,
            &format!("{GOOD}-00"),
            &format!("{GOOD}0"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replacen("00-", "0x-", 1),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace("-01", "-+1"),
            &GOOD.replace("-b7", "_b7"),
            &GOOD.replace("0af", "0äf"),
        ] {
            assert_eq!(Parent::read(text), None, "{text:.80}");
        }
    }
}
