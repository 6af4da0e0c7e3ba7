//! What was found out a moment ago, so that not every call asks again.
//!
//! It remembers what is there, never whether a caller was let in: that is for
//! the caller of this to decide anew each time. Calls that come while something
//! is being found out wait for that one answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::error::Error;

/// What is there is found out again after this, in case word of its end was lost.
pub(crate) const KNOWN_FOR: Duration = Duration::from_secs(30);
/// What is not there, after this: it may have been made just now.
pub(crate) const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// After a failure, calls are refused without asking for this long, lest they
/// queue up to wait for one timeout each.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// How many answers are remembered where nothing else is said. Names that lead
/// nowhere are cheap to make up, so this has to end somewhere; far fewer are in use.
const CAPACITY: usize = 8192;

type Answer<V> = Result<Option<Arc<V>>, Arc<Error>>;

/// Answers by what was asked for.
pub(crate) struct Recent<V> {
    /// Never held across an await.
    entries: Mutex<HashMap<Box<str>, Arc<Entry<V>>>>,
    capacity: usize,
}

/// Empty while it is being found out.
type Entry<V> = OnceCell<Known<V>>;

struct Known<V> {
    answer: Answer<V>,
    until: Instant,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self::holding(CAPACITY)
    }
}

impl<V> Recent<V> {
    /// One that remembers so many answers.
    pub(crate) fn holding(capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            capacity,
        }
    }

    /// What is known of `name`, or else what `read` finds: the thing, and how
    /// long it is worth to be remembered.
    pub(crate) async fn get(
        &self,
        name: &str,
        now: Instant,
        read: impl Future<Output = Result<Option<(V, Duration)>, Error>>,
    ) -> Answer<V> {
        let entry = self.entry(name, now);
        let known = entry.get_or_init(|| async {
            let (answer, life) = match read.await {
                Ok(Some((found, life))) => (Ok(Some(Arc::new(found))), life),
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

    /// The entry of the name, a new one if what was known is too old.
    fn entry(&self, name: &str, now: Instant) -> Arc<Entry<V>> {
        let fresh = |entry: &Entry<V>| entry.get().is_none_or(|known| now < known.until);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(name)
            && fresh(entry)
        {
            return entry.clone();
        }
        if self.capacity <= entries.len() {
            // What is not there goes first: anybody can ask for that, and who
            // was let in a moment ago must not be forgotten for it.
            let there = |entry: &Entry<V>| {
                let known = entry.get();
                known.is_none_or(|known| now < known.until && matches!(known.answer, Ok(Some(_))))
            };
            entries.retain(|_, entry| there(entry));
            // To free a single place would mean such a walk for every call.
            if self.capacity / 2 <= entries.len() {
                entries.clear();
            }
        }
        let entry = Arc::new(Entry::new());
        entries.insert(name.into(), entry.clone());
        entry
    }

    /// Forgets the name. Whoever is being told an older answer right now still
    /// gets it; the next call reads again.
    pub(crate) fn forget(&self, name: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Found = Result<Option<(u8, Duration)>, Error>;

    /// How often the name is read when it is asked for at these seconds.
    async fn reads(at: &[u64], found: fn() -> Found) -> usize {
        let (recent, start, reads) = (Recent::default(), Instant::now(), AtomicUsize::new(0));
        for &second in at {
            let now = start + Duration::from_secs(second);
            let read = async {
                reads.fetch_add(1, Ordering::Relaxed);
                found()
            };
            let _ = recent.get("k", now, read).await;
        }
        reads.into_inner()
    }

    #[tokio::test]
    async fn answers_are_remembered_for_as_long_as_they_are_worth() {
        let known = || Ok(Some((1, KNOWN_FOR)));
        assert_eq!(reads(&[0, 5, 29], known).await, 1);
        assert_eq!(reads(&[0, 30], known).await, 2);
        assert_eq!(reads(&[0, 4], || Ok(None)).await, 1);
        assert_eq!(reads(&[0, 5], || Ok(None)).await, 2);
        assert_eq!(reads(&[0, 0, 1], || Err(Error::Corrupt("k"))).await, 2);
    }

    #[tokio::test]
    async fn calls_at_the_same_time_share_one_reading() {
        let (recent, now) = (Recent::default(), Instant::now());
        let (answer, answered) = tokio::sync::oneshot::channel();
        let first = recent.get("k", now, async {
            answered.await.expect("it is answered below");
            Ok(Some((1, KNOWN_FOR)))
        });
        let second = recent.get("k", now, async { panic!("one reading is enough") });
        let both = async { tokio::join!(first, second) };
        let (both, ()) = tokio::join!(both, async { answer.send(()).unwrap() });
        assert_eq!(both.0.unwrap(), both.1.unwrap());
    }

    #[tokio::test]
    async fn a_forgotten_name_is_read_again() {
        let (recent, now) = (Recent::default(), Instant::now());
        recent
            .get("k", now, async { Ok(Some((1, KNOWN_FOR))) })
            .await
            .unwrap();
        recent.forget("k");
        let answer = recent.get("k", now, async { Ok(None) }).await;
        assert_eq!(answer.unwrap(), None);
    }

    #[tokio::test]
    async fn made_up_names_cannot_fill_the_memory_nor_push_others_out() {
        let (recent, now) = (Recent::<u8>::default(), Instant::now());
        let known = async { Ok(Some((1, KNOWN_FOR))) };
        recent.get("known", now, known).await.unwrap();
        for n in 0..3 * CAPACITY {
            recent
                .get(&n.to_string(), now, async { Ok(None) })
                .await
                .unwrap();
            assert!(recent.entries.lock().unwrap().len() <= CAPACITY);
        }
        let answer = recent.get("known", now, async { panic!("it is known") });
        assert_eq!(answer.await.unwrap().as_deref(), Some(&1));
    }
}
