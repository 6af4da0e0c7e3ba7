//! A Redis of one's own: one server, a master that sentinels watch, or a Cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use broker::topology::RedisSettings;
use redis::{FromRedisValue, RedisResult};

use crate::process::Process;
use crate::until::until;

pub use self::locks::{Locks, Login, Tls};
pub use self::recipe::users;
pub use self::server::Server;

mod cluster;
mod locks;
mod recipe;
mod sentinel;
mod server;

/// Names the topology that tests run on which do not choose one themselves.
const TOPOLOGY: &str = "FLEET_TOPOLOGY";

/// How many servers there are, and what each is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One.
    Standalone,
    /// A master, two replicas of it, and three sentinels.
    Sentinel,
    /// Three primaries and a replica of each.
    Cluster,
}

impl Topology {
    /// What `FLEET_TOPOLOGY` says: `standalone` (or nothing), `sentinel` or `cluster`.
    ///
    /// # Panics
    /// If it says anything else.
    pub fn chosen() -> Self {
        match std::env::var(TOPOLOGY).as_deref() {
            Err(_) | Ok("" | "standalone") => Self::Standalone,
            Ok("sentinel") => Self::Sentinel,
            Ok("cluster") => Self::Cluster,
            Ok(other) => panic!("{TOPOLOGY} is standalone, sentinel or cluster, not {other:?}"),
        }
    }
}

/// What a Redis is to be like, before it is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which servers there are.
    pub topology: Topology,
    /// How long a server is silent until the others take it for dead and
    /// replace it: `down-after-milliseconds`, `cluster-node-timeout`.
    pub patience: Duration,
    /// Whether connections are encrypted.
    pub tls: Tls,
    /// Lines of an ACL file (`user … on >… …`): the processes sign in as those
    /// whose names end in their role, the servers and the test as others that
    /// are added here.
    pub users: Option<String>,
    /// Whether everybody else is let in, too.
    pub open: bool,
}

impl Setup {
    /// In clear, open to everybody, and patient enough that a busy machine
    /// causes no failover.
    pub fn of(topology: Topology) -> Self {
        Self {
            topology,
            patience: Duration::from_secs(10),
            tls: Tls::Off,
            users: Some(recipe::users_beside_misskey()),
            open: true,
        }
    }

    /// For users that are listed and nobody else, and encrypted if so asked.
    pub fn locked(self, users: &str, tls: Tls) -> Self {
        Self {
            users: Some(users.to_owned()),
            open: false,
            tls,
            ..self
        }
    }

    /// One that replaces a dead server after some two seconds: sooner, and on a
    /// busy machine those that live are taken for dead.
    pub fn quick_to_fail_over(topology: Topology) -> Self {
        Self {
            patience: Duration::from_millis(2000),
            ..Self::of(topology)
        }
    }
}

/// Servers on free ports of the loopback interface, their append-only files in a
/// folder of their own.
///
/// Killed and started again they find what they had written.
pub struct PrivateRedis {
    topology: Topology,
    servers: Vec<Server>,
    sentinels: Vec<Server>,
    locks: Locks,
}

impl PrivateRedis {
    /// Starts what `FLEET_TOPOLOGY` names, its data in `folder`.
    pub async fn start(folder: &Path) -> Self {
        Self::of(&Setup::of(Topology::chosen()), folder).await
    }

    /// Starts servers, their data in `folder`, and waits until all can be written to.
    ///
    /// # Panics
    /// If they cannot be started.
    pub async fn of(setup: &Setup, folder: &Path) -> Self {
        let mut redis = Self::prepared(setup, folder);
        // Somebody may take a port between our look and the server's.
        while !redis.listens().await {
            redis.kill();
            redis = Self::prepared(setup, folder);
        }
        redis.serves().await;
        redis
    }

    /// Starts every server; whether all have the ports that they were to have.
    async fn listens(&self) -> bool {
        for process in self.processes() {
            process.spawn();
        }
        let mut taken = false;
        let all = self.sentinels.iter().chain(&self.servers);
        for server in all {
            until("a server listens", async || {
                let runs = server.process().is_running();
                taken |= server.process().output().contains("Address already in use");
                assert!(taken || runs, "{}", server.process().tail());
                taken || server.answers()
            })
            .await;
        }
        !taken
    }

