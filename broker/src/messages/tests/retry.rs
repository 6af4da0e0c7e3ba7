//! Saying things twice: idempotency keys, and scripts that Redis forgot.

use std::sync::Arc;

use super::*;
use crate::message::Status;
use crate::messages::Marked;

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
async fn a_global_idempotency_key_makes_one_message() {
    let store = Store::new();
    let push = async |draft: &Draft| {
        store
            .messages
            .push_global(&store.acme, draft, Some("k"))
            .await
            .unwrap()
    };
    let draft = Draft {
        label: Some("news".into()),
        expires_at: Some(store.now().await + Duration::from_secs(60)),
        ..text("first")
    };
    let first = push(&draft).await;
    assert_eq!(push(&text("second")).await, first);
    let names: [Arc<str>; 1] = ["".into()];
    let other = store
        .messages
        .push(&store.acme, &names, &text("third"), Some("k"))
        .await;
    assert_eq!(&*other[0].as_ref().unwrap().text, "third");
}

#[tokio::test]
async fn without_redis_each_name_gets_a_failure() {
    let nowhere = "redis://127.0.0.1:1".parse().unwrap();
    let redis = Redis::open(&nowhere).unwrap();
    let messages = Messages::new(redis, Keys::new("nowhere"), Limits::default());
    let names: Vec<Arc<str>> = ["ann".into(), "bob".into(), "ann".into()].to_vec();
    let acme = "acme".parse().unwrap();
    let pushed = messages.push(&acme, &names, &text("lost"), None).await;
    assert_eq!(pushed.len(), 3);
    assert!(pushed.iter().all(Result::is_err));
}
