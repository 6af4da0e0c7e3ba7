//! Ends child processes when the test process dies, however it dies.
//!
//! One small shell per test process reads the pids of its children from a pipe.
//! The pipe closes with the test process, even under `kill -9`, and the shell
//! then kills whoever is still listed.

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// Ctrl-C reaches the whole process group, so the shell must outlive it.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=
while read -r what pid; do
    rest=
    for each in $pids; do [ "$each" = "$pid" ] || rest="$rest $each"; done
    pids=$rest
    [ "$what" = ended ] || pids="$pids $pid"
done
[ -z "$pids" ] || kill -9 $pids
"#;

/// To be called as soon as a child runs.
pub(crate) fn started(pid: u32) {
    tell("started", pid);
}

/// To be called before a child is reaped: afterwards its pid may be another's.
pub(crate) fn ended(pid: u32) {
    tell("ended", pid);
}

#[expect(clippy::zombie_processes, reason = "the shell is meant to outlive us")]
fn tell(what: &str, pid: u32) {
    static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a POSIX shell is installed");
        Mutex::new(shell.stdin.take().expect("its input is a pipe"))
    });
    let mut pipe = pipe.lock().expect("nobody panics while telling");
    writeln!(pipe, "{what} {pid}").expect("the shell reads until we die");
}
