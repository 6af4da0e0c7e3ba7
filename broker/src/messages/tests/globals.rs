//! Messages to everybody, and each recipient's copy.

use super::*;
use crate::message::Status;
use crate::messages::MessagesFilter;

#[tokio::test]
async fn a_global_message_becomes_a_message_of_each_recipient_that_connects() {
    let store = Store::new();
    let global = store
        .messages
        .push_global(&store.acme, &text("all hands"), None)
        .await
        .unwrap();
    let first = store.backlog("ann", None).await;
    assert_eq!(texts(&first), ["all hands"]);
    assert_eq!(first[0].global_id, Some(global.id));
    assert_eq!(store.backlog("ann", None).await, first);
    assert_eq!(store.message(first[0].id).await, first[0]);

    let live = [store.topic("ann"), store.topic("bob")];
    let copies = store.messages.claim(&global, &live, true).await.unwrap();
    assert_eq!(copies[0], first[0].id);
    for id in &copies {
        let status = store.message(*id).await.status;
        assert!(matches!(status, Status::Delivered(_)), "{status:?}");
    }
    assert_eq!(store.backlog("bob", None).await, []);

    let filter = MessagesFilter {
        global_id: Some(global.id),
        ..MessagesFilter::default()
    };
    let listed = store
        .messages
        .list(&store.acme, &filter, None, 10)
        .await
        .unwrap();
    let mut ids: Vec<_> = listed.items.iter().map(|m| m.id).collect();
    ids.reverse();
    assert_eq!((ids, listed.next), (copies, None));
    assert!(store.keys.global_log(&store.acme).contains("gl"));
}
