//! Files that hold secrets, and are read again while the process runs.
//!
//! Whoever mounts secrets replaces them under a process: Kubernetes by moving a
//! link, others by writing the file anew. So the files are simply read every ten
//! seconds, and at once after SIGHUP; what changed is handed to whoever uses it. A
//! content that cannot be used leaves the one before in use. No content is ever told.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry};
use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::env::{Files, value_in};

/// How often files are read. Kubernetes itself takes a minute or so to bring a
/// changed secret to a pod.
const EVERY: Duration = Duration::from_secs(10);
/// More than any secret needs; a path that leads to something endless ends here.
const MOST: u64 = 1 << 20;

/// What a name of ours begins with.
const PREFIX: &str = "CARILLON_";
/// How a variable ends that names a file.
const FILE: &str = "_FILE";

/// What one use of some files does with their contents, in the order of the paths.
type Take = Box<dyn FnMut(&[Vec<u8>]) -> Result<(), String> + Send>;

/// The files of one process that are watched.
pub struct SecretFiles {
    watched: Vec<Watched>,
    reloads: IntCounterVec,
}

/// Files that make up one secret.
struct Watched {
    variable: &'static str,
    secret: String,
    paths: Vec<PathBuf>,
    take: Take,
    seen: Option<Seen>,
}

/// What was found at the last look.
#[derive(Clone, PartialEq, Eq)]
enum Seen {
    Contents([u8; 32]),
    Unreadable(io::ErrorKind),
}

impl SecretFiles {
    /// None yet.
    ///
    /// # Errors
    /// If `registry` shows those of another one.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let what = "Files of secrets that changed and were read again, by what came of it.";
        let options = Opts::new("carillon_secret_reloads_total", what);
        let reloads = IntCounterVec::new(options, &["secret", "outcome"])?;
        registry.register(Box::new(reloads.clone()))?;
        Ok(Self {
            watched: Vec::new(),
            reloads,
        })
    }

    /// Watches the files at `paths`, which `variable` names (of several, the first).
    ///
    /// `take` is given the contents of all of them at the first look, because they may
    /// have changed since the settings were read, and then whenever one changes. Its
    /// mistakes are logged, so they must repeat nothing; it then goes on with what it
    /// has. It must not block.
    pub fn watch<E: Display>(
        &mut self,
        variable: &'static str,
        paths: impl IntoIterator<Item = PathBuf>,
        mut take: impl FnMut(&[Vec<u8>]) -> Result<(), E> + Send + 'static,
    ) {
        let secret = self.counted(variable);
        self.watched.push(Watched {
            variable,
            secret,
            paths: paths.into_iter().collect(),
            take: Box::new(move |contents| take(contents).map_err(|error| error.to_string())),
            seen: None,
        });
    }

    /// Watches the file that `variable` was read from, if it is one of `files`: `take`
    /// is given what it says.
    pub fn setting<T: FromStr, E: Display>(
        &mut self,
        files: &Files,
        variable: &'static str,
        mut take: impl FnMut(T) -> Result<(), E> + Send + 'static,
    ) where
        T::Err: Display,
    {
        let Some(path) = files.path(variable) else {
            // Counted all the same, so that dashboards find the same in every cluster.
            self.counted(variable);
            return;
        };
        self.watch(variable, [path.to_owned()], move |contents| {
            let text = str::from_utf8(&contents[0]).map_err(|_| "it is not UTF-8")?;
            match value_in(text) {
                "" => Err("it is empty".to_owned()),
                value => {
                    let value = value.parse().map_err(|error: T::Err| error.to_string())?;
                    take(value).map_err(|error| error.to_string())
                }
            }
        });
    }

    /// What the secret is called that `variable` names, which is counted from now on.
    fn counted(&self, variable: &str) -> String {
        let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
        let secret = name.strip_suffix(FILE).unwrap_or(name).to_lowercase();
        for outcome in ["ok", "bad"] {
            self.reloads.with_label_values(&[&*secret, outcome]);
        }
        secret
    }

    /// Looks after them for as long as it is polled; it never returns. Whoever runs this
    /// survives SIGHUP, also if no file is watched.
    ///
    /// `main` drops it after [`Node::finished`](super::Node::finished): also a node
    /// that drains may have to connect with a new password.
    pub async fn run(mut self) {
        let mut hangup = signal(SignalKind::hangup())
            .inspect_err(
                |error| warn!(%error, "SIGHUP cannot be heard, and would end this process"),
            )
            .ok();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = next(&mut hangup) => info!(signal = "SIGHUP", "SIGHUP received: files of secrets are read"),
            }
            self.look();
        }
    }

    /// Looks once.
    pub(crate) fn look(&mut self) {
        for one in &mut self.watched {
            let first = one.seen.is_none();
            let Some(outcome) = one.look() else { continue };
            let (variable, secret) = (one.variable, &*one.secret);
            match outcome {
                Ok(()) if first => continue,
                Ok(()) => info!(
                    variable,
                    "{variable} has changed, and is in use as it is now"
                ),
                Err(ref why) => error!(
                    variable,
                    "{variable} cannot be used as it is now, and what was before stays in use: {why}"
                ),
            }
            let outcome = if outcome.is_ok() { "ok" } else { "bad" };
            self.reloads.with_label_values(&[secret, outcome]).inc();
        }
    }
}

