//! Why the gateway ends a connection, and how it says so.

/// Why the gateway ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client said goodbye; its own code is sent back.
    ClientLeft(Option<u16>),
    /// The client went away without saying so.
    ClientGone,
    /// The bytes are not WebSocket frames; the code is the one RFC 6455 section 7.4.1 gives.
    Garbled(u16),
    /// The client sends what the protocol has no place for; retrying unchanged fails again.
    Malformed,
    /// The client sends more frames than it may.
    TooMuch,
    /// The client reads slower than its topics publish.
    TooSlow,
    /// The client answered nothing for two heartbeats.
    Silent,
    /// The client sends what is no message at all, as the protocol of Hypothesis
    /// has it; its clients take this as final.
    BadMessage,
    /// The right to be here was withdrawn.
    Revoked,
    /// The access token has expired; come back with another.
    Expired,
    /// The access token was withdrawn, or its user is gone; who comes back with it
    /// is nobody.
    SignedOut,
    /// Events that the client asked for were lost, which its protocol has no words
    /// for: who comes back reads again what there is.
    Missed,
    /// This node is leaving the cluster; reconnect to another one.
    Draining,
    /// The connection is as old as one may be; reconnect, to whichever node has the
    /// fewest by now.
    Aged,
    /// This node is short of memory, and the connection is among those that hold
    /// most; reconnect after a while.
    Overloaded,
}

impl CloseReason {
    /// The RFC 6455 status code sent in the close frame; `None` if nothing is
    /// sent because nobody is there to read it.
    ///
    /// Never 1001 on drain: clients take it as final.
    pub fn code(self) -> Option<u16> {
        match self {
            Self::ClientLeft(code) => Some(code.unwrap_or(1000)),
            Self::ClientGone | Self::Silent => None,
            Self::Garbled(code) => Some(code),
            Self::Malformed | Self::TooMuch | Self::Revoked => Some(1008),
            Self::BadMessage => Some(1000),
            // Of our own, so that clients come back, as they would not after 1000 or 1001.
            Self::Expired | Self::SignedOut => Some(4401),
            Self::TooSlow | Self::Overloaded => Some(1013),
            // As in a drain: whoever gets this comes back.
            Self::Missed | Self::Draining | Self::Aged => Some(1012),
        }
    }

    /// The reason sent with the code, for people who look.
    pub fn text(self) -> &'static str {
        match self {
            Self::ClientLeft(_) | Self::ClientGone | Self::Silent => "",
            Self::Garbled(_) => "protocol error",
            Self::Malformed => "unexpected frame",
            Self::TooMuch => "too many frames",
            Self::TooSlow => "reads too slowly",
            Self::BadMessage => "invalid message format",
            Self::Revoked => "revoked",
            Self::Expired => "token expired",
            Self::SignedOut => "signed out",
            Self::Missed => "events were missed, reconnect",
            Self::Draining => "node is leaving, reconnect",
            Self::Aged => "connection is old, reconnect",
            Self::Overloaded => "node is short of memory, reconnect later",
        }
    }

    /// The name under which closes are counted.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClientLeft(_) => "client_left",
            Self::ClientGone => "client_gone",
            Self::Garbled(_) => "garbled",
            Self::Malformed => "malformed",
            Self::TooMuch => "too_much",
            Self::TooSlow => "too_slow",
            Self::Silent => "silent",
            Self::BadMessage => "bad_message",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::SignedOut => "signed_out",
            Self::Missed => "missed",
            Self::Draining => "draining",
            Self::Aged => "aged",
            Self::Overloaded => "overloaded",
        }
    }

    /// One of each kind.
    pub const EVERY: [Self; 15] = [
        Self::ClientLeft(None),
        Self::ClientGone,
        Self::Garbled(1002),
        Self::Malformed,
        Self::TooMuch,
        Self::TooSlow,
        Self::Silent,
        Self::BadMessage,
        Self::Revoked,
        Self::Expired,
        Self::SignedOut,
        Self::Missed,
        Self::Draining,
        Self::Aged,
        Self::Overloaded,
    ];
}