    /// All the servers, none of them started.
    fn prepared(setup: &Setup, folder: &Path) -> Self {
        let locks = Locks::new(setup, folder);
        let (servers, sentinels) = match setup.topology {
            Topology::Standalone => {
                let lines = ["appendonly yes".to_owned()];
                (vec![Server::new("redis-0", &lines, &locks, folder)], vec![])
            }
            Topology::Sentinel => sentinel::servers(setup, &locks, folder),
            Topology::Cluster => (cluster::servers(setup, &locks, folder), vec![]),
        };
        Self {
            topology: setup.topology,
            servers,
            sentinels,
            locks,
        }
    }

    /// Kills every server and sentinel.
    pub fn kill(&self) {
        for process in self.processes() {
            process.kill();
        }
    }

    /// Starts those that do not run, and waits until commands are served.
    pub async fn restart(&self) {
        for process in self.processes() {
            if !process.is_running() {
                process.spawn();
            }
        }
        self.serves().await;
    }

    /// Waits until commands are served wherever clients will look.
    pub async fn serves(&self) {
        until("Redis serves", async || {
            for process in self.processes() {
                process.assert_running();
            }
            match self.topology {
                Topology::Standalone => self.servers[0].answers(),
                Topology::Sentinel => sentinel::serves(&self.servers, &self.sentinels),
                Topology::Cluster => cluster::serves(&self.servers),
            }
        })
        .await;
    }

    /// Waits until every replica holds what its master holds, and goes on to.
    pub async fn replicates(&self) {
        until("replicas follow", async || {
            let follows = |server: &Server| {
                server
                    .replication()
                    .is_some_and(|of| of.role == "master" || of.follows)
            };
            self.servers.iter().all(follows)
        })
        .await;
    }

    /// Freezes every server and sentinel: they keep their sockets and do nothing.
    pub fn freeze(&self) {
        for process in self.processes() {
            process.freeze();
        }
    }

    /// Lets them go on after [`PrivateRedis::freeze`].
    pub fn thaw(&self) {
        for process in self.processes() {
            process.thaw();
        }
    }

    /// Where clients find it that may do everything.
    pub fn url(&self) -> String {
        self.url_by(self.locks.test_signs_in(), |address| address)
    }

    /// The same, for connections that the test makes as processes do.
    ///
    /// # Panics
    /// If it is not a URL that they understand.
    pub fn settings(&self) -> RedisSettings {
        let settings: RedisSettings = self.url().parse().expect("we built the URL");
        settings.with_tls_files(self.locks.for_clients())
    }

    /// Where a process of this role finds it, which reaches its servers by
    /// other addresses.
    pub fn url_for(&self, role: &str, by: impl Fn(SocketAddr) -> SocketAddr) -> String {
        self.url_by(self.locks.signs_in(role), by)
    }

    fn url_by(&self, login: Option<Login>, by: impl Fn(SocketAddr) -> SocketAddr) -> String {
        let s = if self.locks.tls() { "s" } else { "" };
        let user = login.map_or_else(String::new, |login| {
            format!("{}:{}@", login.user, login.password)
        });
        let list = |servers: &[Server]| -> String {
            let all: Vec<_> = servers
                .iter()
                .map(|server| by(server.address()).to_string())
                .collect();
            all.join(",")
        };
        match self.topology {
            Topology::Standalone => format!("redis{s}://{user}{}", list(&self.servers)),
            Topology::Sentinel => format!(
                "redis{s}+sentinel://{user}{}/{}",
                list(&self.sentinels),
                sentinel::MASTER
            ),
            Topology::Cluster => format!("redis{s}+cluster://{user}{}", list(&self.servers)),
        }
    }

    /// A server that takes commands, for clients that know of one only: the
    /// first master, any node.
    pub fn address(&self) -> SocketAddr {
        self.servers[0].address()
    }

