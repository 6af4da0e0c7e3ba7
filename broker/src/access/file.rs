//! Access keys that stand in a file instead of Redis: who can use what is read where
//! everything else of a deployment is, and a key works also while Redis is away.
//!
//! The file has digests, so it is no secret itself. But whoever writes one may put a
//! key into it by mistake: nothing that stands in it is ever repeated.

mod reading;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::secret::{Prefix, Secret};
use super::store::Record;
use super::{AccessKeyInfo, Created, NewAccessKey};
use crate::current::Current;
use crate::node::env::Files;
use crate::node::secrets::SecretFiles;

/// The keys of a file by their ids. All clones share them, also when they are
/// [replaced](Self::replace).
///
/// It is TOML, with one table `[[key]]` for each: `id`, `digest` (the SHA-256 of the
/// secret, in base64url), `tenant`, `scopes`, and where wanted `name` and `expires`.
/// Only comments: no keys.
#[derive(Clone, Default)]
pub struct KeyFile {
    keys: Current<HashMap<String, Arc<Record>>>,
}

/// The text is no file of keys: what is wrong, and where. Repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct BadKeyFile(Vec<String>);

impl FromStr for KeyFile {
    type Err = BadKeyFile;

    fn from_str(text: &str) -> Result<Self, BadKeyFile> {
        let keys = reading::read(text).map_err(BadKeyFile)?;
        Ok(Self {
            keys: Current::new(keys),
        })
    }
}

/// Shows how many there are.
impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({} keys)", self.keys.get().len())
    }
}

impl KeyFile {
    /// Longest text of one, in bytes: thousands of keys.
    pub const LONGEST: usize = 1 << 20;
    /// The setting that has them, or names their file.
    pub const VARIABLE: &str = "CARILLON_API_ACCESS_KEYS";

    /// A new key, and the entry by which a file admits it. It begins a line.
    pub fn entry(new: &NewAccessKey) -> (Created, String) {
        let secret = Secret::generate(Prefix::AccessKey);
        let digest = URL_SAFE_NO_PAD.encode(secret.digest());
        let mut entry = String::from("[[key]]\n");
        let mut member = |name: &str, value: &str| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            entry.push_str(&format!("{name} = \"{value}\"\n"));
        };
        member("id", secret.id());
        if let Some(name) = &new.name {
            member("name", name);
        }
        member("tenant", new.tenant.as_str());
        member("scopes", &new.scopes.to_string());
        member("digest", &digest);
        if let Some(at) = new.expires_at {
            member("expires", &at.to_string());
        }
        (Created::of(&secret), entry)
    }

    /// From now on, the keys of `other`, for all who share these.
    pub fn replace(&self, other: &Self) {
        self.keys.set_as(&other.keys);
    }

    /// Has `secrets` replace the keys, if they are one of `files`.
    pub fn watch(&self, secrets: &mut SecretFiles, files: &Files) {
        let keys = self.clone();
        secrets.setting(files, Self::VARIABLE, move |new: Self| {
            keys.replace(&new);
            Ok::<_, Infallible>(())
        });
    }

    /// Whether it has a key of this id.
    pub fn has(&self, id: &str) -> bool {
        self.keys.get().contains_key(id)
    }

    /// All of them, by their ids.
    pub fn list(&self) -> Vec<AccessKeyInfo> {
        let keys = self.keys.get();
        let mut listed: Vec<_> = keys
            .iter()
            .map(|(id, record)| Record::clone(record).info(id.clone()))
            .collect();
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        listed
    }

    /// The key of this id.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Record>> {
        self.keys.get().get(id).cloned()
    }
}

#[cfg(test)]
mod tests;
