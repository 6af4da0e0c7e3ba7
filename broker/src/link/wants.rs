//! How listeners' wishes reach whoever fulfils them: the link, and who else asks
//! to be told of some.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use tokio::sync::Notify;

use crate::topic::Topic;

/// A listener's wish, in the order in which it came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The listener (by number) wants the topic.
    Subscribe(usize, Topic),
    /// The listener no longer wants the topic.
    Unsubscribe(usize, Topic),
}

impl Want {
    /// What is wanted, or not any more.
    pub fn topic(&self) -> &Topic {
        match self {
            Self::Subscribe(_, topic) | Self::Unsubscribe(_, topic) => topic,
        }
    }
}

/// Takes listeners' wishes to the link, and copies of some to others. Not
/// bounded itself: a listener has at most one wish per topic and session under way.
#[derive(Clone, Debug, Default)]
pub struct Wants(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    link: Wishes,
    others: RwLock<Vec<Other>>,
}

#[derive(Debug, Default)]
struct Wishes {
    made: Mutex<Vec<Want>>,
    notify: Notify,
}

struct Other {
    concerns: Box<dyn Fn(&Topic) -> bool + Send + Sync>,
    wishes: Weak<Wishes>,
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Other")
    }
}

/// Copies of the wishes that concern one who asked for them. Dropping it ends them.
#[derive(Debug)]
pub struct Taken(Arc<Wishes>);

impl Wants {
    /// Hands wishes over, leaving `wishes` empty. The link is the last to get
    /// them: whatever it brings on a topic, everybody else has heard of the wish.
    pub fn send(&self, wishes: &mut Vec<Want>) {
        let others = self.0.others.read().unwrap_or_else(PoisonError::into_inner);
        for other in others.iter() {
            let Some(of_others) = other.wishes.upgrade() else {
                continue;
            };
            let concern = wishes.iter().filter(|wish| (other.concerns)(wish.topic()));
            of_others.add(concern.cloned());
        }
        drop(others);
        self.0.link.add(wishes.drain(..));
    }

    /// From now on, copies of the wishes for topics of which `concerns` is true.
    /// It is asked for every wish, by the threads of the listeners: it has to be quick.
    pub fn listen(&self, concerns: impl Fn(&Topic) -> bool + Send + Sync + 'static) -> Taken {
        let wishes = Arc::new(Wishes::default());
        let mut others = self
            .0
            .others
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        others.retain(|other| other.wishes.strong_count() != 0);
        others.push(Other {
            concerns: Box::new(concerns),
            wishes: Arc::downgrade(&wishes),
        });
        Taken(wishes)
    }

    pub(super) fn take(&self) -> Vec<Want> {
        self.0.link.take()
    }

    /// Resolves when there are wishes that were not taken.
    pub(super) async fn changed(&self) {
        self.0.link.notify.notified().await;
    }
}

impl Taken {
    /// Takes all there are, in order.
    pub fn take(&self) -> Vec<Want> {
        self.0.take()
    }

    /// Resolves when there are wishes that were not taken.
    pub async fn changed(&self) {
        self.0.notify.notified().await;
    }
}

impl Wishes {
    fn add(&self, wishes: impl Iterator<Item = Want>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let before = made.len();
        made.extend(wishes);
        let more = before < made.len();
        drop(made);
        if more {
            self.notify.notify_one();
        }
    }

    fn take(&self) -> Vec<Want> {
        std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: &str) -> Topic {
        Topic::recipient(&"acme".parse().unwrap(), id)
    }

    #[tokio::test]
    async fn who_asks_gets_copies_of_what_concerns_them() {
        let wants = Wants::default();
        let first = wants.listen(|topic| topic.id() == "a");
        let gone = wants.listen(|_| panic!("it is not asked any more"));
        drop(gone);
        let (a, b) = (
            Want::Subscribe(0, topic("a")),
            Want::Subscribe(1, topic("b")),
        );
        wants.send(&mut vec![a.clone(), b.clone()]);
        first.changed().await;
        assert_eq!(first.take(), std::slice::from_ref(&a));
        assert_eq!(wants.take(), [a, b]);

        let left = Want::Unsubscribe(0, topic("a"));
        wants.send(&mut vec![left.clone()]);
        assert_eq!(first.take(), [left]);
        assert_eq!(first.take(), []);
    }
}
