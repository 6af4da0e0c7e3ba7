//! One dialect, and what every dialect needs around it: topic counts, limits,
//! the heartbeat. Pure: it is told what happened and what time it is.

mod topics;

use std::rc::Rc;
use std::time::{Duration, Instant};

use broker::Timestamp;
use broker::topic::Topic;

use self::topics::Topics;
use crate::close::CloseReason;
use crate::dialect::misskey::Question;
use crate::dialect::{Answer, Delivery, Dialect, Effect, Errand, Notice, Outgoing};
use crate::interest::Interest;
use crate::websocket::{Frame, Received};

/// What one client may do.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Frames a client may send per second, on average over a few.
    pub frames_per_second: u32,
    /// How often a quiet client is pinged; silent for two of these, it is cut.
    pub heartbeat: Duration,
}

/// Frames may come in bursts of this many seconds' worth.
const BURST: u32 = 5;
/// A frame may ask for this many errands; each time as many more count as a
/// frame, so that one client cannot keep the store busy for all others.
const ERRANDS_PER_FRAME: usize = 64;
/// What a Misskey is asked counts as this many frames: it may cost a call over HTTP.
const FRAMES_PER_QUESTION: usize = 10;
/// A relay, as so many questions: it is a connection of its own.
const QUESTIONS_PER_RELAY: usize = 5;
/// A frame may lead to wanting what bears one of this many keys; each time as many
/// more count as a frame.
const KEYS_PER_FRAME: usize = 256;

/// A message counts as a frame, and again each time it has as many bytes more: to
/// make sense of a long one is work, too.
const BYTES_PER_FRAME: usize = 8 << 10;

/// What a topic costs, here and in the hub.
const TOPIC_COST: usize = 256;
/// What may be kept for a client before it counts, in bytes.
const USUAL: usize = 16 << 10;

/// The two clocks of a moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what messages say.
    pub wall: Timestamp,
    /// For how long something took.
    pub steady: Instant,
}

/// A connected client.
pub struct Session {
    dialect: Box<dyn Dialect>,
    /// What it listens to, and how often it said so.
    topics: Topics,
    last_heard: Instant,
    pinged: bool,
    /// What it kept when it was last looked at, in bytes.
    kept: u32,
    allowance: Allowance,
}

/// How many frames a client may still send.
#[derive(Debug)]
struct Allowance {
    frames: u32,
    per_second: u32,
    refilled_at: Instant,
}

/// What a heartbeat comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping, look again after this.
    Ping(Duration),
    /// Look again after this.
    Wait(Duration),
    /// Nobody is there.
    GiveUp,
}

impl Session {
    /// A client that has just connected and will speak `dialect`.
    pub fn new(dialect: Box<dyn Dialect>, limits: &SessionLimits, now: Now) -> Self {
        Self {
            dialect,
            topics: Topics::default(),
            last_heard: now.steady,
            pinged: false,
            kept: 0,
            allowance: Allowance {
                frames: limits.frames_per_second.saturating_mul(BURST),
                per_second: limits.frames_per_second,
                refilled_at: now.steady,
            },
        }
    }

    /// The client can be spoken to.
    pub fn open(&mut self, now: Now) -> Vec<Effect> {
        let effects = self.dialect.open(now.wall);
        self.count(effects)
    }

    /// The client sent something.
    pub fn receive(&mut self, received: &Received<'_>, now: Now) -> Vec<Effect> {
        self.heard(now);
        let bytes = match received {
            Received::Text(text) => text.len(),
            Received::Binary(bytes) => bytes.len(),
            Received::Ping(_) | Received::Pong(_) | Received::Fragment | Received::Close(_) => 0,
        };
        if !self.may_send(1 + bytes / BYTES_PER_FRAME, now) {
            return vec![Effect::Close(CloseReason::TooMuch)];
        }
        match received {
            Received::Text(text) => {
                let effects = self.dialect.receive(text, now.wall);
                self.charge(effects, now)
            }
            Received::Ping(payload) => {
                let frame = Frame::pong(payload);
                vec![Effect::Send(Outgoing {
                    frame,
                    expires_at: None,
                    tag: None,
                })]
            }
            Received::Close(frame) => {
                let code = frame.as_ref().map(|frame| frame.code);
                vec![Effect::Close(CloseReason::ClientLeft(code))]
            }
            Received::Binary(bytes) => {
                let effects = self.dialect.receive_binary(bytes, now.wall);
                self.charge(effects, now)
            }
            Received::Pong(_) => self.notice(Notice::Answered, now),
            Received::Fragment => Vec::new(),
        }
    }

