//! What the store does, on a real Redis. The store of each test has names of
//! its own; times come from Redis, so what must have expired is waited for by
//! Redis' clock.

use std::time::Duration;

use super::{Backlog, GlobalFilter, Limits, Mark, Messages, MessagesFilter, Page, Swept, Unsent};
use crate::fixture;
use crate::keys::Keys;
use crate::message::{Draft, GlobalMessage, Message, MessageId};
use crate::time::Timestamp;
use crate::topic::{Tenant, Topic};
use crate::topology::Redis;

mod life;
mod expiry;
mod scheduled;
mod order;
mod retry;
mod globals;
mod list;
mod race;
mod damage;

/// A page that holds all that a test makes.
const ALL: Page = Page {
    count: 10_000,
    bytes: 1 << 30,
};

/// A store, and what it is made of.
struct Store {
    messages: Messages,
    redis: Redis,
    keys: Keys,
    acme: Tenant,
}

impl Store {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let (redis, keys) = fixture::redis();
        Self {
            messages: Messages::new(redis.clone(), keys.clone(), limits),
            acme: "acme".parse().unwrap(),
            redis,
            keys,
        }
    }

    fn topic(&self, recipient: &str) -> Topic {
        Topic::recipient(&self.acme, recipient)
    }

    /// Pushes to one recipient.
    async fn push(&self, recipient: &str, draft: &Draft) -> Message {
        let mut pushed = self
            .messages
            .push(&self.acme, &[recipient.into()], draft, None)
            .await;
        pushed.pop().unwrap().unwrap()
    }

    async fn push_global(&self, draft: &Draft) -> GlobalMessage {
        self.messages
            .push_global(&self.acme, draft, None)
            .await
            .unwrap()
    }

    async fn backlog(&self, recipient: &str, label: Option<&str>) -> Vec<Message> {
        let Backlog {
            messages,
            more,
            unreadable,
            ..
        } = self
            .messages
            .backlog(
                &self.topic(recipient),
                Unsent {
                    label,
                    ..Unsent::default()
                },
                ALL,
            )
            .await
            .unwrap();
        assert_eq!((more, unreadable), (None, 0));
        messages
    }

    async fn message(&self, id: MessageId) -> Message {
        self.messages
            .message(&self.acme, id)
            .await
            .unwrap()
            .unwrap()
    }

    fn mark(&self, message: &Message) -> Mark {
        Mark {
            recipient: self.topic(&message.recipient),
            id: message.id,
        }
    }

    /// Sweeps the partition of `message` once.
    async fn sweep(&self, message: &Message, grace: Duration) -> Swept {
        let partition = message.id.partition;
        self.messages.sweep(partition, grace, 10).await.unwrap()
    }

    async fn now(&self) -> Timestamp {
        self.redis.time().await.unwrap()
    }

    /// Returns once it is later than `at` by Redis' clock.
    async fn wait_past(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now().await);
            if left.is_zero() && at < self.now().await {
                return;
            }
            tokio::time::sleep(left + Duration::from_millis(1)).await;
        }
    }
}

fn text(text: &str) -> Draft {
    Draft {
        text: text.into(),
        label: None,
        expires_at: None,
        deliver_at: None,
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| &*message.text).collect()
}

/// Tasks run on any thread, so what they wait for must be able to.
#[test]
fn every_call_can_be_awaited_by_a_task() {
    fn check(_: impl Future + Send) {}

    fn all(messages: &Messages, topic: &Topic, tenant: &Tenant, message: &Message, mark: &Mark) {
        let (draft, id) = (text(""), message.id);
        let global = GlobalMessage {
            id,
            text: "".into(),
            label: None,
            expires_at: None,
            deliver_at: None,
        };
        check(messages.push(tenant, &[], &draft, None));
        check(messages.push_global(tenant, &draft, None));
        check(messages.backlog(topic, Unsent::default(), ALL));
        check(messages.mark(std::slice::from_ref(mark)));
        check(messages.claim(&global, &[], true));
        check(messages.cancel(tenant, id));
        check(messages.cancel_global(tenant, id));
        check(messages.revoke(topic));
        check(messages.check_in(topic));
        check(messages.message(tenant, id));
        check(messages.pending_count(topic));
        check(messages.list(tenant, &MessagesFilter::default(), None, 1));
        check(messages.list_globals(tenant, &GlobalFilter::default(), None, 1));
        check(messages.sweep(id.partition, Duration::ZERO, 1));
        check(messages.release(id.partition, 1));
        check(messages.trim(id.partition));
    }
    let _ = all;
}
