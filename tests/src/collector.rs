//! An OpenTelemetry collector as processes see it: an HTTP server that takes OTLP.
//!
//! What comes is read by the messages of the OpenTelemetry project, and kept as it
//! came too, so that tests can look for what must not be in it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::until::until_some;

/// A span as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// What the process that told it calls itself, such as `carillon-api`.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Of the trace, in hexadecimal, as the two that follow.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Of what it is a part; empty for a whole.
    pub parent: String,
    /// When it began, in nanoseconds.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// Whether it is told to have failed.
    pub failed: bool,
    /// What is noted.
    pub notes: BTreeMap<String, String>,
}

/// A collector that takes what it is told, unless it is told otherwise.
pub struct Collector {
    address: std::net::SocketAddr,
    kept: Arc<Kept>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Told>>,
    raw: Mutex<Vec<u8>>,
    headers: Mutex<Vec<HeaderMap>>,
    requests: AtomicUsize,
    /// What to answer; 0 for nothing at all.
    status: AtomicU16,
}

impl Collector {
    /// One that listens.
    ///
    /// # Panics
    /// If there is no port for it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let kept = Arc::new(Kept::default());
        kept.status.store(200, Ordering::Relaxed);
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&kept));
        let serving = tokio::spawn(async move {
            let served = axum::serve(listener, router).await;
            served.expect("serving ends with the test");
        });
        Self {
            address,
            kept,
            serving,
        }
    }

    /// What to set as `CARILLON_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers this, and keeps nothing unless that is 200.
    pub fn answer(&self, status: u16) {
        self.kept.status.store(status, Ordering::Relaxed);
    }

    /// From now on it takes requests and never answers.
    pub fn hang(&self) {
        self.answer(0);
    }

    /// How often it was asked for anything.
    pub fn requests(&self) -> usize {
        self.kept.requests.load(Ordering::Relaxed)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Told> {
        self.kept.spans.lock().expect("nobody panics here").clone()
    }

    /// A span of this trace and name, once it is there.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn span(&self, trace: &str, name: &str) -> Told {
        let find = async || {
            let all = self.spans().into_iter();
            all.rev()
                .find(|span| span.trace == trace && span.name == name)
        };
        until_some(&format!("a span {name} comes"), find).await
    }

    /// All bytes that it was sent, each request's on lines of their own.
    pub fn raw(&self) -> String {
        let raw = self.kept.raw.lock().expect("nobody panics here");
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// The values of a header, one for each request that had it.
    pub fn header(&self, name: &str) -> Vec<String> {
        let all = self.kept.headers.lock().expect("nobody panics here");
        let values = all
            .iter()
            .filter_map(|headers| headers.get(name)?.to_str().ok());
        values.map(str::to_owned).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(kept): State<Arc<Kept>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    kept.requests.fetch_add(1, Ordering::Relaxed);
    let status = kept.status.load(Ordering::Relaxed);
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let mut raw = kept.raw.lock().expect("nobody panics here");
    raw.extend_from_slice(&body);
    raw.push(b'\n');
    drop(raw);
    let kind = headers.get("content-type").cloned();
    kept.headers
        .lock()
        .expect("nobody panics here")
        .push(headers);
    if kind.is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    if status == 200 {
        let Ok(request) = ExportTraceServiceRequest::decode(body) else {
            return StatusCode::BAD_REQUEST;
        };
        let mut spans = kept.spans.lock().expect("nobody panics here");
        spans.extend(read(request));
    }
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn read(request: ExportTraceServiceRequest) -> Vec<Told> {
    let mut all = Vec::new();
    for of_process in request.resource_spans {
        let described = notes(of_process.resource.unwrap_or_default().attributes);
        let service = described.get("service.name").cloned().unwrap_or_default();
        let scopes = of_process.scope_spans.into_iter();
        for span in scopes.flat_map(|scope| scope.spans) {
            all.push(Told {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                from: span.start_time_unix_nano,
                to: span.end_time_unix_nano,
                failed: span.status.is_some_and(|status| status.code == 2),
                notes: notes(span.attributes),
            });
        }
    }
    all
}

fn notes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let told = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let each = attributes.into_iter();
    each.filter_map(|note| Some((note.key, told(note.value?.value?))))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
