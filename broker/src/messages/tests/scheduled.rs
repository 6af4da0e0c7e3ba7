//! Messages that are due later than they were pushed.

use super::*;
use crate::event::{Event, MessageBody};
use crate::keys::Partition;
use crate::message::Status;
use crate::messages::Marked;
use futures_util::StreamExt;

/// As long as a test can wait for it to pass, and longer than what must happen before
/// on a busy machine.
const SOON: Duration = Duration::from_millis(1500);
const LATER: Duration = Duration::from_secs(3600);

fn due(text: &str, at: Timestamp) -> Draft {
    Draft {
        deliver_at: Some(at),
        ..super::text(text)
    }
}

impl Store {
    /// Releases what is due in the partition of `topic`: how many were published.
    async fn release(&self, topic: &Topic) -> u64 {
        let released = self.messages.release(topic.partition(), 10).await;
        released.unwrap().released
    }

    /// How many wait to be released, in all partitions.
    async fn scheduled(&self) -> u64 {
        let mut all = 0;
        for partition in Partition::every() {
            let count = redis::Cmd::zcard(self.keys.scheduled(partition));
            all += self.redis.query::<u64>(&count).await.unwrap();
        }
        all
    }

    /// What is not sent yet behind `after` to a socket opened at `since`.
    async fn unsent(&self, after: Option<MessageId>, since: Option<Timestamp>) -> Vec<Message> {
        let unsent = Unsent {
            after,
            since,
            ..Unsent::default()
        };
        let backlog = self.messages.backlog(&self.topic("ann"), unsent, ALL).await;
        backlog.unwrap().messages
    }
}

/// Hears what is published on a topic from now on.
async fn listen(store: &Store, topic: &Topic) -> redis::aio::PubSub {
    let client = redis::Client::open(format!("redis://{}", fixture::address())).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe(store.keys.channel(topic)).await.unwrap();
    listener
}

async fn heard(listener: &mut redis::aio::PubSub) -> Event {
    let message = listener.on_message().next().await.unwrap();
    Event::parse(message.get_payload_bytes()).unwrap()
}

#[tokio::test]
async fn a_scheduled_message_is_pending_at_once_and_sent_from_its_release() {
    let store = Store::new();
    let ann = store.topic("ann");
    let mut listener = listen(&store, &ann).await;
    let at = store.now().await + SOON;
    let draft = Draft {
        label: Some("\"news\"/{1}".into()),
        ..due("later \u{0}\n\"grün\"", at)
    };
    let pushed = store.push("ann", &draft).await;
    assert_eq!(
        (pushed.status, pushed.deliver_at),
        (Status::Pending, Some(at))
    );
    assert_eq!(store.message(pushed.id).await, pushed);
    assert_eq!(store.backlog("ann", draft.label.as_deref()).await, []);
    assert_eq!(store.messages.pending_count(&ann).await.unwrap(), 1);
    assert_eq!(store.release(&ann).await, 0);

    store.wait_past(at).await;
    // Due is not sent: one release decides for all sockets.
    assert_eq!(store.backlog("ann", draft.label.as_deref()).await, []);
    assert_eq!(store.release(&ann).await, 1);
    assert_eq!(store.release(&ann).await, 0);
    let event = heard(&mut listener).await;
    let body: MessageBody<'_> = serde_json::from_str(event.body.get()).unwrap();
    assert_eq!(*body.message, *draft.text);
    assert_eq!(body.topic.as_deref(), draft.label.as_deref());
    assert_eq!(body.id.as_deref(), Some(&*pushed.id.entry()));
    assert_eq!(body.deliver_at, Some(at.millis()));

    let waiting = store.backlog("ann", draft.label.as_deref()).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (waiting[0].id, &*waiting[0].text),
        (pushed.id, &*draft.text)
    );
    let entry = event.entry.unwrap();
    let place = waiting[0].place();
    assert_eq!(
        (place.millis, u64::from(place.sequence)),
        (entry.millis, entry.sequence)
    );
    assert!(at <= place.created_at());
    assert_eq!(
        store.messages.message(&store.acme, place).await.unwrap(),
        None
    );
    assert_eq!(
        store.messages.cancel(&store.acme, place).await.unwrap(),
        None
    );
    let every = MessagesFilter::default();
    let listed = store.messages.list(&store.acme, &every, None, 10).await;
    assert_eq!(listed.unwrap().items, std::slice::from_ref(&pushed));
    let marked = store.messages.mark(&[store.mark(&pushed)]).await.unwrap();
    assert_eq!(marked, [Marked::Delivered]);
    assert_eq!(store.backlog("ann", draft.label.as_deref()).await, []);
    assert_eq!(store.scheduled().await, 0);
}

