//! What a caller is told when a request, or a part of it, cannot be done.
//!
//! Nothing internal is ever told: what went wrong inside is logged here, once,
//! and the caller learns only whether trying again makes sense.

use async_graphql::{Error, ErrorExtensions, ServerError, Value};
use broker::quota::{Exceeded, Refused};
use tracing::error;

/// The kind of a failure: `extensions.code` of a GraphQL error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No access key, or one that does not exist, has expired or is disabled.
    Unauthenticated,
    /// The key's scopes do not cover a field.
    Forbidden,
    /// The request or an argument is not what the schema and its documentation ask for.
    BadUserInput,
    /// There is no such thing, or it is another tenant's.
    NotFound,
    /// A limit of this cluster is exceeded: size, number or complexity.
    Limited,
    /// Something the api needs does not answer; the same request may succeed later.
    Unavailable,
    /// A fault of the cluster; trying again will not help.
    Internal,
}

impl Code {
    /// Every code.
    pub const EVERY: [Self; 7] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::BadUserInput,
        Self::NotFound,
        Self::Limited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Its name in `extensions.code`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::NotFound => "NOT_FOUND",
            Self::Limited => "LIMITED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// Its name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::BadUserInput => "bad_user_input",
            Self::NotFound => "not_found",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The code that a GraphQL error carries. What the GraphQL library itself
    /// refuses carries none, and is always the request's fault.
    pub fn of(error: &ServerError) -> Self {
        let named = error.extensions.as_ref().and_then(|all| all.get("code"));
        match named {
            Some(Value::String(name)) => Self::EVERY
                .into_iter()
                .find(|code| code.as_str() == name)
                .unwrap_or(Self::Internal),
            _ => Self::BadUserInput,
        }
    }
}

/// Why something was not done, in words for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub code: Code,
    /// A sentence that names the argument, where there is one.
    pub message: String,
    /// The tenant's quota that is used up, if it is for that.
    pub quota: Option<Exceeded>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            quota: None,
        }
    }

    /// The same, and for which quota it is, if for one.
    #[must_use]
    pub fn of_quota(mut self, quota: Option<Exceeded>) -> Self {
        self.quota = quota;
        self
    }

    /// A quota of the tenant is used up.
    pub fn quota(exceeded: Exceeded) -> Self {
        Self {
            code: Code::Limited,
            message: exceeded.to_string(),
            quota: Some(exceeded),
        }
    }

    /// `argument` is not what it should be.
    pub fn bad(argument: &str, why: impl std::fmt::Display) -> Self {
        Self::new(Code::BadUserInput, format!("{argument}: {why}"))
    }

    /// What the broker could not do. The reason goes to the log and no further.
    pub fn inside(reason: &broker::Error) -> Self {
        error!(error = %reason, "the broker failed a request");
        Self::unlogged(reason)
    }

    /// What the broker could not do, where the log knows of it already.
    pub fn unlogged(reason: &broker::Error) -> Self {
        match reason {
            broker::Error::Redis(_) => Self::new(
                Code::Unavailable,
                "the message store does not answer; try again",
            ),
            broker::Error::Provider(_) => Self::new(
                Code::Unavailable,
                "tokens of users cannot be checked; try again",
            ),
            _ => Self::new(Code::Internal, "the cluster has a fault; it is logged"),
        }
    }

    /// As an error of the GraphQL library that belongs to no field.
    pub fn into_server_error(self) -> ServerError {
        let mut error = Error::from(self).into_server_error(async_graphql::Pos::default());
        error.locations.clear();
        error
    }
}

/// As [`inside`](Failure::inside).
impl From<broker::Error> for Failure {
    fn from(reason: broker::Error) -> Self {
        Self::inside(&reason)
    }
}

/// As [`inside`](Failure::inside), unless it is for the caller to wait.
impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Exceeded(exceeded) => Self::quota(exceeded),
            Refused::Unavailable(reason) => Self::inside(&reason),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.message).extend_with(|_, e| {
            e.set("code", failure.code.as_str());
            if let Some(Exceeded {
                kind, retry_after, ..
            }) = failure.quota
            {
                e.set("quota", kind.as_str());
                // Seconds, rounded up so that coming back then is not too early.
                let seconds = retry_after.map(|after| (after.as_secs_f64() * 10.0).ceil() / 10.0);
                e.set("retryAfter", seconds);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_its_code_to_the_caller() {
        for code in Code::EVERY {
            let error = Failure::new(code, "no").into_server_error();
            assert_eq!(Code::of(&error), code);
        }
    }

    #[test]
    fn what_the_store_said_stays_inside() {
        let inside = broker::Error::Corrupt("message at carillon:{x}");
        let failure = Failure::from(inside);
        assert_eq!(failure.code, Code::Internal);
        assert!(!failure.message.contains("carillon:"));
    }
}
