//! Connections to Redis that subscribe: how one is made, and made again.

use std::io;
use std::time::Duration;

use rand::RngExt;
use redis::{ConnectionAddr, ConnectionInfo};
use tokio::net::TcpStream;

use super::cause::Cause;
use super::resp::command;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pauses between attempts grow from the first to the second, with full jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A connection to the server of `info`.
pub(crate) async fn connect(info: &ConnectionInfo) -> Result<TcpStream, Cause> {
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        return Err(Cause::Connect(io::ErrorKind::Unsupported.into()));
    };
    // Names are looked up anew at each attempt: a failover may have moved them.
    let connecting = TcpStream::connect((host.as_str(), *port));
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| Cause::Connect(io::ErrorKind::TimedOut.into()))?
        .map_err(Cause::Connect)?;
    stream.set_nodelay(true).map_err(Cause::Connect)?;
    Ok(stream)
}

/// Appends who we are to what is to be written, where Redis asks for that.
pub(crate) fn sign_in(out: &mut Vec<u8>, info: &ConnectionInfo) {
    let settings = info.redis_settings();
    if let Some(password) = settings.password() {
        let user = settings.username().unwrap_or("default");
        let words = ["AUTH", user, password];
        command(out, words.map(str::as_bytes).into_iter());
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