/// Resolves at the next SIGHUP.
async fn next(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

impl Watched {
    /// What came of what changed; `None` if nothing did.
    fn look(&mut self) -> Option<Result<(), String>> {
        let contents: Result<Vec<_>, _> = self.paths.iter().map(|path| read(path)).collect();
        let seen = match &contents {
            Ok(contents) => Seen::Contents(digest(contents)),
            Err(error) => Seen::Unreadable(error.kind()),
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        self.seen = Some(seen);
        Some(match contents {
            Ok(contents) => (self.take)(&contents),
            Err(error) => Err(format!("it cannot be read: {}", error.kind())),
        })
    }
}

/// All that a file holds.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut content)?;
    if content.len() as u64 <= MOST {
        Ok(content)
    } else {
        Err(io::ErrorKind::FileTooLarge.into())
    }
}

/// Tells contents apart without keeping them.
fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut all = Sha256::new();
    for content in contents {
        all.update((content.len() as u64).to_be_bytes());
        all.update(content);
    }
    all.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A folder of its own, gone at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("carillon-secrets-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            drop(fs::remove_dir_all(&path));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    /// Takes what is not `bad`, and shows what it took.
    fn watching(paths: &[&Path]) -> (SecretFiles, Arc<Mutex<Vec<String>>>, Registry) {
        let registry = Registry::new();
        let mut files = SecretFiles::new(&registry).unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&taken);
        let paths = paths.iter().map(|path| path.to_path_buf());
        files.watch("CARILLON_TOKEN_KEYS_FILE", paths, move |contents| {
            let text = contents.concat();
            if text == b"bad" {
                return Err("it is bad");
            }
            taken.lock().unwrap().push(String::from_utf8(text).unwrap());
            Ok(())
        });
        (files, shown, registry)
    }

    fn counted(registry: &Registry) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }

    #[test]
    fn what_changes_is_taken_once_and_what_is_bad_leaves_what_was() {
        let folder = Folder::new("changes");
        let path = folder.0.join("keys");
        fs::write(&path, "one").unwrap();
        let (mut files, taken, registry) = watching(&[&path]);
        for content in ["one", "two", "bad", "bad", "three"] {
            fs::write(&path, content).unwrap();
            files.look();
        }
        fs::remove_file(&path).unwrap();
        files.look();
        files.look();
        assert_eq!(*taken.lock().unwrap(), ["one", "two", "three"]);
        let counted = counted(&registry);
        for series in [
            "carillon_secret_reloads_total{outcome=\"ok\",secret=\"token_keys\"} 2",
            "carillon_secret_reloads_total{outcome=\"bad\",secret=\"token_keys\"} 2",
        ] {
            assert!(counted.contains(series), "{series} in\n{counted}");
        }
    }

    #[test]
    fn a_mounted_secret_changes_by_a_link_that_moves() {
        let folder = Folder::new("mount");
        for (generation, keys) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(folder.0.join(generation)).unwrap();
            fs::write(folder.0.join(generation).join("keys"), keys).unwrap();
        }
        symlink("..1", folder.0.join("..data")).unwrap();
        let path = folder.0.join("keys");
        symlink("..data/keys", &path).unwrap();
        let (mut files, taken, _) = watching(&[&path]);
        files.look();
        symlink("..2", folder.0.join("..new")).unwrap();
        fs::rename(folder.0.join("..new"), folder.0.join("..data")).unwrap();
        files.look();
        assert_eq!(*taken.lock().unwrap(), ["one", "two"]);
    }

    #[test]
    fn files_that_belong_together_are_taken_together() {
        let folder = Folder::new("pair");
        let (one, other) = (folder.0.join("cert"), folder.0.join("key"));
        fs::write(&one, "a").unwrap();
        fs::write(&other, "b").unwrap();
        let (mut files, taken, _) = watching(&[&one, &other]);
        files.look();
        fs::write(&other, "c").unwrap();
        files.look();
        assert_eq!(*taken.lock().unwrap(), ["ab", "ac"]);
    }

    #[test]
    fn nothing_endless_is_read() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
