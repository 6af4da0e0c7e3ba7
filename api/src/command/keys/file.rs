//! The file of access keys, as the command line adds to it and reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use broker::access::{Created, KeyFile, NewAccessKey};
use broker::node::env::Env;

use super::Failed;
use crate::config;

/// The keys of the file that the settings name.
pub(super) struct Given {
    pub(super) keys: KeyFile,
    /// Where they stand.
    place: String,
}

impl Given {
    /// By the environment of this process. Its other settings are none of its business.
    pub(super) fn read() -> Result<Self, Failed> {
        let mut env = Env::from_process();
        let keys = config::access_keys(&mut env);
        if !env.mistakes().is_empty() {
            return Err(Failed(env.mistakes().join("\n")));
        }
        let files = env.files();
        let path = files.path(KeyFile::VARIABLE);
        Ok(Self {
            keys,
            place: path.map_or_else(
                || KeyFile::VARIABLE.to_owned(),
                |path| path.display().to_string(),
            ),
        })
    }

    /// A key of the file changes with it, and with nothing else.
    pub(super) fn refuse_to_change(&self, id: &str) -> Result<(), Failed> {
        if !self.keys.has(id) {
            return Ok(());
        }
        Err(Failed(format!(
            "key {id} stands in {}, and is changed there alone: to end it, take its [[key]] out; \
             to replace it, first add another by api key create --to FILE",
            self.place
        )))
    }
}

/// Makes a key, which the file at `path` admits from now on.
///
/// The entry is added by one write to the file's end. What stands there stays as it is,
/// with its owner, its rights and the links to it, and two who add at once both do:
/// a file put in its place would lose one's entry, whose key is in use already.
pub(super) fn add(path: &Path, new: &NewAccessKey) -> Result<Created, Failed> {
    let (created, entry) = KeyFile::entry(new);
    let failed = |error: io::Error| Failed(format!("{}: {}", path.display(), error.kind()));
    let text = read(path).map_err(failed)?;
    let gap = match &*text {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let added = format!("{gap}{entry}");
    if let Err(mistakes) = format!("{text}{added}").parse::<KeyFile>() {
        let place = path.display();
        return Err(Failed(format!("{place}: nothing was added: {mistakes}")));
    }
    append(path, added.as_bytes()).map_err(failed)?;
    Ok(created)
}

/// What stands there; nothing if there is no such file.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    match File::open(path) {
        // One byte more is too long, and whoever reads the text says so.
        Ok(file) => file
            .take(KeyFile::LONGEST as u64 + 1)
            .read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(text)
}

/// Adds all of it or, on a disk that is full, nothing.
fn append(path: &Path, added: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let before = file.metadata()?.len();
    if file.write(added)? < added.len() {
        file.set_len(before)?;
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.sync_all()
}
