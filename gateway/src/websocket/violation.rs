//! How a client may break the protocol, and what it is told then.

/// What a client did that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A bit is set that only an extension could give a meaning; none was agreed on.
    #[error("a reserved bit is set")]
    ReservedBits,
    /// The frame is of a kind the protocol does not define.
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// The payload is not masked; a client's must be.
    #[error("the frame is not masked")]
    Unmasked,
    /// The length has a shorter form, or its top bit is set.
    #[error("the length is not in its shortest form")]
    BadLength,
    /// A close, ping or pong carries more than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// A close, ping or pong comes in parts.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A continuation, and nothing that it continues.
    #[error("a continuation without a beginning")]
    LoneContinuation,
    /// A message begins before the last one has ended.
    #[error("a message begins within another")]
    Interrupted,
    /// A close frame has one byte, too few for a code.
    #[error("a close frame of one byte")]
    ShortClose,
    /// The close code is one that nobody may send.
    #[error("the close code is reserved")]
    ReservedCode,
    /// The reason in a close frame is not UTF-8.
    #[error("the close reason is not UTF-8")]
    BadReason,
    /// A text message is not UTF-8.
    #[error("the text is not UTF-8")]
    BadText,
    /// The message is longer than the gateway takes, or says that it will be.
    #[error("the message is too big")]
    TooBig,
}

impl Violation {
    /// The status code to close with (RFC 6455, section 7.4.1).
    pub fn close_code(&self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::Unmasked
            | Self::BadLength
            | Self::LongControl
            | Self::FragmentedControl
            | Self::LoneContinuation
            | Self::Interrupted
            | Self::ShortClose
            | Self::ReservedCode => 1002,
            Self::BadReason | Self::BadText => 1007,
            Self::TooBig => 1009,
        }
    }
}
