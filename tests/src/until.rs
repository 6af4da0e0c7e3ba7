//! Waiting for something to become true, instead of for time to pass.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long [`until`] waits: far longer than anything takes on a busy machine,
/// short enough to fail while somebody still watches.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(15);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within [`PATIENCE`], saying `what` did not come true.
pub async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    within(PATIENCE, what, condition).await;
}

/// Waits until `condition` holds, at most for `patience`.
///
/// # Panics
/// If it does not, saying `what` did not come true.
pub async fn within(patience: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let found = async || condition().await.then_some(());
    look(patience, what, found).await;
}

/// Waits until `find` finds something.
///
/// # Panics
/// If it does not within [`PATIENCE`], saying `what` did not come true.
pub async fn until_some<T>(what: &str, find: impl AsyncFnMut() -> Option<T>) -> T {
    look(PATIENCE, what, find).await
}

async fn look<T>(patience: Duration, what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        sleep(GLANCE).await;
    }
}
