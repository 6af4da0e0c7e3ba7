//! What annotation systems report over HTTP: one event, or up to a hundred.
//!
//! Each event has an answer of its own, in the order in which they came. The
//! api keeps nothing of them; they are published at once, or not at all.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use broker::access::{Identity, Operation};
use broker::annotation::ingest::{self, MAX_REPORTS, Report};
use broker::trace::Span;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::info;

use crate::failure::{Code, Failure};
use crate::metrics::Ingested;
use crate::router::{Endpoint, REQUEST_TIMEOUT, Refusal, respond};
use crate::trace::Answering;

/// What a key's scope has to name.
pub(crate) const FIELD: &str = "ingestAnnotations";

/// What the caller is told.
#[derive(Serialize)]
struct Answer {
    /// Why not all was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told>,
    /// One for each event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outcomes: Vec<EventAnswer>,
}

/// A failure in words.
#[derive(Serialize)]
struct Told {
    code: &'static str,
    message: String,
    /// The code, as it stands in the log and in traces.
    #[serde(skip)]
    label: &'static str,
}

/// What became of one event.
#[derive(Serialize)]
struct EventAnswer {
    /// As its sender calls it, if that could be read.
    id: Option<Arc<str>>,
    #[serde(serialize_with = "name")]
    outcome: Ingested,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn name<S: serde::Serializer>(outcome: &Ingested, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(outcome.as_str())
}

/// `POST /ingest/annotations`.
pub(crate) async fn annotations(
    State(endpoint): State<Arc<Endpoint>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request_id = endpoint.name(&headers);
    let route = "POST /ingest/annotations";
    let answering = Answering::begin(&endpoint.tracing, route, &headers, &request_id);
    let work = endpoint.take_in(&headers, body, &request_id, &answering);
    let work = answering.span().around(work);
    let answered = match tokio::time::timeout(REQUEST_TIMEOUT, work).await {
        Ok(answered) => answered,
        Err(_) => {
            answering.took_too_long(&request_id);
            Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "the request took too long; send the events again, with the same ids",
            ))
        }
    };
    let (status, answer) = answered.unwrap_or_else(|refusal| {
        let answer = Answer {
            error: Some(refusal.failure.into()),
            outcomes: Vec::new(),
        };
        (refusal.status, answer)
    });
    let outcome = answer.error.as_ref().map_or("ok", |told| told.label);
    let mut response = respond(status, &answer, &request_id);
    answering.answered(outcome, &mut response);
    response
}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.as_str(),
            label: failure.code.label(),
            message: failure.message,
        }
    }
}

impl Endpoint {
    async fn take_in(
        &self,
        headers: &HeaderMap,
        body: Body,
        request_id: &str,
        answering: &Answering,
    ) -> Result<(StatusCode, Answer), Refusal> {
        let identity = self.identify(headers).await?;
        let span = answering.of(&identity);
        let work = self.publish(headers, body, request_id, identity, span);
        span.around(work).await
    }

    async fn publish(
        &self,
        headers: &HeaderMap,
        body: Body,
        request_id: &str,
        identity: Identity,
        span: &Span,
    ) -> Result<(StatusCode, Answer), Refusal> {
        if !identity.scopes.allows(Operation::Mutation, FIELD) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                Code::Forbidden,
                format!("the access key has no scope for mutation {FIELD}"),
            ));
        }
        let body = self.json(headers, body).await?;
        let events = events(&body)?;
        span.note("carillon.events", events.len() as i64);
        let reports: Vec<_> = events
            .iter()
            .map(|event| Report::read(event.get().as_bytes(), None))
            .collect();
        let good: Vec<&Report> = reports.iter().flatten().collect();
        let progress = self.ingest.publish(&identity.tenant, &good).await;

        let mut published = progress.outcomes.into_iter();
        let outcomes = reports.into_iter().map(|report| match report {
            Err(refused) => EventAnswer {
                id: refused.id,
                outcome: Ingested::Refused,
                error: Some(refused.why.to_string()),
            },
            Ok(report) => EventAnswer {
                id: Some(report.id),
                outcome: published.next().map_or(Ingested::Unknown, Ingested::from),
                error: None,
            },
        });
        let outcomes: Vec<EventAnswer> = outcomes.collect();
        for event in &outcomes {
            self.metrics.ingested(event.outcome);
        }
        note(&identity, &outcomes, request_id);
        let (status, error) = match progress.failed {
            None => (StatusCode::OK, None),
            Some(reason) => {
                let mut failure = Failure::inside(&reason);
                failure.message.push_str(
                    "; send the events whose outcome is unknown again, with the same ids",
                );
                (StatusCode::SERVICE_UNAVAILABLE, Some(failure.into()))
            }
        };
        Ok((status, Answer { error, outcomes }))
    }
}

impl From<ingest::Outcome> for Ingested {
    fn from(outcome: ingest::Outcome) -> Self {
        match outcome {
            ingest::Outcome::Published => Self::Published,
            ingest::Outcome::Repeated => Self::Repeated,
        }
    }
}

/// Writes down who changed something.
fn note(identity: &Identity, outcomes: &[EventAnswer], request_id: &str) {
    let of = |outcome| {
        outcomes
            .iter()
            .filter(|event| event.outcome == outcome)
            .count()
    };
    info!(
        target: "audit",
        key = &*identity.key_id,
        tenant = identity.tenant.as_str(),
        field = FIELD,
        published = of(Ingested::Published),
        repeated = of(Ingested::Repeated),
        refused = of(Ingested::Refused),
        unknown = of(Ingested::Unknown),
        request_id,
        "{FIELD}: {} events",
        outcomes.len(),
    );
}

/// The events of a body: it is one, or an object whose one member is a list of
/// them.
fn events(body: &[u8]) -> Result<Vec<&RawValue>, Refusal> {
    #[derive(Deserialize)]
    struct Several<'a> {
        #[serde(borrow)]
        events: Option<&'a RawValue>,
    }
    let no_object = || Refusal::bad("the body must be an event, or {\"events\": [event, …]}");
    // An array would be read as the members of an object, in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(no_object());
    }
    let several: Several<'_> = serde_json::from_slice(body).map_err(|_| no_object())?;
    let Some(list) = several.events else {
        let one: &RawValue = serde_json::from_slice(body).map_err(|_| no_object())?;
        return Ok(vec![one]);
    };
    let events: Vec<&RawValue> = serde_json::from_str(list.get())
        .map_err(|_| Refusal::bad("events: expected an array of events"))?;
    match events.len() {
        0 => Err(Refusal::bad("events: expected at least one event")),
        1..=MAX_REPORTS => Ok(events),
        _ => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::Limited,
            format!("events: expected at most {MAX_REPORTS} events"),
        )),
    }
}
