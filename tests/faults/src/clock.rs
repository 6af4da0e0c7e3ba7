//! One clock for everything that is written down.

use std::time::Duration;

use broker::Timestamp;
use tokio::time::Instant;

/// Time since a run began; also knows what Redis would call a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    began_at: Timestamp,
}

impl Clock {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
            began_at: Timestamp::now(),
        }
    }

    /// How long ago it began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The moment `time` after the begin.
    pub(crate) fn at(&self, time: Duration) -> Instant {
        self.began + time
    }

    /// How long after the begin this was by Redis' clock, which is ours: it runs
    /// on the same machine.
    pub(crate) fn of(&self, at: Timestamp) -> Duration {
        at.since(self.began_at)
    }
}
