//! One client of one dialect, as a real one would be: it comes back when its
//! socket ends, after a while that grows, and writes down what it heard when.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::tests::{Heard, Refusal, Socket, Upgrade};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::manners::Manners;
use crate::marker;

/// How long a gateway may take to confirm what a client asked for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a client shows that it is alive.
const PING: &str = r#"{"type":"ping","id":1}"#;

/// A wire protocol, and what a client of it listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A recipient on a socket of plain text.
    Plain,
    /// A recipient that acknowledges.
    Acknowledging,
    /// A tab that shows one page.
    Page,
    /// A user of a Misskey who has opened `main`.
    User,
    /// A visitor of a Misskey who watches one note and one game.
    Visitor,
}

/// The three protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Dialect {
    /// Recipient push.
    Push,
    /// Hypothesis real-time.
    Hypothesis,
    /// Misskey streaming.
    Misskey,
}

impl Dialect {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Push, Self::Hypothesis, Self::Misskey];
}

impl Kind {
    /// The protocol.
    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Plain | Self::Acknowledging => Dialect::Push,
            Self::Page => Dialect::Hypothesis,
            Self::User | Self::Visitor => Dialect::Misskey,
        }
    }
}

/// A time during which a client was connected and subscribed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    /// Since when it was confirmed.
    pub(crate) from: Duration,
    /// When it ended, if it did.
    pub(crate) to: Option<Duration>,
    /// The code of the close frame, if there was one.
    pub(crate) code: Option<u16>,
}

impl Stay {
    /// Whether clients of every protocol come back after such an end.
    pub(crate) fn has_one_come_back(&self) -> bool {
        matches!(self.code, None | Some(1006 | 1011 | 1012 | 1013))
    }
}

/// An event that a client heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Its number.
    pub(crate) event: u32,
    /// When.
    pub(crate) at: Duration,
    /// On which of its sockets, from 1.
    pub(crate) socket: u32,
}

/// What a client lived through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    /// When it was connected.
    pub(crate) stays: Vec<Stay>,
    /// What it heard, in order.
    pub(crate) told: Vec<Told>,
    /// How many sockets it has had.
    pub(crate) sockets: u32,
    /// How often it was refused or found nobody.
    pub(crate) refused: u32,
}

/// A client.
pub(crate) struct Client {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its number among all.
    pub(crate) number: usize,
    /// What the gateway is asked for, credentials included.
    uri: String,
    diary: Mutex<Diary>,
    open: AtomicBool,
}

impl Client {
    /// A client that is not connected yet.
    pub(crate) fn new(kind: Kind, number: usize, uri: String) -> Self {
        Self {
            kind,
            number,
            uri,
            diary: Mutex::default(),
            open: AtomicBool::new(false),
        }
    }

