//! One open socket of a recipient, and all it saw.

use std::sync::{Arc, Mutex};

use broker::Timestamp;
use serde_json::{Value, json};
use tests::{Fleet, Heard, Socket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Shared;

/// What a tab saw from its opening to its end.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) recipient: &'static str,
    pub(crate) label: Option<&'static str>,
    pub(crate) acknowledging: bool,
    /// Just before it asked for its socket.
    pub(crate) asked_at: Timestamp,
    /// Just after it got it.
    pub(crate) opened_at: Timestamp,
    /// Just before it asked to close.
    pub(crate) closed_at: Timestamp,
    pub(crate) frames: Vec<Frame>,
}

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The message's id; only acknowledging tabs are told.
    pub(crate) id: Option<String>,
    pub(crate) text: String,
    pub(crate) at: Timestamp,
    pub(crate) acknowledged: bool,
}

/// A running tab.
pub(crate) struct Tab {
    seen: Shared<Seen>,
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Tab {
    /// Registers the recipient and opens a socket. An acknowledging tab
    /// acknowledges one frame in `every`.
    pub(crate) async fn open(
        fleet: &Fleet,
        gateway: usize,
        recipient: &'static str,
        label: Option<&'static str>,
        acknowledging: bool,
        every: usize,
    ) -> Self {
        let input = json!({ "recipient": recipient, "topic": label });
        let registration = fleet.register_with(input).await;
        let upgrade = fleet.upgrade(gateway, &registration);
        let asked_at = Timestamp::now();
        let socket = if acknowledging {
            upgrade.acknowledging().open().await
        } else {
            upgrade.open().await
        };
        let socket = socket.expect("the gateway accepts the token");
        let opened_at = Timestamp::now();
        let seen = Arc::new(Mutex::new(Seen {
            recipient,
            label,
            acknowledging,
            asked_at,
            opened_at,
            closed_at: opened_at,
            frames: Vec::new(),
        }));
        let (close, closing) = oneshot::channel();
        let task = tokio::spawn(live(socket, Arc::clone(&seen), every, closing));
        Self { seen, close, task }
    }

    /// Whether it is this recipient's.
    pub(crate) fn is_of(&self, recipient: &str) -> bool {
        self.seen.lock().expect("nobody panics here").recipient == recipient
    }

    /// Closes it, hears it out and returns what it saw.
    pub(crate) async fn close(self) -> Seen {
        let closed_at = Timestamp::now();
        self.close.send(()).expect("a tab lives until it is closed");
        self.task.await.expect("a tab does not panic");
        let mut seen = self.seen.lock().expect("nobody panics here").clone();
        seen.closed_at = closed_at;
        seen
    }
}

async fn live(
    mut socket: Socket,
    seen: Shared<Seen>,
    every: usize,
    mut closing: oneshot::Receiver<()>,
) {
    let mut asked = false;
    loop {
        let heard = tokio::select! {
            _ = &mut closing, if !asked => {
                asked = true;
                socket.ask_to_close().await;
                continue;
            }
            heard = socket.heard() => heard,
        };
        match heard {
            Heard::Text(text) => {
                let frame = read(&mut socket, &seen, text, every, asked).await;
                seen.lock().expect("nobody panics here").frames.push(frame);
            }
            Heard::Gone => {
                assert!(asked, "a tab was closed that wanted to stay");
                return;
            }
            Heard::Closed(code, reason) => assert!(asked, "closed with {code} {reason}"),
            Heard::Ping | Heard::Pong | Heard::Binary(_) => {}
        }
    }
}

async fn read(
    socket: &mut Socket,
    seen: &Shared<Seen>,
    text: String,
    every: usize,
    closing: bool,
) -> Frame {
    let at = Timestamp::now();
    let (acknowledging, place) = {
        let seen = seen.lock().expect("nobody panics here");
        (seen.acknowledging, seen.frames.len())
    };
    if !acknowledging {
        return Frame {
            id: None,
            text,
            at,
            acknowledged: false,
        };
    }
    let frame: Value = serde_json::from_str(&text).expect("the frame is JSON");
    let id = frame["id"]
        .as_str()
        .expect("the frame names its message")
        .to_owned();
    let acknowledged = !closing && place % every == 0;
    if acknowledged {
        socket.acknowledge(&[&id]).await;
    }
    Frame {
        id: Some(id),
        text: frame["message"]
            .as_str()
            .expect("it carries its text")
            .to_owned(),
        at,
        acknowledged,
    }
}
