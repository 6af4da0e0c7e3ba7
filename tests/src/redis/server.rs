//! One `redis-server`, or one sentinel, and a way to talk to it that nothing in
//! the network can disturb: its Unix socket.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{FromRedisValue, InfoDict, RedisResult};

use super::locks::{Locks, Login};
use crate::port::Port;
use crate::process::{Process, Program};

/// How long it may take to answer a test: long enough for the disk of a busy
/// machine, and for the longest `WAIT` of a test.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// One server.
pub struct Server {
    process: Process,
    port: Port,
    /// Where nodes of its Cluster reach it.
    _bus: Option<Port>,
    socket: PathBuf,
    login: Option<Login>,
}

/// What a server says of its part in replication.
pub(super) struct Replication {
    /// `master` or `slave`.
    pub role: String,
    /// A replica's: whether it has all of its master's data and a line to it.
    pub follows: bool,
}

impl Server {
    /// A server that holds data, not yet started.
    pub(super) fn new(name: &str, lines: &[String], locks: &Locks, folder: &Path) -> Self {
        Self::at(Port::claim(), name, lines, locks, folder)
    }

    /// A server that holds data at this port, not yet started.
    pub(super) fn at(
        port: Port,
        name: &str,
        lines: &[String],
        locks: &Locks,
        folder: &Path,
    ) -> Self {
        let mut all = vec![
            "save \"\"".to_owned(),
            // Tests ask for faults that no network can be told to have.
            "enable-debug-command local".to_owned(),
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        all.extend(locks.lines());
        all.extend_from_slice(lines);
        Self::configured(port, name, &all, locks.test_signs_in(), folder)
    }

    /// The same, which has this port too.
    pub(super) fn with_bus(self, bus: Port) -> Self {
        Self {
            _bus: Some(bus),
            ..self
        }
    }

    /// A sentinel, not yet started.
    pub(super) fn sentinel(
        port: Port,
        name: &str,
        lines: &[String],
        locks: &Locks,
        folder: &Path,
    ) -> Self {
        let mut all = vec!["sentinel deny-scripts-reconfig yes".to_owned()];
        all.extend(locks.tls_lines());
        all.extend_from_slice(lines);
        Self::configured(port, name, &all, None, folder)
    }

    fn configured(
        port: Port,
        name: &str,
        lines: &[String],
        login: Option<Login>,
        folder: &Path,
    ) -> Self {
        let data = folder.join(name);
        // Of one that did not come to listen.
        drop(std::fs::remove_dir_all(&data));
        drop(std::fs::remove_file(folder.join(format!("{name}.log"))));
        std::fs::create_dir_all(&data).expect("the fleet's folder is writable");
        let socket = data.join("socket");
        let number = port.address().port();
        let listens = match lines.iter().any(|line| line.starts_with("tls-cert-file")) {
            true => format!("port 0\ntls-port {number}"),
            false => format!("port {number}"),
        };
        let text = format!(
            "bind 127.0.0.1\n{listens}\nunixsocket {}\ndir {}\n{}\n",
            socket.display(),
            data.display(),
            lines.join("\n")
        );
        let file = data.join("redis.conf");
        std::fs::write(&file, text).expect("the fleet's folder is writable");
        let mut args = vec![file.to_string_lossy().into_owned()];
        if name.starts_with("sentinel") {
            args.push("--sentinel".to_owned());
        }
        let program = Program {
            path: "redis-server".into(),
            args,
            env: std::env::var("PATH")
                .map(|path| ("PATH".to_owned(), path))
                .into_iter()
                .collect(),
        };
        Self {
            process: Process::new(name, program, folder),
            port,
            _bus: None,
            socket,
            login,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The process, to be killed, frozen or read.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Asks it, past all that lies between it and its clients.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        if self.process.is_frozen() {
            // Its socket would take the question.
            return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        }
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let mut answer = None;
        let login = self.login.as_ref();
        let sign_in = login.map(|login| ["AUTH", &login.user, &login.password]);
        for words in sign_in.iter().map(<[_; 3]>::as_slice).chain([words]) {
            let mut command = redis::Cmd::new();
            for word in words {
                command.arg(word);
            }
            stream.write_all(&command.get_packed_command())?;
            let value = redis::Parser::new().parse_value(&mut stream)?;
            answer = Some(value.extract_error()?);
        }
        let answer = answer.expect("something was asked");
        Ok(redis::from_redis_value(answer)?)
    }

    /// Whether it serves commands, not only connections.
    pub fn answers(&self) -> bool {
        self.ask::<String>(&["PING"]).is_ok()
    }

    /// What it says of its part in replication, if it answers.
    pub(super) fn replication(&self) -> Option<Replication> {
        let info: InfoDict = self.ask(&["INFO", "replication"]).ok()?;
        Some(Replication {
            role: info.get("role")?,
            follows: info.get::<String>("master_link_status").as_deref() == Some("up"),
        })
    }
}
