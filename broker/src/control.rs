//! What nodes ask and tell each other, beside the events they carry.

use serde::{Deserialize, Serialize};

/// Told to every node on the control channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum Control {
    /// An access key was disabled, rotated or changed: forget what is cached of it.
    #[serde(rename_all = "camelCase")]
    KeyChanged {
        /// The id of the key (not the key).
        id: String,
    },
    /// What a tenant may use was changed: forget what is cached of it.
    #[serde(rename_all = "camelCase")]
    QuotaChanged {
        /// The tenant.
        tenant: String,
    },
    /// Who holds sockets of this recipient? Answer with a [`Reply`].
    #[serde(rename_all = "camelCase")]
    RecipientStatus {
        /// Number of the question, repeated in the reply.
        question: u64,
        /// The recipient's topic.
        topic: String,
        /// The node that asks; replies go to its reply channel.
        node: String,
    },
}

/// Told to the one node that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// Number of the question.
    pub question: u64,
    /// Open sockets of the recipient on the node that answers.
    pub sockets: u64,
    /// Unix milliseconds at which the oldest of them opened.
    pub since: Option<i64>,
}
