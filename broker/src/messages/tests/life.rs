//! From push to end.

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
    let expires_at = store.now().await + Duration::from_millis(30);
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
async fn a_backlog_is_read_in_pages_of_a_count_and_of_bytes() {
    let store = Store::new();
    for n in 0..200 {
        store.push("ann", &text(&format!("message {n:03}"))).await;
    }
    let ann = store.topic("ann");
    let all = store.backlog("ann", None).await;
    assert!(all.is_sorted_by_key(|message| message.id));
    for (count, bytes, pages) in [
        (70, 1 << 20, 3),
        (200, 1 << 20, 1),
        (1000, 1100, 2),
        (9, 1, 200),
    ] {
        let (mut read, mut turns) = (Vec::new(), 0);
        loop {
            let after = read.last().map(|message: &Message| message.id);
            let page = Page { count, bytes };
            let backlog = store
                .messages
                .backlog(&ann, None, after, page)
                .await
                .unwrap();
            read.extend(backlog.messages);
            turns += 1;
            if !backlog.more {
                break;
            }
        }
        assert_eq!(turns, pages, "pages of {count} and {bytes} bytes");
        assert_eq!(read, all);
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
    assert_eq!(store.messages.crowded_out(), 2);
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
    assert_eq!(store.messages.revoked_at(&ann).await.unwrap(), None);
    let revoked = store.messages.revoke(&ann).await.unwrap();
    assert_eq!(revoked.cancelled, 2);
    assert_eq!(
        store.messages.revoked_at(&ann).await.unwrap(),
        Some(revoked.at)
    );
    assert_eq!(store.messages.revoked_at(&bob).await.unwrap(), None);
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
async fn texts_and_labels_are_kept_to_the_byte() {
    let store = Store::new();
    let odd = "\u{0}\r\n\"{}\u{7f}\u{fffd}\u{1f980} %41 =\t";
    let draft = Draft {
        text: odd.into(),
        label: Some(odd.into()),
        expires_at: Some(store.now().await + Duration::from_secs(60)),
    };
    let pushed = store.push("ann", &draft).await;
    assert_eq!(store.backlog("ann", Some(odd)).await, [pushed]);
    let global = store
        .messages
        .push_global(&store.acme, &draft, None)
        .await
        .unwrap();
    let copies = store.backlog("bob", Some(odd)).await;
    assert_eq!(texts(&copies), [odd]);
    assert_eq!(copies[0].label.as_deref(), Some(odd));
    assert_eq!(copies[0].expires_at, draft.expires_at);
    assert_eq!(copies[0].global_id, Some(global.id));
    let empty = store.push("eve", &text("")).await;
    assert_eq!(store.backlog("eve", Some("news")).await, [empty]);
}

#[tokio::test]
async fn thousands_of_messages_of_one_millisecond_keep_their_order() {
    let store = Store::with(Limits {
        pending: 10_000,
        ..Limits::default()
    });
    // The newest entry is of a clock that has since stepped back by an hour, so
    // every later one is of its millisecond.
    let ahead = (store.now().await + Duration::from_secs(3600)).millis();
    let log = store.keys.log(store.topic("ann").partition(), &store.acme);
    let entry = format!("{ahead}-0");
    let add = redis::Cmd::xadd(log, entry, &[("r", "nobody"), ("b", "")]);
    store.redis.query::<()>(&add).await.unwrap();

    let mut ids = Vec::new();
    for n in 0..5000 {
        ids.push(store.push("ann", &text(&n.to_string())).await.id);
    }
    assert!(ids.iter().all(|id| id.created_at().millis() == ahead));
    assert!(ids.is_sorted());
    let read: Vec<_> = store
        .backlog("ann", None)
        .await
        .iter()
        .map(|m| m.id)
        .collect();
    assert_eq!(read, ids);
}

#[tokio::test]
async fn a_used_up_sequence_goes_on_in_the_next_millisecond() {
    let store = Store::new();
    let ahead = (store.now().await + Duration::from_secs(3600)).millis();
    let log = store.keys.log(store.topic("ann").partition(), &store.acme);
    let add = redis::Cmd::xadd(
        log,
        format!("{ahead}-{}", 0x7F_FFFC),
        &[("r", "nobody"), ("b", "")],
    );
    store.redis.query::<()>(&add).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(store.push("ann", &text(&n.to_string())).await.id);
    }
    assert!(ids.is_sorted());
    assert_eq!(ids[3].created_at().millis(), ahead + 1);
    assert_eq!(
        texts(&store.backlog("ann", None).await),
        ["0", "1", "2", "3"]
    );
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_sent_again() {
    let store = Store::new();
    let names: Vec<Arc<str>> = (0..300).map(|n| format!("r{n}").into()).collect();
    let mut marks = Vec::new();
    for _ in 0..2 {
        let flush = redis::cmd("SCRIPT").arg("FLUSH").clone();
        store.redis.query::<()>(&flush).await.unwrap();
        for pushed in store
            .messages
            .push(&store.acme, &names, &text("hello"), None)
            .await
        {
            marks.push(store.mark(&pushed.unwrap()));
        }
        store.redis.query::<()>(&flush).await.unwrap();
    }
    let marked = store.messages.mark(&marks).await.unwrap();
    assert!(marked.iter().all(|marked| *marked == Marked::Delivered));
    assert_eq!(marked.len(), 600);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_message_per_recipient() {
    let store = Store::new();
    let names: Vec<Arc<str>> = ["ann".into(), "bob".into()].to_vec();
    let (first, second) = (text("first"), text("second"));
    let push = async |draft, key| {
        let pushed = store
            .messages
            .push(&store.acme, &names, draft, Some(key))
            .await;
        pushed.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let pushed = push(&first, "k").await;
    assert_eq!(push(&second, "k").await, pushed);
    assert_ne!(push(&second, "other").await, pushed);
    store
        .messages
        .mark(&[store.mark(&pushed[0])])
        .await
        .unwrap();
    let later = push(&first, "k").await;
    assert_eq!(later[0], store.message(pushed[0].id).await);
    assert!(matches!(later[0].status, Status::Delivered(_)));
    assert_eq!(later[1], pushed[1]);
    assert_eq!(
        texts(&store.backlog("bob", None).await),
        ["first", "second"]
    );
}

#[tokio::test]
async fn an_idempotency_key_is_forgotten_after_its_time() {
    let store = Store::with(Limits {
        idempotency: Duration::from_millis(30),
        ..Limits::default()
    });
    let name: [Arc<str>; 1] = ["ann".into()];
    let push = async || {
        let mut pushed = store
            .messages
            .push(&store.acme, &name, &text("x"), Some("k"))
            .await;
        pushed.pop().unwrap().unwrap()
    };
    let first = push().await;
    store
        .wait_past(store.now().await + Duration::from_millis(40))
        .await;
    assert_ne!(push().await, first);
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
        .backlog(&theirs, None, None, ALL)
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
async fn what_is_published_is_what_is_stored() {
    let store = Store::new();
    let client = redis::Client::open(store.redis.connection_info()).unwrap();
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
