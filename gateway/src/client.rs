//! Who connects, and which dialect they speak.

use std::sync::Arc;

use broker::Timestamp;
use broker::topic::Topic;

use crate::dialect::Dialect;
use crate::dialect::push::{Form, Push};

/// A client that has been identified.
#[derive(Clone, Debug)]
pub enum Client {
    /// A registered recipient, by the push protocol.
    Push {
        /// Its topic.
        recipient: Topic,
        /// The label it was registered with.
        label: Option<Arc<str>>,
        /// How it gets its messages.
        form: Form,
        /// When it asked, by Redis' clock.
        since: Timestamp,
    },
}

impl Client {
    /// The dialect for one connection of this client.
    pub fn dialect(self) -> Box<dyn Dialect> {
        match self {
            Self::Push {
                recipient,
                label,
                form,
                since,
            } => Box::new(Push::new(recipient, label, form, since)),
        }
    }
}
