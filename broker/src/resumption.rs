//! Up to where clients have everything, so that one that comes back, to whatever
//! node, can be sent what it missed.
//!
//! A client is known by what it calls itself, for the user it is signed in as: who
//! learns what another client calls itself learns nothing by it. Its point is a
//! time by Redis' clock: all that was published before that it has received. That
//! lives as long as the rings do in which what came after is found.

use std::time::Duration;

use redis::Cmd;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::event::EntryId;
use crate::keys::Keys;
use crate::replay::Page;
use crate::ring::{LIFE, Ring, Rings};
use crate::topic::{Tenant, Topic};
use crate::topology::Redis;

/// Rings are read from this long before a point on: the clocks of servers differ,
/// and one may have taken another's place.
pub const OVERLAP: Duration = crate::replay::OVERLAP;
/// Clients looked up in one round trip.
const AT_ONCE: usize = 500;

/// A client that may come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    tenant: Tenant,
    digest: Box<str>,
}

impl Client {
    /// What calls itself `name`, for this user or for nobody.
    pub fn new(tenant: &Tenant, userid: Option<&str>, name: &str) -> Self {
        // Neither has a character 0, nor begins with one.
        let mut hash = Sha256::new();
        hash.update(userid.map_or("\u{0}", |userid| userid));
        hash.update([0]);
        hash.update(name);
        let digest: String = hash.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            tenant: tenant.clone(),
            digest: digest.into(),
        }
    }
}

/// The points of clients. Cheap to clone.
#[derive(Clone)]
pub struct Resumption {
    redis: Redis,
    keys: Keys,
    rings: Rings,
}

impl Resumption {
    /// Points kept in this Redis.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self {
            rings: Rings::new(redis.clone(), keys.clone()),
            redis,
            keys,
        }
    }

    /// The points of clients that have come, in Unix milliseconds; none for who
    /// was not here of late. What is published from now on concerns these, too.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn come(&self, clients: &[Client]) -> Result<Vec<Option<u64>>, Error> {
        let now = self.redis.time().await?.millis();
        let mut points = Vec::with_capacity(clients.len());
        for some in clients.chunks(AT_ONCE) {
            let mut commands = redis::Pipeline::with_capacity(3 * some.len());
            for client in some {
                let key = self.key(client);
                commands.get(&key);
                let mut begin = Cmd::set(&key, now);
                begin.arg("NX").arg("PX").arg(LIFE.as_millis() as u64);
                commands.add_command(begin).ignore();
                commands.pexpire(&key, LIFE.as_millis() as i64).ignore();
            }
            let found: Vec<Option<u64>> = self.redis.pipeline(&commands).await?;
            points.extend(found);
        }
        Ok(points)
    }

    /// Clients are known to have all that was published before these times, in
    /// Unix milliseconds by Redis' clock.
    ///
    /// # Errors
    /// If Redis fails. Some may have been noted; their points are only earlier
    /// than they could be otherwise.
    pub async fn reach(&self, reached: &[(Client, u64)]) -> Result<(), Error> {
        for some in reached.chunks(AT_ONCE) {
            let mut commands = redis::Pipeline::with_capacity(some.len());
            for (client, until) in some {
                let mut set = Cmd::set(self.key(client), until);
                set.arg("PX").arg(LIFE.as_millis() as u64);
                commands.add_command(set).ignore();
            }
            let () = self.redis.pipeline(&commands).await?;
        }
        Ok(())
    }

    /// What the ring of a topic holds from an entry on.
    ///
    /// # Errors
    /// If Redis fails, or holds something else there.
    pub async fn ring(&self, topic: &Topic, from: EntryId) -> Result<Page, Error> {
        self.rings.from(&Ring::of(topic), from).await
    }

    fn key(&self, client: &Client) -> String {
        self.keys.resumption(&client.tenant, &client.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[tokio::test]
    async fn a_client_that_comes_back_is_known_by_its_user_and_its_name() {
        let (redis, keys) = fixture::redis();
        let resumption = Resumption::new(redis.clone(), keys);
        let (acme, other): (Tenant, Tenant) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let ann = |tenant| Client::new(tenant, Some("acct:ann@example.org"), "tab");
        let others = [
            Client::new(&acme, None, "tab"),
            Client::new(&acme, Some("acct:bob@example.org"), "tab"),
            Client::new(&acme, Some("acct:ann@example.org"), "tab2"),
            ann(&other),
        ];
        let before = redis.time().await.unwrap().millis() as u64;
        assert_eq!(resumption.come(&[ann(&acme)]).await.unwrap(), [None]);
        let back = resumption.come(&[ann(&acme)]).await.unwrap();
        assert!(back[0].is_some_and(|point| before <= point));
        assert_eq!(resumption.come(&others).await.unwrap(), [None; 4]);
        let reached = [(ann(&acme), 5), (others[0].clone(), 6)];
        resumption.reach(&reached).await.unwrap();
        let points = resumption.come(&[others[0].clone(), ann(&acme)]).await;
        assert_eq!(points.unwrap(), [Some(6), Some(5)]);
    }

    #[tokio::test]
    async fn a_point_lives_as_long_as_a_ring() {
        let (redis, keys) = fixture::redis();
        let resumption = Resumption::new(redis.clone(), keys);
        let client = Client::new(&"acme".parse().unwrap(), None, "tab");
        let life = redis::Cmd::pttl(resumption.key(&client));
        resumption
            .come(std::slice::from_ref(&client))
            .await
            .unwrap();
        let first: u64 = redis.query(&life).await.unwrap();
        resumption.reach(&[(client, 5)]).await.unwrap();
        let second: u64 = redis.query(&life).await.unwrap();
        for left in [first, second] {
            assert!(LIFE.as_millis() as u64 - 60_000 < left, "{left}");
        }
    }
}
