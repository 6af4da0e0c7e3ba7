//! Points in time as every process and script sees them: Unix milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, in UTC.
///
/// Message states carry Redis' clock; a process' own clock is only compared
/// with an expiry, never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not a date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date and time: expected RFC 3339, such as 2023-07-18T15:00:00Z")]
pub struct BadTimestamp;

impl Timestamp {
    /// From Unix milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// As Unix milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This process' wall clock.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

/// RFC 3339 in UTC with `Z`; a fraction only where there is one.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// RFC 3339, or the same without an offset, which is read as UTC.
impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let text = text.trim();
        let at = text.parse::<jiff::Timestamp>().or_else(|_| {
            let local: jiff::civil::DateTime = text.parse().map_err(|_| BadTimestamp)?;
            local
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map(|at| at.timestamp())
                .map_err(|_| BadTimestamp)
        })?;
        Ok(Self(at.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_without_an_offset_is_utc() {
        let at: Timestamp = "2023-07-18T15:00:00".parse().unwrap();
        assert_eq!(at.to_string(), "2023-07-18T15:00:00Z");
        assert_eq!("2023-07-18T17:00:00+02:00".parse(), Ok(at));
        assert_eq!(
            "2023-07-18T15:00:00.250Z".parse(),
            Ok(at + Duration::from_millis(250))
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "yesterday",
            "2023-13-01T00:00:00Z",
            "15:00",
            "1689692400",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTimestamp), "{text}");
        }
    }
}