    /// Cuts the lines between this server and its replicas and sentinels, while
    /// its clients still reach it.
    ///
    /// # Panics
    /// If there are no [users](Setup::users): only those tell who is who.
    pub fn cut_off(&self, server: &Server) {
        let peer = self.locks.peers_sign_in().expect("there are users").user;
        let () = server
            .ask(&["ACL", "SETUSER", &peer, "off"])
            .expect("it obeys");
        let _: u64 = server
            .ask(&["CLIENT", "KILL", "USER", &peer])
            .expect("it obeys");
    }

    /// Lets these lines be made again.
    ///
    /// # Panics
    /// As [`PrivateRedis::cut_off`].
    pub fn join_again(&self, server: &Server) {
        let peer = self.locks.peers_sign_in().expect("there are users").user;
        let () = server
            .ask(&["ACL", "SETUSER", &peer, "on"])
            .expect("it obeys");
    }

    /// What users of our processes were refused, in words.
    pub fn refused(&self) -> Vec<String> {
        let mut refused = Vec::new();
        for server in &self.servers {
            let log = server.ask(&["ACL", "LOG"]).unwrap_or_default();
            let entries: Vec<HashMap<String, String>> = log;
            for entry in entries {
                let told = |name: &str| entry.get(name).cloned().unwrap_or_default();
                if self.locks.knows(&told("username")) {
                    let what = ["username", "reason", "context", "object"].map(told);
                    refused.push(what.join(" "));
                }
            }
        }
        refused
    }

    /// Which kind it is.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// Certificates and users.
    pub fn locks(&self) -> &Locks {
        &self.locks
    }

    /// The servers that hold data; masters and primaries first, as they started.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The sentinels, if there are.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The server that is written to, now, for what is kept under `key`.
    ///
    /// # Panics
    /// If there is none, as during a failover.
    pub fn master_of(&self, key: &str) -> &Server {
        self.find_master_of(key)
            .unwrap_or_else(|| panic!("nobody serves {key}"))
    }

    /// The server that is written to, now, for what is kept under `key`, if those
    /// who decide that agree.
    pub fn find_master_of(&self, key: &str) -> Option<&Server> {
        let address = match self.topology {
            Topology::Standalone => self.servers[0].address(),
            Topology::Sentinel => sentinel::master(&self.sentinels)?,
            Topology::Cluster => cluster::owner(&self.servers, cluster::slot(key))?,
        };
        let mut servers = self.servers.iter();
        servers.find(|server| server.address() == address)
    }

    /// Asks the server that is written to for what is kept under `key`.
    ///
    /// # Errors
    /// If there is none, or it refuses.
    pub fn ask<T: FromRedisValue>(&self, key: &str, words: &[&str]) -> RedisResult<T> {
        self.master_of(key).ask(words)
    }

    /// Asks every server that holds data.
    ///
    /// # Panics
    /// If one refuses, or does not answer.
    pub fn each<T: FromRedisValue>(&self, words: &[&str]) -> Vec<T> {
        let asked = self.servers.iter().map(|server| {
            let answer = server.ask(words);
            answer.unwrap_or_else(|error| panic!("{words:?} at {}: {error}", server.address()))
        });
        asked.collect()
    }

    /// Hears what is published, in the order in which it is published at the
    /// server that is written to for what is kept under `key`.
    ///
    /// # Panics
    /// If there is none, or it speaks only encrypted.
    pub async fn ear(&self, key: &str) -> redis::aio::PubSub {
        let url = format!("redis://{}", self.master_of(key).address());
        let client = redis::Client::open(url).expect("we built the URL");
        client.get_async_pubsub().await.expect("it lets us listen")
    }

    /// Gives the slot of `key`, and all that is in it, to another primary of the
    /// Cluster, and returns that one.
    ///
    /// # Panics
    /// If this is no Cluster, or a server refuses.
    pub fn move_slot_of(&self, key: &str) -> &Server {
        cluster::move_slot(&self.servers, cluster::slot(key), &self.locks)
    }

