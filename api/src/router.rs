//! From an HTTP request to a GraphQL one, and back.
//!
//! The access key is judged before anything of the body is looked at. Refusals
//! are GraphQL errors too, so that a client reads one form only; the status
//! tells clients that look at nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_graphql::{Request, Response as Answer, Variables};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use broker::access::{AccessError, AccessKeys, Identity, Operation};
use broker::annotation::ingest::Ingest;
use broker::trace::{Span, Tracing};
use serde::{Deserialize, Serialize};

use crate::access::{Caller, no_key};
use crate::account::Accounts;
use crate::failure::{Code, Failure};
use crate::ingest;
use crate::metrics::{Auth, Metrics};
use crate::page;
use crate::schema::ApiSchema;
use crate::trace::Answering;

/// How long a request may take, its body included.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What answers requests.
pub struct Endpoint {
    schema: ApiSchema,
    access_keys: AccessKeys,
    /// Publishes what annotation systems report.
    pub(crate) ingest: Ingest,
    /// What requests are counted in.
    pub(crate) metrics: Metrics,
    max_body: usize,
    accounts: Accounts,
    /// What this process is called; request ids begin with it.
    node: String,
    requests: AtomicU64,
    /// Records requests.
    pub(crate) tracing: Tracing,
}

impl Endpoint {
    /// Answers by `schema` whoever has one of these keys.
    pub fn new(
        schema: ApiSchema,
        access_keys: AccessKeys,
        ingest: Ingest,
        metrics: Metrics,
        max_body: usize,
        node: &str,
    ) -> Self {
        Self {
            schema,
            access_keys,
            ingest,
            accounts: Accounts::new(metrics.clone()),
            metrics,
            max_body,
            node: node.to_owned(),
            requests: AtomicU64::new(0),
            tracing: Tracing::default(),
        }
    }

    /// The same, recording some requests.
    #[must_use]
    pub fn traced(mut self, tracing: &Tracing) -> Self {
        self.tracing = tracing.clone();
        self.ingest = self.ingest.traced(tracing.clone());
        self
    }
}

/// Everything served on the public listener.
pub fn router(endpoint: Endpoint) -> Router {
    Router::new()
        .route("/", get(try_it))
        .route("/graphql", get(console).post(graphql))
        .route("/assets/{name}", get(asset))
        .route("/ingest/annotations", post(ingest::annotations))
        .fallback(async || page::plain(StatusCode::NOT_FOUND))
        .with_state(Arc::new(endpoint))
}

async fn try_it(headers: HeaderMap) -> Response {
    page::serve(page::TRY_IT, &headers)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    page::serve(&name, &headers)
}

