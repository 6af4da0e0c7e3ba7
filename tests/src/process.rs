//! One process under test: started, watched, frozen, killed and started again.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::binaries::binary;
use crate::http::{self, Http};
use crate::undertaker;
use crate::until::until_some;

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub env: Vec<(String, String)>,
}

impl Program {
    /// One of our programs with these arguments, in this environment.
    pub fn of(name: &str, args: &[&str], env: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            path: binary(name),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: env.into_iter().collect(),
        }
    }

    /// Sets a variable, replacing an earlier value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Where a Carillon process is told to listen.
    fn listens(&self) -> Option<Addresses> {
        let told = |is: &dyn Fn(&str) -> bool| {
            let (_, address) = self.env.iter().find(|(name, _)| is(name))?;
            address.parse().ok()
        };
        let is_admin = |name: &str| name.ends_with("_ADMIN_LISTEN");
        let admin = told(&is_admin)?;
        let public = told(&|name| name.ends_with("_LISTEN") && !is_admin(name));
        Some(Addresses {
            public: public.unwrap_or(admin),
            admin,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end with this input, whatever its end is.
    pub fn run(&self, input: &[u8]) -> Output {
        let mut command = self.command();
        let piped = command.stdin(Stdio::piped());
        let piped = piped.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // Who reads no input may have ended before all of it was written.
        drop(stdin.write_all(input));
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// Runs it to its end and returns what it printed to its standard output.
    ///
    /// # Panics
    /// If it fails.
    pub fn output(&self) -> String {
        let output = self.command().output().expect("the program starts");
        assert!(
            output.status.success(),
            "{} {:?} failed: {}",
            self.path.display(),
            self.args,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Where a Carillon process listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For its clients. A worker has none: then the same as `admin`.
    pub public: SocketAddr,
    /// For `/live`, `/ready` and `/metrics`.
    pub admin: SocketAddr,
}

/// A process of the fleet. What it prints goes to a file that outlives restarts.
pub struct Process {
    name: String,
    log: PathBuf,
    program: Mutex<Program>,
    child: Mutex<Option<Child>>,
    frozen: AtomicBool,
    addresses: Mutex<Option<Addresses>>,
}

impl Process {
    /// A process called `name` that is not running yet and prints into a file in `folder`.
    pub(crate) fn new(name: &str, program: Program, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            log: folder.join(format!("{name}.log")),
            addresses: Mutex::new(program.listens()),
            program: Mutex::new(program),
            child: Mutex::new(None),
            frozen: AtomicBool::new(false),
        }
    }

    /// What it is called, such as `gateway-0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it, without waiting for it to listen.
    ///
    /// # Panics
    /// If it runs already or cannot be started.
    pub fn spawn(&self) {
        let mut child = lock(&self.child);
        assert!(child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the fleet's folder is writable");
        let errors = log.try_clone().expect("a file can be shared");
        *child = Some(self.launch(log.into(), errors.into()));
    }

    /// Starts it again, while whoever took its log is gone.
    ///
    /// # Panics
    /// As [`Process::spawn`].
    pub fn spawn_unheard(&self) {
        let mut child = lock(&self.child);
        assert!(child.is_none(), "{} runs already", self.name);
        let mut started = self.launch(Stdio::null(), Stdio::piped());
        drop(started.stderr.take());
        *child = Some(started);
    }

    fn launch(&self, output: Stdio, errors: Stdio) -> Child {
        let mut command = lock(&self.program).command();
        let started = command.stdout(output).stderr(errors).spawn();
        let started = started.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        undertaker::started(started.id());
        started
    }

    /// Starts a Carillon process and waits until it is ready.
    ///
    /// # Panics
    /// If it ends, or is not ready within [`crate::until::PATIENCE`].
    pub async fn start(&self) {
        self.listen().await;
        until_some(&format!("{} is ready", self.name), async || {
            self.assert_running();
            let (status, _) = self.ready().await?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// Starts a Carillon process and waits until it listens, ready or not.
    ///
    /// # Panics
    /// As [`Process::start`].
    pub async fn listen(&self) {
        let printed = self.output().len();
        self.spawn();
        let found = until_some(&format!("{} listens", self.name), async || {
            let found = listening(&self.output_from(printed));
            if found.is_none() {
                self.assert_running();
            }
            found
        })
        .await;
        *lock(&self.addresses) = Some(found);
    }

    /// Runs its program in its environment with these arguments, beside it, and
    /// returns what came of it.
    pub fn command(&self, args: &[&str]) -> Output {
        let mut program = lock(&self.program).clone();
        program.args = args.iter().map(|&arg| arg.to_owned()).collect();
        program.run(b"")
    }

    /// Changes a variable of its environment, from the next start on.
    pub fn set(&self, name: &str, value: &str) {
        lock(&self.program).set(name, value);
    }

    /// Where its clients find it.
    pub fn address(&self) -> SocketAddr {
        self.addresses().public
    }

    /// Where it answers `/live`, `/ready` and `/metrics`.
    pub fn admin(&self) -> SocketAddr {
        self.addresses().admin
    }

    fn addresses(&self) -> Addresses {
        lock(&self.addresses).unwrap_or_else(|| panic!("{} listens nowhere", self.name))
    }

    /// The status and body of `/ready`, unless nobody answers.
    pub async fn ready(&self) -> Option<(u16, String)> {
        let response = self.ask("/ready").await.ok()?;
        Some((response.status, response.text()))
    }

    /// Asks its admin port.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn ask(&self, path: &str) -> std::io::Result<http::Response> {
        Http::to(self.admin()).get(path).await
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pid(&self) -> u32 {
        let child = lock(&self.child);
        let child = child.as_ref();
        child
            .unwrap_or_else(|| panic!("{} is not running", self.name))
            .id()
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        match &mut *lock(&self.child) {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// Sends it a signal, such as `TERM`.
    ///
    /// # Panics
    /// If it is not running.
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{} cannot be sent {signal}",
            self.name
        );
    }

    /// Freezes it: it keeps its sockets and does nothing.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
        self.signal("STOP");
    }

    /// Whether it is frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }

    /// Lets it go on after [`Process::freeze`].
    pub fn thaw(&self) {
        self.signal("CONT");
        self.frozen.store(false, Ordering::SeqCst);
    }

    /// Kills it without a chance to clean up.
    pub fn kill(&self) {
        self.frozen.store(false, Ordering::SeqCst);
        if let Some(mut child) = lock(&self.child).take() {
            undertaker::ended(child.id());
            child
                .kill()
                .and_then(|()| child.wait())
                .expect("our own child can be killed");
        }
    }

    /// Asks it to end and waits until it did.
    pub async fn terminate(&self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until it ended by itself.
    ///
    /// # Panics
    /// If it does not within [`crate::until::PATIENCE`].
    pub async fn ended(&self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until_some(&what, async || self.has_ended()).await
    }

    /// How it ended, if it just did so by itself.
    pub fn has_ended(&self) -> Option<ExitStatus> {
        let mut child = lock(&self.child);
        let ended = child.as_mut()?.try_wait();
        let status = ended.expect("our own child can be waited for")?;
        if let Some(child) = child.take() {
            undertaker::ended(child.id());
        }
        Some(status)
    }

    /// All it printed, since its first start.
    pub fn output(&self) -> String {
        self.output_from(0)
    }

    fn output_from(&self, offset: usize) -> String {
        let printed = std::fs::read(&self.log).unwrap_or_default();
        let skipped = offset.min(printed.len());
        String::from_utf8_lossy(&printed[skipped..]).into_owned()
    }

    /// # Panics
    /// If it does not run.
    pub(crate) fn assert_running(&self) {
        assert!(
            self.is_running(),
            "{} ended; it printed:\n{}",
            self.name,
            self.tail()
        );
    }

    /// The first lines in which it says that something is wrong.
    pub(crate) fn complaints(&self) -> String {
        const LINES: usize = 40;
        let output = self.output();
        let loud = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
        let lines: Vec<_> = output.lines().filter(loud).take(LINES).collect();
        lines.join("\n")
    }

    /// Its last lines, for a person who wonders what went wrong.
    pub(crate) fn tail(&self) -> String {
        const LINES: usize = 30;
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds the line by which a Carillon process tells where it listens.
fn listening(output: &str) -> Option<Addresses> {
    output.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields").unwrap_or(&line);
        if fields.get("message")?.as_str()? != "listening" {
            return None;
        }
        let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
        let admin = address("admin_address")?;
        Some(Addresses {
            public: address("address").unwrap_or(admin),
            admin,
        })
    })
}

/// A test that panicked elsewhere must still be able to stop its processes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_where_it_listens_in_its_first_lines() {
        let output = "{\"level\":\"INFO\",\"fields\":{\"message\":\"starting\"}}\nnot json\n\
            {\"fields\":{\"message\":\"listening\",\"address\":\"127.0.0.1:81\",\"admin_address\":\"127.0.0.1:91\"}}\n";
        let found = listening(output).unwrap();
        assert_eq!(found.public.port(), 81);
        assert_eq!(found.admin.port(), 91);
    }
}
