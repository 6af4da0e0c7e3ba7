//! A socket of a case, and everything that was seen on it.

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cases::json::Json;
use crate::cases::wire::{BINARY, Outgoing, PING, Seen, Wire};
use crate::until::PATIENCE;

/// The id of the channel by which is found out that all has been acted on.
const SYNC: &str = r"\u0000sync";

/// A socket, and what was seen on it.
pub(super) struct Ear {
    wire: Wire,
    /// Something was sent, or it was opened, and whether that was acted on is
    /// not known.
    unsettled: bool,
    /// Every frame, in order.
    pub(super) frames: Vec<Json>,
    /// A ping came.
    pub(super) pinged: bool,
    /// When the server ended the connection.
    pub(super) closed: Option<Instant>,
    /// What came that no client could read.
    pub(super) broken: Option<String>,
}

impl Ear {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            unsettled: true,
            frames: Vec::new(),
            pinged: false,
            closed: None,
            broken: None,
        }
    }

    pub(super) async fn say(&mut self, text: &str) {
        self.wire.say(text).await;
        self.unsettled = true;
    }

    pub(super) async fn say_binary(&mut self, text: &str) {
        let frame = Outgoing {
            opcode: BINARY,
            fin: true,
            masked: true,
            payload: text.as_bytes(),
        };
        self.wire.send(&frame).await;
        self.unsettled = true;
    }

    pub(super) fn ignore_pings(&mut self) {
        self.wire.fall_mute();
    }

    /// Waits until the gateway has acted on all that was sent: it answers the
    /// opening of one more channel, which is closed again and leaves no trace
    /// among the frames.
    pub(super) async fn settle(&mut self) {
        if !self.unsettled || self.closed.is_some() {
            return;
        }
        let params = r#"{"gameId":"sync"}"#;
        let connect = format!(
            r#"{{"type":"connect","body":{{"channel":"reversiGame","id":"{SYNC}","params":{params},"pong":true}}}}"#
        );
        self.wire.say(&connect).await;
        let deadline = Instant::now() + PATIENCE;
        let pong = Json::parse(&format!(
            r#"{{"type":"connected","body":{{"id":"{SYNC}"}}}}"#
        ));
        let pong = pong.expect("it was just written");
        self.listen(deadline, |ear| {
            ear.closed.is_some() || ear.frames.last() == Some(&pong)
        })
        .await;
        self.frames.retain(|frame| *frame != pong);
        let disconnect = format!(r#"{{"type":"disconnect","body":{{"id":"{SYNC}"}}}}"#);
        self.wire.say(&disconnect).await;
        self.unsettled = false;
    }

    /// Listens until something holds, or the deadline, or the end.
    pub(super) async fn listen(
        &mut self,
        deadline: Instant,
        mut until: impl FnMut(&Self) -> bool,
    ) -> bool {
        loop {
            if until(self) {
                return true;
            }
            if self.closed.is_some() {
                // Nothing more can come, but something may be waited for elsewhere.
                sleep_until(deadline).await;
                return false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(seen) = self.wire.seen_within(left).await else {
                return false;
            };
            self.hear(seen);
        }
    }

    /// Hears what has come already, without waiting for more.
    pub(super) async fn catch_up(&mut self) {
        let now = Instant::now();
        drop(timeout_at(now, self.listen(now, |ear| ear.closed.is_some())).await);
    }

    fn hear(&mut self, seen: Seen) {
        match seen {
            Seen::Text(text) => match Json::parse(&text) {
                Ok(frame @ Json::Object(_)) => self.frames.push(frame),
                _ => self.broken = Some(format!("a text that is no JSON object: {text}")),
            },
            Seen::Binary(_) => self.broken = Some("a binary frame".to_owned()),
            Seen::Control(PING, _) => self.pinged = true,
            Seen::Control(..) => {}
            Seen::Broken(how) => self.broken = Some(how.to_owned()),
            Seen::Close(..) | Seen::Gone => self.closed = Some(Instant::now()),
        }
    }
}
