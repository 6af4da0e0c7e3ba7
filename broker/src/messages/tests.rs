//! What the store does, on a real Redis. The store of each test has names of
//! its own; times come from Redis, so what must have expired is waited for by
//! Redis' clock.

use std::time::Duration;

use super::{Backlog, Limits, Mark, Messages, Page};
use crate::fixture;
use crate::keys::Keys;
use crate::message::{Draft, Message, MessageId};
use crate::time::Timestamp;
use crate::topic::{Tenant, Topic};
use crate::topology::Redis;

mod life;
mod globals;

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

    async fn backlog(&self, recipient: &str, label: Option<&str>) -> Vec<Message> {
        let Backlog { messages, more } = self
            .messages
            .backlog(&self.topic(recipient), label, None, ALL)
            .await
            .unwrap();
        assert!(!more);
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
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| &*message.text).collect()
}
