//! What the shards count.

use std::time::Duration;

use prometheus::{
    Error, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, exponential_buckets,
};

use super::Register;
use crate::close::CloseReason;
use crate::dialect::hypothesis::{MessageKind, Outcome, Reason};
use crate::dialect::misskey;
use crate::dialect::{Protocol, Tally};

/// What the shards count, each label resolved once.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    dialects: [DialectMetrics; Protocol::EVERY.len()],
    /// Topics with a listener, counted once for each shard that has one.
    pub topics: IntGauge,
    dropped_expired: IntCounter,
    /// Bytes waiting for clients to take them.
    pub queue_bytes: IntGauge,
    /// Bytes of messages of clients that are not complete.
    pub unfinished_bytes: IntGauge,
    /// Listeners per event.
    pub fanout: Histogram,
    /// From publishing to the last write of its turn, by the publisher's clock.
    pub publish_to_write: Histogram,
    closes: IntCounterVec,
    slow_closed: IntCounter,
    /// Shards that did nothing for so long that their process ends.
    pub hung: IntCounter,
    age: Histogram,
    viewers: IntGaugeVec,
    messages: IntCounterVec,
    suppressed: IntCounterVec,
    withheld: [IntCounter; misskey::Reason::EVERY.len()],
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

impl ShardMetrics {
    pub(super) fn register(register: &Register<'_>) -> Result<Self, Error> {
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
            for reason in CloseReason::EVERY {
                closes.with_label_values(&[protocol.label(), reason.label()]);
            }
        }
        for signed_in in [false, true] {
            viewers.with_label_values(&[identity(signed_in)]);
        }
        for (kind, outcome) in HEARD {
            messages.with_label_values(&heard(kind, outcome));
        }
        for (kind, outcomes) in SAID {
            for outcome in *outcomes {
                messages.with_label_values(&said(*kind, *outcome));
            }
        }
        for reason in [Reason::Echo, Reason::ShadowBan, Reason::Permission] {
            suppressed.with_label_values(&suppressed_by(reason));
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
            withheld: misskey::Reason::EVERY
                .map(|reason| suppressed.with_label_values(&withheld(reason))),
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
            unfinished_bytes: register.gauge(
                "unfinished_bytes",
                "Bytes of messages of clients that are not complete.",
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
                "Shards that did nothing for so long that their process ends.",
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
            Tally::Said(kind, outcome) => self.messages.with_label_values(&said(kind, outcome)),
            Tally::Heard(kind, outcome) => self.messages.with_label_values(&heard(kind, outcome)),
            Tally::Suppressed(reason) => self.suppressed.with_label_values(&suppressed_by(reason)),
            // As often as there are notes and timelines: without looking for it.
            Tally::Withheld(reason) => self.withheld[reason as usize].clone(),
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

/// What clients of a Misskey may say, and what may come of it.
const SAID: &[(misskey::MessageKind, &[misskey::Outcome])] = {
    use misskey::MessageKind::{
        Alive, Capture, Channel, Connect, Disconnect, Other, ReadNotification, Release,
    };
    use misskey::Outcome::{Idle, Invalid, Ok, Refused};
    &[
        (Connect, &[Ok, Invalid, Refused]),
        (Disconnect, &[Ok, Invalid, Idle]),
        (Channel, &[Ok, Invalid, Idle]),
        (Capture, &[Ok, Invalid]),
        (Release, &[Ok, Invalid, Idle]),
        (ReadNotification, &[Ok, Refused]),
        (Alive, &[Ok]),
        (Other, &[Invalid]),
    ]
};

fn said(kind: misskey::MessageKind, outcome: misskey::Outcome) -> [&'static str; 3] {
    use misskey::{MessageKind, Outcome};
    let kind = match kind {
        MessageKind::Connect => "connect",
        MessageKind::Disconnect => "disconnect",
        MessageKind::Channel => "channel",
        MessageKind::Capture => "capture",
        MessageKind::Release => "release",
        MessageKind::ReadNotification => "read_notification",
        MessageKind::Alive => "alive",
        MessageKind::Other => "other",
    };
    let outcome = match outcome {
        Outcome::Ok => "ok",
        Outcome::Invalid => "invalid",
        Outcome::Refused => "refused",
        Outcome::Idle => "idle",
    };
    [Protocol::Misskey.label(), kind, outcome]
}

fn suppressed_by(reason: Reason) -> [&'static str; 2] {
    let reason = match reason {
        Reason::Echo => "echo",
        Reason::ShadowBan => "shadow_ban",
        Reason::Permission => "permission",
    };
    [Protocol::Hypothesis.label(), reason]
}

fn withheld(reason: misskey::Reason) -> [&'static str; 2] {
    use misskey::Reason;
    let reason = match reason {
        Reason::Filtered => "filtered",
        Reason::Visibility => "visibility",
        Reason::Muted => "muted",
        Reason::Lost => "lost",
        Reason::Unreadable => "unreadable",
    };
    [Protocol::Misskey.label(), reason]
}
