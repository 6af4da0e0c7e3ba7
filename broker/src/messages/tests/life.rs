//! From push to mark, cancellation and revocation.

use std::sync::Arc;

use futures_util::StreamExt;

use super::*;
use crate::event::{message_payload, revoked_payload};
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
async fn a_push_answers_for_each_name_in_order_and_repeats_none() {
    let store = Store::new();
    let names: Vec<Arc<str>> = ["ann", "bob", "ann", "a:b", "{x} 100%"]
        .map(Arc::from)
        .to_vec();
    let pushed = store
        .messages
        .push(&store.acme, &names, &text("hello"), None)
        .await;
    let pushed: Vec<Message> = pushed.into_iter().map(Result::unwrap).collect();
    assert_eq!(pushed[0], pushed[2]);
    for (name, message) in names.iter().zip(&pushed) {
        assert_eq!(message.recipient, *name);
        assert_eq!(
            store.backlog(name, None).await,
            std::slice::from_ref(message)
        );
    }
}

#[tokio::test]
async fn a_message_with_a_label_waits_for_a_socket_with_that_label() {
    let store = Store::new();
    for label in [None, Some("news"), Some("news "), Some("")] {
        let draft = Draft {
            label: label.map(Arc::from),
            ..text(&format!("for {label:?}"))
        };
        store.push("ann", &draft).await;
    }
    for (label, others) in [
        (None, vec![]),
        (Some("sport"), vec![]),
        (Some("news"), vec![r#"for Some("news")"#]),
        (Some("news "), vec![r#"for Some("news ")"#]),
        (Some(""), vec![r#"for Some("")"#]),
    ] {
        let expected = [vec!["for None"], others].concat();
        assert_eq!(
            texts(&store.backlog("ann", label).await),
            expected,
            "{label:?}"
        );
    }
}

#[tokio::test]
async fn a_message_over_the_cap_cancels_the_oldest() {
    let store = Store::with(Limits {
        pending: 3,
        ..Limits::default()
    });
    let mut pushed = Vec::new();
    for n in 0..5 {
        pushed.push(store.push("ann", &text(&n.to_string())).await);
    }
    assert_eq!(texts(&store.backlog("ann", None).await), ["2", "3", "4"]);
    assert_eq!(store.messages.crowded_out.get(), 2);
    for message in &pushed[..2] {
        let status = store.message(message.id).await.status;
        assert!(matches!(status, Status::Cancelled(_)), "{status:?}");
    }
}

#[tokio::test]
async fn a_cancelled_message_is_not_sent_and_stays_cancelled() {
    let store = Store::new();
    let pushed = store.push("ann", &text("oops")).await;
    let cancelled = store
        .messages
        .cancel(&store.acme, pushed.id)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(cancelled.status, Status::Cancelled(_)));
    assert_eq!(store.message(pushed.id).await, cancelled);
    assert_eq!(store.backlog("ann", None).await, []);
    assert_eq!(
        store.messages.mark(&[store.mark(&pushed)]).await.unwrap(),
        [Marked::Cancelled]
    );
    let again = store.messages.cancel(&store.acme, pushed.id).await.unwrap();
    assert_eq!(again, Some(cancelled));
}

#[tokio::test]
async fn a_delivered_message_is_not_cancelled() {
    let store = Store::new();
    let pushed = store.push("ann", &text("seen")).await;
    store.messages.mark(&[store.mark(&pushed)]).await.unwrap();
    let after = store
        .messages
        .cancel(&store.acme, pushed.id)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(after.status, Status::Delivered(_)));
    assert_eq!(store.message(pushed.id).await, after);
}

#[tokio::test]
async fn a_revocation_cancels_what_waits_and_is_remembered() {
    let store = Store::new();
    let (ann, bob) = (store.topic("ann"), store.topic("bob"));
    let pushed = [
        store.push("ann", &text("1")).await,
        store.push("ann", &text("2")).await,
    ];
    store.push("bob", &text("3")).await;
    assert_eq!(
        store.messages.check_in(&ann).await.unwrap().revoked_at,
        None
    );
    let revoked = store.messages.revoke(&ann).await.unwrap();
    assert_eq!(revoked.cancelled, 2);
    assert_eq!(
        store.messages.check_in(&ann).await.unwrap().revoked_at,
        Some(revoked.at)
    );
    assert_eq!(
        store.messages.check_in(&bob).await.unwrap().revoked_at,
        None
    );
    for message in pushed {
        assert_eq!(
            store.message(message.id).await.status,
            Status::Cancelled(revoked.at)
        );
    }
    assert_eq!(store.backlog("ann", None).await, []);
    assert_eq!(texts(&store.backlog("bob", None).await), ["3"]);
}

#[tokio::test]
async fn what_is_published_is_what_is_stored() {
    let store = Store::new();
    let client = redis::Client::open(format!("redis://{}", crate::fixture::address())).unwrap();
    let mut subscription = client.get_async_pubsub().await.unwrap();
    let (ann, all) = (store.topic("ann"), Topic::all(&store.acme));
    subscription
        .subscribe(&[store.keys.channel(&ann), store.keys.channel(&all)])
        .await
        .unwrap();
    let mut frames = subscription.on_message();
    let mut next = async || {
        frames
            .next()
            .await
            .unwrap()
            .get_payload::<String>()
            .unwrap()
    };

    let draft = text("hello");
    let pushed = store.push("ann", &draft).await;
    assert_eq!(
        next().await,
        format!("{} {}", pushed.id.entry(), message_payload(&draft))
    );
    let global = store
        .messages
        .push_global(&store.acme, &draft, None)
        .await
        .unwrap();
    assert_eq!(
        next().await,
        format!("{} {}", global.id.entry(), message_payload(&draft))
    );
    let late = Draft {
        expires_at: Some(store.now().await),
        ..text("late")
    };
    store.push("ann", &late).await;
    store
        .messages
        .push_global(&store.acme, &late, None)
        .await
        .unwrap();
    store.messages.revoke(&ann).await.unwrap();
    assert_eq!(next().await, format!("0-0 {}", revoked_payload()));
}

#[tokio::test]
async fn tenants_never_meet() {
    let store = Store::new();
    let other: Tenant = "other".parse().unwrap();
    let names: [Arc<str>; 1] = ["ann".into()];
    let pushed = store.push("ann", &text("ours")).await;
    let global = store
        .messages
        .push_global(&store.acme, &text("ours, to all"), None)
        .await
        .unwrap();
    let theirs = Topic::recipient(&other, "ann");
    let backlog = store
        .messages
        .backlog(&theirs, Unsent::default(), ALL)
        .await
        .unwrap();
    assert_eq!(backlog.messages, []);
    assert_eq!(store.messages.pending_count(&theirs).await.unwrap(), 0);
    assert_eq!(
        store.messages.message(&other, pushed.id).await.unwrap(),
        None
    );
    assert_eq!(
        store.messages.cancel(&other, pushed.id).await.unwrap(),
        None
    );
    assert_eq!(
        store
            .messages
            .cancel_global(&other, global.id)
            .await
            .unwrap(),
        None
    );
    let mark = Mark {
        recipient: theirs.clone(),
        id: pushed.id,
    };
    assert_eq!(
        store.messages.mark(&[mark]).await.unwrap(),
        [Marked::Cancelled]
    );
    assert_eq!(store.messages.revoke(&theirs).await.unwrap().cancelled, 0);
    let (all, every) = (MessagesFilter::default(), GlobalFilter::default());
    let listed = store.messages.list(&other, &all, None, 10).await.unwrap();
    assert_eq!(listed.items, []);
    let listed = store
        .messages
        .list_globals(&other, &every, None, 10)
        .await
        .unwrap();
    assert_eq!(listed.items, []);
    let pushed_there = store
        .messages
        .push(&other, &names, &text("theirs"), Some("k"))
        .await;
    let pushed_here = store
        .messages
        .push(&store.acme, &names, &text("more"), Some("k"))
        .await;
    assert_eq!(&*pushed_there[0].as_ref().unwrap().text, "theirs");
    assert_eq!(&*pushed_here[0].as_ref().unwrap().text, "more");
    let ours = store.backlog("ann", None).await;
    assert_eq!(texts(&ours), ["ours", "more", "ours, to all"]);
}

#[tokio::test]
async fn a_socket_is_not_deprived_by_another_of_what_came_after_it_opened() {
    let store = Store::new();
    let ann = store.topic("ann");
    let before = store.push("ann", &text("before")).await;
    store.messages.mark(&[store.mark(&before)]).await.unwrap();
    store.wait_past(before.id.created_at()).await;
    let since = Some(store.messages.check_in(&ann).await.unwrap().now);
    let mut sent = Vec::new();
    for n in 0..150 {
        sent.push(store.push("ann", &text(&n.to_string())).await);
    }
    let taken: Vec<_> = sent.iter().step_by(2).map(|m| store.mark(m)).collect();
    store.messages.mark(&taken).await.unwrap();
    let cancelled = sent.remove(1);
    store
        .messages
        .cancel(&store.acme, cancelled.id)
        .await
        .unwrap();

    let mut unsent = Unsent {
        since,
        ..Unsent::default()
    };
    let mut got = Vec::new();
    loop {
        let page = Page {
            count: 40,
            bytes: 1 << 20,
        };
        let page = store.messages.backlog(&ann, unsent, page).await.unwrap();
        got.extend(page.messages.iter().map(|message| message.id));
        unsent.after = got.last().copied();
        if page.more.is_none() {
            break;
        }
    }
    let all: Vec<_> = sent.iter().map(|message| message.id).collect();
    assert_eq!(got, all, "each once, in order");
    let waiting = store.backlog("ann", None).await;
    assert_eq!(
        waiting.len(),
        74,
        "a socket of later gets only what is pending"
    );
}

#[tokio::test]
async fn who_reads_what_waits_also_learns_of_a_revocation() {
    let store = Store::new();
    let ann = store.topic("ann");
    let revoked_at = async || {
        let read = store.messages.backlog(&ann, Unsent::default(), ALL).await;
        read.unwrap().revoked_at
    };
    assert_eq!(revoked_at().await, None);
    let revoked = store.messages.revoke(&ann).await.unwrap();
    assert_eq!(revoked_at().await, Some(revoked.at));
}
