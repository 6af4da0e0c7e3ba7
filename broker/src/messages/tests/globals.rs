//! Messages to everybody, and each recipient's copy.

use std::sync::Arc;

use super::*;
use crate::message::Status;
use crate::messages::Marked;

impl Store {
    /// The copies of a global message, oldest first.
    async fn copies(&self, global: &GlobalMessage) -> Vec<Message> {
        let filter = MessagesFilter {
            global_id: Some(global.id),
            ..MessagesFilter::default()
        };
        let listed = self
            .messages
            .list(&self.acme, &filter, None, 1000)
            .await
            .unwrap();
        assert_eq!(listed.next, None);
        listed.items.into_iter().rev().collect()
    }
}

#[tokio::test]
async fn a_global_message_becomes_a_message_of_each_recipient_that_connects() {
    let store = Store::new();
    let global = store.push_global(&text("all hands")).await;
    let first = store.backlog("ann", None).await;
    assert_eq!(texts(&first), ["all hands"]);
    assert_eq!(first[0].global_id, Some(global.id));
    assert_eq!(store.backlog("ann", None).await, first);
    assert_eq!(store.message(first[0].id).await, first[0]);

    let live = [store.topic("ann"), store.topic("bob")];
    let mut copies = store.messages.claim(&global, &live, true).await.unwrap();
    assert_eq!(copies[0], first[0].id);
    for id in &copies {
        let status = store.message(*id).await.status;
        assert!(matches!(status, Status::Delivered(_)), "{status:?}");
    }
    assert_eq!(store.backlog("bob", None).await, []);
    let listed: Vec<_> = store.copies(&global).await.iter().map(|m| m.id).collect();
    // Made in one millisecond, they have no order of their own.
    copies.sort();
    assert_eq!(listed, copies);
}

#[tokio::test]
async fn a_claimed_copy_waits_until_it_is_marked() {
    let store = Store::new();
    let global = store.push_global(&text("all hands")).await;
    let topics: Vec<Topic> = (0..250).map(|n| store.topic(&format!("r{n}"))).collect();
    let ids = store.messages.claim(&global, &topics, false).await.unwrap();
    for (topic, id) in topics.iter().zip(&ids) {
        assert_eq!(topic.partition(), id.partition);
    }
    let waiting = store.backlog("r7", None).await;
    assert_eq!((waiting[0].id, waiting.len()), (ids[7], 1));
    let marked = store
        .messages
        .mark(&[store.mark(&waiting[0])])
        .await
        .unwrap();
    assert_eq!(marked, [Marked::Delivered]);
    assert_eq!(store.backlog("r7", None).await, []);
    assert_eq!(
        store.messages.claim(&global, &topics, false).await.unwrap(),
        ids
    );
}

#[tokio::test]
async fn callers_at_once_make_one_copy_per_recipient() {
    let store = Arc::new(Store::new());
    let global = Arc::new(store.push_global(&text("all hands")).await);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..4 {
        let (store, global) = (Arc::clone(&store), Arc::clone(&global));
        callers.spawn(async move {
            let topics: Vec<Topic> = (0..150).map(|n| store.topic(&format!("r{n}"))).collect();
            if caller % 2 == 0 {
                return store
                    .messages
                    .claim(&global, &topics, caller == 0)
                    .await
                    .unwrap();
            }
            for topic in &topics {
                store
                    .messages
                    .backlog(topic, Unsent::default(), ALL)
                    .await
                    .unwrap();
            }
            store.messages.claim(&global, &topics, false).await.unwrap()
        });
    }
    let claimed = callers.join_all().await;
    assert!(claimed.iter().all(|ids| *ids == claimed[0]));
    let mut recipients: Vec<_> = store
        .copies(&global)
        .await
        .into_iter()
        .map(|copy| copy.recipient)
        .collect();
    recipients.sort();
    recipients.dedup();
    assert_eq!(recipients.len(), 150);
    assert_eq!(store.copies(&global).await.len(), 150);
}