    /// The client sent something before it had heard that this session is over. What
    /// is too much is not heard.
    pub fn receive_late(&mut self, received: &Received<'_>, now: Now) -> Vec<Effect> {
        let Received::Text(text) = received else {
            return Vec::new();
        };
        if !self.may_send(1 + text.len() / BYTES_PER_FRAME, now) {
            return Vec::new();
        }
        let mut effects = self.dialect.receive_late(text);
        if !self.may_send(cost(&effects), now) {
            effects.clear();
        }
        effects
    }

    /// Whether the client may send so many frames now, which then count.
    fn may_send(&mut self, frames: usize, now: Now) -> bool {
        (0..frames).all(|_| self.allowance.take(now.steady))
    }

    /// What the client has caused, if it may cause so much.
    fn charge(&mut self, effects: Vec<Effect>, now: Now) -> Vec<Effect> {
        if self.may_send(cost(&effects), now) {
            self.count(effects)
        } else {
            vec![Effect::Close(CloseReason::TooMuch)]
        }
    }

    /// Bytes came, whatever they mean.
    pub fn heard(&mut self, now: Now) {
        self.last_heard = now.steady;
        self.pinged = false;
    }

    /// An event arrived on a topic the session listens to.
    pub fn deliver(&mut self, topic: &Topic, delivery: &Rc<Delivery>, now: Now) -> Vec<Effect> {
        let effects = self.dialect.deliver(topic, delivery, now.wall);
        self.count(effects)
    }

    /// An errand came back.
    pub fn answer(&mut self, answer: Answer, now: Now) -> Vec<Effect> {
        let effects = self.dialect.answer(answer, now.wall);
        // What the client said may have waited for it.
        self.charge(effects, now)
    }

    /// Something the dialect may care about.
    pub fn notice(&mut self, notice: Notice<'_>, now: Now) -> Vec<Effect> {
        let effects = self.dialect.notice(notice, now.wall);
        self.count(effects)
    }

    /// The heartbeat's turn.
    pub fn beat(&mut self, limits: &SessionLimits, now: Now) -> Beat {
        let quiet = now.steady.saturating_duration_since(self.last_heard);
        if quiet < limits.heartbeat {
            Beat::Wait(limits.heartbeat - quiet)
        } else if !self.pinged {
            self.pinged = true;
            Beat::Ping((limits.heartbeat * 2).saturating_sub(quiet))
        } else if quiet < limits.heartbeat * 2 {
            Beat::Wait(limits.heartbeat * 2 - quiet)
        } else {
            Beat::GiveUp
        }
    }

    /// About how many bytes it kept of what its client asked for, when it was last
    /// looked at; nothing as long as that was what any client may.
    pub fn kept(&self) -> usize {
        self.kept as usize
    }

    /// Looks anew at what is [kept](Self::kept).
    pub fn look_at_kept(&mut self) {
        let kept = self.dialect.kept() + self.topics.len() * TOPIC_COST;
        let counts = if kept < USUAL { 0 } else { kept };
        self.kept = u32::try_from(counts).unwrap_or(u32::MAX);
    }

    /// It is over: drops what it keeps, and gives the topics that it listened to.
    pub fn end(&mut self) -> Vec<Topic> {
        self.kept = 0;
        self.dialect.forget();
        let topics = std::mem::replace(&mut self.topics, Topics::Few(Vec::new()));
        topics.iter().cloned().collect()
    }

    /// Makes this session name a topic by the hub's own copy of it.
    pub fn share(&mut self, topic: &Topic) {
        self.topics.share(topic);
    }

    /// Counts subscriptions per topic; only the first and the last pass through.
    fn count(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        effects.retain(|effect| match effect {
            Effect::Subscribe(topic, _) => self.topics.add(topic),
            Effect::Unsubscribe(topic) => self.topics.remove(topic),
            Effect::Send(_)
            | Effect::Want(..)
            | Effect::Ask(_)
            | Effect::Forward(..)
            | Effect::WakeAt(_)
            | Effect::Count(_)
            | Effect::Close(_) => true,
        });
        effects
    }
}

