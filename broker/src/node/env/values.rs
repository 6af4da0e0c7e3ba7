//! How durations, sizes and lists are written in a variable.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time: a whole number and a unit, `250ms`, `5s`, `15m`, `24h`, `30d`, or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// The text is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time: expected a whole number and ms, s, m, h or d, such as 5s")]
pub struct BadPeriod;

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let (number, unit) = split(text).ok_or(BadPeriod)?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 24 * 3600 * 1000,
            "" if number == 0 => 0,
            _ => return Err(BadPeriod),
        };
        let millis = number.checked_mul(millis).ok_or(BadPeriod)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// A [`Period`] that is longer than nothing, for what is repeated or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

/// The text is not a length of time above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInterval {
    /// Not a length of time.
    #[error(transparent)]
    Form(#[from] BadPeriod),
    /// Zero.
    #[error("must be longer than nothing")]
    Zero,
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Self {
        interval.0
    }
}

impl FromStr for Interval {
    type Err = BadInterval;

    fn from_str(text: &str) -> Result<Self, BadInterval> {
        let Period(period) = text.parse()?;
        if period.is_zero() {
            Err(BadInterval::Zero)
        } else {
            Ok(Self(period))
        }
    }
}

/// A size in memory: a whole number and a unit, `512B`, `64KiB`, `16MiB`, `1GiB`, or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub usize);

/// The text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size: expected a whole number and B, KiB, MiB or GiB, such as 64KiB")]
pub struct BadBytes;

impl From<Bytes> for usize {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl FromStr for Bytes {
    type Err = BadBytes;

    fn from_str(text: &str) -> Result<Self, BadBytes> {
        let (number, unit) = split(text).ok_or(BadBytes)?;
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "" if number == 0 => 0,
            _ => return Err(BadBytes),
        };
        number
            .checked_mul(1 << shift)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or(BadBytes)
    }
}

/// Parts `64KiB` into 64 and `KiB`.
fn split(text: &str) -> Option<(u64, &str)> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit))
}

/// Values between commas; none in an empty text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T: FromStr> FromStr for List<T>
where
    T::Err: fmt::Display,
{
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_a_number_and_a_unit() {
        let read = |text: &str| text.parse::<Period>().map(|period| period.0.as_millis());
        assert_eq!(read("250ms"), Ok(250));
        assert_eq!(read("5s"), Ok(5_000));
        assert_eq!(read("15m"), Ok(900_000));
        assert_eq!(read("24h"), Ok(86_400_000));
        assert_eq!(read("30d"), Ok(2_592_000_000));
        assert_eq!(read("0"), Ok(0));
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5s",
            "5 s",
            "5s ",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(read(text), Err(BadPeriod), "{text}");
        }
    }

    #[test]
    fn an_interval_is_longer_than_nothing() {
        let second = Interval(Duration::from_secs(1));
        assert_eq!("1s".parse(), Ok(second));
        assert_eq!("0".parse::<Interval>(), Err(BadInterval::Zero));
        assert_eq!("0ms".parse::<Interval>(), Err(BadInterval::Zero));
        assert_eq!("1".parse::<Interval>(), Err(BadInterval::Form(BadPeriod)));
    }

    #[test]
    fn sizes_are_a_number_and_a_unit() {
        let read = |text: &str| text.parse::<Bytes>().map(|bytes| bytes.0);
        assert_eq!(read("512B"), Ok(512));
        assert_eq!(read("64KiB"), Ok(65_536));
        assert_eq!(read("1GiB"), Ok(1 << 30));
        assert_eq!(read("0"), Ok(0));
        for text in ["", "64", "64KB", "64kib", "KiB", "18446744073709551615GiB"] {
            assert_eq!(read(text), Err(BadBytes), "{text}");
        }
    }

    #[test]
    fn a_list_may_be_empty_but_holds_no_bad_entry() {
        assert_eq!("".parse::<List<u8>>(), Ok(List(vec![])));
        assert_eq!("1, 2,3".parse::<List<u8>>(), Ok(List(vec![1, 2, 3])));
        assert!("1,x".parse::<List<u8>>().is_err());
    }
}
