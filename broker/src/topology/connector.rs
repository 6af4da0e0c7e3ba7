//! How connections for commands are made and looked after, for the pool.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, cmd};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::dial::{CONNECT_TIMEOUT, Server};
use super::lane::Ended;
use super::sentinel::Sentinels;
use crate::error::without_arguments;

/// How long a command may take before its connection is given up.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that is older is made anew when it can be, so that new
/// addresses, certificates and passwords are in use before the old ones end.
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);

/// Where the server is.
pub(super) enum Place {
    /// There; its name may lead elsewhere tomorrow.
    Fixed(Server),
    /// Where these say that the master is.
    Master(Sentinels),
}

/// Makes connections to one server for the pool, and says which are still good.
pub(super) struct Connector {
    pub(super) place: Place,
    ended: Ended,
    /// Moves on when connections were found to lead to the wrong server.
    epoch: Arc<AtomicUsize>,
}

/// A connection for commands. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    /// As long as anybody holds it, its bytes go to and fro.
    _driver: Arc<Driver>,
    pub(super) epoch: usize,
    pub(super) made_at: Instant,
}

/// Ends the task that moves a connection's bytes, however much is owed on it:
/// one to a server that hangs would stay for ever.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connector {
    pub(super) fn new(place: Place, ended: Ended, epoch: Arc<AtomicUsize>) -> Self {
        Self {
            place,
            ended,
            epoch,
        }
    }

    /// Where to connect now.
    pub(super) async fn server(&self) -> io::Result<Server> {
        match &self.place {
            Place::Fixed(server) => Ok(server.clone()),
            Place::Master(sentinels) => sentinels.master().await,
        }
    }

    /// A connection that is given up if it says nothing for `patience`.
    pub(super) async fn connect(&self, patience: Duration) -> Result<Connection, RedisError> {
        self.connect_to(patience).await.map(|(_, made)| made)
    }

    /// The same, and where it leads.
    pub(super) async fn connect_to(
        &self,
        patience: Duration,
    ) -> Result<(Server, Connection), RedisError> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let server = self.server().await?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(patience))
            .set_push_sender(self.ended.listener());
        let mut made = make(&server, config, epoch).await?;
        if let Place::Master(_) = self.place {
            check_role(&mut made).await?;
        }
        Ok((server, made))
    }
}

/// One connection to this server.
pub(super) async fn make(
    server: &Server,
    config: AsyncConnectionConfig,
    epoch: usize,
) -> Result<Connection, RedisError> {
    let stream = server.dial().await?;
    let info = server.access.info();
    let greeting = MultiplexedConnection::new_with_config(&info, stream, config);
    let greeted = timeout(CONNECT_TIMEOUT, greeting).await;
    let greeted = greeted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    let (commands, driver) = greeted.map_err(without_arguments)?;
    let driver = Driver(tokio::spawn(driver).abort_handle());
    Ok(Connection {
        commands,
        _driver: Arc::new(driver),
        epoch,
        made_at: Instant::now(),
    })
}

/// A sentinel may name a server that has not heard of its new part yet.
async fn check_role(made: &mut Connection) -> Result<(), RedisError> {
    let role: Vec<redis::Value> = cmd("ROLE").query_async(&mut made.commands).await?;
    match role.first() {
        Some(redis::Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => Err(io::Error::other("the server that the sentinels name is no master").into()),
    }
}

impl Manager for Connector {
    type Type = Connection;
    type Error = RedisError;

    async fn create(&self) -> Result<Connection, RedisError> {
        self.connect(RESPONSE_TIMEOUT).await
    }

    async fn recycle(&self, held: &mut Connection, _: &Metrics) -> RecycleResult<RedisError> {
        if held.epoch != self.epoch.load(Ordering::Acquire) {
            return Err(RecycleError::message("it leads to a server of the past"));
        }
        if MAX_AGE <= held.made_at.elapsed() {
            // The old one is better than none.
            match self.create().await {
                Ok(new) => {
                    *held = new;
                    return Ok(());
                }
                Err(_) => held.made_at = Instant::now(),
            }
        }
        let alive: String = cmd("PING").query_async(&mut held.commands).await?;
        drop(alive);
        Ok(())
    }
}
