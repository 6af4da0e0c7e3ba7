//! Which hosts nothing is heard of: their sockets would wait for events in vain.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::link::LinkState;
use tokio::sync::watch;

use super::desk::Desk;

/// Takes no new sockets for the host while its bus has been down for longer than
/// `grace`. Ends with the bus.
pub(super) async fn watch(desk: Arc<Desk>, mut state: watch::Receiver<LinkState>, grace: Duration) {
    let up = |state: &LinkState| *state == LinkState::Up;
    loop {
        if state.wait_for(|state| !up(state)).await.is_err() {
            return;
        }
        let back = state.wait_for(up);
        match tokio::time::timeout(grace, back).await {
            Ok(Ok(_)) => continue,
            Ok(Err(_)) => return,
            Err(_) => desk.cut.store(true, Ordering::Relaxed),
        }
        let back = state.wait_for(up).await.is_ok();
        desk.cut.store(false, Ordering::Relaxed);
        if !back {
            return;
        }
    }
}
