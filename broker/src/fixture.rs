//! A real Redis for this crate's tests: one server per test process, and names
//! of its own for each test.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisResult};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use self::cluster::Cluster;
pub(crate) use self::sentinel::Watched;
pub(crate) use self::tls::Guarded;
use crate::keys::Keys;
use crate::topology::{Redis, RedisSettings};

mod cluster;
mod sentinel;
mod tls;

/// Ports that the system does not give to outgoing connections.
const PORTS: std::ops::Range<u16> = 6500..9500;

/// The server. The shell that started it ends it when our end of its standard
/// input closes, however this process ends.
struct Server {
    port: u16,
    /// Held so that the server's log has a reader and its shell an input.
    shell: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A server that one test has for itself.
pub(crate) struct Own(Server);

impl Own {
    /// Starts one, with nothing in it, and prepares connections to it.
    pub(crate) fn start() -> (Redis, Self) {
        let own = Self(Server::start());
        (open(own.address()), own)
    }

    /// Starts one with these settings.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let ports = std::iter::repeat_with(free_port).take(usize::from(PORTS.end - PORTS.start));
        let mut servers = ports.filter_map(|port| Server::start_with(port, args));
        Self(servers.next().expect("a port is free for it"))
    }

    /// Ends it and starts it again where it was. It has lost everything.
    pub(crate) fn restart(&mut self) {
        drop(self.0.shell.stdin.take());
        self.0.shell.wait().expect("the shell is our child");
        // Its port is taken until it is gone.
        let again = std::iter::repeat_with(|| Server::start_on(self.0.port));
        self.0 = again.flatten().next().expect("it goes on for ever");
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0.port).into()
    }
}

/// Connections to the servers, and names that no other test uses. There is one,
/// or, with `FLEET_TOPOLOGY=cluster`, a Cluster.
pub(crate) fn redis() -> (Redis, Keys) {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let test = TESTS.fetch_add(1, Ordering::Relaxed);
    let redis = shared_cluster().map_or_else(|| open(one_server()), |it| open_url(&it.url()));
    (redis, Keys::new(&format!("test{test}")))
}

/// Where everything comes by that is published there.
pub(crate) fn address() -> SocketAddr {
    shared_cluster().map_or_else(one_server, |it| it.node(0).address())
}

fn one_server() -> SocketAddr {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let port = SERVER.get_or_init(Server::start).port;
    (Ipv4Addr::LOCALHOST, port).into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the crate's tests have no settings of their own"
)]
fn shared_cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let wanted = std::env::var("FLEET_TOPOLOGY").is_ok_and(|name| name == "cluster");
    wanted.then(|| CLUSTER.get_or_init(Cluster::start))
}

/// Connections that break, and cannot be made again, once the task that
/// forwards them is aborted.
pub(crate) async fn cuttable() -> (Redis, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let server = one_server();
    let line = tokio::spawn(async move {
        let mut lines = JoinSet::new();
        while let Ok((mut here, _)) = listener.accept().await {
            lines.spawn(async move {
                let mut there = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut here, &mut there).await
            });
        }
    });
    (open(address), line)
}

/// Prepares connections to the server at `address`.
pub(crate) fn open(address: SocketAddr) -> Redis {
    open_url(&format!("redis://{address}"))
}

/// Prepares connections to the Redis that this URL names.
pub(crate) fn open_url(url: &str) -> Redis {
    let settings: RedisSettings = url.parse().expect("a URL of Redis");
    Redis::open(&settings).expect("it needs no files")
}

/// Asks a server, which answers within seconds or has failed.
pub(crate) fn ask<T: FromRedisValue>(server: SocketAddr, words: &[&str]) -> RedisResult<T> {
    let client = redis::Client::open(format!("redis://{server}"))?;
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
    connection.set_read_timeout(Some(Duration::from_secs(6)))?;
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query(&mut connection)
}

/// Blocks until it holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port on which nobody listens. No two calls in a process return the same.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let width = u32::from(PORTS.end - PORTS.start);
    // Test processes that run beside this one begin elsewhere.
    let first = std::process::id().wrapping_mul(37);
    let next = || first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % width;
    std::iter::repeat_with(|| PORTS.start + next() as u16)
        .take(width as usize)
        .find(|&port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("one of three thousand ports is free")
}

impl Server {
    fn start() -> Self {
        std::iter::repeat_with(free_port)
            .take(usize::from(PORTS.end - PORTS.start))
            .find_map(Self::start_on)
            .expect("redis-server is installed, and a port is free for it")
    }

    /// Nothing if the server ended instead of serving, as it does on a port
    /// that is taken.
    fn start_on(port: u16) -> Option<Self> {
        let folder = std::env::temp_dir();
        Self::start_with(port, &["--dir", &folder.to_string_lossy()])
    }

    /// The same, with these settings.
    fn start_with(port: u16, args: &[&str]) -> Option<Self> {
        let port_text = port.to_string();
        let own = ["--bind", "127.0.0.1", "--port", &port_text];
        let quiet = ["--save", "", "--appendonly", "no"];
        let all = [&own[..], &quiet[..], args].concat();
        Self::run(port, &all, "Ready to accept connections")
    }

    /// A sentinel on this port, as this file says.
    fn start_sentinel(port: u16, file: &str) -> Option<Self> {
        Self::run(port, &[file, "--sentinel"], "+monitor")
    }

    /// Runs a server, until it logs that it serves.
    fn run(port: u16, args: &[&str], serves: &str) -> Option<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", r#"redis-server "$@" & read x; kill $!"#, "sh"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let log = shell.stdout.as_mut().expect("it is piped");
        let ready = BufReader::new(log)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.contains("Failed listening"))
            .any(|line| line.contains(serves));
        if ready {
            Some(Self { port, shell })
        } else {
            drop(Self { port, shell });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn each_test_has_names_of_its_own_on_a_real_server() {
        let (redis, keys) = super::redis();
        let (_, others) = super::redis();
        assert_ne!(keys.meta(), others.meta());
        redis.ping().await.unwrap();
        redis.check_schema(&keys).await.unwrap();
    }
}
