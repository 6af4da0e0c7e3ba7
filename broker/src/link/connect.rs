//! Connections to Redis that subscribe: how one is made, and made again.

use std::io;
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::resp::command;
use crate::topology::Login;

/// Pauses between attempts grow from the first to the second, with full jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Appends who we are to what is to be written, where Redis asks for that.
pub(crate) fn sign_in(out: &mut Vec<u8>, login: &Login) {
    if let Some(password) = &login.password {
        let user = login.user.as_deref().unwrap_or("default");
        let words = ["AUTH", user, password];
        command(out, words.map(str::as_bytes).into_iter());
    }
}

/// Writes the beginning of what is to be written, and says how much. Nothing is
/// written of nothing; then what went before is on its way.
pub(crate) async fn send(to: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> io::Result<usize> {
    if out.is_empty() {
        to.flush().await?;
        Ok(0)
    } else {
        to.write(out).await
    }
}

/// How often connections have failed of late.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next attempt, after a connection that lasted
    /// this long.
    pub(crate) fn pause(&mut self, lasted: Duration) -> Duration {
        self.failures = if lasted < BACKOFF.1 * 5 {
            self.failures + 1
        } else {
            0
        };
        let grown = BACKOFF.0 * 2u32.saturating_pow(self.failures.min(8));
        rand::rng().random_range(Duration::ZERO..BACKOFF.1.min(grown))
    }
}
