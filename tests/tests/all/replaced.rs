//! Processes that leave behind HAProxy, with the files that operators are given:
//! nobody notices.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::{Fleet, Upgrade};

/// Longer than HAProxy takes to notice.
const DELAY: &str = "3s";

#[tokio::test]
async fn an_api_and_a_gateway_leave_and_nobody_is_refused() {
    let fleet = Fleet::of(2, 1).apis(2).behind_haproxy();
    let fleet = fleet.env("CARILLON_SHUTDOWN_DELAY", DELAY).start().await;
    let left = AtomicBool::new(false);
    let leave = async {
        let (gateway, api) = tokio::join!(fleet.gateway(0).terminate(), fleet.api().terminate());
        assert!(gateway.success() && api.success());
        left.store(true, Ordering::Relaxed);
    };
    let pushed = AtomicUsize::new(0);
    let come = async {
        while !left.load(Ordering::Relaxed) {
            // Both panic where anything is refused.
            let registration = fleet.register("ada").await;
            let mut socket = Upgrade::to(&registration.uri).open().await.unwrap();
            fleet.push("ada", "Hello").await;
            assert_eq!(socket.text().await, "Hello");
            socket.close().await;
            pushed.fetch_add(1, Ordering::Relaxed);
        }
    };
    tokio::join!(leave, come);
    assert_ne!(pushed.load(Ordering::Relaxed), 0);
    let answers = fleet.haproxy().expect("it is there").answers();
    let kinds: Vec<&str> = answers.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["api 200", "sockets 101"], "{answers:?}");
}