/// The console, for browsers. Queries are not answered to GET: a link could
/// make a browser send one.
async fn console(headers: HeaderMap) -> Response {
    let browser = headers
        .get(ACCEPT)
        .is_some_and(|types| contains(types, b"text/html"));
    if browser {
        return page::serve(page::CONSOLE, &headers);
    }
    let mut response = page::plain(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn graphql(
    State(endpoint): State<Arc<Endpoint>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let since = Instant::now();
    let request_id = endpoint.name(&headers);
    let answering = Answering::begin(&endpoint.tracing, "POST /graphql", &headers, &request_id);
    let work = endpoint.answer(&headers, body, &request_id, &answering);
    let work = answering.span().around(work);
    let (status, answer, operation) = match tokio::time::timeout(REQUEST_TIMEOUT, work).await {
        Ok(Ok((answer, operation))) => (StatusCode::OK, answer, operation),
        Ok(Err(refusal)) => {
            endpoint.metrics.refused(refusal.failure.code);
            (refusal.status, refusal.answer(), None)
        }
        Err(_) => {
            answering.took_too_long(&request_id);
            let refusal = Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                Code::Unavailable,
                "the request took too long; what it asked for may or may not have been done",
            );
            endpoint.metrics.refused(refusal.failure.code);
            (refusal.status, refusal.answer(), None)
        }
    };
    endpoint.metrics.answered(operation, since);
    let failed = answer.errors.first();
    let outcome = failed.map_or("ok", |error| Code::of(error).label());
    let mut response = respond(status, &answer, &request_id);
    answering.answered(outcome, &mut response);
    response
}

impl Endpoint {
    /// What the request is called: as the caller calls it, if that is short and
    /// plain, else by our own count.
    pub(crate) fn name(&self, headers: &HeaderMap) -> Arc<str> {
        let given = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
        let plain = |id: &&str| {
            (1..=64).contains(&id.len())
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        given.filter(plain).map_or_else(
            || {
                let count = self.requests.fetch_add(1, Ordering::Relaxed);
                format!("{}-{count}", self.node).into()
            },
            Arc::from,
        )
    }

    async fn answer(
        &self,
        headers: &HeaderMap,
        body: Body,
        request_id: &Arc<str>,
        answering: &Answering,
    ) -> Result<(Answer, Option<Operation>), Refusal> {
        let identity = self.identify(headers).await?;
        let span = answering.of(&identity);
        let work = self.execute(headers, body, request_id, identity, span);
        span.around(work).await
    }

    async fn execute(
        &self,
        headers: &HeaderMap,
        body: Body,
        request_id: &Arc<str>,
        identity: Identity,
        span: &Span,
    ) -> Result<(Answer, Option<Operation>), Refusal> {
        let request = self.read(headers, body).await?;
        let name = request.operation_name.clone();
        let caller = Arc::new(Caller::new(identity, Arc::clone(request_id), name));
        let account = self.accounts.open(Arc::clone(&caller));
        let request = request.data(Arc::clone(&caller));
        let mut answer = self.schema.execute(request).await;
        caller.arrange(&mut answer.data);
        name_codes(&mut answer);
        if let Some(call) = caller.call() {
            self.accounts.describe(call, span);
        }
        let operation = account.settle(&answer);
        Ok((answer, operation))
    }

    /// Whose access key came with the request.
    pub(crate) async fn identify(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let unauthenticated = || Refusal {
            status: StatusCode::UNAUTHORIZED,
            failure: no_key(),
        };
        let Some(presented) = headers.get(&API_KEY) else {
            self.metrics.judged(Auth::Missing);
            return Err(unauthenticated());
        };
        let Ok(presented) = presented.to_str() else {
            self.metrics.judged(Auth::Unknown);
            return Err(unauthenticated());
        };
        match self.access_keys.authenticate(presented.trim()).await {
            Ok(identity) => {
                self.metrics.judged(Auth::Ok);
                Ok(identity)
            }
            Err(AccessError::Unavailable(reason)) => {
                self.metrics.judged(Auth::Unavailable);
                Err(Refusal {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    failure: Failure::inside(&reason),
                })
            }
            Err(refused) => {
                self.metrics.judged(match refused {
                    AccessError::Expired => Auth::Expired,
                    AccessError::Disabled => Auth::Disabled,
                    _ => Auth::Unknown,
                });
                Err(unauthenticated())
            }
        }
    }

    /// The whole body, which must be said to be JSON.
    pub(crate) async fn json(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
        let json = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes();
            let end = kind.iter().position(|&b| b == b';').unwrap_or(kind.len());
            kind[..end]
                .trim_ascii()
                .eq_ignore_ascii_case(b"application/json")
        });
        if !json {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::BadUserInput,
                "the body must have the content type application/json",
            ));
        }
        to_bytes(body, self.max_body).await.map_err(|_| {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::Limited,
                format!(
                    "the body must arrive whole and have at most {} bytes",
                    self.max_body
                ),
            )
        })
    }

    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Request, Refusal> {
        let body = self.json(headers, body).await?;
        if body.trim_ascii_start().first() == Some(&b'[') {
            return Err(Refusal::bad(
                "one request at a time: the body must be an object",
            ));
        }
        let Posted {
            query,
            operation_name,
            variables,
        } = serde_json::from_slice(&body)
            .map_err(|error| Refusal::bad(format!("the body is not a GraphQL request: {error}")))?;
        let mut request = Request::new(query).variables(variables.unwrap_or_default());
        request.operation_name = operation_name;
        Ok(request)
    }
}

/// What the GraphQL library itself refuses gets its code here.
fn name_codes(answer: &mut Answer) {
    for error in &mut answer.errors {
        let code = Code::of(error);
        error
            .extensions
            .get_or_insert_default()
            .set("code", code.as_str());
    }
}

/// A GraphQL request as clients send it. What else they send, such as
/// `extensions`, asks for nothing that this server has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    query: String,
    operation_name: Option<String>,
    variables: Option<Variables>,
}

/// Why a request was not executed.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) failure: Failure,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            status,
            failure: Failure::new(code, message),
        }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
    }

    fn answer(self) -> Answer {
        Answer::from_errors(vec![self.failure.into_server_error()])
    }
}

/// The answer to a request that was not looked at.
pub(crate) fn refuse(status: StatusCode, failure: Failure) -> Response {
    let answer = Refusal { status, failure }.answer();
    respond(status, &answer, "none")
}

/// An answer in JSON.
pub(crate) fn respond(status: StatusCode, answer: &impl Serialize, request_id: &str) -> Response {
    let body = serde_json::to_vec(answer).expect("an answer is a tree of JSON values");
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(&REQUEST_ID, request_id)
        .body(body.into())
        .expect("a request id is made of characters that headers may have")
}

fn contains(value: &HeaderValue, part: &[u8]) -> bool {
    value
        .as_bytes()
        .windows(part.len())
        .any(|window| window.eq_ignore_ascii_case(part))
}
