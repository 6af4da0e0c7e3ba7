//! A real Redis for this crate's tests: one server per test process, and names
//! of its own for each test.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::keys::Keys;
use crate::topology::{Redis, RedisSettings};

/// Ports that the system does not give to outgoing connections.
const PORTS: std::ops::Range<u16> = 6500..9500;

/// The server. The shell that started it ends it when our end of its standard
/// input closes, however this process ends.
struct Server {
    port: u16,
    /// Held so that the server's log has a reader and its shell an input.
    shell: Child,
}

/// A server that one test has for itself.
pub(crate) struct Own(Server);

impl Own {
    /// Starts one, with nothing in it, and prepares connections to it.
    pub(crate) fn start() -> (Redis, Self) {
        let own = Self(Server::start());
        (open(own.address()), own)
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

/// Connections to the server, and names that no other test uses.
pub(crate) fn redis() -> (Redis, Keys) {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let test = TESTS.fetch_add(1, Ordering::Relaxed);
    (open(address()), Keys::new(&format!("test{test}")))
}

/// Where the server is.
pub(crate) fn address() -> SocketAddr {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let port = SERVER.get_or_init(Server::start).port;
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Connections that break, and cannot be made again, once the task that
/// forwards them is aborted.
pub(crate) async fn cuttable() -> (Redis, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let server = self::address();
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
    let url = format!("redis://{address}");
    let settings: RedisSettings = url.parse().expect("a URL of Redis");
    Redis::open(&settings).expect("one server is served")
}

impl Server {
    fn start() -> Self {
        let width = PORTS.end - PORTS.start;
        // Test processes that run beside this one begin elsewhere.
        let first = std::process::id() as u16 % width;
        (0..width)
            .map(|n| PORTS.start + (first + n) % width)
            .find_map(Self::start_on)
            .expect("redis-server is installed, and a port is free for it")
    }

    /// Nothing if the server ended instead of serving, as it does on a port
    /// that is taken.
    fn start_on(port: u16) -> Option<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", r#"redis-server "$@" & read x; kill $!"#, "sh"])
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(std::env::temp_dir())
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
            .any(|line| line.contains("Ready to accept connections"));
        if ready {
            Some(Self { port, shell })
        } else {
            drop(shell.stdin.take());
            let _ = shell.wait();
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
