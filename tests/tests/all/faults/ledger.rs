//! What was accepted, and what must have become of it.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use broker::Timestamp;
use broker::message::{Message, MessageId, Status};
use broker::messages::{Limits, Messages};
use serde_json::{Value, json};
use tests::fleet::TENANT;
use tests::{Fleet, within};
use tokio::time::sleep;

use super::client::Heardings;
use super::{RECIPIENTS, recipient};

/// All texts share this, so that one entry among the fleet's secrets covers them.
const BELL: &str = "faults-bell-";
/// One push in so many expires soon.
const SHORT_LIVED: u32 = 10;
/// One in so many goes to somebody who never connects; those are among the
/// short-lived.
const ABSENT: u32 = 2 * SHORT_LIVED;
/// Short-lived ones expire after so long.
const SHORT_LIFE: Duration = Duration::from_secs(4);
/// How long a backend waits before it repeats a call.
const RETRY: Duration = Duration::from_millis(100);
/// How long after the last push everything must have ended: expiry, the promised
/// 10 s for the sweep, and the time to come back after the last fault.
const SETTLED_WITHIN: Duration = Duration::from_secs(40);

const PUSH: &str = "mutation($input: MessageInput!) {
    pushMessage(input: $input) { item { id } error { message code } } }";

/// The backend's books.
#[derive(Default)]
pub(super) struct Ledger {
    accepted: Mutex<HashMap<MessageId, Accepted>>,
    ended: Mutex<HashMap<MessageId, Message>>,
}

struct Accepted {
    recipient: usize,
    text: String,
    expires_at: Option<Timestamp>,
    attempts: u32,
}

impl Ledger {
    /// Pushes number `n` and repeats it until it is accepted.
    pub(super) async fn push(&self, fleet: &Fleet, n: u32) {
        let to = match n % ABSENT {
            // Past the listeners: somebody who is never there.
            0 => RECIPIENTS + n as usize % 100,
            _ => n as usize * 7919 % RECIPIENTS,
        };
        let text = format!("{BELL}{n}");
        let expires_at = n
            .is_multiple_of(SHORT_LIVED)
            .then(|| Timestamp::now() + SHORT_LIFE);
        let input = json!({
            "recipients": [recipient(to)],
            "message": text,
            "expiresAt": expires_at.map(|at| at.to_string()),
            "idempotencyKey": format!("key-{n}"),
        });
        let mut attempts = 0;
        let id = loop {
            attempts += 1;
            let variables = json!({ "input": input });
            let answer = fleet
                .try_graphql(Some(fleet.access_key()), PUSH, variables)
                .await;
            match answer.as_ref().map(accepted) {
                Ok(Some(id)) => break id,
                // Too late to be accepted, and perhaps never stored.
                _ if expires_at.is_some_and(|at| at < Timestamp::now()) => return,
                _ => sleep(RETRY).await,
            }
        };
        let mut books = self.accepted.lock().expect("nobody panics here");
        let accepted = Accepted {
            recipient: to,
            text,
            expires_at,
            attempts,
        };
        let before = books.insert(id, accepted);
        assert!(before.is_none(), "two pushes became one message {id}");
    }

    /// Waits until everything accepted has ended.
    pub(super) async fn settle(&self, fleet: &Fleet) {
        fleet.secrets().keep(BELL);
        let tenant = TENANT.parse().expect("the tenant is valid");
        let messages = Messages::new(fleet.commands(), fleet.keys(), Limits::default());
        let mut open: HashSet<MessageId> = {
            let books = self.accepted.lock().expect("nobody panics here");
            books.keys().copied().collect()
        };
        within(
            SETTLED_WITHIN,
            "every accepted message has ended",
            async || {
                for id in open.clone() {
                    let message = messages.message(&tenant, id).await.expect("Redis answers");
                    let message =
                        message.unwrap_or_else(|| panic!("accepted message {id} is gone"));
                    if message.status == Status::Pending {
                        return false;
                    }
                    open.remove(&id);
                    self.ended
                        .lock()
                        .expect("nobody panics here")
                        .insert(id, message);
                }
                true
            },
        )
        .await;
    }

    /// Compares what became of every message with what the clients heard.
    pub(super) fn audit(&self, told: &[Heardings]) {
        let accepted = self.accepted.lock().expect("nobody panics here");
        let ended = self.ended.lock().expect("nobody panics here");
        let heard: Vec<HashSet<&str>> = told
            .iter()
            .map(|client| client.frames.iter().map(|frame| &*frame.text).collect())
            .collect();
        for (id, push) in accepted.iter() {
            let message = &ended[id];
            assert_eq!(*message.recipient, *recipient(push.recipient));
            assert_eq!(*message.text, *push.text);
            let listener = told.get(push.recipient);
            let may_be_unseen = listener.is_some_and(|client| !client.acknowledging);
            let heard = heard
                .get(push.recipient)
                .is_some_and(|h| h.contains(&*push.text));
            match message.status {
                Status::Pending => unreachable!("all have ended"),
                Status::Delivered(_) => assert!(
                    heard || may_be_unseen,
                    "{id} is delivered and nobody acknowledged it"
                ),
                Status::Cancelled(at) => {
                    assert_eq!(
                        Some(at),
                        push.expires_at,
                        "{id} was cancelled before its time"
                    );
                }
            }
        }
        let by_text: HashMap<&str, MessageId> = accepted
            .iter()
            .map(|(id, push)| (&*push.text, *id))
            .collect();
        for client in told {
            check_frames(client, &accepted, &by_text);
        }
    }

    /// What happened, in a line.
    pub(super) fn summary(&self, told: &[Heardings]) -> String {
        let accepted = self.accepted.lock().expect("nobody panics here");
        let ended = self.ended.lock().expect("nobody panics here");
        let cancelled = |message: &&Message| matches!(message.status, Status::Cancelled(_));
        let frames: usize = told.iter().map(|client| client.frames.len()).sum();
        let distinct: usize = told
            .iter()
            .map(|client| {
                client
                    .frames
                    .iter()
                    .map(|f| &f.text)
                    .collect::<HashSet<_>>()
                    .len()
            })
            .sum();
        format!(
            "{} accepted ({} after a repeat), {} cancelled at their expiry, {frames} frames, {} of them repeats",
            accepted.len(),
            accepted.values().filter(|push| push.attempts > 1).count(),
            ended.values().filter(cancelled).count(),
            frames - distinct,
        )
    }
}

/// The id of the message, if the answer tells one.
fn accepted(answer: &Value) -> Option<MessageId> {
    let outcome = &answer["data"]["pushMessage"][0];
    outcome["item"]["id"].as_str()?.parse().ok()
}

/// A client hears only what is its own, a repeat keeps its id, and what it hears
/// for the first time comes in the order of creation.
fn check_frames(
    client: &Heardings,
    accepted: &HashMap<MessageId, Accepted>,
    by_text: &HashMap<&str, MessageId>,
) {
    let mut seen = HashSet::new();
    let mut newest = None;
    for frame in &client.frames {
        // A push that was stored though its caller gave up, late, is in no book.
        let Some(id) = by_text.get(&*frame.text) else {
            continue;
        };
        assert_eq!(accepted[id].recipient, client.recipient, "{id} went astray");
        if let Some(told) = &frame.id {
            assert_eq!(*told, id.to_string(), "a repeat has another id");
        }
        if seen.insert(*id) {
            assert!(
                newest < Some(*id),
                "{id} came after {newest:?} on socket {} of {}",
                frame.socket,
                recipient(client.recipient),
            );
            newest = Some(*id);
        }
    }
}
