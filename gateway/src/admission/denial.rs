//! Why a client is not let in, and what it is told.

use std::ops::RangeInclusive;

use http::StatusCode;

/// Why a client is not let in, before the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The token is missing, bad, expired or revoked.
    Unauthorized,
    /// The token is for another web origin, or pages of this one may not connect.
    Origin,
    /// The token is for another address.
    Address,
    /// This node has as many connections as it may, or they come so fast that too
    /// many wait already, or that this one waited for too long.
    Limited,
    /// This node is short of memory.
    Overloaded,
    /// The tenant has as many sockets as it may, in the whole cluster.
    Quota,
    /// This node is leaving the cluster.
    Draining,
    /// Redis does not answer, so that nobody can be let in.
    Unavailable,
}

impl Denial {
    /// All of them.
    pub const EVERY: [Self; 8] = [
        Self::Unauthorized,
        Self::Origin,
        Self::Address,
        Self::Limited,
        Self::Overloaded,
        Self::Quota,
        Self::Draining,
        Self::Unavailable,
    ];

    /// The name under which it is counted.
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Origin => "forbidden_origin",
            Self::Address => "forbidden_ip",
            Self::Limited => "limited",
            Self::Overloaded => "overloaded",
            Self::Quota => "quota",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status it is answered with. A proxy tries 503 on another node, which for
    /// a quota of the whole cluster would be in vain.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Origin | Self::Address => StatusCode::FORBIDDEN,
            Self::Quota => StatusCode::TOO_MANY_REQUESTS,
            Self::Limited | Self::Overloaded | Self::Draining | Self::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Seconds after which the client is asked to come back, at least and at most:
    /// not all together, as they may have been refused together. `None` if there is
    /// no use in coming back as they are.
    pub const fn retry_after(self) -> Option<RangeInclusive<u32>> {
        match self {
            Self::Unauthorized | Self::Origin | Self::Address => None,
            // Another node, or a moment, is what it takes.
            Self::Limited | Self::Draining | Self::Unavailable => Some(1..=5),
            // Memory comes back as clients read, or leave.
            Self::Overloaded => Some(5..=15),
            // Others of the tenant have to leave.
            Self::Quota => Some(10..=30),
        }
    }

    /// What people are told.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unauthorized => "the token is missing, invalid or expired",
            Self::Origin => "the token is for another origin",
            Self::Address => "the token is for another address",
            Self::Limited => "this node is full, come back later",
            Self::Overloaded => "this node is short of memory, come back later",
            Self::Quota => "this tenant has as many sockets as it may, come back later",
            Self::Draining => "this node is leaving, come back",
            Self::Unavailable => "tokens cannot be checked now",
        }
    }
}