#[tokio::test]
async fn a_released_message_follows_what_was_sent_before_it() {
    let store = Store::new();
    let at = store.now().await + SOON;
    let (late, early) = (at, at - Duration::from_millis(1));
    let first = store.push("ann", &due("due last", late)).await;
    let second = store.push("ann", &due("due first", early)).await;
    let before = store.push("ann", &text("at once")).await;
    assert_eq!(texts(&store.backlog("ann", None).await), ["at once"]);
    store.wait_past(at).await;
    assert_eq!(store.release(&store.topic("ann")).await, 2);
    let after = store.push("ann", &text("after")).await;
    let all = store.backlog("ann", None).await;
    assert_eq!(texts(&all), ["at once", "due first", "due last", "after"]);
    let places: Vec<_> = all.iter().map(Message::place).collect();
    assert!(places.is_sorted());

    // A socket that had the first and was cut off finds the others behind it.
    let missed = store.unsent(Some(before.id), None).await;
    assert_eq!(texts(&missed), ["due first", "due last", "after"]);
    assert_eq!((missed[0].id, missed[1].id), (second.id, first.id));
    let missed = store.unsent(Some(missed[0].place()), None).await;
    assert_eq!(texts(&missed), ["due last", "after"]);
    assert_eq!(store.unsent(Some(after.id), None).await, []);
}

#[tokio::test]
async fn pages_end_at_places() {
    let store = Store::new();
    let ann = store.topic("ann");
    let at = store.now().await + SOON;
    for n in 0..3 {
        store.push("ann", &due(&format!("due {n}"), at)).await;
        store.push("ann", &text(&format!("now {n}"))).await;
    }
    store.wait_past(at).await;
    assert_eq!(store.release(&ann).await, 3);
    let (mut seen, mut unsent) = (Vec::new(), Unsent::default());
    let page = Page {
        count: 1,
        bytes: 1 << 20,
    };
    loop {
        let Backlog { messages, more, .. } =
            store.messages.backlog(&ann, unsent, page).await.unwrap();
        seen.extend(messages);
        unsent.after = more;
        if more.is_none() {
            break;
        }
    }
    let expected = ["now 0", "now 1", "now 2", "due 0", "due 1", "due 2"];
    assert_eq!(texts(&seen), expected);
}

#[tokio::test]
async fn what_another_socket_took_since_is_found_in_its_place() {
    let store = Store::new();
    let at = store.now().await + SOON;
    let scheduled = store.push("ann", &due("due", at)).await;
    let pushed = store.push("ann", &text("now")).await;
    store.wait_past(at).await;
    let since = store.now().await;
    store.release(&store.topic("ann")).await;
    let marks = [store.mark(&scheduled), store.mark(&pushed)];
    store.messages.mark(&marks).await.unwrap();
    let missed = store.unsent(Some(pushed.id), Some(since)).await;
    assert_eq!(texts(&missed), ["due"]);
    assert!(matches!(missed[0].status, Status::Delivered(_)));
    let place = missed[0].place();
    assert_eq!(store.unsent(Some(place), Some(since)).await, []);
    assert_eq!(store.unsent(None, Some(since)).await.len(), 1);
    assert_eq!(
        store.unsent(None, Some(place.created_at() + SOON)).await,
        []
    );
    assert_eq!(store.unsent(None, None).await, []);
}

#[tokio::test]
async fn what_ends_before_it_is_due_is_never_published() {
    let store = Store::with(Limits {
        pending: 3,
        ..Limits::default()
    });
    let ann = store.topic("ann");
    let mut listener = listen(&store, &ann).await;
    let at = store.now().await + SOON;
    let crowded_out = store.push("ann", &due("crowded out", at)).await;
    let cancelled = store.push("ann", &due("cancelled", at)).await;
    let found = store
        .messages
        .cancel(&store.acme, cancelled.id)
        .await
        .unwrap();
    assert!(matches!(found.unwrap().status, Status::Cancelled(_)));
    let expires = Draft {
        expires_at: Some(at + Duration::from_millis(1)),
        ..due("expires", at)
    };
    let expired = store.push("ann", &expires).await;
    for n in 0..2 {
        store.push("ann", &text(&format!("fills {n}"))).await;
    }
    let status = store.message(crowded_out.id).await.status;
    assert!(matches!(status, Status::Cancelled(_)), "{status:?}");
    assert_eq!(store.scheduled().await, 1);

    store.wait_past(at + Duration::from_millis(1)).await;
    assert_eq!(store.release(&ann).await, 0);
    let status = store.message(expired.id).await.status;
    assert_eq!(status, Status::Cancelled(expired.expires_at.unwrap()));
    assert_eq!(store.scheduled().await, 0);

    store
        .push("ann", &due("revoked", store.now().await + LATER))
        .await;
    store.messages.revoke(&ann).await.unwrap();
    assert_eq!(store.scheduled().await, 0);
    for _ in 0..2 {
        assert_eq!(&*heard(&mut listener).await.kind, crate::event::MESSAGE);
    }
    assert_eq!(&*heard(&mut listener).await.kind, crate::event::REVOKED);
}

#[tokio::test]
async fn what_was_due_before_it_was_pushed_is_sent_at_once() {
    let store = Store::new();
    let at = store.now().await - LATER;
    store.push("ann", &text("before")).await;
    let pushed = store.push("ann", &due("overdue", at)).await;
    store.push("ann", &text("after")).await;
    let all = store.backlog("ann", None).await;
    assert_eq!(texts(&all), ["before", "overdue", "after"]);
    assert_eq!((all[1].place(), all[1].deliver_at), (pushed.id, Some(at)));
    assert_eq!(store.scheduled().await, 0);
}

