//! What no release of ours has written, found in the store.

use super::*;

/// Puts something where a message's fields belong, as a pending message.
async fn plant(store: &Store, recipient: &str, fields: &[(&str, &[u8])]) {
    let topic = store.topic(recipient);
    let mut add = redis::cmd("XADD");
    add.arg(store.keys.log(topic.partition(), &store.acme))
        .arg("*");
    for (name, value) in fields {
        add.arg(name).arg(value);
    }
    let entry: String = store.redis.query(&add).await.unwrap();
    let id = MessageId::from_entry(&entry, topic.partition()).unwrap();
    let id = format!("{:012x}{:06x}", id.millis, id.sequence);
    wait(store, recipient, &id).await;
}

/// Has an id wait for a recipient.
async fn wait(store: &Store, recipient: &str, id: &str) {
    let pending = store.keys.pending(&store.topic(recipient));
    let add = redis::Cmd::zadd(pending, id, 0);
    store.redis.query::<()>(&add).await.unwrap();
}

#[tokio::test]
async fn one_message_that_cannot_be_read_does_not_keep_back_the_others() {
    let store = Store::new();
    let before = store.push("ann", &text("before")).await;
    plant(&store, "ann", &[("r", b"ann"), ("b", b"\xff\xfe")]).await;
    plant(&store, "ann", &[("b", b"for whom?")]).await;
    plant(&store, "ann", &[("nothing", b"known")]).await;
    plant(&store, "ann", &[("r", b"ann"), ("b", b"copy"), ("g", b"?")]).await;
    wait(&store, "ann", "no id at all").await;
    let after = store.push("ann", &text("after")).await;

    let read = async |page| {
        let ann = store.topic("ann");
        store
            .messages
            .backlog(&ann, Unsent::default(), page)
            .await
            .unwrap()
    };
    let backlog = read(ALL).await;
    assert_eq!(backlog.messages, [before.clone(), after.clone()]);
    assert_eq!(backlog.unreadable, 5);
    assert_eq!(read(ALL).await.unreadable, 4, "what is no id is gone");

    // A page of nothing but damage is got past, too.
    let page = Page {
        count: 1,
        bytes: 1 << 20,
    };
    let (mut last, mut found) = (None, Vec::new());
    loop {
        let ann = store.topic("ann");
        let unsent = Unsent {
            after: last,
            ..Unsent::default()
        };
        let backlog = store.messages.backlog(&ann, unsent, page).await.unwrap();
        found.extend(backlog.messages);
        match backlog.more {
            Some(more) => assert!(last.replace(more) < Some(more)),
            None => break,
        }
    }
    assert_eq!(found, [before.clone(), after.clone()]);

    let listed = store
        .messages
        .list(&store.acme, &MessagesFilter::default(), None, 100)
        .await
        .unwrap();
    let listed: Vec<_> = listed.items.iter().map(|message| message.id).collect();
    assert_eq!(listed, [after.id, before.id]);
}

#[tokio::test]
async fn one_global_message_that_cannot_be_read_does_not_keep_back_the_others() {
    let store = Store::new();
    let active = store.keys.active_globals(&store.acme);
    for (id, value) in [
        ("00000000000a800000", "soon 5 -"),
        ("00000000000b800000", "1"),
        ("?", "99999999999999 5 -"),
    ] {
        let set = redis::Cmd::hset(&active, id, value);
        store.redis.query::<()>(&set).await.unwrap();
    }
    let global = store.push_global(&text("to all")).await;
    let waits = store.backlog("ann", None).await;
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0].global_id, Some(global.id));
}

#[tokio::test]
async fn what_can_never_be_done_is_told_from_what_may_pass() {
    let store = Store::new();
    let pending = store.keys.pending(&store.topic("ann"));
    let set = redis::Cmd::set(pending, "not a set");
    store.redis.query::<()>(&set).await.unwrap();
    let ann = store.topic("ann");
    let error = store.messages.backlog(&ann, Unsent::default(), ALL).await;
    assert!(error.unwrap_err().is_lasting());
    let (gone, line) = fixture::cuttable().await;
    line.abort();
    assert!(!gone.ping().await.unwrap_err().is_lasting());
}
