//! The scalars `DateTime` and `Token`.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use broker::Timestamp;
use broker::time::BadTimestamp;

/// A point in time. Answers carry RFC 3339 in UTC, such as `2023-07-18T15:00:00Z`.
/// Arguments may also have another offset, or none, which is read as UTC.
///
/// An argument that cannot be read is kept as such, so that whoever checks the
/// arguments can name the one at fault.
pub(super) struct DateTime(pub(super) Result<Timestamp, BadTimestamp>);

/// A point in time. Answers carry RFC 3339 in UTC, such as `2023-07-18T15:00:00Z`.
/// Arguments may also have another offset, or none, which is read as UTC.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text.parse())),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        match self.0 {
            Ok(at) => Value::String(at.to_string()),
            Err(_) => Value::Null,
        }
    }
}

impl From<Timestamp> for DateTime {
    fn from(at: Timestamp) -> Self {
        Self(Ok(at))
    }
}

/// What lets one recipient connect. Opaque; whoever has it can read what is pushed.
pub(super) struct Token(pub(super) String);

/// What lets one recipient connect. Opaque; whoever has it can read what is pushed.
#[Scalar]
impl ScalarType for Token {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}
