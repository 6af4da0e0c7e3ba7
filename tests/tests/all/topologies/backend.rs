//! A backend that pushes on whatever it is answered, and recipients who write
//! down what they hear.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Fleet, Heard, Socket, until};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// The load: a push so often.
const PAUSE: Duration = Duration::from_millis(10);
/// All texts begin so, so that one secret covers them.
const TEXT: &str = "topologies-bell-";

/// One push that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) id: String,
    pub(super) recipient: String,
    pub(super) text: String,
    pub(super) asked_at: Instant,
    pub(super) answered_at: Instant,
}

/// A backend at work.
pub(super) struct Backend {
    accepted: Arc<Mutex<Vec<Accepted>>>,
    refused: Arc<Mutex<Vec<(Instant, String)>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Begins to push to these recipients, one after the other, each push once:
    /// what is refused is not repeated.
    pub(super) fn start(fleet: &Arc<Fleet>, recipients: &[String]) -> Self {
        let fleet = Arc::clone(fleet);
        fleet.secrets().keep(TEXT);
        let recipients = recipients.to_vec();
        let accepted = Arc::<Mutex<Vec<_>>>::default();
        let refused = Arc::<Mutex<Vec<_>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (books, complaints, stopped) = (accepted.clone(), refused.clone(), stop.clone());
        let task = tokio::spawn(async move {
            for n in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let recipient = &recipients[n % recipients.len()];
                let text = format!("{TEXT}{n}");
                let asked_at = Instant::now();
                match push(&fleet, recipient, &text).await {
                    Ok(id) => books.lock().unwrap().push(Accepted {
                        id,
                        recipient: recipient.clone(),
                        text,
                        asked_at,
                        answered_at: Instant::now(),
                    }),
                    Err(why) => complaints.lock().unwrap().push((Instant::now(), why)),
                }
                sleep(PAUSE).await;
            }
        });
        Self {
            accepted,
            refused,
            stop,
            task,
        }
    }

    /// Waits until so many more pushes were accepted.
    pub(super) async fn gets_on(&self, by: usize) {
        let count = || self.accepted.lock().unwrap().len();
        let goal = count() + by;
        until("pushes are accepted", async || goal <= count()).await;
    }

    /// When the first push was accepted that was asked for after this.
    pub(super) fn resumed_after(&self, moment: Instant) -> Option<Instant> {
        let books = self.accepted.lock().unwrap();
        let mut since = books.iter().filter(|push| moment <= push.asked_at);
        since.next().map(|push| push.answered_at)
    }

    /// What was refused since, in words.
    pub(super) fn refused_since(&self, moment: Instant) -> Vec<String> {
        let complaints = self.refused.lock().unwrap();
        let since = complaints.iter().filter(|(at, _)| moment <= *at);
        since.map(|(_, why)| why.clone()).collect()
    }

    /// Ends it; all that was accepted.
    pub(super) async fn stop(self) -> Vec<Accepted> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a backend does not panic");
        std::mem::take(&mut self.accepted.lock().unwrap())
    }
}

/// The id of the message, or why there is none.
async fn push(fleet: &Fleet, recipient: &str, text: &str) -> Result<String, String> {
    let query = "mutation($input: MessageInput!) {
        pushMessage(input: $input) { item { id } error { code } } }";
    let input = json!({ "recipients": [recipient], "message": text, "idempotencyKey": text });
    let key = Some(fleet.access_key());
    let answer = fleet.try_graphql(key, query, json!({ "input": input }));
    let answer: Value = answer.await.map_err(|error| error.to_string())?;
    let id = answer["data"]["pushMessage"][0]["item"]["id"].as_str();
    id.map(str::to_owned).ok_or_else(|| answer.to_string())
}

/// What a recipient's socket tells.
#[derive(Clone, Default)]
pub(super) struct Hearings(Arc<Mutex<(HashSet<String>, Option<Heard>)>>);

impl Hearings {
    /// Begins to write down what comes.
    pub(super) fn of(mut socket: Socket) -> Self {
        let hearings = Self::default();
        let book = hearings.clone();
        tokio::spawn(async move {
            loop {
                let heard = socket.heard().await;
                let mut book = book.0.lock().unwrap();
                match heard {
                    Heard::Text(text) => drop(book.0.insert(text)),
                    Heard::Closed(..) | Heard::Gone => {
                        book.1 = Some(heard);
                        return;
                    }
                    Heard::Ping | Heard::Pong | Heard::Binary(_) => {}
                }
            }
        });
        hearings
    }

    /// Waits until it has told all of these.
    pub(super) async fn tell(&self, texts: &[&str]) {
        until("all is heard", async || {
            let book = self.0.lock().unwrap();
            assert_eq!(book.1, None, "the socket stays");
            texts.iter().all(|&text| book.0.contains(text))
        })
        .await;
    }
}

/// Which of these messages the store still has.
pub(super) async fn kept<'a>(fleet: &Fleet, accepted: &'a [Accepted]) -> Vec<&'a Accepted> {
    let mut kept = Vec::new();
    for push in accepted {
        if fleet.message(&json!(push.id)).await["message"] == push.text {
            kept.push(push);
        }
    }
    kept
}
