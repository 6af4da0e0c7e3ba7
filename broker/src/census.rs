//! Asking every gateway about a recipient, and counting the answers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::bus::Bus;
use crate::control::{Control, Reply};
use crate::error::Error;
use crate::keys::Keys;
use crate::link::{Aside, Link, LinkMetrics};
use crate::time::Timestamp;
use crate::topic::Topic;
use crate::topology::Redis;

/// How long gateways have to answer.
pub const PATIENCE: Duration = Duration::from_millis(300);
/// Frames waiting to be looked at; more are dropped and counted by the link.
const ASIDES: usize = 1024;

/// What the gateways said of a recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Its open sockets, on the gateways that answered.
    pub sockets: u64,
    /// When the oldest of them opened.
    pub since: Option<Timestamp>,
    /// How many gateways answered in time.
    pub answered: usize,
    /// How many gateways there are.
    pub known: usize,
}

/// Asks gateways, and hears what they answer. Cheap to clone.
#[derive(Clone)]
pub struct Census {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Bus,
    node: Box<str>,
    /// The questions under way, each with what was answered so far.
    questions: Mutex<Questions>,
}

#[derive(Default)]
struct Questions {
    asked: u64,
    open: HashMap<u64, watch::Sender<Answers>>,
}

impl Census {
    /// A census for the node called `node`, and the task that listens for it
    /// until `stop` resolves. What other nodes tell everyone goes to `on_control`.
    pub fn open(
        redis: &Redis,
        keys: &Keys,
        node: &str,
        probe_interval: Duration,
        metrics: LinkMetrics,
        on_control: impl Fn(Control) + Send + Sync + 'static,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (asides, mut heard) = mpsc::channel(ASIDES);
        let channels = vec![keys.control_channel(), keys.reply_channel(node)];
        let link = Link::new(
            redis,
            keys,
            node,
            probe_interval,
            vec![],
            channels,
            asides,
            metrics,
        );
        let inner = Inner {
            bus: Bus::new(redis.clone(), keys.clone()),
            node: node.into(),
            questions: Mutex::default(),
        };
        let census = Self {
            inner: Arc::new(inner),
        };
        let (told, control) = (census.clone(), keys.control_channel());
        let listen = async move {
            let hear = async {
                while let Some(aside) = heard.recv().await {
                    if *aside.channel == *control {
                        if let Some(control) = read(&aside) {
                            on_control(control);
                        }
                    } else if let Some(reply) = read(&aside) {
                        told.note(&reply);
                    }
                }
            };
            tokio::join!(link.run(stop), hear);
        };
        (census, listen)
    }

    /// Asks every gateway who holds sockets of this recipient; takes at most 300 ms.
    ///
    /// # Errors
    /// If Redis cannot be reached, so that nobody was asked.
    pub async fn ask(&self, recipient: &Topic) -> Result<Answers, Error> {
        let known = self.inner.bus.gateways().await?;
        let (question, mut answers) = {
            let mut questions = self
                .inner
                .questions
                .lock()
                .expect("no one panics while counting");
            questions.asked += 1;
            let question = questions.asked;
            let (sender, answers) = watch::channel(Answers {
                known,
                ..Answers::default()
            });
            questions.open.insert(question, sender);
            (question, answers)
        };
        let asking = Control::RecipientStatus {
            question,
            topic: recipient.as_str().to_owned(),
            node: self.inner.node.to_string(),
        };
        // Also if whoever asks goes away meanwhile.
        let _open = Open {
            inner: &self.inner,
            question,
        };
        let told = self.inner.bus.tell(&asking).await;
        if told.is_ok() {
            let all = answers.wait_for(|answers| known <= answers.answered);
            // Whoever has not answered by then is missing from the count, which says so.
            drop(tokio::time::timeout(PATIENCE, all).await);
        }
        let counted = *answers.borrow();
        told.map(|()| counted)
    }

    fn note(&self, reply: &Reply) {
        let questions = self
            .inner
            .questions
            .lock()
            .expect("no one panics while counting");
        if let Some(answers) = questions.open.get(&reply.question) {
            answers.send_modify(|answers| {
                answers.answered += 1;
                answers.sockets += reply.sockets;
                let since = reply.since.map(Timestamp::from_millis);
                answers.since = answers.since.into_iter().chain(since).min();
            });
        }
    }
}

/// A question under way; no answer to it is counted any more once it is dropped.
struct Open<'a> {
    inner: &'a Inner,
    question: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let questions = self.inner.questions.lock();
        let mut questions = questions.expect("no one panics while counting");
        questions.open.remove(&self.question);
    }
}

fn read<T: serde::de::DeserializeOwned>(aside: &Aside) -> Option<T> {
    serde_json::from_slice(&aside.payload)
        .inspect_err(|error| warn!(%error, channel = %aside.channel, "a frame cannot be read"))
        .ok()
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_any_more_is_forgotten() {
        let (redis, keys) = crate::fixture::redis();
        let bus = Bus::new(redis.clone(), keys.clone());
        bus.announce("silent gateway", true).await.unwrap();
        let metrics = LinkMetrics::register("test", &Registry::new()).unwrap();
        let probe_interval = Duration::from_secs(5);
        let stop = std::future::pending();
        let (census, _listen) =
            Census::open(&redis, &keys, "api", probe_interval, metrics, |_| {}, stop);
        let open = || census.inner.questions.lock().unwrap().open.len();
        let ann = Topic::recipient(&"acme".parse().unwrap(), "ann");
        let asking = tokio::spawn({
            let census = census.clone();
            async move { census.ask(&ann).await }
        });
        while open() == 0 {
            tokio::task::yield_now().await;
        }
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(open(), 0);
    }
}
