//! Ids, pages and bytes: what is read is what was pushed, in its order.

use super::*;

#[tokio::test]
async fn texts_and_labels_are_kept_to_the_byte() {
    let store = Store::new();
    let odd = "\u{0}\r\n\"{}\u{7f}\u{fffd}\u{1f980} %41 =\t";
    let draft = Draft {
        text: odd.into(),
        label: Some(odd.into()),
        expires_at: Some(store.now().await + Duration::from_secs(60)),
        deliver_at: None,
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
                .backlog(
                    &ann,
                    Unsent {
                        after,
                        ..Unsent::default()
                    },
                    page,
                )
                .await
                .unwrap();
            read.extend(backlog.messages);
            turns += 1;
            if backlog.more.is_none() {
                break;
            }
        }
        assert_eq!(turns, pages, "pages of {count} and {bytes} bytes");
        assert_eq!(read, all);
    }
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
async fn no_id_names_a_message_and_a_global_message() {
    let store = Store::new();
    let all = Topic::all(&store.acme).partition();
    let ahead = (store.now().await + Duration::from_secs(3600)).millis();
    let log = store.keys.log(all, &store.acme);
    let add = redis::Cmd::xadd(&log, format!("{ahead}-0"), &[("r", "nobody"), ("b", "")]);
    store.redis.query::<()>(&add).await.unwrap();
    let global_log = store.keys.global_log(&store.acme);
    let add = redis::Cmd::xadd(global_log, format!("{ahead}-{}", 0x80_0000), &[("b", "")]);
    store.redis.query::<()>(&add).await.unwrap();

    let there = (0..)
        .map(|n| format!("r{n}"))
        .find(|r| store.topic(r).partition() == all);
    let message = store.push(&there.unwrap(), &text("to one")).await;
    let global = store.push_global(&text("to all")).await;
    assert_eq!(message.id.millis, global.id.millis);
    assert_ne!(message.id, global.id);
    assert_eq!(
        store
            .messages
            .message(&store.acme, global.id)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        store
            .messages
            .cancel_global(&store.acme, message.id)
            .await
            .unwrap(),
        None
    );
}
