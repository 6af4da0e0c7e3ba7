//! A real proxy before gateways: nginx, Caddy or HAProxy, as Debian has them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::fleet::folder;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::until::until;

/// How long a proxy gets to end its own processes.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// Caddy.
    Caddy,
    /// HAProxy.
    Haproxy,
}

/// A proxy with a configuration of its own. What it logs is in files of its own.
pub struct Front {
    kind: Kind,
    process: Process,
    port: Port,
    admin: Port,
    folder: PathBuf,
}

impl Front {
    /// Starts one. `configuration` is what stands in its file; in it `{listen}`
    /// is where it is to listen and `{port}` the port of that, `{admin}` where Caddy is to be administered, and
    /// `{folder}` is a folder for what it writes.
    ///
    /// # Panics
    /// If it does not listen.
    pub async fn start(kind: Kind, configuration: &str) -> Self {
        let folder = folder();
        let file = folder.join("configuration");
        let file = file.to_str().expect("our folders have names in UTF-8");
        let (path, args): (_, &[&str]) = match kind {
            Kind::Nginx => ("nginx", &["-e", "stderr", "-c", file]),
            Kind::Caddy => (
                "caddy",
                &["run", "--adapter", "caddyfile", "--config", file],
            ),
            Kind::Haproxy => ("haproxy", &["-db", "-f", file]),
        };
        let program = Program {
            path: program_called(path),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: vec![("HOME".to_owned(), folder.display().to_string())],
        };
        let front = Self {
            kind,
            process: Process::new("front", program, &folder),
            port: Port::claim(),
            admin: Port::claim(),
            folder,
        };
        front.write(configuration);
        front.process.spawn();
        until("the proxy listens", async || {
            assert!(front.process.is_running(), "{}", front.process.tail());
            TcpStream::connect(front.address()).await.is_ok()
        })
        .await;
        front
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Gives it another configuration, as an operator does.
    ///
    /// # Panics
    /// If it refuses it.
    pub fn reload(&self, configuration: &str) {
        self.write(configuration);
        match self.kind {
            Kind::Nginx => self.process.signal("HUP"),
            Kind::Caddy => {
                let file = self.folder.join("configuration").display().to_string();
                let admin = self.admin.address().to_string();
                let args = ["reload", "--adapter", "caddyfile", "--config"];
                let mut args = args.map(str::to_owned).to_vec();
                args.extend([file, "--address".to_owned(), admin]);
                let reload = Program {
                    path: program_called("caddy"),
                    args,
                    env: vec![("HOME".to_owned(), self.folder.display().to_string())],
                };
                reload.output();
            }
            // It is given another configuration by another process.
            Kind::Haproxy => panic!("a HAProxy in the foreground keeps its configuration"),
        }
    }

    /// All that it has written: its logs.
    pub fn written(&self) -> String {
        let files = std::fs::read_dir(&self.folder).expect("it is there");
        let files = files.filter_map(|file| std::fs::read(file.ok()?.path()).ok());
        files
            .map(|file| String::from_utf8_lossy(&file).into_owned())
            .collect()
    }

    fn write(&self, configuration: &str) {
        let configuration = configuration
            .replace("{listen}", &self.address().to_string())
            .replace("{port}", &self.address().port().to_string())
            .replace("{admin}", &self.admin.address().to_string())
            .replace("{folder}", &self.folder.display().to_string());
        std::fs::write(self.folder.join("configuration"), configuration)
            .expect("the folder is writable");
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // nginx has processes of its own, which only it can end.
        if self.process.is_running() {
            self.process.signal("TERM");
            let deadline = Instant::now() + LEAVE_WITHIN;
            while self.process.is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if std::thread::panicking() {
            println!("--- the proxy printed last:\n{}", self.process.tail());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Where an installed program is: in one of the usual folders, or where servers are.
pub(crate) fn program_called(name: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&folders)
        .chain(["/usr/sbin".into()])
        .collect();
    let mut places = folders.into_iter().map(|folder| folder.join(name));
    let found = places.find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed; make need-proxies"))
}
