//! The life of messages, in random orders, without faults.
//!
//! Recipients open and close tabs, acknowledging or not, with labels or not, on
//! two gateways; a backend pushes, also for later, cancels and lets expire; two
//! workers sweep and release.
//! What was seen is then held against the rules ([`rules`]). The seed of a run is
//! printed; `MODEL_SEED` repeats it.

#[path = "model/rules.rs"]
mod rules;
#[path = "model/tab.rs"]
mod tab;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::Timestamp;
use broker::message::{Message, MessageId, Status};
use broker::messages::{Limits, Messages};
use serde_json::{Value, json};
use tests::fleet::TENANT;
use tests::{Fleet, within};
use tokio::time::{Instant, sleep_until};

use tab::{Seen, Tab};

/// Steps of one run.
const STEPS: u32 = 400;
/// How far apart steps begin: the whole takes half a minute, in which the
/// short-lived messages expire.
const STEP: Duration = Duration::from_millis(50);
/// Few recipients, so that they have many messages and tabs.
const RECIPIENTS: [&str; 5] = ["anna", "bert", "cleo", "dora", "emil"];
/// The last is no label.
const LABELS: [Option<&str>; 3] = [Some("red"), Some("blue"), None];
/// Tabs of one recipient at a time.
const TABS: usize = 3;

/// A message that the backend pushed.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    recipient: &'static str,
    label: Option<&'static str>,
    expires_at: Option<Timestamp>,
    deliver_at: Option<Timestamp>,
    text: String,
    /// When the call began.
    at: Timestamp,
    /// When a cancellation was asked for, if it was.
    cancelled: Option<Timestamp>,
}

