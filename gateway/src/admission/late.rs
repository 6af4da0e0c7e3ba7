//! Refusing late.
//!
//! Some clients try again at once, for ever and faster than anybody types, however
//! they are refused. An answer that comes late is what slows them down.

use std::time::Duration;

use tokio::sync::Semaphore;

/// How long an answer may be held back: at least the first, at most the second.
const DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// Holds back refusals, of so many clients at once.
#[derive(Debug)]
pub struct Late {
    places: Semaphore,
}

impl Late {
    /// At most so many at once.
    pub fn new(most: usize) -> Self {
        Self {
            places: Semaphore::new(most.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Resolves when a client that is to be refused may be told so: in a while, or
    /// at once if as many wait already as may. A client that goes away meanwhile
    /// makes room.
    pub async fn refuse(&self) {
        if let Ok(_place) = self.places.try_acquire() {
            tokio::time::sleep(delay(rand::random())).await;
        }
    }
}

/// The delay that a number between 0 and 1 stands for.
fn delay(lot: f64) -> Duration {
    DELAY.0 + (DELAY.1 - DELAY.0).mul_f64(lot)
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn waits<F: Future>(future: Pin<&mut F>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        future.poll(&mut context).is_pending()
    }

    #[tokio::test]
    async fn only_so_many_wait_for_their_refusal() {
        let late = Late::new(1);
        let mut first = Box::pin(late.refuse());
        assert!(waits(first.as_mut()));
        assert!(!waits(pin!(late.refuse())));
        drop(first);
        assert!(waits(pin!(late.refuse())));
    }

    #[test]
    fn delays_are_spread() {
        let seconds = [0.0, 0.5, 1.0].map(|lot| delay(lot).as_secs());
        assert_eq!(seconds, [1, 2, 3]);
    }
}
