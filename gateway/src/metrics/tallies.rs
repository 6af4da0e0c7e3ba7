//! What dialects count: what their clients say, and what these are not sent.

use broker::node::register::Register;
use prometheus::{Error, IntCounter, IntCounterVec};

use crate::dialect::hypothesis::{MessageKind, Outcome, Reason};
use crate::dialect::misskey;
use crate::dialect::{Protocol, Tally};

/// What dialects count.
#[derive(Clone, Debug)]
pub(super) struct Tallies {
    messages: IntCounterVec,
    suppressed: IntCounterVec,
    withheld: [IntCounter; misskey::Reason::EVERY.len()],
}

impl Tallies {
    pub(super) fn register(served: &[Protocol], register: Register<'_>) -> Result<Self, Error> {
        let is_served = |dialect: &str| served.iter().any(|one| one.label() == dialect);
        let heard = HEARD.iter().map(|(kind, outcome)| heard(*kind, *outcome));
        let said = SAID
            .iter()
            .flat_map(|(kind, outcomes)| outcomes.iter().map(|outcome| said(*kind, *outcome)));
        let suppressed = [Reason::Echo, Reason::ShadowBan, Reason::Permission].map(suppressed_by);
        let suppressed = register.counters(
            "suppressed_total",
            "Events that a socket asked for and was not sent, by reason.",
            ["dialect", "reason"],
            suppressed
                .into_iter()
                .filter(|[dialect, _]| is_served(dialect)),
        )?;
        Ok(Self {
            messages: register.counters(
                "messages_received_total",
                "Messages from clients that say what they want, by kind and what came of them.",
                ["dialect", "kind", "outcome"],
                heard.chain(said).filter(|[dialect, ..]| is_served(dialect)),
            )?,
            withheld: misskey::Reason::EVERY
                .map(|reason| suppressed.with_label_values(&withheld(reason))),
            suppressed,
        })
    }

    pub(super) fn count(&self, tally: Tally) {
        match tally {
            Tally::Said(kind, outcome) => self.messages.with_label_values(&said(kind, outcome)),
            Tally::Heard(kind, outcome) => self.messages.with_label_values(&heard(kind, outcome)),
            Tally::Suppressed(reason) => self.suppressed.with_label_values(&suppressed_by(reason)),
            // As often as there are notes and timelines: without looking for it.
            Tally::Withheld(reason) => self.withheld[reason as usize].clone(),
        }
        .inc();
    }
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