/// How many more frames what a client causes counts as.
fn cost(effects: &[Effect]) -> usize {
    let (mut errands, mut questions, mut keys) = (0, 0, 0);
    for effect in effects {
        match effect {
            Effect::Ask(Errand::Misskey(asking)) => {
                questions += match asking.question {
                    Question::Relay => QUESTIONS_PER_RELAY,
                    _ => 1,
                }
            }
            Effect::Ask(_) => errands += 1,
            Effect::Subscribe(_, Interest::Keys(wanted))
            | Effect::Want(_, Interest::Keys(wanted)) => keys += wanted.len(),
            _ => {}
        }
    }
    errands / ERRANDS_PER_FRAME + questions * FRAMES_PER_QUESTION + keys / KEYS_PER_FRAME
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let per_second = self.per_second;
        let elapsed = now.saturating_duration_since(self.refilled_at).as_millis();
        let earned = elapsed.saturating_mul(u128::from(per_second)) / 1000;
        if 0 < earned {
            let frames = u128::from(self.frames).saturating_add(earned);
            self.frames = u32::try_from(frames)
                .unwrap_or(u32::MAX)
                .min(per_second.saturating_mul(BURST));
            self.refilled_at = now;
        }
        let allowed = 0 < self.frames;
        self.frames = self.frames.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use broker::key::Key;
    use broker::message::MessageId;
    use broker::misskey::caller::Caller;
    use broker::misskey::hosts::Host;

    use super::*;
    use crate::dialect::hypothesis::Hypothesis;
    use crate::dialect::misskey::Asking;
    use crate::dialect::{Mark, Tag};

    /// Does nothing but what it is told to.
    struct Script(Vec<Effect>);

    impl Dialect for Script {
        fn open(&mut self, _: Timestamp) -> Vec<Effect> {
            std::mem::take(&mut self.0)
        }
        /// Asks for as many errands as the frame has bytes, if it is not told
        /// otherwise.
        fn receive(&mut self, frame: &str, _: Timestamp) -> Vec<Effect> {
            if !self.0.is_empty() {
                return self.0.clone();
            }
            let topic = Topic::recipient(&"acme".parse().unwrap(), "r");
            let errand = Errand::Mark(Mark {
                what: Tag::Message(MessageId {
                    millis: 1,
                    sequence: 0,
                    partition: topic.partition(),
                }),
                recipient: topic,
            });
            vec![Effect::Ask(errand); frame.len()]
        }
        fn receive_binary(&mut self, _: &[u8], _: Timestamp) -> Vec<Effect> {
            Vec::new()
        }
        fn deliver(&mut self, _: &Topic, _: &Rc<Delivery>, _: Timestamp) -> Vec<Effect> {
            Vec::new()
        }
        fn answer(&mut self, _: Answer, _: Timestamp) -> Vec<Effect> {
            Vec::new()
        }
        fn notice(&mut self, _: Notice<'_>, _: Timestamp) -> Vec<Effect> {
            Vec::new()
        }
    }

    const LIMITS: SessionLimits = SessionLimits {
        frames_per_second: 10,
        heartbeat: Duration::from_secs(25),
    };

    fn session(effects: Vec<Effect>, now: Now) -> Session {
        Session::new(Box::new(Script(effects)), &LIMITS, now)
    }

    fn start() -> Now {
        Now {
            wall: Timestamp::from_millis(0),
            steady: Instant::now(),
        }
    }

    fn later(now: Now, seconds: u64) -> Now {
        Now {
            steady: now.steady + Duration::from_secs(seconds),
            ..now
        }
    }

    #[test]
    fn only_the_first_subscription_and_the_last_unsubscription_pass() {
        let topic = Topic::recipient(&"acme".parse().unwrap(), "r");
        let subscribe = || Effect::Subscribe(topic.clone(), Interest::All);
        let unsubscribe = || Effect::Unsubscribe(topic.clone());
        let mut session = session(
            vec![
                subscribe(),
                subscribe(),
                unsubscribe(),
                unsubscribe(),
                unsubscribe(),
            ],
            start(),
        );
        assert_eq!(session.open(start()), [subscribe(), unsubscribe()]);
        assert_eq!(session.topics.len(), 0);
    }

    /// A filter for so many annotations whose names have 40 bytes.
    fn filter(many: usize) -> String {
        let values: Vec<_> = (0..many).map(|n| format!("\"{n:040}\"")).collect();
        let values = values.join(",");
        let clause = format!(r#"{{"field":"/id","value":[{values}]}}"#);
        format!(
            r#"{{"filter":{{"match_policy":"include_any","actions":{{}},"clauses":[{clause}]}}}}"#
        )
    }

    #[test]
    fn what_a_client_asked_for_counts_if_it_is_much_until_its_session_ends() {
        let now = start();
        let topic = broker::annotation::topic(&"acme".parse().unwrap());
        let dialect = Box::new(Hypothesis::new(topic.clone(), None, false));
        let mut session = Session::new(dialect, &LIMITS, now);
        session.open(now);
        let kept = |session: &mut Session| {
            session.look_at_kept();
            session.kept()
        };
        assert_eq!(kept(&mut session), 0);
        let much = filter(500);
        session.receive(&Received::Text(&much), now);
        let waits = kept(&mut session);
        assert!(much.len() <= waits, "{waits}: it waits for its topic");
        session.notice(Notice::Subscribed(&topic), now);
        let heard = kept(&mut session);
        assert!(500 * 40 < heard, "{heard}");
        session.receive(&Received::Text(&filter(5)), now);
        assert_eq!(kept(&mut session), 0, "any client may ask for that");
        session.receive(&Received::Text(&much), now);
        assert_eq!(kept(&mut session), heard);
        assert_eq!(session.end(), [topic]);
        assert_eq!(session.kept(), 0);
        assert_eq!(kept(&mut session), 0, "nothing of it is left");
    }

    #[test]
    fn a_quiet_client_is_pinged_and_a_silent_one_given_up() {
        let now = start();
        let mut session = session(vec![], now);
        assert_eq!(
            session.beat(&LIMITS, later(now, 20)),
            Beat::Wait(Duration::from_secs(5))
        );
        assert_eq!(
            session.beat(&LIMITS, later(now, 25)),
            Beat::Ping(Duration::from_secs(25))
        );
        assert_eq!(
            session.beat(&LIMITS, later(now, 40)),
            Beat::Wait(Duration::from_secs(10))
        );
        assert_eq!(session.beat(&LIMITS, later(now, 50)), Beat::GiveUp);
    }

    #[test]
    fn a_pong_keeps_a_client() {
        let now = start();
        let mut session = session(vec![], now);
        session.beat(&LIMITS, later(now, 25));
        session.receive(&Received::Pong(b""), later(now, 26));
        assert_eq!(
            session.beat(&LIMITS, later(now, 50)),
            Beat::Wait(Duration::from_secs(1))
        );
        assert_eq!(
            session.beat(&LIMITS, later(now, 51)),
            Beat::Ping(Duration::from_secs(25))
        );
    }

    #[test]
    fn a_flood_is_ended_and_a_burst_is_not() {
        let now = start();
        let mut session = session(vec![], now);
        for _ in 0..10 * BURST {
            assert_eq!(session.receive(&Received::Text(""), now), []);
        }
        let flood = session.receive(&Received::Text(""), now);
        assert_eq!(flood, [Effect::Close(CloseReason::TooMuch)]);
        assert_eq!(session.receive(&Received::Text(""), later(now, 1)), []);
    }

    #[test]
    fn a_long_message_counts_as_several_whether_it_is_text_or_not() {
        let now = start();
        let long = "x".repeat(BYTES_PER_FRAME * 9);
        for received in [Received::Text(&long), Received::Binary(long.as_bytes())] {
            let dialect = Script(vec![]);
            let mut session = Session::new(Box::new(dialect), &LIMITS, now);
            let ends = |effects: &[Effect]| matches!(effects, [Effect::Close(_)]);
            let taken = (0..100).take_while(|_| !ends(&session.receive(&received, now)));
            assert!(taken.count() <= 5, "of 50 frames each takes ten");
        }
    }

    #[test]
    fn a_frame_that_asks_for_much_counts_as_several() {
        let now = start();
        let mut session = session(vec![], now);
        let few = "x".repeat(ERRANDS_PER_FRAME - 1);
        let many = "x".repeat(ERRANDS_PER_FRAME * 9);
        let asked = session.receive(&Received::Text(&few), now);
        assert_eq!(asked.len(), few.len());
        for _ in 0..4 {
            let asked = session.receive(&Received::Text(&many), now);
            assert_eq!(asked.len(), many.len());
        }
        let flood = session.receive(&Received::Text(&many), now);
        assert_eq!(flood, [Effect::Close(CloseReason::TooMuch)]);
    }

    #[test]
    fn who_wants_much_or_has_others_asked_counts_as_several() {
        let now = start();
        let topic = Topic::all(&"acme".parse().unwrap());
        let keys = |many: usize| (0..many).map(|n| Key::of(0, &n.to_string())).collect();
        let want = |many: usize| Effect::Want(topic.clone(), Interest::Keys(keys(many)));
        for (caused, frames) in [
            (want(KEYS_PER_FRAME - 1), 1),
            (want(KEYS_PER_FRAME * 9), 10),
            (ask(Question::Viewer), 11),
            (ask(Question::Relay), 51),
        ] {
            let mut session = session(vec![caused], now);
            let ends = |effects: &[Effect]| matches!(effects, [Effect::Close(_)]);
            let taken = (0..100).take_while(|_| !ends(&session.receive(&Received::Text(""), now)));
            assert_eq!(taken.count(), (10 * BURST as usize) / frames);
        }
    }

    fn ask(question: Question) -> Effect {
        let host = Host {
            name: "misskey.example".into(),
            tenant: "acme".parse().unwrap(),
            bus: None,
            bus_redis: None,
            cache_redis: None,
            prefix: "misskey.example".into(),
            api: None,
            relay: None,
            old_bus: false,
        };
        let caller = Caller {
            host: host.into(),
            account: None,
        };
        Effect::Ask(Errand::Misskey(Box::new(Asking {
            caller: caller.into(),
            question,
        })))
    }
}
