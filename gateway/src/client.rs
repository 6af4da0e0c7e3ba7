//! Who connects, and which dialect they speak.

use std::sync::Arc;

use broker::Timestamp;
use broker::identity::SignedIn;
use broker::misskey::caller::Caller;
use broker::misskey::viewer::Viewer;
use broker::topic::Topic;

use crate::dialect::hypothesis::Hypothesis;
use crate::dialect::misskey::Misskey;
use crate::dialect::push::{Form, Push};
use crate::dialect::{Dialect, Protocol};

/// A client that has been identified, as far as its protocol asks.
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
    /// Whoever reads annotations, by the Hypothesis protocol.
    Hypothesis {
        /// Where the annotations of its tenant are told.
        annotations: Topic,
        /// Who is signed in, if anybody.
        viewer: Option<Box<SignedIn>>,
        /// Whether to do as the original also where it does wrong.
        strict: bool,
    },
    /// A user of a Misskey, or a visitor.
    Misskey {
        /// Who it is.
        caller: Arc<Caller>,
        /// What they follow and mute, as far as is known now.
        viewer: Arc<Viewer>,
    },
}

impl Client {
    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Push { .. } => Protocol::Push,
            Self::Hypothesis { .. } => Protocol::Hypothesis,
            Self::Misskey { .. } => Protocol::Misskey,
        }
    }

    /// Whether it has signed in, where that is left to the client.
    pub fn signed_in(&self) -> Option<bool> {
        match self {
            Self::Push { .. } => None,
            Self::Hypothesis { viewer, .. } => Some(viewer.is_some()),
            Self::Misskey { caller, .. } => Some(caller.account.is_some()),
        }
    }

    /// The dialect for one connection of this client.
    pub fn dialect(self) -> Box<dyn Dialect> {
        match self {
            Self::Push {
                recipient,
                label,
                form,
                since,
            } => Box::new(Push::new(recipient, label, form, since)),
            Self::Hypothesis {
                annotations,
                viewer,
                strict,
            } => Box::new(Hypothesis::new(annotations, viewer.map(|v| *v), strict)),
            Self::Misskey { caller, viewer } => Box::new(Misskey::new(caller, viewer)),
        }
    }
}
