//! Markers, sweepers and cancellers after the same messages.

use std::sync::Arc;

use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use super::*;
use crate::keys::Partition;
use crate::message::Status;
use crate::messages::Marked;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_ends_once_and_in_one_way() {
    let store = Arc::new(Store::new());
    let names: Vec<Arc<str>> = (0..500).map(|n| format!("r{n}").into()).collect();
    let expires_at = store.now().await + Duration::from_secs(3);
    let draft = Draft {
        expires_at: Some(expires_at),
        ..text("contested")
    };
    let mut pushed = Vec::new();
    for _ in 0..6 {
        let some = store.messages.push(&store.acme, &names, &draft, None).await;
        pushed.extend(some.into_iter().map(Result::unwrap));
    }
    store.wait_past(expires_at).await;

    let mut sweepers = JoinSet::new();
    for _ in 0..3 {
        let store = Arc::clone(&store);
        sweepers.spawn(async move {
            let mut cancelled = 0;
            let mut partitions: Vec<Partition> = Partition::every().collect();
            partitions.shuffle(&mut rand::rng());
            for partition in partitions {
                loop {
                    let swept = store
                        .messages
                        .sweep(partition, Duration::ZERO, 7)
                        .await
                        .unwrap();
                    cancelled += swept.cancelled;
                    if swept.seen < 7 {
                        break;
                    }
                }
            }
            cancelled
        });
    }
    let mut markers = JoinSet::new();
    for _ in 0..2 {
        let store = Arc::clone(&store);
        let mut marks: Vec<Mark> = pushed.iter().map(|message| store.mark(message)).collect();
        marks.shuffle(&mut rand::rng());
        markers.spawn(async move {
            let mut outcomes = Vec::new();
            for marks in marks.chunks(100) {
                let marked = store.messages.mark(marks).await.unwrap();
                outcomes.extend(marks.iter().map(|mark| mark.id).zip(marked));
            }
            outcomes
        });
    }
    let cancelled: u64 = sweepers.join_all().await.into_iter().sum();
    let outcomes: Vec<_> = markers.join_all().await.into_iter().flatten().collect();

    let delivered = outcomes
        .iter()
        .filter(|(_, marked)| *marked == Marked::Delivered)
        .count();
    assert_eq!(delivered as u64 + cancelled, pushed.len() as u64);
    for message in &pushed {
        let own = outcomes.iter().filter(|(id, _)| *id == message.id);
        let mut own: Vec<Marked> = own.map(|(_, marked)| *marked).collect();
        own.sort_by_key(|marked| *marked as u8);
        match store.message(message.id).await.status {
            Status::Delivered(_) => assert_eq!(own, [Marked::Delivered, Marked::Already]),
            Status::Cancelled(at) => {
                assert_eq!(own, [Marked::Cancelled, Marked::Cancelled]);
                assert_eq!(Some(at), message.expires_at);
            }
            Status::Pending => panic!("it expired, and was swept"),
        }
    }
}
