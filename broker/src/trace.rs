//! Traces: what a request was busy with, and when, told to an OpenTelemetry collector.
//!
//! A [`Span`] also carries what the request is called, and travels with the work
//! done for it, so that log lines can name both. Where nothing is to be exported
//! there is no tracer, and what is asked of it is one look at an `Option`.
//!
//! A span says what was done, how long it took and how much of it there was. It
//! never holds a token, a key, a text, or the name of a recipient or user.

mod settings;
mod parent;
mod export;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{
    SpanBuilder, Status, TraceContextExt as _, Tracer as _, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use prometheus::Registry;

pub use self::export::Exporting;
pub use self::parent::{Parent, Traced};
pub use self::settings::{
    BadEndpoint, BadHeaders, BadShare, Endpoint, Headers, Share, TraceSettings,
};
pub use opentelemetry::trace::SpanKind as Kind;

/// Storing and publishing, in whatever process.
pub(crate) const PUBLISH: &str = "carillon.publish";

/// Makes spans, if there is somewhere to send them. Cheap to clone. By default
/// there is nowhere.
#[derive(Clone, Default)]
pub struct Tracing {
    tracer: Option<SdkTracer>,
}

/// Something that is being done, or whatever is known of the request for which it
/// is. Cheap to clone; what is recorded ends with the last clone.
#[derive(Clone, Debug, Default)]
pub struct Span {
    context: Context,
}

/// What a request is called in the log and by its caller.
struct RequestId(Arc<str>);

/// What log lines say of the request for which something is done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Correlation {
    /// What the request is called.
    pub request_id: Option<Arc<str>>,
    /// The trace that it belongs to and the innermost span, in hexadecimal.
    pub ids: Option<(String, String)>,
}

impl Tracing {
    /// What makes the spans of the process `node` that plays `role`, and what sends
    /// them. What is lost and sent is counted in `registry`, also where nothing is
    /// exported.
    ///
    /// # Errors
    /// If `registry` counts that for another one already.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(
        settings: &TraceSettings,
        role: &'static str,
        node: &str,
        registry: &Registry,
    ) -> Result<(Self, Exporting), prometheus::Error> {
        let described = Resource::builder_empty()
            .with_service_name(format!("carillon-{role}"))
            .with_attribute(KeyValue::new("service.namespace", "carillon"))
            .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let (queue, exporting) = export::start(settings, &described, registry)?;
        let tracer = queue.map(|queue| {
            let root = Sampler::TraceIdRatioBased(settings.sample.get());
            let provider = SdkTracerProvider::builder()
                .with_span_processor(queue)
                .with_sampler(Sampler::ParentBased(Box::new(root)))
                .with_resource(described)
                .build();
            provider.tracer("carillon")
        });
        Ok((Self { tracer }, exporting))
    }

    /// Whether anything is ever recorded.
    pub fn is_on(&self) -> bool {
        self.tracer.is_some()
    }

    /// Something that began at `since` for the request that `known` tells of: part
    /// of its caller's trace, if that has one, else the beginning of one, by chance.
    /// If it is not to be recorded, what is known remains.
    #[must_use]
    pub fn begin(&self, kind: Kind, name: &'static str, known: &Span, since: SystemTime) -> Span {
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_start_time(since);
        let Some(span) = self.recorded(builder, &known.context) else {
            return known.clone();
        };
        if let Some(RequestId(id)) = known.context.get() {
            span.note("carillon.request_id", Arc::clone(id));
        }
        span
    }

    /// A part of what is being done, which begins now. It is recorded if the whole is.
    #[must_use]
    pub fn part(&self, kind: Kind, name: impl Into<Cow<'static, str>>, whole: &Span) -> Span {
        if self.tracer.is_none() || !whole.is_recorded() {
            return Span::default();
        }
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        self.recorded(builder, &whole.context).unwrap_or_default()
    }

    /// A script that Redis runs for it.
    pub(crate) fn script(&self, script: &'static str, whole: &Span) -> Span {
        let span = self.part(Kind::Client, "redis.script", whole);
        span.note("db.system.name", "redis");
        span.note("db.stored_procedure.name", script);
        span
    }

    /// Something that was done from one time to another, with what there is to say of it.
    pub fn was(
        &self,
        kind: Kind,
        name: &'static str,
        parent: &Parent,
        times: (SystemTime, SystemTime),
        notes: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        let notes = notes.into_iter();
        let notes = notes.map(|(key, value)| KeyValue::new(key, value.cast_signed()));
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_start_time(times.0)
            .with_attributes(notes);
        if let Some(span) = self.recorded(builder, &parent.context()) {
            span.context.span().end_with_timestamp(times.1);
        }
    }

    fn recorded(&self, builder: SpanBuilder, parent: &Context) -> Option<Span> {
        let span = self.tracer.as_ref()?.build_with_context(builder, parent);
        let context = parent.with_span(span);
        context.span().is_recording().then_some(Span { context })
    }
}

