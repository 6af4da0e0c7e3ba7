//! Spans on their way to the collector, in batches, off everybody's path.
//!
//! Whoever ends a span leaves it in a queue and never waits: where that is full, or
//! the collector does not take what it is sent, spans are dropped and counted.

use std::fmt;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prometheus::{IntCounter, Registry};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode, Url, redirect};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Headers, TraceSettings};
use crate::node::register::Register;

/// Spans that may wait: a few MiB at most.
const QUEUE: usize = 2048;
/// Spans sent together.
const BATCH: usize = 512;
/// How long a batch that is not full waits for more.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take to answer, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A batch that the collector cannot take now is sent again after these pauses.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// How long what is left may take when the process ends.
const PARTING: Duration = Duration::from_secs(2);
/// How often the log says that the collector fails.
const REMINDER: Duration = Duration::from_secs(60);
/// Bytes read of an answer, which says hardly anything.
const ANSWER: usize = 16 << 10;

/// What is counted of spans.
#[derive(Clone, Debug)]
struct Counted {
    exported: IntCounter,
    /// The queue was full.
    overflown: IntCounter,
    /// The collector did not take them.
    refused: IntCounter,
}

/// Where ended spans are left.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counted: Counted,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counted.overflown.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What sends spans, if anything is exported.
#[derive(Debug, Default)]
pub struct Exporting {
    task: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Exporting {
    /// Sends what is left, for up to two seconds. To be called when nothing that
    /// makes spans is running any more.
    pub async fn finish(self) {
        if let Some((last_call, mut task)) = self.task {
            last_call.cancel();
            if tokio::time::timeout(PARTING, &mut task).await.is_err() {
                task.abort();
                warn!("the last traces were not sent within {PARTING:?}");
            }
        }
    }
}

/// Begins to send, if the settings say where to.
pub(super) fn start(
    settings: &TraceSettings,
    described: &Resource,
    registry: &Registry,
) -> Result<(Option<Queue>, Exporting), prometheus::Error> {
    let register = Register::new("carillon_trace", registry);
    let dropped = register.counters(
        "dropped_total",
        "Spans that were lost, by why: the queue to the exporter was full, or the collector did not take them.",
        ["why"],
        [],
    )?;
    let counted = Counted {
        exported: register.counter("exported_total", "Spans that the collector took.")?,
        overflown: dropped.with_label_values(&["queue"]),
        refused: dropped.with_label_values(&["collector"]),
    };
    let Some(endpoint) = &settings.endpoint else {
        return Ok((None, Exporting::default()));
    };
    let client = Client::builder()
        // A redirect could take the credentials to somebody else.
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("carillon/", env!("CARGO_PKG_VERSION")))
        .build();
    let Ok(client) = client else {
        error!("no traces are sent: there is no HTTPS here");
        return Ok((None, Exporting::default()));
    };
    let collector = Collector {
        client,
        traces: endpoint.traces().clone(),
        headers: settings.headers.clone(),
        described: described.into(),
        counted: counted.clone(),
        told_at: None,
        last_call: CancellationToken::new(),
    };
    let last_call = collector.last_call.clone();
    let (spans, left) = mpsc::channel(QUEUE);
    let task = tokio::spawn(collector.run(left));
    let exporting = Exporting {
        task: Some((last_call, task)),
    };
    Ok((Some(Queue { spans, counted }), exporting))
}

/// Why a batch was not taken.
#[derive(Debug)]
enum Refusal {
    Unreachable,
    Silent,
    Status(StatusCode),
}

impl Refusal {
    /// Whether it may be taken later.
    fn passes(&self) -> bool {
        match self {
            Self::Unreachable | Self::Silent => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => write!(f, "it cannot be reached"),
            Self::Silent => write!(f, "it does not answer in time"),
            Self::Status(status) => write!(f, "it answers {}", status.as_u16()),
        }
    }
}

/// The collector, as one task sees it.
struct Collector {
    client: Client,
    traces: Url,
    headers: Headers,
    described: ResourceAttributesWithSchema,
    counted: Counted,
    /// When the log was last told that it fails; none while it does not.
    told_at: Option<Instant>,
    /// Cancelled when nothing more comes.
    last_call: CancellationToken,
}

impl Collector {
    /// Sends what is left, until the last call.
    async fn run(mut self, mut left: mpsc::Receiver<SpanData>) {
        let last_call = self.last_call.clone();
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                got = left.recv_many(&mut batch, BATCH) => if got == 0 {
                    return;
                },
                () = last_call.cancelled() => return,
            }
            tokio::select! {
                () = fill(&mut left, &mut batch) => {}
                () = last_call.cancelled() => {}
            }
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.described),
        };
        let body = Bytes::from(request.encode_to_vec());
        let mut pauses = AGAIN.into_iter();
        loop {
            let refusal = match self.post(body.clone()).await {
                Ok(rejected) => {
                    self.counted.refused.inc_by(rejected.min(spans));
                    self.counted.exported.inc_by(spans.saturating_sub(rejected));
                    if self.told_at.take().is_some() {
                        info!("the collector takes traces again");
                    }
                    return;
                }
                Err(refusal) => refusal,
            };
            self.tell(&refusal);
            match pauses.next() {
                Some(pause) if refusal.passes() && !self.last_call.is_cancelled() => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.last_call.cancelled() => {}
                    }
                }
                _ => return self.counted.refused.inc_by(spans),
            }
        }
    }

    /// Sends a batch once; how many spans of it the collector would not have.
    async fn post(&self, body: Bytes) -> Result<u64, Refusal> {
        let kind = HeaderValue::from_static("application/x-protobuf");
        let request = self.client.post(self.traces.clone());
        let request = request.headers(self.headers.map());
        let request = request.header(CONTENT_TYPE, kind).body(body);
        let answer = request.send().await.map_err(|error| {
            if error.is_timeout() {
                Refusal::Silent
            } else {
                Refusal::Unreachable
            }
        });
        let mut answer = answer?;
        if !answer.status().is_success() {
            return Err(Refusal::Status(answer.status()));
        }
        // It has taken them; what it says of some may not be understood.
        let mut said = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            if ANSWER < said.len() + chunk.len() {
                return Ok(0);
            }
            said.extend_from_slice(&chunk);
        }
        let said = ExportTraceServiceResponse::decode(&*said).unwrap_or_default();
        let partial = said.partial_success.unwrap_or_default();
        Ok(u64::try_from(partial.rejected_spans).unwrap_or(0))
    }

    fn tell(&mut self, refusal: &Refusal) {
        let now = Instant::now();
        if self.told_at.is_none_or(|at| REMINDER <= now - at) {
            warn!("the collector takes no traces: {refusal}; what it does not take is dropped");
            self.told_at = Some(now);
        }
    }
}

/// Waits for more until the batch is full, or has waited long enough.
async fn fill(left: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    let more = async {
        while batch.len() < BATCH && !left.is_closed() {
            let room = BATCH - batch.len();
            left.recv_many(batch, room).await;
        }
    };
    // To have waited long enough is as good as to be full.
    let _ = tokio::time::timeout(LINGER, more).await;
}
