//! The publishing side of pub/sub, and which gateways there are.

use std::time::Duration;

use redis::cmd;
use serde::Serialize;
use tracing::debug;

use crate::control::{Control, Reply};
use crate::error::Error;
use crate::keys::Keys;
use crate::link::course::Published;
use crate::topology::Redis;

/// A gateway says this often that it is there.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(5);
/// A gateway not heard of for this long does not count as there.
const PRESENT: Duration = Duration::from_secs(15);

/// Publishes a probe. The name of a primary is that within its Cluster, if there is
/// one, and when the connection was made by which it passes on what is published to
/// the node on which we listen: a new one may have cost something.
const PROBE: &str = include_str!("bus/probe.lua");

/// Publishes to nodes. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    redis: Redis,
    keys: Keys,
}

impl Bus {
    /// A bus over this Redis.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    /// Tells every node.
    ///
    /// # Errors
    /// If Redis cannot be reached; then nobody was told.
    pub async fn tell(&self, control: &Control) -> Result<(), Error> {
        self.publish(&self.keys.control_channel(), control).await
    }

    /// Answers the node called `node`.
    ///
    /// # Errors
    /// If Redis cannot be reached; then it was not told.
    pub async fn reply(&self, node: &str, reply: &Reply) -> Result<(), Error> {
        self.publish(&self.keys.reply_channel(node), reply).await
    }

    /// Publishes `nonce` through every primary to the probe channel of `node`, whose
    /// link should hear it, with the primary's time and what it calls itself. `home`
    /// is what the node of a Cluster calls itself on which the link listens.
    ///
    /// # Errors
    /// If Redis cannot be reached.
    pub(crate) async fn probe(
        &self,
        node: &str,
        nonce: u64,
        home: &str,
    ) -> Result<Vec<Published>, Error> {
        let mut call = redis::pipe();
        call.cmd("EVAL").arg(PROBE).arg(0);
        call.arg(self.keys.probe_channel(node)).arg(nonce).arg(home);
        let all = self.redis.on_every_primary::<(String,)>(&call).await?;
        // Among several, one that may not say who it is cannot be told from others.
        let several = 1 < all.len();
        let published = all.into_iter().map(|primary| match primary.answer {
            Ok((name,)) if !several || !name.is_empty() => Published {
                server: name.into(),
                partitions: primary.partitions,
                done: true,
            },
            answer => {
                let error = answer.err().map(tracing::field::display);
                debug!(
                    error,
                    server = &*primary.server,
                    "a probe could not be published"
                );
                Published {
                    server: (&*primary.server).into(),
                    partitions: primary.partitions,
                    done: false,
                }
            }
        });
        Ok(published.collect())
    }

    /// Says that the gateway `node` is there, and whether it hears what is published.
    /// To be repeated every [`ANNOUNCE_INTERVAL`].
    ///
    /// # Errors
    /// If Redis cannot be reached.
    pub async fn announce(&self, node: &str, hears: bool) -> Result<(), Error> {
        let now = self.redis.time().await?;
        let (nodes, gone) = (self.keys.nodes(), (now - PRESENT).millis());
        let mut all = redis::pipe();
        all.zadd(&nodes, node, now.millis()).ignore();
        match hears {
            true => all.zrem(&nodes, deaf(node)).ignore(),
            false => all.zadd(&nodes, deaf(node), now.millis()).ignore(),
        };
        all.zrembyscore(&nodes, "-inf", gone).ignore();
        self.redis.pipeline(&all).await
    }

    /// Whether another gateway than `node` is there and hears what is published.
    ///
    /// # Errors
    /// If Redis cannot be reached.
    pub async fn another_hears(&self, node: &str) -> Result<bool, Error> {
        let there = self.there().await?;
        let hears = |other: &&String| !there.contains(&deaf(other));
        Ok(there
            .iter()
            .filter(|other| !is_deaf(other) && *other != node)
            .any(|other| hears(&other)))
    }

    /// Says that the gateway `node` has left.
    ///
    /// # Errors
    /// If Redis cannot be reached; the node then counts as there for a while longer.
    pub async fn depart(&self, node: &str) -> Result<(), Error> {
        self.redis
            .query(cmd("ZREM").arg(self.keys.nodes()).arg(node).arg(deaf(node)))
            .await
    }

    /// How many gateways are there.
    ///
    /// # Errors
    /// If Redis cannot be reached.
    pub async fn gateways(&self) -> Result<usize, Error> {
        let there = self.there().await?;
        Ok(there.iter().filter(|name| !is_deaf(name)).count())
    }

    /// The names of all gateways that are there, and, marked, of those that hear nothing.
    async fn there(&self) -> Result<Vec<String>, Error> {
        let since = (self.redis.time().await? - PRESENT).millis();
        let mut range = cmd("ZRANGE");
        range.arg(self.keys.nodes()).arg(since).arg("+inf");
        self.redis.query(range.arg("BYSCORE")).await
    }

    async fn publish(&self, channel: &str, value: &impl Serialize) -> Result<(), Error> {
        let json = serde_json::to_string(value).expect("plain values can be written as JSON");
        self.redis
            .query(cmd("PUBLISH").arg(channel).arg(json))
            .await
    }
}

/// How a gateway that hears nothing is called beside its name.
fn deaf(node: &str) -> String {
    format!("!{node}")
}

fn is_deaf(name: &str) -> bool {
    name.starts_with('!')
}

#[cfg(test)]
mod tests;
