//! Nothing accepted is lost when processes are killed under load.
//!
//! 500 recipients listen, half of them acknowledging, and come back when their
//! socket ends. A backend pushes to them at a steady rate and repeats, under the
//! same idempotency key, what it got no answer to. Meanwhile every process is
//! killed with SIGKILL and started again.

#[path = "faults/client.rs"]
mod client;
#[path = "faults/ledger.rs"]
mod ledger;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Fleet, until};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use client::Client;
use ledger::Ledger;

const RECIPIENTS: usize = 500;
/// How long the backend pushes before a fault, and after the last one. The load
/// is the measure here, not a stand-in for a condition.
const STRETCH: Duration = Duration::from_secs(3);

/// Pushes per second: what a busy machine carries in a debug build.
const RATE: u32 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_processes_are_killed() {
    let fleet = Fleet::of(2, 2).env("CARILLON_LOG", "info").start().await;
    let fleet = Arc::new(fleet);
    let clients = connect(&fleet).await;
    let ledger = Arc::new(Ledger::default());
    let stop = Arc::new(AtomicBool::new(false));
    let backend = tokio::spawn(push(
        Arc::clone(&fleet),
        Arc::clone(&ledger),
        Arc::clone(&stop),
    ));

    let mut at = Instant::now();
    let mut stretch = async || {
        at += STRETCH;
        sleep_until(at).await;
        at = at.max(Instant::now());
    };
    stretch().await;
    fleet.gateway(0).kill();
    fleet.gateway(0).start().await;
    stretch().await;
    fleet.api().kill();
    fleet.api().start().await;
    stretch().await;
    fleet.worker(0).kill();
    fleet.worker(0).start().await;
    stretch().await;
    fleet.redis().kill();
    fleet.redis().restart().await;
    stretch().await;
    fleet.gateway(1).kill();
    fleet.gateway(1).start().await;
    stretch().await;
    stop.store(true, Ordering::Relaxed);
    backend.await.expect("every push is accepted in the end");

    ledger.settle(&fleet).await;
    let mut told = Vec::new();
    for client in clients {
        told.push(client.finish().await);
    }
    ledger.audit(&told);
    println!("{}", ledger.summary(&told));
    for process in fleet.gateways() {
        until("the gateway is well", async || {
            process
                .ready()
                .await
                .is_some_and(|(status, _)| status == 200)
        })
        .await;
    }
}

/// Registers all recipients and opens their sockets; every second acknowledges.
async fn connect(fleet: &Arc<Fleet>) -> Vec<Client> {
    let mut clients = Vec::with_capacity(RECIPIENTS);
    for n in 0..RECIPIENTS {
        let registration = fleet.register(&recipient(n)).await;
        clients.push(Client::start(
            Arc::clone(fleet),
            n,
            registration,
            n % 2 == 0,
        ));
    }
    for client in &clients {
        until("the recipient is connected", async || client.is_open()).await;
    }
    clients
}

fn recipient(n: usize) -> String {
    format!("listener-{n}")
}

/// Pushes at [`RATE`] until told to stop, and until every push is accepted.
async fn push(fleet: Arc<Fleet>, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
    let began = Instant::now();
    let mut pushes = JoinSet::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        sleep_until(began + Duration::from_secs(1) * n / RATE).await;
        let (fleet, ledger) = (Arc::clone(&fleet), Arc::clone(&ledger));
        pushes.spawn(async move { ledger.push(&fleet, n).await });
        while let Some(pushed) = pushes.try_join_next() {
            pushed.expect("pushing does not panic");
        }
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed.expect("pushing does not panic");
    }
}