    /// Every process, those that decide about others first.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        let all = self.sentinels.iter().chain(&self.servers);
        all.map(Server::process)
    }

    /// Where each of them listens for clients.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let all = self.sentinels.iter().chain(&self.servers);
        all.map(Server::address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Starts one, uses it, and removes what it kept.
    async fn with(setup: Setup, run: impl AsyncFnOnce(&PrivateRedis)) {
        let folder = crate::fleet::folder();
        let redis = PrivateRedis::of(&setup, &folder).await;
        run(&redis).await;
        drop(redis);
        std::fs::remove_dir_all(folder).unwrap();
    }

    async fn keeps_its_data(topology: Topology) {
        with(Setup::of(topology), async |redis| {
            let () = redis.ask("bell", &["SET", "bell", "rung"]).unwrap();
            redis.kill();
            assert!(redis.processes().all(|process| !process.is_running()));
            redis.restart().await;
            let kept: String = redis.ask("bell", &["GET", "bell"]).unwrap();
            assert_eq!(kept, "rung");
        })
        .await;
    }

    #[tokio::test]
    async fn a_port_that_was_taken_meanwhile_is_given_up() {
        let folder = crate::fleet::folder();
        let redis = PrivateRedis::prepared(&Setup::of(Topology::Cluster), &folder);
        let squatter = TcpListener::bind(redis.servers[4].address()).unwrap();
        assert!(!redis.listens().await);
        redis.kill();
        drop(squatter);
        drop(redis);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn redis_killed_and_restarted_has_its_data() {
        keeps_its_data(Topology::Standalone).await;
    }

    #[tokio::test]
    async fn a_master_and_sentinels_killed_and_restarted_have_their_data() {
        keeps_its_data(Topology::Sentinel).await;
    }

    #[tokio::test]
    async fn a_cluster_killed_and_restarted_has_its_data() {
        keeps_its_data(Topology::Cluster).await;
    }

    /// Kills who serves a key, and finds its value at another.
    async fn replaces_the_dead(setup: Setup) {
        with(setup, async |redis| {
            redis.replicates().await;
            let () = redis.ask("bell", &["SET", "bell", "rung"]).unwrap();
            let dead = redis.master_of("bell");
            // All of them: whoever is chosen need not be the first to have had it.
            let all = match redis.topology {
                Topology::Cluster => "1",
                Topology::Standalone | Topology::Sentinel => "2",
            };
            let _: i64 = dead.ask(&["WAIT", all, "5000"]).unwrap();
            dead.process().kill();
            until("another serves", async || {
                redis
                    .find_master_of("bell")
                    .is_some_and(|heir| heir.address() != dead.address())
            })
            .await;
            let kept: String = redis.ask("bell", &["GET", "bell"]).unwrap();
            assert_eq!(kept, "rung");
            redis.restart().await;
            redis.replicates().await;
        })
        .await;
    }

    #[tokio::test]
    async fn sentinels_replace_a_master_that_died() {
        replaces_the_dead(Setup::quick_to_fail_over(Topology::Sentinel)).await;
    }

    #[tokio::test]
    async fn a_cluster_replaces_a_primary_that_died() {
        replaces_the_dead(Setup::quick_to_fail_over(Topology::Cluster)).await;
    }

    #[tokio::test]
    async fn locked_servers_replace_each_other_too() {
        for topology in [Topology::Sentinel, Topology::Cluster] {
            let setup = Setup::quick_to_fail_over(topology);
            let users = "user someone on >hush -@all +ping\n";
            replaces_the_dead(setup.locked(users, Tls::Mutual)).await;
        }
    }

    #[tokio::test]
    async fn a_slot_moves_with_what_is_in_it() {
        with(Setup::of(Topology::Cluster), async |redis| {
            let () = redis.ask("bell", &["SET", "bell", "rung"]).unwrap();
            let before = redis.master_of("bell").address();
            let now = redis.move_slot_of("bell");
            assert_ne!(before, now.address());
            let kept: String = now.ask(&["GET", "bell"]).unwrap();
            assert_eq!(kept, "rung");
            until("all know it", async || {
                redis
                    .find_master_of("bell")
                    .is_some_and(|owner| owner.address() == now.address())
            })
            .await;
        })
        .await;
    }
}