/// All that was done and seen.
#[derive(Default)]
pub(crate) struct Story {
    pushed: HashMap<MessageId, Pushed>,
    tabs: Vec<Seen>,
    /// The state in which each message was first seen to have ended.
    ended: Mutex<HashMap<MessageId, Message>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_ends_once_and_as_it_should() {
    let seed = std::env::var("MODEL_SEED").map_or_else(
        |_| Timestamp::now().millis().unsigned_abs(),
        |seed| seed.parse().expect("a number"),
    );
    println!("MODEL_SEED={seed}");
    let fleet = Fleet::of(2, 2)
        .env("CARILLON_LOG", "info")
        .env("CARILLON_WORKER_SWEEP_GRACE", "1s")
        .start()
        .await;
    let mut dice = Dice(seed | 1);
    let mut story = Story::default();
    let mut tabs: Vec<Tab> = Vec::new();
    let messages = Messages::new(fleet.commands(), fleet.keys(), Limits::default());

    let began = Instant::now();
    for step in 0..STEPS {
        sleep_until(began + STEP * step).await;
        match dice.roll(100) {
            0..45 => push(&fleet, &mut story, &mut dice, step).await,
            45..55 => cancel(&fleet, &mut story, &mut dice).await,
            55..75 => open(&fleet, &mut tabs, &mut dice).await,
            75..90 if !tabs.is_empty() => {
                let tab = tabs.swap_remove(dice.roll(tabs.len()));
                story.tabs.push(tab.close().await);
            }
            _ => look(&messages, &story).await,
        }
    }
    // Whoever still waits for something is heard out.
    for tab in tabs {
        story.tabs.push(tab.close().await);
    }
    let mut last = Vec::new();
    for recipient in RECIPIENTS {
        for label in LABELS {
            last.push(Tab::open(&fleet, 0, recipient, label, true, 1).await);
        }
    }
    within(
        Duration::from_secs(30),
        "every message has ended",
        async || {
            look(&messages, &story).await;
            story.ended.lock().expect("nobody panics here").len() == story.pushed.len()
        },
    )
    .await;
    for tab in last {
        story.tabs.push(tab.close().await);
    }
    // Once more, long after: what has ended stays as it is.
    look(&messages, &story).await;
    rules::check(&story);
}

/// Pushes to one or two recipients.
async fn push(fleet: &Fleet, story: &mut Story, dice: &mut Dice, step: u32) {
    let first = dice.roll(RECIPIENTS.len());
    let mut recipients = vec![RECIPIENTS[first]];
    if dice.roll(4) == 0 {
        recipients.push(RECIPIENTS[(first + 1) % RECIPIENTS.len()]);
    }
    let label = match dice.roll(6) {
        roll @ 0..2 => LABELS[roll],
        _ => None,
    };
    let at = Timestamp::now();
    let life = Duration::from_millis(200 + dice.roll(3000) as u64);
    let expires_at = (dice.roll(3) == 0).then(|| at + life);
    // Some are due before they are pushed, some never are.
    let delay = (dice.roll(4) == 0).then(|| dice.roll(3000) as u64);
    let deliver_at =
        delay.map(|delay| at - Duration::from_millis(500) + Duration::from_millis(delay));
    let deliver_at = deliver_at.filter(|due| expires_at.is_none_or(|expires_at| *due < expires_at));
    let text = format!("model-text-{step}");
    let input = json!({
        "recipients": recipients,
        "message": text,
        "topic": label,
        "expiresAt": expires_at.map(|at| at.to_string()),
        "deliverAt": deliver_at.map(|at| at.to_string()),
    });
    let outcomes = fleet.push_with(input).await;
    for (recipient, outcome) in recipients
        .into_iter()
        .zip(outcomes.as_array().expect("a list"))
    {
        let past = |at: Timestamp| at <= Timestamp::now();
        if outcome["item"].is_null() && expires_at.is_some_and(past) {
            // The machine was too slow for so short a life.
            continue;
        }
        let id: MessageId = parsed(&outcome["item"]["id"]);
        let text = text.clone();
        let cancelled = None;
        let pushed = Pushed {
            recipient,
            label,
            expires_at,
            deliver_at,
            text,
            at,
            cancelled,
        };
        assert!(
            story.pushed.insert(id, pushed).is_none(),
            "{id} exists already"
        );
    }
}

/// Cancels some message that was pushed not long ago, whatever became of it.
async fn cancel(fleet: &Fleet, story: &mut Story, dice: &mut Dice) {
    let mut ids: Vec<MessageId> = story.pushed.keys().copied().collect();
    ids.sort_unstable();
    let Some(back) = ids.len().checked_sub(1 + dice.roll(20)) else {
        return;
    };
    let pushed = story.pushed.get_mut(&ids[back]).expect("it is one of them");
    pushed.cancelled.get_or_insert(Timestamp::now());
    let query = "mutation($id: ID!) { cancelMessage(id: $id) { id status } }";
    let data = fleet
        .data(query, json!({ "id": ids[back].to_string() }))
        .await;
    assert_ne!(data["cancelMessage"]["status"], "PENDING");
}

/// Opens a tab for somebody, somewhere.
async fn open(fleet: &Fleet, tabs: &mut Vec<Tab>, dice: &mut Dice) {
    let recipient = RECIPIENTS[dice.roll(RECIPIENTS.len())];
    if tabs.iter().filter(|tab| tab.is_of(recipient)).count() < TABS {
        let label = LABELS[dice.roll(LABELS.len())];
        let (gateway, acknowledging) = (dice.roll(2), dice.roll(2) == 0);
        let every = 1 + dice.roll(2);
        tabs.push(Tab::open(fleet, gateway, recipient, label, acknowledging, every).await);
    }
}

/// Looks at every message: what has ended must stay as it ended. Only one that was
/// shown as expired may turn out to be delivered, while its mark was on its way.
async fn look(messages: &Messages, story: &Story) {
    let tenant = TENANT.parse().expect("the tenant is valid");
    for &id in story.pushed.keys() {
        let message = messages.message(&tenant, id).await.expect("Redis answers");
        let message = message.unwrap_or_else(|| panic!("{id} is gone"));
        let mut ended = story.ended.lock().expect("nobody panics here");
        match ended.get(&id) {
            Some(before) if before.status == message.status => {}
            None if message.status == Status::Pending => {}
            Some(before) if !was_marked_late(before, &message) => {
                panic!(
                    "{id} ended again: {:?}, {:?}",
                    before.status, message.status
                );
            }
            _ => drop(ended.insert(id, message)),
        }
    }
}

/// Whether the mark of a frame that was flushed just before its expiry came after
/// that, before the sweep.
fn was_marked_late(before: &Message, now: &Message) -> bool {
    match (before.status, now.status, before.expires_at) {
        (Status::Cancelled(cancelled), Status::Delivered(at), Some(expiry)) => {
            cancelled == expiry && expiry <= at
        }
        _ => false,
    }
}

fn parsed(id: &Value) -> MessageId {
    let id = id.as_str().expect("the message was stored");
    id.parse().expect("the api tells ids")
}

/// Numbers that depend on the seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % below as u64).expect("it is below a usize")
    }
}

/// Shared with the tab's own task.
type Shared<T> = Arc<Mutex<T>>;
