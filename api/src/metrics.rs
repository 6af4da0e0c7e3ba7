//! What the api counts and times, under `carillon_api_`.
//!
//! Labels take values of closed sets only: nothing a caller writes becomes one.

mod pushes;

use std::time::Instant;

use broker::access::Operation;
use broker::node::entrance::EntranceMetrics;
use broker::node::register::Register;
use prometheus::{Error, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

pub use self::pushes::{Kind, Publishing, Pushes, Replicating};
use crate::failure::Code;
use crate::schema::root_fields;

/// Upper bounds of a request's duration, in seconds.
const REQUEST_SECONDS: [f64; 7] = [0.002, 0.005, 0.02, 0.1, 0.25, 1.0, 10.0];
/// Field and operation of what never came to a field; a field that the schema does not
/// have.
const NONE: &str = "none";
pub(crate) const UNKNOWN: &str = "unknown";
/// What comes of a field.
pub(crate) const OK: &str = "ok";
const ERROR: &str = "error";
/// Beside the codes of errors: the caller hung up, or its time was over.
pub(crate) const ABANDONED: &str = "abandoned";

/// How an access key was judged.
#[derive(Clone, Copy)]
pub enum Auth {
    /// It is good.
    Ok,
    /// The request had none.
    Missing,
    /// It is not known.
    Unknown,
    /// It is past its expiry.
    Expired,
    /// It was disabled.
    Disabled,
    /// It could not be looked up.
    Unavailable,
}

impl Auth {
    const EVERY: [Self; 6] = [
        Self::Ok,
        Self::Missing,
        Self::Unknown,
        Self::Expired,
        Self::Disabled,
        Self::Unavailable,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What became of an event of an annotation system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// It was published.
    Published,
    /// It had been published before.
    Repeated,
    /// It is not what can be published.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Ingested {
    const EVERY: [Self; 4] = [
        Self::Published,
        Self::Repeated,
        Self::Refused,
        Self::Unknown,
    ];

    /// Its name, in answers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// The instruments of one api. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Those of pushes.
    pub pushes: Pushes,
    /// What is counted of connections before their first request.
    pub entrance: EntranceMetrics,
    requests: IntCounterVec,
    errors: IntCounterVec,
    request_seconds: HistogramVec,
    auth: IntCounterVec,
    ingested: [IntCounter; Ingested::EVERY.len()],
    /// Open connections of callers.
    pub connections: IntGauge,
    /// How many there may be.
    pub connections_limit: IntGauge,
    /// Connections accepted.
    pub accepted: IntCounter,
    /// 1 while producers cannot use the function on some server.
    pub function_missing: IntGauge,
    /// Servers on which the function was loaded.
    pub functions_loaded: IntCounter,
}

impl Metrics {
    /// Instruments that `registry` shows.
    ///
    /// # Panics
    /// If it has instruments of the same names: one registry serves one api.
    pub fn new(registry: &Registry) -> Self {
        let register = Register::new("carillon_api", registry);
        Self::register(register).expect("a registry serves one api")
    }

    fn register(register: Register<'_>) -> Result<Self, Error> {
        let ingested = register.counters(
            "ingest_events_total",
            "Events of annotation systems, by the way they came and outcome: published, repeated, refused, or unknown because Redis failed.",
            ["source", "outcome"],
            [],
        )?;
        let asked: Vec<_> = [Operation::Query, Operation::Mutation]
            .into_iter()
            .flat_map(|operation| {
                let fields = root_fields(operation).into_iter();
                let fields = fields.chain([UNKNOWN.to_owned()]);
                fields.map(move |field| (operation.as_str(), field))
            })
            .collect();
        let outcomes = asked.iter().flat_map(|(operation, field)| {
            [OK, ERROR].map(|outcome| [*operation, field.as_str(), outcome])
        });
        Ok(Self {
            pushes: Pushes::register(register)?,
            entrance: EntranceMetrics::register(register)?,
            requests: register.counters(
                "requests_total",
                "Root fields asked for, by operation, field of the schema, and outcome: ok or error.",
                ["operation", "field", "outcome"],
                outcomes.chain([[NONE, NONE, ERROR]]),
            )?,
            errors: register.counters(
                "errors_total",
                "Those of them that failed, by the code of the error, or abandoned.",
                ["code"],
                Code::EVERY.map(Code::label).map(|code| [code]).into_iter().chain([[ABANDONED]]),
            )?,
            request_seconds: register.histograms(
                "request_seconds",
                "Time from a GraphQL request's headers to its answer, by operation; none if it was refused unread.",
                &REQUEST_SECONDS,
                "operation",
            )?,
            auth: register.counters(
                "auth_total",
                "Requests by how their access key was judged.",
                ["outcome"],
                Auth::EVERY.map(|verdict| [verdict.label()]),
            )?,
            ingested: Ingested::EVERY
                .map(|outcome| ingested.with_label_values(&["http", outcome.as_str()])),
            connections: register.gauge("connections", "Open connections of callers.")?,
            connections_limit: register.gauge(
                "connections_limit",
                "Connections of callers that there may be.",
            )?,
            accepted: register.counter("accepts_total", "Connections of callers accepted.")?,
            function_missing: register.gauge(
                "function_missing",
                "1 while producers cannot use the function carillon_publish_v1 on some server.",
            )?,
            functions_loaded: register.counter(
                "functions_loaded_total",
                "Servers on which the function carillon_publish_v1 was missing and has been loaded.",
            )?,
        })
    }

    /// Counts how an access key was judged.
    pub fn judged(&self, auth: Auth) {
        self.auth.with_label_values(&[auth.label()]).inc();
    }

    /// Counts an event of an annotation system.
    pub fn ingested(&self, outcome: Ingested) {
        self.ingested[outcome as usize].inc();
    }

    /// Counts a root field of the schema, and the code with which it failed.
    pub fn resolved(&self, operation: Operation, field: &str, failed: Option<&str>) {
        let outcome = if failed.is_some() { ERROR } else { OK };
        let requests = &self.requests;
        requests
            .with_label_values(&[operation.as_str(), field, outcome])
            .inc();
        if let Some(code) = failed {
            self.errors.with_label_values(&[code]).inc();
        }
    }

    /// Counts a request that never got as far as a field.
    pub fn refused(&self, code: Code) {
        let requests = &self.requests;
        requests.with_label_values(&[NONE, NONE, ERROR]).inc();
        self.errors.with_label_values(&[code.label()]).inc();
    }

    /// Notes how long a request took.
    pub fn answered(&self, operation: Option<Operation>, since: Instant) {
        self.request_seconds
            .with_label_values(&[operation.map_or("none", Operation::as_str)])
            .observe(since.elapsed().as_secs_f64());
    }
}
