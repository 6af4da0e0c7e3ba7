//! What dialects count: what their clients say, and what these are not sent.

use broker::node::register::Register;
use prometheus::{Error, IntCounter, IntCounterVec};

use crate::dialect::hypothesis::{Outcome, Reason};
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
        let heard = HEARD.map(heard).into_iter();
        let said = SAID.map(said);
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
                "Messages from clients that say what they want, by what came of them.",
                ["dialect", "outcome"],
                heard.chain(said).filter(|[dialect, _]| is_served(dialect)),
            )?,
            withheld: misskey::Reason::EVERY
                .map(|reason| suppressed.with_label_values(&withheld(reason))),
            suppressed,
        })
    }

    pub(super) fn count(&self, tally: Tally) {
        match tally {
            Tally::Said(_, outcome) => self.messages.with_label_values(&said(outcome)),
            Tally::Heard(_, outcome) => self.messages.with_label_values(&heard(outcome)),
            Tally::Suppressed(reason) => self.suppressed.with_label_values(&suppressed_by(reason)),
            // As often as there are notes and timelines: without looking for it.
            Tally::Withheld(reason) => self.withheld[reason as usize].clone(),
        }
        .inc();
    }
}

/// What may come of what is heard from clients of annotations.
const HEARD: [Outcome; 5] = [
    Outcome::Ok,
    Outcome::InvalidData,
    Outcome::InvalidType,
    Outcome::Ignored,
    Outcome::NotJson,
];

fn heard(outcome: Outcome) -> [&'static str; 2] {
    let outcome = match outcome {
        Outcome::Ok => "ok",
        Outcome::InvalidData => "invalid_data",
        Outcome::InvalidType => "invalid_type",
        Outcome::Ignored => "ignored",
        Outcome::NotJson => "not_json",
    };
    [Protocol::Hypothesis.label(), outcome]
}

/// What may come of what clients of a Misskey say.
const SAID: [misskey::Outcome; 4] = {
    use misskey::Outcome::{Idle, Invalid, Ok, Refused};
    [Ok, Invalid, Refused, Idle]
};

fn said(outcome: misskey::Outcome) -> [&'static str; 2] {
    use misskey::Outcome;
    let outcome = match outcome {
        Outcome::Ok => "ok",
        Outcome::Invalid => "invalid",
        Outcome::Refused => "refused",
        Outcome::Idle => "idle",
    };
    [Protocol::Misskey.label(), outcome]
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
