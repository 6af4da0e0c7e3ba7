//! What has ended a moment ago, for who was let in just before it ended.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker::key::Key;
use broker::misskey::caller::Token;

/// Longer than a handshake takes, and than an answer about a token is remembered.
const FOR: Duration = Duration::from_secs(60);
/// More than end in that time. Beyond it the oldest are forgotten first.
const MOST: usize = 16_384;

/// No field of a Misskey has this number.
const TOKEN: u8 = u8::MAX;

/// What has ended, by what stands for it.
#[derive(Default)]
pub(super) struct Ended(Mutex<HashMap<Key, Instant>>);

impl Ended {
    pub(super) fn token(&self, token: &Token, now: Instant) {
        self.add(Key::of(TOKEN, token.reveal()), now);
    }

    pub(super) fn user(&self, user: Key, now: Instant) {
        self.add(user, now);
    }

    pub(super) fn has_token(&self, token: &Token) -> bool {
        self.all().contains_key(&Key::of(TOKEN, token.reveal()))
    }

    pub(super) fn has_user(&self, user: Key) -> bool {
        self.all().contains_key(&user)
    }

    /// Forgets what ended long enough ago.
    pub(super) fn sweep(&self, now: Instant) {
        self.all()
            .retain(|_, at| now.saturating_duration_since(*at) < FOR);
    }

    fn add(&self, key: Key, now: Instant) {
        let mut all = self.all();
        if MOST <= all.len()
            && let Some(oldest) = all.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        all.insert(key, now);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
