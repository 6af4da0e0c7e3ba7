//! What queries and mutations answer with.

use async_graphql::{Enum, ID, Object, SimpleObject};
use broker::message;

use super::scalar::{DateTime, Token};
use crate::failure::Failure;

/// Where a message is in its life. It leaves PENDING exactly once.
#[derive(Clone, Copy, Enum, PartialEq, Eq)]
pub(super) enum MessageStatus {
    /// Stored, not yet known to have reached the recipient.
    Pending,
    /// Sent to an open connection of the recipient, or acknowledged by it.
    Delivered,
    /// Will not be sent: expired, cancelled, pushed out by newer messages, or
    /// the recipient was revoked.
    Cancelled,
}

/// A message pushed to one recipient.
pub(super) struct Message(pub(super) message::Message);

/// A message pushed to one recipient.
#[Object]
impl Message {
    /// The unique identifier of the message.
    async fn id(&self) -> Option<ID> {
        Some(ID(self.0.id.to_string()))
    }

    /// The name of the recipient to which the message was pushed.
    async fn recipient(&self) -> Option<&str> {
        Some(&self.0.recipient)
    }

    /// The text of the message.
    async fn message(&self) -> Option<&str> {
        Some(&self.0.text)
    }

    /// The topic with which the message was sent.
    async fn topic(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// The delivery status.
    async fn status(&self) -> Option<MessageStatus> {
        Some(match self.0.status {
            message::Status::Pending => MessageStatus::Pending,
            message::Status::Delivered(_) => MessageStatus::Delivered,
            message::Status::Cancelled(_) => MessageStatus::Cancelled,
        })
    }

    /// When the message is due to expire; it is not sent after that.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime::from)
    }

    /// Before when the message is not sent.
    async fn deliver_at(&self) -> Option<DateTime> {
        self.0.deliver_at.map(DateTime::from)
    }

    /// When the message was created.
    async fn created_at(&self) -> Option<DateTime> {
        Some(self.0.id.created_at().into())
    }

    /// When the message was delivered.
    async fn delivered_at(&self) -> Option<DateTime> {
        match self.0.status {
            message::Status::Delivered(at) => Some(at.into()),
            _ => None,
        }
    }

    /// When the delivery of the message was cancelled.
    async fn cancelled_at(&self) -> Option<DateTime> {
        match self.0.status {
            message::Status::Cancelled(at) => Some(at.into()),
            _ => None,
        }
    }

    /// The global message that this one is the recipient's copy of.
    async fn global_message_id(&self) -> Option<ID> {
        self.0.global_id.map(|id| ID(id.to_string()))
    }
}

/// A message pushed to all recipients.
pub(super) struct GlobalMessage(pub(super) message::GlobalMessage);

/// A message pushed to all recipients.
#[Object]
impl GlobalMessage {
    /// The unique identifier of the message.
    async fn id(&self) -> Option<ID> {
        Some(ID(self.0.id.to_string()))
    }

    /// The text of the message.
    async fn message(&self) -> Option<&str> {
        Some(&self.0.text)
    }

    /// The topic with which the message was sent.
    async fn topic(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// When the message is due to expire.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime::from)
    }

    /// Before when the message is not sent.
    async fn deliver_at(&self) -> Option<DateTime> {
        self.0.deliver_at.map(DateTime::from)
    }

    /// When the message was created.
    async fn created_at(&self) -> Option<DateTime> {
        Some(self.0.id.created_at().into())
    }
}

/// A page of messages, newest first.
#[derive(SimpleObject)]
pub(super) struct MessagesQueryResult {
    /// The messages that match the filter. A page may hold fewer than asked for,
    /// or none, and still not be the last.
    pub(super) items: Option<Vec<Option<Message>>>,
    /// Fetches the next page, with the same filter. Null after the last page.
    pub(super) next_token: Option<String>,
}

/// A page of global messages, newest first.
#[derive(SimpleObject)]
pub(super) struct GlobalMessagesQueryResult {
    /// The global messages that match the filter. A page may hold fewer than
    /// asked for, or none, and still not be the last.
    pub(super) items: Option<Vec<Option<GlobalMessage>>>,
    /// Fetches the next page, with the same filter. Null after the last page.
    pub(super) next_token: Option<String>,
}

/// Where and with what a recipient connects.
#[derive(SimpleObject)]
pub(super) struct RegisterRecipientResponse {
    /// Identifies the recipient; part of the connection URI.
    pub(super) token: Option<Token>,
    /// The URI at which the recipient opens a WebSocket connection.
    pub(super) connection_uri: Option<String>,
}

/// What became of a push to one recipient: the message, or why there is none, or
/// both if it is stored but not as durable as it was asked to be.
#[derive(SimpleObject)]
pub(super) struct PushMessageResult {
    /// The message, if it was stored.
    pub(super) item: Option<Message>,
    /// Why it was not, or is not known to be replicated.
    pub(super) error: Option<PushMessageError>,
}

/// Why a message could not be pushed to one recipient as it was asked for.
#[derive(SimpleObject)]
pub(super) struct PushMessageError {
    /// A sentence for people.
    pub(super) message: Option<String>,
    /// The kind, as `extensions.code` has it in errors of whole calls.
    pub(super) code: Option<&'static str>,
}

impl From<Result<message::Message, Failure>> for PushMessageResult {
    fn from(outcome: Result<message::Message, Failure>) -> Self {
        match outcome {
            Ok(message) => Self {
                item: Some(Message(message)),
                error: None,
            },
            Err(failure) => Self {
                item: None,
                error: Some(failure.into()),
            },
        }
    }
}

impl From<Failure> for PushMessageError {
    fn from(failure: Failure) -> Self {
        Self {
            code: Some(failure.code.as_str()),
            message: Some(failure.message),
        }
    }
}

/// What revoking a recipient did.
#[derive(SimpleObject)]
pub(super) struct RevokeRecipientResponse {
    /// The recipient.
    pub(super) recipient: Option<String>,
    /// Tokens registered up to this time are refused from now on.
    pub(super) revoked_at: Option<DateTime>,
    /// How many messages waited for the recipient and were cancelled.
    pub(super) cancelled: Option<u64>,
}

/// How a recipient is connected right now, as far as the gateways answered.
#[derive(SimpleObject)]
pub(super) struct RecipientStatus {
    /// The recipient.
    pub(super) recipient: Option<String>,
    /// Its open connections.
    pub(super) connections: Option<u64>,
    /// When the oldest of them was opened.
    pub(super) connected_since: Option<DateTime>,
    /// Messages that wait for it.
    pub(super) pending: Option<u64>,
    /// How many gateways answered in time.
    pub(super) gateways_answered: Option<usize>,
    /// How many gateways there are. If fewer answered, there may be more connections.
    pub(super) gateways_known: Option<usize>,
}
