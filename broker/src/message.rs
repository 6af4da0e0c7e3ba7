//! One pushed text and its life.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::keys::Partition;
use crate::time::Timestamp;
use crate::topic::Tenant;

pub mod rules;

/// Names a message: when it was stored, in which place of that millisecond,
/// and in which partition.
///
/// Written as 18 characters of Crockford base32 (48 bits of milliseconds, 24 of
/// sequence, 16 of partition, two spare), so ids sort by age and finding a
/// message by its id needs no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Unix milliseconds by Redis' clock (48 bits).
    pub millis: u64,
    /// Place within the millisecond (24 bits).
    pub sequence: u32,
    /// Where the message is kept.
    pub partition: Partition,
}

/// The text is not a message's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message id")]
pub struct BadMessageId;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl MessageId {
    /// When the message was created, by Redis' clock.
    pub fn created_at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.millis).unwrap_or(i64::MAX))
    }

    /// The id of the entry `<ms>-<seq>` in a stream of `partition`.
    pub fn from_entry(entry: &str, partition: Partition) -> Option<Self> {
        let (millis, sequence) = entry.split_once('-')?;
        let id = Self {
            millis: millis.parse().ok()?,
            sequence: sequence.parse().ok()?,
            partition,
        };
        (id.millis < 1 << 48 && id.sequence < 1 << 24).then_some(id)
    }

    /// The entry `<ms>-<seq>` in its partition's stream.
    pub fn entry(self) -> String {
        format!("{}-{}", self.millis, self.sequence)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = (u128::from(self.millis) << 40)
            | (u128::from(self.sequence) << 16)
            | u128::from(self.partition.index());
        let mut text = [0; 18];
        for (i, c) in text.iter_mut().enumerate() {
            *c = ALPHABET[(bits >> (5 * (17 - i))) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for MessageId {
    type Err = BadMessageId;

    fn from_str(text: &str) -> Result<Self, BadMessageId> {
        if text.len() != 18 {
            return Err(BadMessageId);
        }
        let mut bits: u128 = 0;
        for c in text.bytes() {
            let value = ALPHABET.iter().position(|&a| a == c).ok_or(BadMessageId)?;
            bits = (bits << 5) | value as u128;
        }
        if bits >> 88 != 0 {
            return Err(BadMessageId);
        }
        let partition = u16::try_from(bits & 0xFFFF).ok().and_then(Partition::new);
        Ok(Self {
            millis: (bits >> 40) as u64,
            sequence: (bits >> 16) as u32 & 0x00FF_FFFF,
            partition: partition.ok_or(BadMessageId)?,
        })
    }
}

/// Where a message is in its life. It leaves `Pending` exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Stored, not yet known to have reached a socket.
    Pending,
    /// Flushed to a socket, or acknowledged by a client that acknowledges, at this time.
    Delivered(Timestamp),
    /// Expired, cancelled, pushed out by newer ones, or its recipient revoked, at this time.
    Cancelled(Timestamp),
}

/// One text pushed to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name, unique within its tenant.
    pub id: MessageId,
    /// To whom.
    pub recipient: Arc<str>,
    /// What is sent.
    pub text: Arc<str>,
    /// If set, only sockets registered with this label get it (`topic` on the wire).
    pub label: Option<Arc<str>>,
    /// After this it is never sent.
    pub expires_at: Option<Timestamp>,
    /// Its life so far.
    pub status: Status,
    /// The global message that this one is a recipient's copy of.
    pub global_id: Option<MessageId>,
    /// It is not sent before this.
    pub deliver_at: Option<Timestamp>,
    /// Where it stands among what is sent to its recipient, if that is not where
    /// it was created: it was scheduled, and this was read to be sent.
    pub place: Option<MessageId>,
}

impl Message {
    /// Where it stands among what is sent to its recipient: before all that has a
    /// greater place.
    pub fn place(&self) -> MessageId {
        self.place.unwrap_or(self.id)
    }
}

/// One text pushed to every recipient of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalMessage {
    /// Its name, unique within its tenant.
    pub id: MessageId,
    /// What is sent.
    pub text: Arc<str>,
    /// If set, only sockets registered with this label get it (`topic` on the wire).
    pub label: Option<Arc<str>>,
    /// After this it is never sent.
    pub expires_at: Option<Timestamp>,
    /// It is not sent before this.
    pub deliver_at: Option<Timestamp>,
}

/// What a caller asks to be pushed, to recipients or to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What is sent.
    pub text: Arc<str>,
    /// Only to sockets registered with this label.
    pub label: Option<Arc<str>>,
    /// Not after this.
    pub expires_at: Option<Timestamp>,
    /// Not before this; at once if it has passed.
    pub deliver_at: Option<Timestamp>,
}

/// A recipient by its full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecipientName {
    /// The tenant that registered it.
    pub tenant: Tenant,
    /// The tenant's own name for it, 1 to 256 bytes without control characters.
    pub name: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_age() {
        let id = |millis, sequence, partition| MessageId {
            millis,
            sequence,
            partition: Partition::new(partition).unwrap(),
        };
        let ids = [
            id(0, 0, 0),
            id(1_700_000_000_000, 0, 63),
            id(1_700_000_000_000, 1, 0),
            id(1_700_000_000_001, 0, 7),
            id((1 << 48) - 1, (1 << 24) - 1, 63),
        ];
        let texts: Vec<String> = ids.iter().map(MessageId::to_string).collect();
        assert!(texts.is_sorted());
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(text.len(), 18);
            assert_eq!(text.parse(), Ok(*id));
            assert_eq!(MessageId::from_entry(&id.entry(), id.partition), Some(*id));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "0",
            "00000000000000000U",
            "ZZZZZZZZZZZZZZZZZZ",
            "0000000000000001ZZ",
        ] {
            assert_eq!(text.parse::<MessageId>(), Err(BadMessageId), "{text}");
        }
    }
}
