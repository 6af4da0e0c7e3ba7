//! Channels that only the host can serve, by way of a socket to it.
//!
//! What the host says passes as it is, if it is for a channel that was relayed. If
//! the way is lost, another is asked for after a while, and the channels are asked
//! for again.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use broker::Timestamp;
use serde::Deserialize;

use super::channel::{Channel, JoinId, Kind, Relayed};
use super::message::{ToChannel, object};
use super::told::quoted;
use super::{Misskey, Question, send};
use crate::dialect::Effect;
use crate::relay::Relay;
use crate::websocket::Frame;

/// The longest pause before another way is asked for.
const MAX_PAUSE: Duration = Duration::from_secs(32);
/// Messages of the client kept until there is a way, and their bytes. Clients ask a
/// channel for something in the moment they open it, and hardly ever after.
const MAX_WAITING: (usize, usize) = (32, 64 << 10);

/// The way to the host.
#[derive(Debug, Default)]
pub(super) struct Relaying {
    way: Way,
    /// How often in a row there was none.
    failures: u32,
    /// What the client said to channels since.
    waiting: Vec<Box<str>>,
}

#[derive(Debug, Default)]
enum Way {
    /// It has been asked for.
    #[default]
    Asked,
    Open(Arc<Relay>),
    /// There is none until then.
    Lost(Timestamp),
}

#[derive(Deserialize)]
struct FromHost<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    body: Named<'a>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl Relaying {
    /// Forwards what the client says to a channel, if need be once there is the way
    /// that has been asked for.
    fn say(&mut self, text: Box<str>, effects: &mut Vec<Effect>) {
        match self.way {
            Way::Open(_) => self.forward(text, effects),
            Way::Asked => {
                let bytes: usize = self.waiting.iter().map(|text| text.len()).sum();
                if self.waiting.len() < MAX_WAITING.0 && bytes + text.len() <= MAX_WAITING.1 {
                    self.waiting.push(text);
                }
            }
            Way::Lost(_) => {}
        }
    }

    fn forward(&self, text: Box<str>, effects: &mut Vec<Effect>) {
        if let Way::Open(relay) = &self.way {
            effects.push(Effect::Forward(Arc::clone(relay), text));
        }
    }
}

impl Misskey {
    /// A channel that the host is to serve has been opened.
    pub(super) fn relay(&mut self, channel: &Channel, effects: &mut Vec<Effect>) {
        match &self.relaying {
            None => {
                self.relaying = Some(Box::default());
                effects.push(self.ask(Question::Relay));
            }
            Some(relaying) => {
                if let Some(text) = connect(channel) {
                    relaying.forward(text, effects);
                }
            }
        }
    }

    /// A channel that the host served has been closed.
    pub(super) fn unrelay(&mut self, join: &JoinId, effects: &mut Vec<Effect>) {
        if !self.channels.iter().any(Channel::is_relayed) {
            self.relaying = None;
        } else if let Some(relaying) = &self.relaying {
            let id = join.json();
            let text = format!(r#"{{"type":"disconnect","body":{{"id":{id}}}}}"#);
            relaying.forward(text.into(), effects);
        }
    }

    /// The client has something for a channel that the host serves.
    pub(super) fn forward(&mut self, message: &ToChannel<'_>, effects: &mut Vec<Effect>) {
        if let Some(relaying) = &mut self.relaying {
            let (id, kind, body) = (quoted(&message.id), quoted(&message.kind), message.body);
            let text =
                format!(r#"{{"type":"ch","body":{{"id":{id},"type":{kind},"body":{body}}}}}"#);
            relaying.say(text.into(), effects);
        }
    }

    /// There is a way to the host.
    pub(super) fn relay_open(&mut self, relay: Arc<Relay>, effects: &mut Vec<Effect>) {
        if let Some(relaying) = &mut self.relaying {
            relaying.way = Way::Open(relay);
            let said = std::mem::take(&mut relaying.waiting);
            for text in self.channels.iter().filter_map(connect).chain(said) {
                relaying.forward(text, effects);
            }
        }
    }

    /// The way to the host has ended, or there is none.
    pub(super) fn relay_ended(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(relaying) = &mut self.relaying {
            let pause = Duration::from_secs(1 << relaying.failures.min(5)).min(MAX_PAUSE);
            relaying.failures += 1;
            relaying.waiting.clear();
            relaying.way = Way::Lost(now + pause);
            effects.push(Effect::WakeAt(now + pause));
        }
    }

    /// It may be time to ask for another way.
    pub(super) fn relay_again(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(relaying) = &mut self.relaying
            && let Way::Lost(until) = relaying.way
            && until <= now
        {
            relaying.way = Way::Asked;
            effects.push(self.ask(Question::Relay));
        }
    }

    /// The host said something.
    pub(super) fn relayed(&mut self, text: &str, effects: &mut Vec<Effect>) {
        let Some(FromHost { kind, body }) = object(text) else {
            return;
        };
        let join = JoinId::new(&body.id);
        let open = self.channels.iter_mut().find(|open| open.join == join);
        let Some(Kind::Relayed(relayed)) = open.map(|open| &mut open.kind) else {
            return;
        };
        let passes = match &*kind {
            "channel" => true,
            // Asked again after a loss, the host is not asked to say so again.
            "connected" => std::mem::take(&mut relayed.pong),
            _ => false,
        };
        if passes {
            effects.push(send(Frame::text(text)));
        }
        if let Some(relaying) = &mut self.relaying {
            relaying.failures = 0;
        }
    }
}

/// What asks the host for a channel, if the host serves it.
fn connect(channel: &Channel) -> Option<Box<str>> {
    let Kind::Relayed(relayed) = &channel.kind else {
        return None;
    };
    let Relayed {
        channel: name,
        params,
        pong,
    } = &**relayed;
    let (id, name) = (channel.join.json(), quoted(name));
    let params = params
        .as_ref()
        .map(|params| format!(r#","params":{params}"#));
    let params = params.unwrap_or_default();
    let text = format!(
        r#"{{"type":"connect","body":{{"channel":{name},"id":{id}{params},"pong":{pong}}}}}"#
    );
    Some(text.into())
}
