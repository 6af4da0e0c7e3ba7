//! What was read of keys a moment ago, so that not every call asks Redis.
//!
//! It remembers what is stored, never whether a caller was let in: each call is
//! compared with the digest anew. Calls that come while a key is being read wait
//! for that one answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::store::Record;
use crate::error::Error;

/// A key that opens something is read again after this, in case word of its end
/// was lost.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// One that does not exist or opens nothing, after this: it may have been made
/// just now.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// When Redis failed, calls are refused without asking for this long, lest they
/// queue up to wait for one timeout each.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// How many keys are remembered. Random ids with a right checksum are cheap to
/// make, so this has to end somewhere; tenants have far fewer keys in use.
const CAPACITY: usize = 8192;

type Answer = Result<Option<Arc<Record>>, Arc<Error>>;

#[derive(Default)]
pub(super) struct Cache {
    /// Never held across an await.
    entries: Mutex<HashMap<Box<str>, Arc<Entry>>>,
}

/// Empty while it is being read.
type Entry = OnceCell<Known>;

struct Known {
    answer: Answer,
    until: Instant,
}

impl Cache {
    /// What is known of the key `id`, or else what `read` finds.
    pub(super) async fn get(
        &self,
        id: &str,
        now: Instant,
        read: impl Future<Output = Result<Option<Record>, Error>>,
    ) -> Answer {
        let entry = self.entry(id, now);
        let known = entry.get_or_init(|| async {
            let (answer, life) = match read.await {
                Ok(Some(record)) => {
                    let life = match record.disabled_at {
                        None => KNOWN_FOR,
                        Some(_) => UNKNOWN_FOR,
                    };
                    (Ok(Some(Arc::new(record))), life)
                }
                Ok(None) => (Ok(None), UNKNOWN_FOR),
                Err(error) => (Err(Arc::new(error)), FAILED_FOR),
            };
            Known {
                answer,
                until: now + life,
            }
        });
        known.await.answer.clone()
    }

    /// The entry of the key, a new one if what was known is too old.
    fn entry(&self, id: &str, now: Instant) -> Arc<Entry> {
        let fresh = |entry: &Entry| entry.get().is_none_or(|known| now < known.until);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(id)
            && fresh(entry)
        {
            return entry.clone();
        }
        if CAPACITY <= entries.len() {
            entries.retain(|_, entry| fresh(entry));
            // To free a single place would mean such a walk for every call.
            if CAPACITY / 2 <= entries.len() {
                entries.clear();
            }
        }
        let entry = Arc::<Entry>::default();
        entries.insert(id.into(), entry.clone());
        entry
    }

    /// Forgets the key. Whoever is being told an older answer right now still
    /// gets it; the next call reads again.
    pub(super) fn forget(&self, id: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::time::Timestamp;

    fn record() -> Record {
        Record {
            digest: [7; 32],
            tenant: "acme".parse().unwrap(),
            scopes: Arc::new("a:b".parse().unwrap()),
            name: None,
            created_at: Timestamp::from_millis(1),
            expires_at: None,
            disabled_at: None,
            last_used_at: None,
        }
    }

    /// How often the key is read when it is asked for at these seconds.
    async fn reads(at: &[u64], found: fn() -> Result<Option<Record>, Error>) -> usize {
        let (cache, start, reads) = (Cache::default(), Instant::now(), AtomicUsize::new(0));
        for &second in at {
            let now = start + Duration::from_secs(second);
            let read = async {
                reads.fetch_add(1, Ordering::Relaxed);
                found()
            };
            let _ = cache.get("k", now, read).await;
        }
        reads.into_inner()
    }

    #[tokio::test]
    async fn answers_are_remembered_for_as_long_as_they_are_worth() {
        let disabled = || {
            Ok(Some(Record {
                disabled_at: Some(Timestamp::from_millis(2)),
                ..record()
            }))
        };
        assert_eq!(reads(&[0, 5, 29], || Ok(Some(record()))).await, 1);
        assert_eq!(reads(&[0, 30], || Ok(Some(record()))).await, 2);
        assert_eq!(reads(&[0, 4], || Ok(None)).await, 1);
        assert_eq!(reads(&[0, 5], || Ok(None)).await, 2);
        assert_eq!(reads(&[0, 4, 5], disabled).await, 2);
        assert_eq!(reads(&[0, 0, 1], || Err(Error::Corrupt("k"))).await, 2);
    }

    #[tokio::test]
    async fn calls_at_the_same_time_share_one_reading() {
        let (cache, now) = (Cache::default(), Instant::now());
        let (answer, answered) = tokio::sync::oneshot::channel();
        let first = cache.get("k", now, async {
            answered.await.expect("it is answered below");
            Ok(Some(record()))
        });
        let second = cache.get("k", now, async { panic!("one reading is enough") });
        let both = async { tokio::join!(first, second) };
        let (both, ()) = tokio::join!(both, async { answer.send(()).unwrap() });
        assert_eq!(both.0.unwrap(), both.1.unwrap());
    }

    #[tokio::test]
    async fn a_forgotten_key_is_read_again() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache
            .get("k", now, async { Ok(Some(record())) })
            .await
            .unwrap();
        cache.forget("k");
        let answer = cache.get("k", now, async { Ok(None) }).await;
        assert_eq!(answer.unwrap(), None);
    }

    #[tokio::test]
    async fn made_up_ids_cannot_fill_the_memory() {
        let (cache, now) = (Cache::default(), Instant::now());
        for n in 0..3 * CAPACITY {
            cache
                .get(&n.to_string(), now, async { Ok(None) })
                .await
                .unwrap();
            assert!(cache.entries.lock().unwrap().len() <= CAPACITY);
        }
    }
}
