//! What is recorded of a request: what was asked for by the names that the schema
//! has, how it ended, and whose key it came with. Never what it said.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use broker::access::Identity;
use broker::trace::{Kind, Span, Tracing};
use tracing::error;

use crate::failure::Code;
use crate::router::REQUEST_TIMEOUT;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Outcomes that are the cluster's fault and not the caller's.
const SERIOUS: [&str; 2] = [Code::Unavailable.label(), Code::Internal.label()];

/// A request that is being answered.
pub(crate) struct Answering {
    tracing: Tracing,
    name: &'static str,
    since: SystemTime,
    /// Of what comes before it is known who asks.
    known: Span,
    /// Once that is known.
    recorded: OnceLock<Span>,
}

impl Answering {
    /// One to this route that comes now, with this head.
    pub(crate) fn begin(
        tracing: &Tracing,
        name: &'static str,
        headers: &HeaderMap,
        request_id: &Arc<str>,
    ) -> Self {
        let parent = headers.get(&TRACEPARENT).and_then(|it| it.to_str().ok());
        Self {
            tracing: tracing.clone(),
            name,
            since: SystemTime::now(),
            known: Span::of_request(request_id, parent),
            recorded: OnceLock::new(),
        }
    }

    /// What is known of it by now.
    pub(crate) fn span(&self) -> &Span {
        self.recorded.get().unwrap_or(&self.known)
    }

    /// Whoever asks has shown this key. Only now its caller's trace counts.
    pub(crate) fn of(&self, identity: &Identity) -> &Span {
        self.recorded.get_or_init(|| {
            let span = self
                .tracing
                .begin(Kind::Server, self.name, &self.known, self.since);
            span.note("carillon.tenant", identity.tenant.as_str().to_owned());
            span
        })
    }

    /// It will not be answered any more.
    pub(crate) fn took_too_long(&self, request_id: &str) {
        self.span().within(|| {
            error!(
                request_id,
                "request {request_id} took longer than {REQUEST_TIMEOUT:?}"
            );
        });
    }

    /// It was answered like this, and says so to its caller.
    pub(crate) fn answered(&self, outcome: &'static str, response: &mut Response) {
        let span = self.recorded.get_or_init(|| {
            let stranger = self.known.without_parent();
            self.tracing
                .begin(Kind::Server, self.name, &stranger, self.since)
        });
        let status = response.status();
        span.note("http.request.method", "POST");
        span.note("http.response.status_code", i64::from(status.as_u16()));
        span.note("carillon.outcome", outcome);
        if status >= StatusCode::INTERNAL_SERVER_ERROR || SERIOUS.contains(&outcome) {
            span.failed(outcome);
        }
        if let Some(id) = span
            .trace_id()
            .and_then(|id| HeaderValue::from_str(&id).ok())
        {
            response.headers_mut().insert(&TRACE_ID, id);
        }
    }
}
