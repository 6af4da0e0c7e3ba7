//! Whom tokens name: our own on a real Redis, and those of providers that answer
//! over HTTP as the real ones do.

mod own;
mod providers;
mod signed;
pub(crate) mod stub;

use crate::fixture;
use crate::identity::{AuthSettings, Authenticator};
use crate::keys::Keys;
use crate::node::env::Env;
use crate::people::People;
use crate::sites::Site;
use crate::topology::Redis;

const JO: &str = "acct:jo@example.org";

/// A place of its own on the server, and a site there.
struct World {
    redis: Redis,
    keys: Keys,
    people: People,
    site: Site,
}

impl World {
    fn new() -> Self {
        let (redis, keys) = fixture::redis();
        Self {
            people: People::new(redis.clone(), keys.clone()),
            redis,
            keys,
            site: site("acme", "example.org"),
        }
    }

    /// One whose chain these variables describe.
    fn authenticator(&self, variables: &[(&str, &str)]) -> Authenticator {
        let mut env = Env::from_pairs(variables.iter().copied());
        let settings = AuthSettings::read(&mut env);
        env.finish().unwrap();
        Authenticator::new(self.redis.clone(), self.keys.clone(), &settings)
    }
}

fn site(tenant: &str, authority: &str) -> Site {
    Site {
        tenant: tenant.parse().unwrap(),
        authority: authority.into(),
    }
}
