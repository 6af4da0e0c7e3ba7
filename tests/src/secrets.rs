//! Remembers what must never be printed, and looks for it in what was.

use std::collections::BTreeSet;
use std::sync::Mutex;

use aho_corasick::AhoCorasick;

/// Shorter texts are words that a log may use by chance.
const TELLING: usize = 5;

/// Characters of a secret that are looked for; whoever prints a long text
/// prints its beginning, and looking for all of it takes minutes.
const BEGINNING: usize = 64;

/// What a fleet issued and pushed: keys, tokens, message bodies.
#[derive(Default)]
pub struct Secrets {
    known: Mutex<BTreeSet<String>>,
}

impl Secrets {
    /// From now on this must not be printed.
    pub fn keep(&self, secret: &str) {
        if TELLING <= secret.len() {
            let mut known = self.known.lock().expect("nobody panics here");
            known.insert(secret.chars().take(BEGINNING).collect());
        }
    }

    /// The lines of `output` that tell a secret.
    pub fn told_in<'a>(&self, output: &'a str) -> Vec<&'a str> {
        let known = self.known.lock().expect("nobody panics here");
        let search = AhoCorasick::new(&*known).expect("the secrets fit into memory");
        output
            .lines()
            .filter(|line| search.is_match(line))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_where_it_was_printed() {
        let secrets = Secrets::default();
        secrets.keep("ck_abc_hush");
        secrets.keep("the");
        assert_eq!(
            secrets.told_in("the start\nkey ck_abc_hush used\n"),
            ["key ck_abc_hush used"]
        );
        assert!(secrets.told_in("the start\nkey used\n").is_empty());
    }
}
