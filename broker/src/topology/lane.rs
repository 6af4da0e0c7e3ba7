//! A connection for commands that is known to be over as soon as it is.
//!
//! A task moves its bytes, and ends when Redis ends the connection. Who looks
//! before use whether it has ended says nothing to a dead connection after an
//! outage, and so never has to guess whether a command that failed was heard.

use std::io;
use std::sync::Arc;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use prometheus::IntGauge;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::metrics::Counted;

/// Makes connections for the pool.
pub(super) struct Connect {
    pub client: Client,
    pub config: AsyncConnectionConfig,
    /// Counts connections while they are open.
    pub open: IntGauge,
}

/// A connection that callers share. Clones are the same connection, which is
/// closed with the last of them.
#[derive(Clone)]
pub(super) struct Connection {
    pub commands: MultiplexedConnection,
    bytes: Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Whether it has ended, so that nothing it is told reaches Redis.
    pub(super) fn is_over(&self) -> bool {
        self.bytes.is_finished()
    }
}

impl Manager for Connect {
    type Type = Connection;
    type Error = RedisError;

    async fn create(&self) -> Result<Connection, RedisError> {
        let info = self.client.get_connection_info();
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(io::Error::from(io::ErrorKind::Unsupported).into());
        };
        // Names are looked up anew each time: a failover may have moved them.
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let (commands, bytes) = MultiplexedConnection::new_with_config(
            info.redis_settings(),
            stream,
            self.config.clone(),
        )
        .await?;
        let open = Counted::new(&self.open);
        let bytes = tokio::spawn(async move {
            bytes.await;
            drop(open);
        });
        Ok(Connection {
            commands,
            bytes: Arc::new(AbortOnDropHandle::new(bytes)),
        })
    }

    async fn recycle(&self, used: &mut Connection, _: &Metrics) -> RecycleResult<RedisError> {
        if used.is_over() {
            return Err(RecycleError::message("the connection is over"));
        }
        Ok(())
    }
}
