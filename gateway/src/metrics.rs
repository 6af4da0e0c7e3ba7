//! What is measured of a gateway, beside its link ([`broker::link::LinkMetrics`]).

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    exponential_buckets, histogram_opts, opts,
};

use crate::close::CloseReason;
use crate::dialect::hypothesis::{MessageKind, Outcome, Reason};
use crate::dialect::{Protocol, Tally};

/// What came of an attempt to connect.
pub const OUTCOMES: [&str; 8] = [
    "ok",
    "unauthorized",
    "forbidden_origin",
    "forbidden_ip",
    "limited",
    "draining",
    "unavailable",
    "no_upgrade",
];

/// Everything that a gateway counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// What the shards count.
    pub shard: ShardMetrics,
    /// What the errands count.
    pub errands: ErrandMetrics,
    /// What admission counts.
    pub admission: AdmissionMetrics,
    /// Sockets that a drain has still to close.
    pub drain_remaining: IntGauge,
}

/// What the shards count, each label resolved once.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    dialects: [DialectMetrics; Protocol::EVERY.len()],
    /// Topics with a listener, counted once for each shard that has one.
    pub topics: IntGauge,
    dropped_expired: IntCounter,
    /// Bytes waiting for clients to take them.
    pub queue_bytes: IntGauge,
    /// Listeners per event.
    pub fanout: Histogram,
    /// From publishing to the last write of its turn, by the publisher's clock.
    pub publish_to_write: Histogram,
    closes: IntCounterVec,
    slow_closed: IntCounter,
    /// Shards that took nothing for so long that their process ends.
    pub hung: IntCounter,
    age: Histogram,
    viewers: IntGaugeVec,
    messages: IntCounterVec,
    suppressed: IntCounterVec,
}

/// What the shards count of the sockets of one dialect.
#[derive(Clone, Debug)]
pub struct DialectMetrics {
    /// Open sockets.
    pub connections: IntGauge,
    /// Frames from clients.
    pub frames_received: IntCounter,
    frames_sent: IntCounter,
    bytes_sent: IntCounter,
}

/// What the errands count.
#[derive(Clone, Debug)]
pub struct ErrandMetrics {
    seconds: HistogramVec,
    deliveries: IntCounterVec,
    /// Errands that failed and were tried again.
    pub retries: IntCounter,
    /// Errands that can never succeed because of what is stored.
    pub given_up: IntCounter,
    /// Stored messages that cannot be read and were left out.
    pub unreadable: IntCounter,
    /// Messages cancelled for copies of global messages.
    pub crowded_out: IntCounter,
    /// Deliveries of global messages noted.
    pub globals_delivered: IntCounter,
    /// Deliveries that could not be noted because Redis was away for too long.
    pub marks_dropped: IntCounter,
}