    /// Whether it is connected and subscribed now.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Looks at what it has written down so far.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Diary) -> T) -> T {
        look(&self.diary.lock().expect("nobody panics here"))
    }

    fn write(&self, change: impl FnOnce(&mut Diary)) {
        change(&mut self.diary.lock().expect("nobody panics here"));
    }

    /// What it is called where others name it: as recipient, user or page.
    pub(crate) fn name(&self) -> String {
        name(self.number)
    }

    /// Lives until `finished` says so.
    pub(crate) async fn live(
        self: Arc<Self>,
        gateways: Arc<[SocketAddr]>,
        manners: Manners,
        clock: Clock,
        mut finished: watch::Receiver<bool>,
    ) {
        let dialect = self.kind.dialect();
        let mut failures = 0;
        for attempt in 0_usize.. {
            let began = clock.now();
            let one_life = self.connect(&gateways, attempt, clock);
            let hint = tokio::select! {
                hint = one_life => hint,
                _ = finished.wait_for(|&finished| finished) => return,
            };
            let was_open = self.open.swap(false, Ordering::Relaxed);
            if was_open && manners.steady(dialect) <= clock.now() - began {
                failures = 0;
            }
            let wait = manners.wait(dialect, failures, hint);
            failures += 1;
            tokio::select! {
                () = sleep(wait) => {}
                _ = finished.wait_for(|&finished| finished) => return,
            }
        }
    }

    /// Connects and listens until the socket ends; says how long the server asks
    /// to be left alone.
    async fn connect(&self, gateways: &[SocketAddr], attempt: usize, clock: Clock) -> Duration {
        match self.open(gateways, attempt).await {
            Ok(mut socket) => {
                self.write(|diary| diary.sockets += 1);
                let end = self.listen(&mut socket, clock).await;
                self.write(|diary| {
                    if let Some(stay) = diary.stays.last_mut().filter(|stay| stay.to.is_none()) {
                        stay.to = Some(clock.now());
                        stay.code = end;
                    }
                });
                Duration::ZERO
            }
            Err(refusal) => {
                self.write(|diary| diary.refused += 1);
                let seconds = match &refusal {
                    Refusal::Http(..) => refusal.header("retry-after"),
                    Refusal::Broken(_) => None,
                };
                let seconds = seconds.and_then(|text| text.parse().ok());
                Duration::from_secs(seconds.unwrap_or(0))
            }
        }
    }

    /// Asks one gateway after the other, as a balancer does where nobody listens.
    pub(crate) async fn open(
        &self,
        gateways: &[SocketAddr],
        attempt: usize,
    ) -> Result<Socket, Refusal> {
        let mut refusal = Refusal::Broken("there is no gateway".to_owned());
        for nth in 0..gateways.len() {
            let gateway = gateways[(self.number + attempt + nth) % gateways.len()];
            let upgrade = Upgrade::to_host(&self.uri, gateway);
            let upgrade = match self.kind {
                Kind::Acknowledging => upgrade.acknowledging(),
                _ => upgrade,
            };
            match upgrade.open().await {
                Err(broken @ Refusal::Broken(_)) => refusal = broken,
                other => return other,
            }
        }
        Err(refusal)
    }

    /// Says what it wants, then writes down what comes, until the socket ends;
    /// returns the code of the close frame.
    async fn listen(&self, socket: &mut Socket, clock: Clock) -> Option<u16> {
        for message in self.greeting() {
            socket.say(&message).await;
        }
        if self.kind.dialect() == Dialect::Push {
            self.subscribed(clock);
        }
        let greeted_at = clock.now();
        loop {
            let heard = if self.is_open() {
                socket.heard().await
            } else {
                let patience = PATIENCE.saturating_sub(clock.now() - greeted_at);
                // Nobody answers: as good as gone.
                timeout(patience, socket.heard()).await.ok()?
            };
            match heard {
                Heard::Text(text) => self.heard(&text, socket, clock).await,
                Heard::Closed(code, _) => return Some(code),
                Heard::Gone => return None,
                Heard::Ping | Heard::Pong | Heard::Binary(_) => {}
            }
        }
    }

    fn subscribed(&self, clock: Clock) {
        self.write(|diary| {
            diary.stays.push(Stay {
                from: clock.now(),
                to: None,
                code: None,
            });
        });
        self.open.store(true, Ordering::Relaxed);
    }

    async fn heard(&self, text: &str, socket: &mut Socket, clock: Clock) {
        if let Some(event) = marker::read(text) {
            let at = clock.now();
            self.write(|diary| {
                let socket = diary.sockets;
                diary.told.push(Told { event, at, socket });
            });
        } else if !self.is_open() && self.confirms(text) {
            self.subscribed(clock);
        }
        if self.kind == Kind::Acknowledging {
            acknowledge(text, socket).await;
        }
    }

    /// What it says first.
    pub(crate) fn greeting(&self) -> Vec<String> {
        let name = self.name();
        let connect = |channel: &str, id: &str, params: Value| {
            let body = json!({ "channel": channel, "id": id, "params": params, "pong": true });
            json!({ "type": "connect", "body": body }).to_string()
        };
        match self.kind {
            Kind::Plain | Kind::Acknowledging => Vec::new(),
            Kind::Page => vec![
                json!({ "messageType": "client_id", "value": name }).to_string(),
                ::tests::hypothesis::page_filter(&[&page(self.number)]).to_string(),
                PING.to_owned(),
            ],
            Kind::User => vec![connect("main", "m", json!({}))],
            Kind::Visitor => vec![
                json!({ "type": "s", "body": { "id": name } }).to_string(),
                connect("reversiGame", "m", json!({ "gameId": name })),
            ],
        }
    }

    /// Whether this says that all it asked for holds.
    pub(crate) fn confirms(&self, text: &str) -> bool {
        match self.kind.dialect() {
            Dialect::Push => false,
            Dialect::Hypothesis => text.contains(r#""pong""#),
            Dialect::Misskey => text.contains(r#""connected""#),
        }
    }
}

/// Acknowledges the message in this frame.
pub(crate) async fn acknowledge(frame: &str, socket: &mut Socket) {
    let frame: Value = serde_json::from_str(frame).expect("the frame is JSON");
    let id = frame["id"].as_str().expect("the frame names its message");
    socket.acknowledge(&[id]).await;
}

/// What the client with this number is called.
pub(crate) fn name(number: usize) -> String {
    format!("listener-{number:05}")
}

/// The page that the client with this number shows.
pub(crate) fn page(number: usize) -> String {
    format!("https://example.com/{number:05}")
}
