//! What time does to a message: expiry, sweep, retention.

use super::*;
use crate::keys::Partition;
use crate::message::Status;
use crate::messages::Marked;

#[tokio::test]
async fn an_expired_message_is_never_sent_and_ends_as_of_its_expiry() {
    let store = Store::new();
    let expires_at = store.now().await + Duration::from_millis(1500);
    let draft = Draft {
        expires_at: Some(expires_at),
        ..text("soon gone")
    };
    let pushed = store.push("ann", &draft).await;
    store.push("ann", &text("stays")).await;
    assert_eq!(store.backlog("ann", None).await.len(), 2);

    store.wait_past(expires_at).await;
    assert_eq!(texts(&store.backlog("ann", None).await), ["stays"]);
    let count = store.messages.pending_count(&store.topic("ann")).await;
    assert_eq!(count.unwrap(), 1);
    let cancelled = Status::Cancelled(expires_at);
    assert_eq!(store.message(pushed.id).await.status, cancelled);

    assert_eq!(
        store.sweep(&pushed, Duration::from_secs(60)).await,
        Swept::default()
    );
    let swept = store.sweep(&pushed, Duration::ZERO).await;
    assert_eq!((swept.seen, swept.cancelled), (1, 1));
    assert_eq!(swept.oldest_due, Some(expires_at));
    assert_eq!(store.message(pushed.id).await.status, cancelled);
    let marked = store.messages.mark(&[store.mark(&pushed)]).await.unwrap();
    assert_eq!(marked, [Marked::Cancelled]);
    assert_eq!(store.message(pushed.id).await.status, cancelled);
}

#[tokio::test]
async fn a_mark_on_its_way_at_the_expiry_counts_until_the_sweep() {
    let store = Store::new();
    let expires_at = store.now().await + Duration::from_millis(1500);
    let draft = Draft {
        expires_at: Some(expires_at),
        ..text("just in time")
    };
    let pushed = store.push("ann", &draft).await;
    store.wait_past(expires_at).await;
    let marked = store.messages.mark(&[store.mark(&pushed)]).await.unwrap();
    assert_eq!(marked, [Marked::Delivered]);
    assert_eq!(store.sweep(&pushed, Duration::ZERO).await, Swept::default());
    let status = store.message(pushed.id).await.status;
    assert!(matches!(status, Status::Delivered(_)), "{status:?}");
}

#[tokio::test]
async fn what_ends_an_expired_message_ends_it_as_of_its_expiry() {
    let store = Store::with(Limits {
        pending: 1,
        ..Limits::default()
    });
    let expires_at = store.now().await + Duration::from_millis(1500);
    let draft = Draft {
        expires_at: Some(expires_at),
        ..text("soon gone")
    };
    let mut pushed = Vec::new();
    for recipient in ["cancelled", "revoked", "crowded out"] {
        pushed.push(store.push(recipient, &draft).await);
    }
    store.wait_past(expires_at).await;
    let acme = &store.acme;
    store.messages.cancel(acme, pushed[0].id).await.unwrap();
    store
        .messages
        .revoke(&store.topic("revoked"))
        .await
        .unwrap();
    store.push("crowded out", &text("newer")).await;
    for message in pushed {
        assert_eq!(
            store.sweep(&message, Duration::ZERO).await,
            Swept::default()
        );
        let status = store.message(message.id).await.status;
        assert_eq!(
            status,
            Status::Cancelled(expires_at),
            "{}",
            message.recipient
        );
    }
}

#[tokio::test]
async fn a_message_pushed_after_its_expiry_is_cancelled_from_the_start() {
    let store = Store::new();
    let expires_at = store.now().await - Duration::from_secs(1);
    let draft = Draft {
        expires_at: Some(expires_at),
        ..text("too late")
    };
    let pushed = store.push("ann", &draft).await;
    assert_eq!(pushed.status, Status::Cancelled(expires_at));
    assert_eq!(store.message(pushed.id).await, pushed);
    assert_eq!(store.backlog("ann", None).await, []);
}

#[tokio::test]
async fn what_is_past_retention_is_forgotten() {
    let retention = Duration::from_secs(1);
    let store = Store::with(Limits {
        retention,
        ..Limits::default()
    });
    let global = store.push_global(&text("to all")).await;
    let old = store.push("ann", &text("old")).await;
    let seen = store.push("bob", &text("seen")).await;
    store.messages.mark(&[store.mark(&seen)]).await.unwrap();
    assert_eq!(store.backlog("ann", None).await.len(), 2);
    store
        .wait_past(global.id.created_at() + retention + retention / 2)
        .await;

    let acme = &store.acme;
    let new = store.push("ann", &text("new")).await;
    assert_eq!(store.backlog("ann", None).await, std::slice::from_ref(&new));
    assert_eq!(
        store
            .messages
            .pending_count(&store.topic("ann"))
            .await
            .unwrap(),
        1
    );
    for id in [old.id, seen.id] {
        assert_eq!(store.messages.message(acme, id).await.unwrap(), None);
        assert_eq!(store.messages.cancel(acme, id).await.unwrap(), None);
    }
    let all = MessagesFilter::default();
    let listed = store.messages.list(acme, &all, None, 100).await.unwrap();
    assert_eq!(listed.items, std::slice::from_ref(&new));
    let listed = store
        .messages
        .list_globals(acme, &GlobalFilter::default(), None, 100)
        .await;
    assert_eq!(listed.unwrap().items, []);

    let trim = async || {
        let (mut messages, mut globals) = (0, 0);
        for partition in Partition::every() {
            let trimmed = store.messages.trim(partition).await.unwrap();
            messages += trimmed.messages;
            globals += trimmed.globals;
        }
        (messages, globals)
    };
    assert_eq!(trim().await, (3, 0));
    store.wait_past(new.id.created_at() + 2 * retention).await;
    assert_eq!(trim().await, (1, 1));
    let left = redis::cmd("KEYS")
        .arg(format!("{}*", store.keys.base(new.id.partition)))
        .clone();
    let left: Vec<String> = store.redis.query(&left).await.unwrap();
    assert!(
        !left
            .iter()
            .any(|key| key.contains(":pd:") || key.contains(":bx:")),
        "{left:?}"
    );
}