/// What admission counts.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    accepts: IntCounterVec,
    /// Connections that have not been upgraded.
    pub handshakes: IntGauge,
    /// Sockets this node may have.
    pub limit: IntGauge,
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: Result<C, Error>) -> Result<C, Error> {
        let collector = collector?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.add(IntGauge::new(full(name), help))
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.add(IntCounter::new(full(name), help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.add(IntGaugeVec::new(opts!(full(name), help), labels))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.add(IntCounterVec::new(opts!(full(name), help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, Error> {
        self.add(Histogram::with_opts(histogram_opts!(
            full(name),
            help,
            buckets
        )))
    }
}

fn full(name: &str) -> String {
    format!("carillon_gateway_{name}")
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let register = Register(registry);
        let shard = ShardMetrics::register(&register)?;
        let admission = AdmissionMetrics::register(&register)?;
        registry.register(Box::new(Headroom {
            limit: admission.limit.clone(),
            shard: shard.clone(),
            shown: IntGauge::new(full("headroom"), "Sockets that this node can still take.")?,
        }))?;
        Ok(Self {
            shard,
            errands: ErrandMetrics::register(&register)?,
            admission,
            drain_remaining: register.gauge(
                "drain_remaining",
                "Sockets that a drain has still to close.",
            )?,
        })
    }
}

/// How many sockets more there may be, worked out when somebody asks.
struct Headroom {
    limit: IntGauge,
    shard: ShardMetrics,
    shown: IntGauge,
}

impl Collector for Headroom {
    fn desc(&self) -> Vec<&Desc> {
        self.shown.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.shown.set(self.limit.get() - self.shard.connections());
        self.shown.collect()
    }
}

impl ShardMetrics {
    fn register(register: &Register<'_>) -> Result<Self, Error> {
        let latency = exponential_buckets(0.0005, 2.0, 14)?;
        let ages = vec![1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0];
        let fanout = vec![1.0, 2.0, 5.0, 10.0, 100.0, 1e3, 1e4, 1e5];
        let dialect = ["dialect"];
        let connections = register.gauges("connections", "Open sockets.", &dialect)?;
        let received =
            register.counters("frames_received_total", "Frames from clients.", &dialect)?;
        let frames_sent = register.counters(
            "frames_sent_total",
            "Frames handed to the kernel, pings and close frames included.",
            &dialect,
        )?;
        let bytes_sent = register.counters(
            "bytes_sent_total",
            "Bytes of frames handed to the kernel.",
            &dialect,
        )?;
        let dropped = register.counters(
            "dropped_total",
            "Frames dropped instead of written, by reason.",
            &["why"],
        )?;
        let closes = register.counters(
            "closes_total",
            "Connections ended, by reason.",
            &["dialect", "reason"],
        )?;
        let viewers = register.gauges(
            "viewers",
            "Open sockets of protocols in which clients may sign in, by whether they have.",
            &["identity"],
        )?;
        let messages = register.counters(
            "messages_received_total",
            "Messages from clients that say what they want, by kind and what came of them.",
            &["dialect", "kind", "outcome"],
        )?;
        let suppressed = register.counters(
            "suppressed_total",
            "Events that a socket asked for and was not sent, by reason.",
            &["dialect", "reason"],
        )?;
        for protocol in Protocol::EVERY {
            for reason in CloseReason::LABELS {
                closes.with_label_values(&[protocol.label(), reason]);
            }
        }
        for signed_in in [false, true] {
            viewers.with_label_values(&[identity(signed_in)]);
        }
        for (kind, outcome) in HEARD {
            messages.with_label_values(&heard(kind, outcome));
        }
        for reason in [Reason::Echo, Reason::ShadowBan, Reason::Permission] {
            suppressed.with_label_values(&withheld(reason));
        }
        Ok(Self {
            dialects: Protocol::EVERY.map(|protocol| {
                let label = [protocol.label()];
                DialectMetrics {
                    connections: connections.with_label_values(&label),
                    frames_received: received.with_label_values(&label),
                    frames_sent: frames_sent.with_label_values(&label),
                    bytes_sent: bytes_sent.with_label_values(&label),
                }
            }),
            viewers,
            messages,
            suppressed,
            topics: register.gauge(
                "topics",
                "Topics with a listener, counted once for each shard that has one.",
            )?,
            dropped_expired: dropped.with_label_values(&["expired"]),
            queue_bytes: register.gauge(
                "queue_bytes",
                "Bytes waiting for clients that have not taken them.",
            )?,
            fanout: register.histogram("fanout_size", "Listeners per event.", fanout)?,
            publish_to_write: register.histogram(
                "publish_to_write_seconds",
                "From publishing an event to writing it to the last of its sockets.",
                latency,
            )?,
            closes,
            slow_closed: register.counter(
                "slow_closed_total",
                "Sockets closed because they read too slowly.",
            )?,
            hung: register.counter(
                "shards_hung_total",
                "Shards that took nothing for so long that their process ends.",
            )?,
            age: register.histogram(
                "connection_age_seconds",
                "Age of connections when they ended.",
                ages,
            )?,
        })
    }

    /// What is counted of one dialect.
    pub fn of(&self, protocol: Protocol) -> &DialectMetrics {
        &self.dialects[protocol as usize]
    }

    /// Open sockets of all dialects.
    pub fn connections(&self) -> i64 {
        self.dialects.iter().map(|d| d.connections.get()).sum()
    }

    /// Open sockets whose clients have signed in, or have not.
    pub fn viewers(&self, signed_in: bool) -> IntGauge {
        self.viewers.with_label_values(&[identity(signed_in)])
    }

    /// So many frames and bytes have been written, and so many frames dropped.
    pub fn sent(&self, protocol: Protocol, frames: u64, bytes: u64, dropped: u64) {
        let of = self.of(protocol);
        of.frames_sent.inc_by(frames);
        of.bytes_sent.inc_by(bytes);
        self.dropped_expired.inc_by(dropped);
    }

    /// A dialect has counted something.
    pub fn tally(&self, tally: Tally) {
        match tally {
            Tally::Heard(kind, outcome) => self.messages.with_label_values(&heard(kind, outcome)),
            Tally::Suppressed(reason) => self.suppressed.with_label_values(&withheld(reason)),
        }
        .inc();
    }

    /// A connection has ended.
    pub fn closed(&self, protocol: Protocol, reason: CloseReason, age: Duration) {
        self.closes
            .with_label_values(&[protocol.label(), reason.label()])
            .inc();
        self.age.observe(age.as_secs_f64());
        if reason == CloseReason::TooSlow {
            self.slow_closed.inc();
        }
    }
}

fn identity(signed_in: bool) -> &'static str {
    if signed_in { "signed_in" } else { "anonymous" }
}

/// What there is to hear.
const HEARD: [(MessageKind, Outcome); 9] = [
    (MessageKind::Ping, Outcome::Ok),
    (MessageKind::Whoami, Outcome::Ok),
    (MessageKind::ClientId, Outcome::Ok),
    (MessageKind::ClientId, Outcome::InvalidData),
    (MessageKind::Filter, Outcome::Ok),
    (MessageKind::Filter, Outcome::InvalidData),
    (MessageKind::Other, Outcome::InvalidType),
    (MessageKind::Other, Outcome::Ignored),
    (MessageKind::Other, Outcome::NotJson),
];

fn heard(kind: MessageKind, outcome: Outcome) -> [&'static str; 3] {
    let kind = match kind {
        MessageKind::Ping => "ping",
        MessageKind::Whoami => "whoami",
        MessageKind::ClientId => "client_id",
        MessageKind::Filter => "filter",
        MessageKind::Other => "other",
    };
    let outcome = match outcome {
        Outcome::Ok => "ok",
        Outcome::InvalidData => "invalid_data",
        Outcome::InvalidType => "invalid_type",
        Outcome::Ignored => "ignored",
        Outcome::NotJson => "not_json",
    };
    [Protocol::Hypothesis.label(), kind, outcome]
}

fn withheld(reason: Reason) -> [&'static str; 2] {
    let reason = match reason {
        Reason::Echo => "echo",
        Reason::ShadowBan => "shadow_ban",
        Reason::Permission => "permission",
    };
    [Protocol::Hypothesis.label(), reason]
}

impl ErrandMetrics {
    fn register(register: &Register<'_>) -> Result<Self, Error> {
        let buckets = exponential_buckets(0.0005, 2.0, 14)?;
        let seconds = register.add(HistogramVec::new(
            histogram_opts!(
                full("errand_seconds"),
                "Time that a successful call to the store took, by what it was for.",
                buckets
            ),
            &["errand"],
        ))?;
        let deliveries = register.counters(
            "deliveries_total",
            "Deliveries noted in the store, by what the store knew.",
            &["outcome"],
        )?;
        for outcome in ["delivered", "already", "cancelled"] {
            deliveries.with_label_values(&[outcome]);
        }
        for errand in ["backlog", "claim", "mark", "identity"] {
            seconds.with_label_values(&[errand]);
        }
        Ok(Self {
            seconds,
            deliveries,
            retries: register.counter(
                "errand_retries_total",
                "Errands that failed and were tried again.",
            )?,
            given_up: register.counter(
                "errands_given_up_total",
                "Errands that can never succeed because of what is stored.",
            )?,
            unreadable: register.counter(
                "unreadable_messages_total",
                "Stored messages that cannot be read and were left out.",
            )?,
            crowded_out: register.counter(
                "messages_crowded_out_total",
                "Pending messages cancelled for a copy of a global message because their recipient had too many.",
            )?,
            globals_delivered: register.counter(
                "global_deliveries_total",
                "Deliveries of global messages noted in the store.",
            )?,
            marks_dropped: register.counter(
                "marks_dropped_total",
                "Deliveries not noted because Redis was away for too long.",
            )?,
        })
    }

    /// How long errands of a kind take.
    pub fn seconds(&self, errand: &str) -> Histogram {
        self.seconds.with_label_values(&[errand])
    }

    /// A delivery has been noted.
    pub fn marked(&self, outcome: &str) {
        self.deliveries.with_label_values(&[outcome]).inc();
    }
}

impl AdmissionMetrics {
    fn register(register: &Register<'_>) -> Result<Self, Error> {
        let accepts = register.counters(
            "accepts_total",
            "Attempts to connect, by what came of them.",
            &["dialect", "outcome"],
        )?;
        for protocol in Protocol::EVERY {
            for outcome in OUTCOMES {
                accepts.with_label_values(&[protocol.label(), outcome]);
            }
        }
        Ok(Self {
            accepts,
            handshakes: register
                .gauge("handshakes", "Connections that have not been upgraded yet.")?,
            limit: register.gauge("connections_limit", "Sockets that this node may have.")?,
        })
    }

    /// Somebody tried to connect.
    pub fn outcome(&self, protocol: Protocol, outcome: &str) {
        self.accepts
            .with_label_values(&[protocol.label(), outcome])
            .inc();
    }
}