#[tokio::test]
async fn a_repeated_push_schedules_nothing_again() {
    let store = Store::new();
    let at = store.now().await + SOON;
    let push = async || {
        let draft = due("once", at);
        let names = ["ann".into()];
        let pushed = store
            .messages
            .push(&store.acme, &names, &draft, Some("key"));
        pushed.await.pop().unwrap().unwrap()
    };
    let pushed = push().await;
    assert_eq!(push().await, pushed);
    assert_eq!(store.scheduled().await, 1);
    store.wait_past(at).await;
    assert_eq!(store.release(&store.topic("ann")).await, 1);
    assert_eq!(push().await.id, pushed.id);
    assert_eq!(store.scheduled().await, 0);
    assert_eq!(store.backlog("ann", None).await.len(), 1);
}

#[tokio::test]
async fn whoever_releases_at_the_same_time_each_message_is_published_once() {
    let store = Store::new();
    let ann = store.topic("ann");
    let mut listener = listen(&store, &ann).await;
    let at = store.now().await + 2 * SOON;
    for n in 0..100 {
        store.push("ann", &due(&n.to_string(), at)).await;
    }
    store.wait_past(at).await;
    let some = || async {
        let mut released = 0;
        loop {
            match store.messages.release(ann.partition(), 7).await.unwrap() {
                some if some.seen == 0 => return released,
                some => released += some.released,
            }
        }
    };
    let (one, two, three) = tokio::join!(some(), some(), some());
    assert_eq!(one + two + three, 100);
    let mut texts = Vec::new();
    for _ in 0..100 {
        let event = heard(&mut listener).await;
        let body: MessageBody<'_> = serde_json::from_str(event.body.get()).unwrap();
        texts.push(body.message.into_owned());
    }
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn few_of_the_released_that_have_ended_are_remembered() {
    let store = Store::new();
    let past = store.now().await - LATER;
    let waits = store.push("ann", &due("waits", past)).await;
    for _ in 0..600 {
        let pushed = store.push("ann", &due("taken", past)).await;
        store.messages.mark(&[store.mark(&pushed)]).await.unwrap();
    }
    let count = redis::Cmd::zcard(store.keys.released(&store.topic("ann")));
    let remembered: u64 = store.redis.query(&count).await.unwrap();
    assert!((257..=514).contains(&remembered), "{remembered}");
    let all = store.backlog("ann", None).await;
    assert_eq!((all.len(), all[0].id), (1, waits.id));
}

#[tokio::test]
async fn a_scheduled_global_message_reaches_nobody_before_its_release() {
    let store = Store::new();
    let all = Topic::all(&store.acme);
    let mut listener = listen(&store, &all).await;
    let at = store.now().await + SOON;
    let global = store.push_global(&due("to all", at)).await;
    assert_eq!(global.deliver_at, Some(at));
    let every = GlobalFilter::default();
    let listed = store.messages.list_globals(&store.acme, &every, None, 10);
    let listed = listed.await.unwrap();
    assert_eq!(listed.items, std::slice::from_ref(&global));
    assert_eq!(store.backlog("ann", None).await, []);
    assert_eq!(store.release(&all).await, 0);

    store.wait_past(at).await;
    assert_eq!(store.backlog("ann", None).await, []);
    assert_eq!(
        (store.release(&all).await, store.release(&all).await),
        (1, 0)
    );
    let event = heard(&mut listener).await;
    let body: MessageBody<'_> = serde_json::from_str(event.body.get()).unwrap();
    assert_eq!(
        (&*body.message, body.id.as_deref()),
        ("to all", Some(&*global.id.entry()))
    );
    assert_eq!(body.deliver_at, Some(at.millis()));
    let copies = store.backlog("ann", None).await;
    assert_eq!((copies.len(), copies[0].global_id), (1, Some(global.id)));
    let claimed = store
        .messages
        .claim(&global, &[store.topic("bob")], false)
        .await;
    assert_eq!(store.backlog("bob", None).await[0].id, claimed.unwrap()[0]);
}

#[tokio::test]
async fn a_cancelled_or_crowded_out_global_message_is_never_released() {
    let store = Store::with(Limits {
        pending: 2,
        ..Limits::default()
    });
    let all = Topic::all(&store.acme);
    let at = store.now().await + SOON;
    let crowded_out = store.push_global(&due("crowded out", at)).await;
    let cancelled = store.push_global(&due("cancelled", at)).await;
    let stays = store.push_global(&due("stays", at)).await;
    store
        .messages
        .cancel_global(&store.acme, cancelled.id)
        .await
        .unwrap();
    assert_eq!(store.scheduled().await, 1);
    store.wait_past(at).await;
    assert_eq!(store.release(&all).await, 1);
    let got: Vec<_> = store.backlog("ann", None).await;
    let got: Vec<_> = got.iter().map(|m| m.global_id).collect();
    assert_eq!(got, [Some(stays.id)]);
    assert_ne!(crowded_out.id, stays.id);
}
