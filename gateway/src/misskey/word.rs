//! Word of our own tokens that have ended, as the link brings it.

use broker::key::Key;
use broker::link::{Arrival, Batch, Outlet, Want, Wants};
use broker::misskey::Field;
use broker::people::{SIGNED_OUT, SignedOut};
use broker::topic::Topic;

use super::{Misskeys, desk};

/// How the link is told whose word is wanted: as by one listener more, behind
/// the shards.
#[derive(Clone)]
pub struct Ear {
    /// Takes wishes to the link.
    pub wants: Wants,
    /// The number of this listener.
    pub number: usize,
}

impl Ear {
    pub(super) fn listen(&self, topic: Topic) {
        self.wants
            .send(&mut vec![Want::Subscribe(self.number, topic)]);
    }

    pub(super) fn leave(&self, topic: Topic) {
        self.wants
            .send(&mut vec![Want::Unsubscribe(self.number, topic)]);
    }
}

/// Ends sockets on such a word. What was missed is found when users are next
/// read about.
impl Outlet for Misskeys {
    fn leave(&self, batch: Batch) {
        for arrival in &batch.arrivals {
            let Arrival::Event(topic, event) = arrival else {
                continue;
            };
            // Only our scripts say this; others could, on topics they may publish on.
            if !event.is_our_word() || &*event.kind != SIGNED_OUT {
                continue;
            }
            if let Ok(word) = serde_json::from_str(event.body.get()) {
                self.signed_out(topic, &word);
            }
        }
    }

    fn given_up(&self) {
        tracing::error!("no word of tokens that end is heard any more, only looked for");
    }
}

impl Misskeys {
    fn signed_out(&self, topic: &Topic, word: &SignedOut) {
        let userid = topic.id();
        let Some(name) = desk::name(&userid) else {
            return;
        };
        let key: Key = Field::User.key(name);
        let tenant = topic.tenant();
        for desk in self.desks.values().filter(|d| d.host.tenant == tenant) {
            let Some(user) = desk.users.get(key) else {
                continue;
            };
            for (token, own) in user.tokens() {
                let meant = |own| word.token.as_ref().is_none_or(|id| *id == own);
                if own.is_some_and(meant) {
                    desk.token_ended(&user.id, &token);
                }
            }
        }
    }
}