impl Span {
    /// What is known of a request before anything is done for it: what it is called,
    /// and its caller's trace, if `traceparent` names one.
    pub fn of_request(request_id: &Arc<str>, traceparent: Option<&str>) -> Self {
        let parent = traceparent.and_then(Parent::read);
        let context = parent.map_or_else(Context::new, |parent| parent.context());
        Self {
            context: context.with_value(RequestId(Arc::clone(request_id))),
        }
    }

    /// The same without its caller's trace: who may not have anything done cannot
    /// have anything recorded either.
    #[must_use]
    pub fn without_parent(&self) -> Self {
        let id = self.context.get::<RequestId>();
        let context = id.map_or_else(Context::new, |id| {
            Context::new().with_value(RequestId(Arc::clone(&id.0)))
        });
        Self { context }
    }

    /// That for which the code that calls is being run.
    pub fn current() -> Self {
        Self {
            context: Context::current(),
        }
    }

    /// Does the work as a part of this.
    pub async fn around<F: Future>(&self, work: F) -> F::Output {
        work.with_context(self.context.clone()).await
    }

    /// Says something as a part of this.
    pub fn within<T>(&self, say: impl FnOnce() -> T) -> T {
        let _attached = self.context.clone().attach();
        say()
    }

    /// Whether what is noted will be exported.
    pub fn is_recorded(&self) -> bool {
        self.context.span().is_recording()
    }

    /// Calls it by another name.
    pub fn rename(&self, name: impl Into<Cow<'static, str>>) {
        self.context.span().update_name(name);
    }

    /// Notes something of it.
    pub fn note(&self, key: &'static str, value: impl Into<Value>) {
        if self.is_recorded() {
            let span = self.context.span();
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// It failed, for a reason of a closed set.
    pub fn failed(&self, why: &'static str) {
        self.context.span().set_status(Status::error(why));
    }

    /// What whoever goes on with it elsewhere is told, as W3C Trace Context has it;
    /// nothing if it is not recorded.
    pub fn traceparent(&self) -> Option<String> {
        self.is_recorded()
            .then(|| Parent::of(self.context.span().span_context()).to_string())
    }

    /// The id of the trace, in hexadecimal, if it is recorded.
    pub fn trace_id(&self) -> Option<String> {
        self.is_recorded()
            .then(|| self.context.span().span_context().trace_id().to_string())
    }
}

impl Correlation {
    /// Of that for which the code that calls is being run.
    pub fn current() -> Self {
        Context::map_current(|context| {
            let span = context.span();
            let ids = span.span_context();
            Self {
                request_id: context.get().map(|RequestId(id)| Arc::clone(id)),
                ids: ids
                    .is_valid()
                    .then(|| (ids.trace_id().to_string(), ids.span_id().to_string())),
            }
        })
    }
}

#[cfg(test)]
mod tests;
