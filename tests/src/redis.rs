//! A Redis of one's own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{Process, Program};
use crate::until::until;

/// Where [`free_address`] looks.
const FIRST_PORT: u16 = 6500;
const PORTS: u32 = 3000;

/// A `redis-server` on a free port, its append-only file in a folder of its own.
///
/// Killed and started again it finds what it had written.
pub struct PrivateRedis {
    process: Process,
    address: SocketAddr,
}

impl PrivateRedis {
    /// Starts one that keeps its data in `folder`.
    pub async fn start(folder: &Path) -> Self {
        let address = free_address();
        let data = folder.join("redis");
        std::fs::create_dir_all(&data).expect("the fleet's folder is writable");
        let args = [
            "--bind",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
            "--dir",
            &data.to_string_lossy(),
            "--save",
            "",
            "--appendonly",
            "yes",
        ];
        let program = Program {
            path: "redis-server".into(),
            args: args.map(str::to_owned).to_vec(),
            env: std::env::var("PATH")
                .map(|path| ("PATH".to_owned(), path))
                .into_iter()
                .collect(),
        };
        let redis = Self {
            process: Process::new("redis", program, folder),
            address,
        };
        redis.restart().await;
        redis
    }

    /// Starts it again after it was killed, and waits until it has read its file.
    pub async fn restart(&self) {
        self.process.spawn();
        until("Redis answers", async || {
            assert!(
                self.process.is_running(),
                "redis-server ended:\n{}",
                self.process.tail()
            );
            self.answers()
        })
        .await;
    }

    /// Where processes find it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, to be killed, frozen or read.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether it serves commands, not only connections.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            Ok(&answer == b"+PONG")
        };
        ask().unwrap_or(false)
    }
}

/// A loopback address on which nobody listens, below the ports that the system
/// gives to outgoing connections: it stays free while its owner is down. No two
/// calls in a process return the same.
///
/// # Panics
/// If none is left.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin far from each other.
    let start = std::process::id().wrapping_mul(37);
    let port = || {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        FIRST_PORT + u16::try_from(offset).expect("there are few")
    };
    std::iter::repeat_with(port)
        .take(PORTS as usize)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|&address| TcpListener::bind(address).is_ok())
        .expect("one of three thousand ports is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn redis_killed_and_restarted_has_its_data() {
        let folder = crate::fleet::folder();
        let redis = PrivateRedis::start(&folder).await;
        let say = |command: &str| {
            let mut stream = TcpStream::connect(redis.address()).unwrap();
            stream.write_all(command.as_bytes()).unwrap();
            let mut answer = [0; 64];
            let n = stream.read(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[..n]).into_owned()
        };
        assert_eq!(say("SET bell rung\r\n"), "+OK\r\n");
        redis.process().kill();
        assert!(!redis.process().is_running());
        redis.restart().await;
        assert_eq!(say("GET bell\r\n"), "$4\r\nrung\r\n");
        drop(redis);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
