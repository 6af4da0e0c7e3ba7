//! A provider: a server that says over HTTP what it is told to say.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Listens until it is dropped.
pub(crate) struct Stub {
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
    /// Whether answers are let out.
    gate: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Shared {
    /// A status and a body.
    says: (u16, String),
    heard: Vec<String>,
}

impl Stub {
    /// One that says this with status 200.
    pub(crate) async fn saying(body: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/asked", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared {
            says: (200, body.to_string()),
            heard: Vec::new(),
        }));
        let (gate, watched) = watch::channel(true);
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, serving.clone(), watched.clone()));
            }
        });
        Self {
            url,
            shared,
            gate,
            task,
        }
    }

    /// From now on it says this.
    pub(crate) fn says(&self, status: u16, body: &(impl ToString + ?Sized)) {
        self.shared.lock().unwrap().says = (status, body.to_string());
    }

    /// From now on it takes requests and keeps its answers back.
    pub(crate) fn holds(&self) {
        self.gate.send_replace(false);
    }

    /// Lets out what it kept back, and all answers from now on.
    pub(crate) fn releases(&self) {
        self.gate.send_replace(true);
    }

    /// The requests so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.shared.lock().unwrap().heard.clone()
    }

    /// How many there were.
    pub(crate) fn times(&self) -> usize {
        self.heard().len()
    }

    /// Ends it; who asks now is refused.
    pub(crate) async fn goes_down(mut self) {
        self.task.abort();
        let ended = (&mut self.task).await;
        assert!(ended.unwrap_err().is_cancelled());
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    shared: Arc<Mutex<Shared>>,
    mut gate: watch::Receiver<bool>,
) {
    let mut request = Vec::new();
    while !complete(&request) {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let heard = String::from_utf8(request).unwrap();
    shared.lock().unwrap().heard.push(heard);
    if gate.wait_for(|open| *open).await.is_err() {
        return;
    }
    let (status, body) = shared.lock().unwrap().says.clone();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nlocation: /elsewhere\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    length <= body.len()
}
