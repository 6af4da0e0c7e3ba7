//! Pages of lists, while others push.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::message::Status;
use crate::messages::Span;

impl Store {
    /// All pages of a list, and how many they were. Each is read while others
    /// push to `meanwhile`.
    async fn pages(
        &self,
        filter: &MessagesFilter,
        limit: usize,
        meanwhile: &[Arc<str>],
    ) -> (Vec<Message>, usize) {
        let draft = text("meanwhile");
        let (mut items, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, _) = tokio::join!(
                self.messages.list(&self.acme, filter, before, limit),
                self.push_all(meanwhile, &draft),
            );
            let page = page.unwrap();
            assert!(page.items.len() <= limit);
            assert!(
                page.next
                    .is_none_or(|next| before.is_none_or(|before| next < before))
            );
            items.extend(page.items);
            pages += 1;
            before = page.next;
            if before.is_none() {
                return (items, pages);
            }
        }
    }

    /// Pushes to each of `names` at once.
    async fn push_all(&self, names: &[Arc<str>], draft: &Draft) -> Vec<Message> {
        let pushed = self.messages.push(&self.acme, names, draft, None).await;
        pushed.into_iter().map(Result::unwrap).collect()
    }
}

fn names(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|n| format!("r{n}").into()).collect()
}

#[tokio::test]
async fn no_page_repeats_or_skips_what_was_there_while_others_push() {
    let store = Store::new();
    let names = names(90);
    let mut there = Vec::new();
    for round in 0..5 {
        there.extend(store.push_all(&names, &text(&round.to_string())).await);
    }
    there.sort_by_key(|message| std::cmp::Reverse(message.id));
    let known: HashSet<MessageId> = there.iter().map(|message| message.id).collect();
    for (recipient, limit) in [(None, 7), (None, 50), (None, 1000), (Some("r3"), 2)] {
        let filter = MessagesFilter {
            recipient: recipient.map(Arc::from),
            ..MessagesFilter::default()
        };
        let (items, _) = store.pages(&filter, limit, &names[..20]).await;
        assert!(
            items.is_sorted_by(|a, b| b.id < a.id),
            "newest first, none twice"
        );
        let mut old = items;
        old.retain(|message| known.contains(&message.id));
        let mut expected = there.clone();
        expected.retain(|message| recipient.is_none_or(|r| *message.recipient == *r));
        assert_eq!(old, expected, "{recipient:?} by {limit}");
    }
}

#[tokio::test]
async fn a_filter_that_matches_little_gives_short_pages_and_still_finds_all() {
    let store = Store::new();
    let rare = Draft {
        label: Some("rare".into()),
        ..text("needle")
    };
    let mut needles = Vec::new();
    for round in 0..6 {
        let names = names(1000);
        needles.extend(store.push_all(&names[round..=round], &rare).await);
        store.push_all(&names, &text("hay")).await;
    }
    needles.sort_by_key(|message| std::cmp::Reverse(message.id));
    let filter = MessagesFilter {
        label: Some("rare".into()),
        ..MessagesFilter::default()
    };
    let (items, pages) = store.pages(&filter, 100, &[]).await;
    assert_eq!(items, needles);
    assert!(
        (3..=8).contains(&pages),
        "6,006 messages, 2,000 walked per page: {pages}"
    );
}

#[tokio::test]
async fn filters_combine() {
    let store = Store::new();
    let expires_at = store.now().await + Duration::from_secs(60);
    let draft = Draft {
        text: "x".into(),
        label: Some("news".into()),
        expires_at: Some(expires_at),
        deliver_at: None,
    };
    let plain = store.push("ann", &text("plain")).await;
    store.wait_past(plain.id.created_at()).await;
    let labelled = store.push("ann", &draft).await;
    store.push("bob", &draft).await;
    let global = store
        .messages
        .push_global(&store.acme, &draft, None)
        .await
        .unwrap();
    let copy = store.backlog("ann", Some("news")).await.pop().unwrap();
    assert_eq!(copy.global_id, Some(global.id));

    let ann = MessagesFilter {
        recipient: Some("ann".into()),
        ..MessagesFilter::default()
    };
    let minute = Span {
        from: Some(expires_at),
        to: Some(expires_at),
    };
    let at = |at| Span {
        from: Some(at),
        to: Some(at),
    };
    let created = plain.id.created_at();
    for (filter, expected) in [
        (ann.clone(), vec![&copy, &labelled, &plain]),
        (
            MessagesFilter {
                label: Some("news".into()),
                ..ann.clone()
            },
            vec![&copy, &labelled],
        ),
        (
            MessagesFilter {
                global_id: Some(global.id),
                ..ann.clone()
            },
            vec![&copy],
        ),
        (
            MessagesFilter {
                expires: minute,
                ..ann.clone()
            },
            vec![&copy, &labelled],
        ),
        (
            MessagesFilter {
                created: at(created),
                ..MessagesFilter::default()
            },
            vec![&plain],
        ),
        (
            MessagesFilter {
                created: at(created),
                ..ann.clone()
            },
            vec![&plain],
        ),
        (
            MessagesFilter {
                created: Span {
                    to: Some(Timestamp::from_millis(-1)),
                    from: None,
                },
                ..ann.clone()
            },
            vec![],
        ),
        (
            MessagesFilter {
                created: at(Timestamp::from_millis(i64::MAX)),
                ..MessagesFilter::default()
            },
            vec![],
        ),
        (
            MessagesFilter {
                expires: Span {
                    from: None,
                    to: Some(expires_at - Duration::from_millis(1)),
                },
                ..MessagesFilter::default()
            },
            vec![],
        ),
        (
            MessagesFilter {
                global_id: Some(global.id),
                label: Some("sport".into()),
                ..ann.clone()
            },
            vec![],
        ),
    ] {
        let (items, _) = store.pages(&filter, 2, &[]).await;
        assert_eq!(items.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_list_shows_each_message_as_it_is() {
    let store = Store::new();
    let waiting = store.push("ann", &text("waiting")).await;
    let seen = store.push("ann", &text("seen")).await;
    let stopped = store.push("ann", &text("stopped")).await;
    store.messages.mark(&[store.mark(&seen)]).await.unwrap();
    store
        .messages
        .cancel(&store.acme, stopped.id)
        .await
        .unwrap();
    for filter in [
        MessagesFilter::default(),
        MessagesFilter {
            recipient: Some("ann".into()),
            ..MessagesFilter::default()
        },
    ] {
        let (items, _) = store.pages(&filter, 10, &[]).await;
        let [a, b, c] = &*items else {
            panic!("{items:?}")
        };
        assert!(matches!(a.status, Status::Cancelled(_)) && a.id == stopped.id);
        assert!(matches!(b.status, Status::Delivered(_)) && b.id == seen.id);
        assert_eq!(*c, waiting);
    }
}