#[tokio::test]
async fn a_global_message_with_a_label_is_claimed_only_for_it() {
    let store = Store::new();
    let draft = Draft {
        label: Some("news".into()),
        ..text("extra")
    };
    let global = store.push_global(&draft).await;
    assert_eq!(store.backlog("ann", None).await, []);
    assert_eq!(store.backlog("ann", Some("sport")).await, []);
    assert_eq!(store.copies(&global).await, []);
    assert_eq!(texts(&store.backlog("ann", Some("news")).await), ["extra"]);
}

#[tokio::test]
async fn a_cancelled_global_message_reaches_nobody_else() {
    let store = Store::new();
    let global = store.push_global(&text("oops")).await;
    let delivered = [store.topic("ann")];
    store
        .messages
        .claim(&global, &delivered, true)
        .await
        .unwrap();
    for n in 0..200 {
        assert_eq!(store.backlog(&format!("r{n}"), None).await.len(), 1);
    }
    let cancelled = store
        .messages
        .cancel_global(&store.acme, global.id)
        .await
        .unwrap();
    assert_eq!(cancelled.as_ref(), Some(&global));
    for n in 0..250 {
        assert_eq!(store.backlog(&format!("r{n}"), None).await, []);
    }
    let late = [store.topic("late")];
    let late = store.messages.claim(&global, &late, false).await.unwrap();
    let status = store.message(late[0]).await.status;
    assert!(matches!(status, Status::Cancelled(_)), "{status:?}");
    let copies = store.copies(&global).await;
    assert_eq!(copies.len(), 202);
    for copy in copies {
        match copy.status {
            Status::Delivered(_) => assert_eq!(&*copy.recipient, "ann"),
            Status::Cancelled(_) => assert_ne!(&*copy.recipient, "ann"),
            Status::Pending => panic!("{} is pending", copy.recipient),
        }
    }
}

#[tokio::test]
async fn an_expired_global_message_is_not_claimed_and_its_copies_end_with_it() {
    let store = Store::new();
    let expires_at = store.now().await + Duration::from_millis(1500);
    let draft = Draft {
        expires_at: Some(expires_at),
        ..text("soon gone")
    };
    let global = store.push_global(&draft).await;
    let copy = store.backlog("ann", None).await.remove(0);
    assert_eq!(copy.expires_at, Some(expires_at));
    store.wait_past(expires_at).await;
    assert_eq!(store.backlog("ann", None).await, []);
    assert_eq!(store.backlog("bob", None).await, []);
    assert_eq!(
        store.message(copy.id).await.status,
        Status::Cancelled(expires_at)
    );
    assert_eq!(store.sweep(&copy, Duration::ZERO).await.cancelled, 1);
    assert_eq!(
        store.message(copy.id).await.status,
        Status::Cancelled(expires_at)
    );
    let late = store
        .messages
        .claim(&global, &[store.topic("bob")], false)
        .await
        .unwrap();
    assert_eq!(
        store.message(late[0]).await.status,
        Status::Cancelled(expires_at)
    );
}

#[tokio::test]
async fn without_an_expiry_a_global_message_is_kept_for_its_default_life() {
    let life = Duration::from_millis(1500);
    let store = Store::with(Limits {
        global_default_life: life,
        ..Limits::default()
    });
    let global = store.push_global(&text("brief")).await;
    assert_eq!(global.expires_at, None);
    assert_eq!(texts(&store.backlog("ann", None).await), ["brief"]);
    store.wait_past(global.id.created_at() + life).await;
    assert_eq!(store.backlog("bob", None).await, []);

    let none = Store::with(Limits {
        global_default_life: Duration::ZERO,
        ..Limits::default()
    });
    none.push_global(&text("only who is there")).await;
    assert_eq!(none.backlog("ann", None).await, []);
}

