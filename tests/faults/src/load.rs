//! The load: events by every way, at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::tests::redis::Topology;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::client::Client;
use crate::crowd::Crowd;
use crate::ledger::Accepted;
use crate::ways::{self, Answer, Way};

/// Events of one way that may be on their way in at once: a backend has so many
/// connections.
const AT_ONCE: usize = 48;
/// How long a backend waits before it offers an event again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What could not be offered for so long is not offered any more: a backend does
/// not make up for its users' idle time.
const LATE: Duration = Duration::from_secs(1);
/// After the end of a load, offers go on for so long until all are accepted.
const LAST_OFFERS: Duration = Duration::from_secs(20);

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Go,
    Pause,
    Stop,
}

/// A running load.
pub(crate) struct Load {
    orders: watch::Sender<Order>,
    tasks: JoinSet<()>,
}

/// When the events of one way are due.
struct Schedule {
    began: Duration,
    per_second: f64,
    next: AtomicU32,
}

impl Schedule {
    /// When the next one is due that is not too late by now.
    fn due(&self, now: Duration) -> Duration {
        loop {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.began + Duration::from_secs_f64(f64::from(nth) / self.per_second);
            if now.saturating_sub(LATE) <= due {
                return due;
            }
        }
    }
}

impl Load {
    /// Begins to offer `rate` events a second in sum.
    pub(crate) fn start(crowd: &Arc<Crowd>, rate: u32) -> Self {
        let (orders, listener) = watch::channel(Order::Go);
        let mut tasks = JoinSet::new();
        let replicas = crowd.fleet.redis().topology() != Topology::Standalone;
        for way in Way::ALL.into_iter().filter(|way| 0 < way.share(replicas)) {
            let schedule = Arc::new(Schedule {
                began: crowd.clock.now(),
                per_second: f64::from(rate * way.share(replicas)) / 1000.0,
                next: AtomicU32::new(0),
            });
            for _ in 0..AT_ONCE {
                let (crowd, schedule) = (Arc::clone(crowd), Arc::clone(&schedule));
                tasks.spawn(offer(crowd, way, schedule, listener.clone()));
            }
        }
        Self { orders, tasks }
    }

    /// Offers nothing new for the time being.
    pub(crate) fn pause(&self) {
        self.orders.send_replace(Order::Pause);
    }

    /// Goes on.
    pub(crate) fn resume(&self) {
        self.orders.send_replace(Order::Go);
    }

    /// Offers nothing new any more, and waits until what was offered is accepted.
    pub(crate) async fn stop(mut self) {
        self.orders.send_replace(Order::Stop);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        drop(timeout(LAST_OFFERS, all).await);
    }
}

/// Offers one event of a way after the other, each until it is accepted.
async fn offer(
    crowd: Arc<Crowd>,
    way: Way,
    schedule: Arc<Schedule>,
    mut orders: watch::Receiver<Order>,
) {
    let clients = crowd.clients_of(way.dialect());
    loop {
        let due = crowd.clock.at(schedule.due(crowd.clock.now()));
        tokio::select! {
            biased;
            _ = orders.wait_for(|&order| order == Order::Stop) => return,
            () = sleep_until(due) => {}
        }
        match *orders.borrow() {
            Order::Go => {}
            Order::Pause => continue,
            Order::Stop => return,
        }
        let nth = rand::random_range(0..clients.len());
        let client = &clients[nth];
        let number = crowd.ledger.offer(way, client.number, crowd.clock.now());
        for attempts in 1.. {
            let offer = way.offer(&crowd.fleet, &crowd.commands, number, client);
            match timeout(PATIENCE, offer).await {
                Ok(Answer::Accepted(message)) => {
                    let at = crowd.clock.now();
                    let accepted = Accepted {
                        at,
                        message,
                        attempts,
                    };
                    crowd.ledger.accept(number, accepted);
                    break;
                }
                // Nobody knows, and nothing would tell a repeat: it is not accepted.
                _ if !way.is_repeatable() => break,
                _ => sleep(AGAIN).await,
            }
        }
    }
}

/// Offers a push to each of these clients in one call, until all are accepted.
pub(crate) async fn offer_many(crowd: &Crowd, numbers: &[u32], clients: &[Arc<Client>]) {
    for attempts in 1.. {
        let offer = ways::push_many(&crowd.fleet, numbers, clients);
        let Ok(Some(messages)) = timeout(PATIENCE, offer).await else {
            sleep(AGAIN).await;
            continue;
        };
        let at = crowd.clock.now();
        for (&number, message) in numbers.iter().zip(messages) {
            let accepted = Accepted {
                at,
                message: Some(message),
                attempts,
            };
            crowd.ledger.accept(number, accepted);
        }
        return;
    }
}
