//! A recipient that comes back whenever its socket ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tests::{Fleet, Heard, Registration, Socket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How long a client waits before it tries again. Browsers wait longer.
const RETRY: Duration = Duration::from_millis(50);

/// One frame, as the client got it.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The message's id; only acknowledging clients are told.
    pub(super) id: Option<String>,
    /// The text.
    pub(super) text: String,
    /// Which of the client's sockets it came on, from 0.
    pub(super) socket: usize,
}

/// What a client heard in its life.
pub(super) struct Heardings {
    /// The recipient's number.
    pub(super) recipient: usize,
    /// Whether it acknowledged.
    pub(super) acknowledging: bool,
    /// Every frame, in order.
    pub(super) frames: Vec<Frame>,
}

/// A running client.
pub(super) struct Client {
    open: Arc<AtomicBool>,
    finish: watch::Sender<bool>,
    task: JoinHandle<Heardings>,
}

impl Client {
    /// Starts a client that listens until [`Client::finish`].
    pub(super) fn start(
        fleet: Arc<Fleet>,
        recipient: usize,
        registration: Registration,
        acknowledging: bool,
    ) -> Self {
        let open = Arc::new(AtomicBool::new(false));
        let (finish, finished) = watch::channel(false);
        let told = Heardings {
            recipient,
            acknowledging,
            frames: Vec::new(),
        };
        let life = live(fleet, registration, told, Arc::clone(&open), finished);
        Self {
            open,
            finish,
            task: tokio::spawn(life),
        }
    }

    /// Whether it has a socket now.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Ends it and returns what it heard.
    pub(super) async fn finish(self) -> Heardings {
        self.finish.send_replace(true);
        self.task.await.expect("a client does not panic")
    }
}

async fn live(
    fleet: Arc<Fleet>,
    registration: Registration,
    mut told: Heardings,
    open: Arc<AtomicBool>,
    mut finished: watch::Receiver<bool>,
) -> Heardings {
    for socket in 0.. {
        // The next try goes to the other gateway, as behind a balancer.
        let gateway = (told.recipient + socket) % fleet.gateways().len();
        let upgrade = fleet.upgrade(gateway, &registration);
        let upgrade = if told.acknowledging {
            upgrade.acknowledging()
        } else {
            upgrade
        };
        if let Ok(stream) = upgrade.open().await {
            open.store(true, Ordering::Relaxed);
            let ended = tokio::select! {
                () = listen(stream, &mut told, socket) => false,
                _ = finished.changed() => true,
            };
            open.store(false, Ordering::Relaxed);
            if ended {
                break;
            }
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            _ = finished.changed() => break,
        }
    }
    told
}

/// Hears, and acknowledges, until the socket ends.
async fn listen(mut stream: Socket, told: &mut Heardings, socket: usize) {
    loop {
        match stream.heard().await {
            Heard::Text(text) if told.acknowledging => {
                let frame: Value = serde_json::from_str(&text).expect("the frame is JSON");
                let id = frame["id"].as_str().expect("the frame names its message");
                stream.acknowledge(&[id]).await;
                told.frames.push(Frame {
                    id: Some(id.to_owned()),
                    text: frame["message"]
                        .as_str()
                        .expect("it carries its text")
                        .to_owned(),
                    socket,
                });
            }
            Heard::Text(text) => told.frames.push(Frame {
                id: None,
                text,
                socket,
            }),
            Heard::Closed(..) | Heard::Gone => return,
            Heard::Ping | Heard::Pong | Heard::Binary(_) => {}
        }
    }
}
