//! What the api counts and times, under `carillon_api_`.
//!
//! Labels take values of closed sets only: nothing a caller writes becomes one.

use std::time::Instant;

use broker::access::Operation;
use broker::quota;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::failure::Code;
use crate::schema::Durability;

/// Upper bounds of a request's duration, in seconds.
const REQUEST_SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// Upper bounds of a publication's duration, in seconds: 0.5 ms doubled up to 4 s.
const PUBLISH_START: f64 = 0.0005;
const PUBLISH_STEPS: usize = 14;

/// What is pushed.
#[derive(Clone, Copy)]
pub enum Kind {
    /// To named recipients.
    Recipient,
    /// To all.
    Global,
}

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
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    auth: IntCounterVec,
    ingested: [IntCounter; 4],
    over_quota: IntCounterVec,
    pushed: [[IntCounter; 2]; 2],
    replication_seconds: Histogram,
    unreplicated: IntCounter,
    publish_seconds: [Histogram; 2],
    /// Open connections of callers.
    pub connections: IntGauge,
    /// Connections accepted.
    pub accepted: IntCounter,
    /// Messages cancelled because their recipients had too many.
    pub crowded_out: IntCounter,
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
        let requests = counters(
            "requests_total",
            "Root fields asked for, by operation, field of the schema, and outcome: ok, the code of the error, or abandoned.",
            &["operation", "field", "outcome"],
        );
        let request_seconds = HistogramVec::new(
            HistogramOpts::new(
                "carillon_api_request_seconds",
                "Time from a GraphQL request's headers to its answer, by operation; none if it was refused unread.",
            )
            .buckets(REQUEST_SECONDS.to_vec()),
            &["operation"],
        )
        .expect("the options are constants");
        let auth = counters(
            "auth_total",
            "Requests by how their access key was judged.",
            &["outcome"],
        );
        for verdict in Auth::EVERY {
            auth.with_label_values(&[verdict.label()]);
        }
        let ingested = counters(
            "ingest_events_total",
            "Events of annotation systems, by the way they came and outcome: published, repeated, refused, or unknown because Redis failed.",
            &["source", "outcome"],
        );
        let over_quota = counters(
            "quota_refusals_total",
            "Pushes refused because a quota of their tenant was used up, by quota.",
            &["quota"],
        );
        for kind in [quota::Kind::Pushes, quota::Kind::Payload] {
            over_quota.with_label_values(&[kind.as_str()]);
        }
        let pushed = counters(
            "messages_pushed_total",
            "Messages stored and published, by kind and by the durability asked for. Repeats under an idempotency key are counted again.",
            &["kind", "durability"],
        );
        let publish_seconds = HistogramVec::new(
            HistogramOpts::new(
                "carillon_api_publish_seconds",
                "Time to store and publish one push to all its recipients, by kind.",
            )
            .buckets(
                prometheus::exponential_buckets(PUBLISH_START, 2.0, PUBLISH_STEPS)
                    .expect("the bounds are constants"),
            ),
            &["kind"],
        )
        .expect("the options are constants");
        let replication_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "carillon_api_replication_seconds",
                "Time until replicas had what was to be replicated of a request, or none had confirmed.",
            )
            .buckets(
                prometheus::exponential_buckets(PUBLISH_START, 2.0, PUBLISH_STEPS)
                    .expect("the bounds are constants"),
            ),
        )
        .expect("the options are constants");
        let unreplicated = IntCounter::new(
            "carillon_api_messages_unreplicated_total",
            "Messages that were to be replicated and that no replica had confirmed in time.",
        )
        .expect("the options are constants");
        let connections = IntGauge::new("carillon_api_connections", "Open connections of callers.")
            .expect("the options are constants");
        let accepted = IntCounter::new(
            "carillon_api_accepts_total",
            "Connections of callers accepted.",
        )
        .expect("the options are constants");
        let crowded_out = IntCounter::new(
            "carillon_api_messages_crowded_out_total",
            "Pending messages cancelled by pushes through this api because their recipient had too many.",
        )
        .expect("the options are constants");
        let function_missing = IntGauge::new(
            "carillon_api_function_missing",
            "1 while producers cannot use the function carillon_publish_v1 on some server.",
        )
        .expect("the options are constants");
        let functions_loaded = IntCounter::new(
            "carillon_api_functions_loaded_total",
            "Servers on which the function carillon_publish_v1 was missing and has been loaded.",
        )
        .expect("the options are constants");
        let all: [Box<dyn Collector>; 14] = [
            Box::new(requests.clone()),
            Box::new(request_seconds.clone()),
            Box::new(auth.clone()),
            Box::new(ingested.clone()),
            Box::new(over_quota.clone()),
            Box::new(pushed.clone()),
            Box::new(publish_seconds.clone()),
            Box::new(replication_seconds.clone()),
            Box::new(unreplicated.clone()),
            Box::new(connections.clone()),
            Box::new(accepted.clone()),
            Box::new(crowded_out.clone()),
            Box::new(function_missing.clone()),
            Box::new(functions_loaded.clone()),
        ];
        for collector in all {
            registry
                .register(collector)
                .expect("a registry serves one api");
        }
        let kinds = ["recipient", "global"];
        Self {
            requests,
            request_seconds,
            auth,
            over_quota,
            ingested: Ingested::EVERY
                .map(|outcome| ingested.with_label_values(&["http", outcome.as_str()])),
            pushed: kinds.map(|kind| {
                ["stored", "replicated"]
                    .map(|durability| pushed.with_label_values(&[kind, durability]))
            }),
            replication_seconds,
            unreplicated,
            publish_seconds: kinds.map(|kind| publish_seconds.with_label_values(&[kind])),
            connections,
            accepted,
            crowded_out,
            function_missing,
            functions_loaded,
        }
    }

    /// Counts how an access key was judged.
    pub fn judged(&self, auth: Auth) {
        self.auth.with_label_values(&[auth.label()]).inc();
    }

    /// Counts a push that was refused for a quota of its tenant.
    pub fn over_quota(&self, kind: quota::Kind) {
        self.over_quota.with_label_values(&[kind.as_str()]).inc();
    }

    /// Counts an event of an annotation system.
    pub fn ingested(&self, outcome: Ingested) {
        self.ingested[outcome as usize].inc();
    }

    /// Counts a root field of the schema by its outcome.
    pub fn resolved(&self, operation: Operation, field: &str, outcome: &str) {
        self.requests
            .with_label_values(&[operation.as_str(), field, outcome])
            .inc();
    }

    /// Counts a request that never got as far as a field.
    pub fn refused(&self, code: Code) {
        self.requests
            .with_label_values(&["none", "none", code.label()])
            .inc();
    }

    /// Notes how long a request took.
    pub fn answered(&self, operation: Option<Operation>, since: Instant) {
        self.request_seconds
            .with_label_values(&[operation.map_or("none", Operation::as_str)])
            .observe(since.elapsed().as_secs_f64());
    }

    /// Replicas are waited for.
    pub fn replicating(&self) -> Replicating<'_> {
        Replicating {
            metrics: self,
            since: Instant::now(),
        }
    }

    /// A push begins.
    pub fn publishing(&self, kind: Kind, durability: Durability) -> Publishing<'_> {
        Publishing {
            metrics: self,
            kind,
            durability,
            since: Instant::now(),
        }
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(format!("carillon_api_{name}"), help), labels)
        .expect("the options are constants")
}

/// A wait for replicas.
pub struct Replicating<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl Replicating<'_> {
    /// It ended; so many messages no replica is known to have.
    pub fn done(self, unconfirmed: usize) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.metrics.replication_seconds.observe(seconds);
        self.metrics.unreplicated.inc_by(unconfirmed as u64);
    }
}

/// A push under way.
pub struct Publishing<'a> {
    metrics: &'a Metrics,
    kind: Kind,
    durability: Durability,
    since: Instant,
}

impl Publishing<'_> {
    /// It ended; this many messages are stored.
    pub fn done(self, messages: usize) {
        let kind = self.kind as usize;
        self.metrics.publish_seconds[kind].observe(self.since.elapsed().as_secs_f64());
        self.metrics.pushed[kind][self.durability as usize].inc_by(messages as u64);
    }
}