#[tokio::test]
async fn a_copy_waits_no_longer_than_its_global_message_lives() {
    let life = Duration::from_millis(1500);
    let store = Store::with(Limits {
        global_default_life: life,
        ..Limits::default()
    });
    let global = store.push_global(&text("brief")).await;
    let ends = global.id.created_at() + life;
    let live = [store.topic("bob")];
    let claimed = store.messages.claim(&global, &live, false).await.unwrap();
    let copies = [
        store.backlog("ann", None).await.remove(0),
        store.message(claimed[0]).await,
    ];
    for copy in &copies {
        assert_eq!((copy.status, copy.expires_at), (Status::Pending, None));
    }
    store.wait_past(ends).await;
    for (copy, recipient) in copies.iter().zip(["ann", "bob"]) {
        assert_eq!(store.backlog(recipient, None).await, []);
        assert_eq!(store.message(copy.id).await.status, Status::Cancelled(ends));
        assert_eq!(store.sweep(copy, Duration::ZERO).await.cancelled, 1);
        assert_eq!(store.message(copy.id).await.status, Status::Cancelled(ends));
    }
}

#[tokio::test]
async fn a_copy_made_at_the_end_of_a_global_message_can_still_be_acknowledged() {
    let store = Store::with(Limits {
        global_default_life: Duration::ZERO,
        ..Limits::default()
    });
    let global = store.push_global(&text("only who is there")).await;
    let live = [store.topic("ann")];
    let claimed = store.messages.claim(&global, &live, false).await.unwrap();
    let copy = store.message(claimed[0]).await;
    assert_eq!(copy.status, Status::Pending);
    assert_eq!(store.sweep(&copy, Duration::ZERO).await, Swept::default());
    let mut first = redis::cmd("ZRANGE");
    first.arg(store.keys.expiring(copy.id.partition));
    first.arg(&["0", "0", "WITHSCORES"]);
    let due: Vec<(String, i64)> = store.redis.query(&first).await.unwrap();
    let due = due[0].1;
    let left = Timestamp::from_millis(due).since(copy.id.created_at());
    assert!((50..=60).contains(&left.as_secs()), "{left:?}");
    let marked = store.messages.mark(&[store.mark(&copy)]).await.unwrap();
    assert_eq!(marked, [Marked::Delivered]);
}

#[tokio::test]
async fn what_copies_crowd_out_is_counted() {
    let store = Store::with(Limits {
        pending: 2,
        ..Limits::default()
    });
    for name in ["ann", "ann", "bob", "bob"] {
        store.push(name, &text("to one")).await;
    }
    assert_eq!(store.messages.crowded_out.get(), 0);
    let global = store.push_global(&text("to all")).await;
    assert_eq!(
        texts(&store.backlog("ann", None).await),
        ["to one", "to all"]
    );
    assert_eq!(store.messages.crowded_out.get(), 1);
    let live = [store.topic("ann"), store.topic("bob")];
    for _ in 0..2 {
        store.messages.claim(&global, &live, false).await.unwrap();
        assert_eq!(store.messages.crowded_out.get(), 2);
    }
}

#[tokio::test]
async fn too_many_active_global_messages_end_the_oldest() {
    let store = Store::with(Limits {
        pending: 3,
        ..Limits::default()
    });
    for n in 0..5 {
        store.push_global(&text(&n.to_string())).await;
    }
    assert_eq!(texts(&store.backlog("ann", None).await), ["2", "3", "4"]);
}

#[tokio::test]
async fn global_messages_are_listed_newest_first() {
    let store = Store::new();
    let mut pushed = Vec::new();
    for n in 0..25 {
        let draft = Draft {
            label: (n % 5 == 0).then(|| "fifth".into()),
            ..text(&n.to_string())
        };
        pushed.insert(0, store.push_global(&draft).await);
    }
    for (label, limit) in [(None, 4), (Some("fifth"), 2), (None, 25)] {
        let filter = GlobalFilter {
            label: label.map(Arc::from),
            ..GlobalFilter::default()
        };
        let (mut items, mut before) = (Vec::new(), None);
        loop {
            let page = store
                .messages
                .list_globals(&store.acme, &filter, before, limit);
            let page = page.await.unwrap();
            assert!(page.items.len() <= limit);
            items.extend(page.items);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let expected = pushed
            .iter()
            .filter(|g| label.is_none() || g.label.as_deref() == label);
        assert_eq!(items, expected.cloned().collect::<Vec<_>>());
    }
}
