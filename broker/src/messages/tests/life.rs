//! From push to end.

use super::*;
use crate::message::Status;
use crate::messages::Marked;

#[tokio::test]
async fn a_message_waits_until_it_is_marked() {
    let store = Store::new();
    let pushed = store.push("ann", &text("hello")).await;
    assert_eq!(pushed.status, Status::Pending);
    assert_eq!(
        store.backlog("ann", None).await,
        std::slice::from_ref(&pushed)
    );
    assert_eq!(store.message(pushed.id).await, pushed);

    let mark = store.mark(&pushed);
    let marked = store.messages.mark(&[mark.clone(), mark]).await.unwrap();
    assert_eq!(marked, [Marked::Delivered, Marked::Already]);
    assert_eq!(store.backlog("ann", None).await, []);
    let Status::Delivered(at) = store.message(pushed.id).await.status else {
        panic!("it is delivered");
    };
    assert!(pushed.id.created_at() <= at);
    assert!(at <= store.now().await);
}

#[tokio::test]
async fn an_expired_message_is_never_sent_and_ends_as_of_its_expiry() {
    let store = Store::new();
    let expires_at = store.now().await + Duration::from_millis(60);
    let draft = Draft {
        expires_at: Some(expires_at),
        ..text("soon gone")
    };
    let pushed = store.push("ann", &draft).await;
    store.push("ann", &text("stays")).await;
    assert_eq!(store.backlog("ann", None).await.len(), 2);

    store.wait_past(expires_at).await;
    assert_eq!(texts(&store.backlog("ann", None).await), ["stays"]);
    assert_eq!(
        store
            .messages
            .pending_count(&store.topic("ann"))
            .await
            .unwrap(),
        1
    );
    let cancelled = Status::Cancelled(expires_at);
    assert_eq!(store.message(pushed.id).await.status, cancelled);

    let partition = pushed.id.partition;
    let swept = store
        .messages
        .sweep(partition, Duration::from_secs(60), 10)
        .await
        .unwrap();
    assert_eq!((swept.seen, swept.oldest_due), (0, None));
    let swept = store
        .messages
        .sweep(partition, Duration::ZERO, 10)
        .await
        .unwrap();
    assert_eq!((swept.seen, swept.cancelled), (1, 1));
    assert_eq!(swept.oldest_due, Some(expires_at));
    assert_eq!(store.message(pushed.id).await.status, cancelled);
    let marked = store.messages.mark(&[store.mark(&pushed)]).await.unwrap();
    assert_eq!(marked, [Marked::Cancelled]);
    assert_eq!(store.message(pushed.id).await.status, cancelled);
}
