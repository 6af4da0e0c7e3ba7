//! After how long a client comes back when its socket has ended.

use std::time::Duration;

use rand::RngExt as _;

use crate::client::Dialect;

/// How clients behave that lost their socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// All as docs/protocols.md asks of recipients.
    Patient,
    /// Each as the client that people use, unmodified: recipients as docs/protocols.md
    /// asks, Hypothesis' sidebar (1.1766) after exactly 2 s and twice as long after
    /// each failure, `misskey-js` (2026.5) after a millisecond and 1.3 times as long.
    Published,
}

impl Manners {
    /// A socket that was open so long was no failure.
    pub(crate) const fn steady(self, dialect: Dialect) -> Duration {
        match (self, dialect) {
            (Self::Patient, _) | (_, Dialect::Push) => Duration::from_secs(60),
            (Self::Published, Dialect::Hypothesis) => Duration::ZERO,
            (Self::Published, Dialect::Misskey) => Duration::from_secs(5),
        }
    }

    /// How long it waits after so many failures before, if the server asks to be left
    /// alone for as long as `hint`. In browsers scripts are not told of that.
    pub(crate) fn wait(self, dialect: Dialect, failures: u32, hint: Duration) -> Duration {
        let doubled = |first: u64| Duration::from_secs(first << failures.min(9));
        match (self, dialect) {
            (Self::Patient, _) | (_, Dialect::Push) => {
                let limit = doubled(1).min(Duration::from_secs(30));
                rand::rng().random_range(Duration::ZERO..limit).max(hint)
            }
            (Self::Published, Dialect::Hypothesis) => doubled(2),
            (Self::Published, Dialect::Misskey) => {
                let grown = Duration::from_millis(1).mul_f64(1.3_f64.powi(failures.min(99) as i32));
                grown.min(Duration::from_secs(10))
            }
        }
    }

    /// How long a client of this dialect is without its socket on average if it is let
    /// in at once.
    pub(crate) const fn pause(self, dialect: Dialect) -> Duration {
        match (self, dialect) {
            (Self::Patient, _) | (_, Dialect::Push) => Duration::from_millis(500),
            (Self::Published, Dialect::Hypothesis) => Duration::from_secs(2),
            (Self::Published, Dialect::Misskey) => Duration::from_millis(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_longer_after_each_failure() {
        let wait = |dialect, failures| Manners::Published.wait(dialect, failures, Duration::ZERO);
        let millis = Duration::from_millis;
        assert_eq!(wait(Dialect::Hypothesis, 0), millis(2000));
        assert_eq!(wait(Dialect::Hypothesis, 2), millis(8000));
        assert_eq!(wait(Dialect::Misskey, 0), millis(1));
        assert_eq!(wait(Dialect::Misskey, 1), Duration::from_micros(1300));
        assert_eq!(wait(Dialect::Misskey, 80), millis(10_000));
        assert!(wait(Dialect::Push, 0) < millis(1000));
        assert!(wait(Dialect::Push, 70) < millis(30_000));
    }

    #[test]
    fn recipients_leave_a_server_alone_that_asks_for_it() {
        let hint = Duration::from_secs(5);
        let wait = |dialect| Manners::Published.wait(dialect, 0, hint);
        assert!(hint <= wait(Dialect::Push));
        assert!(wait(Dialect::Misskey) < hint, "a browser does not tell it");
    }
}
