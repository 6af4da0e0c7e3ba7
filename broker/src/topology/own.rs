//! Connections that one caller has for itself: for commands that wait in Redis,
//! which would hold up everybody's on a lane, and for those that must follow each
//! other on one connection.

use std::sync::Arc;

use redis::{Cmd, FromRedisValue, Pipeline, RedisError};

use super::connector::Connection;
use super::lane::{Lanes, leads_astray};
use super::{Redis, Servers};
use crate::error::Error;

/// A connection to the server that had the key when it was made. Once a command
/// failed with anything but a refusal, or with one that says that the key is
/// elsewhere by now, another is to be asked for.
pub struct OwnConnection {
    pub(super) redis: Redis,
    pub(super) connection: Connection,
    pub(super) lanes: Arc<Lanes>,
    pub(super) usable: bool,
}

impl OwnConnection {
    /// Runs one command.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis fails, refuses, or has the key elsewhere.
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Error> {
        let result = command.query_async(&mut self.connection.commands).await;
        self.settle(result)
    }

    /// Runs commands in one round trip.
    ///
    /// # Errors
    /// [`Error::Redis`] if Redis fails, refuses, or has the key elsewhere.
    pub async fn pipeline<T: FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, Error> {
        let result = commands.query_async(&mut self.connection.commands).await;
        self.settle(result)
    }

    /// Whether it may be used again.
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    fn settle<T>(&mut self, result: Result<T, RedisError>) -> Result<T, Error> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        self.redis.inner.metrics.failed(&error);
        let elsewhere = matches!(error.code(), Some("MOVED" | "ASK" | "CLUSTERDOWN"));
        if error.code().is_none() || elsewhere || leads_astray(&error) {
            self.usable = false;
            if leads_astray(&error) {
                self.lanes.lead_astray(&self.connection);
            }
            if let Servers::Many(cluster) = &self.redis.inner.servers {
                cluster.refresh_soon();
            }
        }
        Err(error.into())
    }
}
