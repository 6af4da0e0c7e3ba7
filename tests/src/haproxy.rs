//! HAProxy, as Debian has it, before gateways and apis, with the files that
//! operators are given.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpStream;

use crate::fleet::folder;
use crate::front::program_called;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::until::until;

/// Before gateways; its last section is theirs, for two of them.
const GATEWAYS: &str = include_str!("../../deploy/local/haproxy.cfg");
/// Before apis, for two of them; read after the other.
const APIS: &str = include_str!("../../deploy/local/haproxy-api.cfg");
/// Servers that the files themselves name.
const NAMED: usize = 2;

/// A HAProxy that knows some gateways and apis, whether they run or not.
pub struct HaProxy {
    process: Process,
    sockets: Port,
    apis: Port,
    folder: PathBuf,
}

impl HaProxy {
    /// One before these, of which there are two each or more, that is not started.
    pub(crate) fn before(gateways: &[Process], apis: &[Process]) -> Self {
        let folder = folder();
        let (sockets, api) = (Port::claim(), Port::claim());
        let mut env = vec![
            ("LISTEN".to_owned(), sockets.address().to_string()),
            ("API_LISTEN".to_owned(), api.address().to_string()),
        ];
        let mut args = vec!["-db".to_owned()];
        for (file, text, servers, name) in [
            ("haproxy.cfg", GATEWAYS, gateways, "gateway"),
            ("haproxy-api.cfg", APIS, apis, "api"),
        ] {
            let mut text = text.to_owned();
            for (n, server) in (1..).zip(servers) {
                let (address, admin) = (server.address(), server.admin().port());
                if NAMED < n {
                    text += &format!("    server {name}-{n} {address} check port {admin}\n");
                    continue;
                }
                let variable = format!("{}_{n}", name.to_uppercase());
                env.push((format!("{variable}_ADMIN"), admin.to_string()));
                env.push((variable, address.to_string()));
            }
            let path = folder.join(file);
            std::fs::write(&path, text).expect("the folder is writable");
            args.extend(["-f".to_owned(), path.display().to_string()]);
        }
        let program = Program {
            path: program_called("haproxy"),
            args,
            env,
        };
        Self {
            process: Process::new("haproxy", program, &folder),
            sockets,
            apis: api,
            folder,
        }
    }

    /// Starts it. At first it takes all for well that it knows, so this waits until it
    /// has found out those that are not started, which are so many.
    ///
    /// # Panics
    /// If it does not listen, or does not find out.
    pub(crate) async fn start(&self, idle: usize) {
        self.process.spawn();
        until("HAProxy knows who is there", async || {
            self.process.assert_running();
            let output = self.process.output();
            let down = |line: &&str| line.starts_with("Server ") && line.contains(" is DOWN");
            let known = output.lines().filter(down).count();
            idle <= known && TcpStream::connect(self.sockets()).await.is_ok()
        })
        .await;
    }

    /// Where clients open their sockets.
    pub fn sockets(&self) -> SocketAddr {
        self.sockets.address()
    }

    /// Where backends find an api.
    pub fn apis(&self) -> SocketAddr {
        self.apis.address()
    }

    /// The process itself.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How often it has answered with which status, sockets and calls of apis apart:
    /// `sockets 101`, `api 200`.
    pub fn answers(&self) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for answer in self.process.output().lines().filter_map(answer) {
            *answers.entry(answer).or_default() += 1;
        }
        answers
    }
}

/// `sockets 101` of a line that tells of a request: `<time> <client> <backend>/<server>
/// <times> <status> …`.
fn answer(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let (backend, server) = words.nth(2)?.split_once('/')?;
    let status: u16 = words.nth(1)?.parse().ok()?;
    let what = if backend == "apis" { "api" } else { "sockets" };
    match server {
        "<NOSRV>" => Some(format!("{what} {status} by itself")),
        _ => Some(format!("{what} {status}")),
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- HAProxy printed last:\n{}", self.process.tail());
        }
        self.process.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_its_log_tells_what_was_answered() {
        let line = "1763770000123 127.0.0.1:40000 gateways/gateway-2 0/0/0/1 101 0 GET / t=";
        assert_eq!(answer(line).as_deref(), Some("sockets 101"));
        let line = "1763770000123 127.0.0.1:40000 gateways/<NOSRV> 0/-1/-1/-1 503 0 GET / t=";
        assert_eq!(answer(line).as_deref(), Some("sockets 503 by itself"));
        let line = "1763770000123 127.0.0.1:40000 apis/api-1 0/0/0/1 200 0 POST /graphql t=";
        assert_eq!(answer(line).as_deref(), Some("api 200"));
        assert_eq!(answer("Server gateways/gateway-1 is DOWN, reason: …"), None);
    }
}
