//! Dead letters, read, tried again and thrown away on a real Redis.

use std::time::Duration;

use super::super::*;
use super::intake::{World, report, take};
use crate::event::EntryId;
use crate::message::Draft;

impl World {
    fn letters(&self) -> DeadLetters {
        DeadLetters::new(self.redis.clone(), self.keys.clone())
    }

    async fn all(&self) -> Vec<DeadLetter> {
        let (letters, more) = self.letters().list(&self.tenant, None, 100).await.unwrap();
        assert!(!more);
        letters
    }

    /// Has a worker look at what is there.
    async fn work(&self) -> Handled {
        let mut worker = self.worker("one");
        let entries = take(&mut worker).await;
        worker.handle(&entries).await
    }
}

#[tokio::test]
async fn letters_are_listed_newest_first_in_pages_without_gaps() {
    let world = World::new().await;
    for n in 0..30 {
        world.add("annotation", format!("bad {n}").as_bytes()).await;
    }
    world.work().await;
    let letters = world.letters();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = letters.list(&world.tenant, before, 7).await.unwrap();
        let (page, more) = page;
        assert!(page.len() <= 7);
        before = page.last().map(|letter| letter.id);
        seen.extend(page.into_iter().map(|letter| letter.data));
        if !more {
            break;
        }
    }
    let expected: Vec<_> = (0..30).rev().map(|n| format!("bad {n}")).collect();
    assert_eq!(seen, expected);
    let other = "other".parse().unwrap();
    let (theirs, more) = letters.list(&other, None, 7).await.unwrap();
    assert!(theirs.is_empty() && !more);
}

#[tokio::test]
async fn a_long_letter_ends_its_page() {
    let world = World::new().await;
    for _ in 0..20 {
        let long = format!("[{}", " ".repeat(MAX_REPORT - 1));
        world.add("annotation", long.as_bytes()).await;
    }
    world.work().await;
    let listed = world.letters().list(&world.tenant, None, 100).await;
    let (page, more) = listed.unwrap();
    assert_eq!((page.len(), more), (8, true));
}

#[tokio::test]
async fn a_letter_is_tried_again_once_under_its_first_name() {
    let mut world = World::new().await;
    let first = world.add("annotation", b"{").await;
    let topic = format!("user:{}", "ü".repeat(257));
    let mut add = redis::cmd("XADD");
    add.arg(world.keys.intake(&world.tenant)).arg("*");
    add.arg("topic")
        .arg(&topic)
        .arg("data")
        .arg(r#"{"type":"x"}"#);
    world.redis.query::<String>(&add).await.unwrap();
    world.work().await;
    let letters = world.all().await;
    assert_eq!(letters[1].entry, first);
    assert_eq!(letters[0].topic.as_deref(), Some(&*topic));
    let ids: Vec<_> = letters.iter().rev().map(|letter| letter.id).collect();
    let own = world.letters();
    let other = "other".parse().unwrap();
    assert_eq!(
        own.replay(&other, &ids).await.unwrap(),
        [Replayed::Unknown; 2]
    );
    assert_eq!(
        own.replay(&world.tenant, &ids).await.unwrap(),
        [Replayed::Done; 2]
    );
    assert_eq!(
        own.replay(&world.tenant, &ids).await.unwrap(),
        [Replayed::Unknown; 2]
    );
    assert!(world.all().await.is_empty());
    let handled = world.work().await;
    assert_eq!(handled.dead, ["json", "invalid"], "it is as bad as it was");
    let again = world.all().await;
    assert_eq!(again[1].entry, first, "and known by the same name");
    assert_eq!(again[0].topic.as_deref(), Some(&*topic));
    assert!(world.told().await.is_empty());
}

#[tokio::test]
async fn what_was_pushed_before_its_worker_died_is_not_pushed_again_by_a_replay() {
    let world = World::new().await;
    let push = br#"{"recipients":["ada"],"message":"once"}"#;
    let entry = world.add(PUSH, push).await;
    let mut first = world.worker("first");
    take(&mut first).await;
    // So far it comes.
    let draft = Draft {
        text: "once".into(),
        label: None,
        expires_at: None,
        deliver_at: None,
    };
    let (messages, ada) = (world.messages(), ["ada".into()]);
    let key = format!("\u{0}{entry}");
    let pushed = messages.push(&world.tenant, &ada, &draft, Some(&key));
    assert!(pushed.await[0].is_ok());
    for n in 0..MAX_DELIVERIES {
        let worker = world.worker(&format!("w{n}"));
        let left = worker.left(Duration::ZERO).await.unwrap();
        let claimed = worker.claim(&left[0], Duration::ZERO).await.unwrap();
        worker.give_up(&left[0], &claimed.unwrap()).await.unwrap();
    }
    let letters = world.all().await;
    assert_eq!(letters[0].why, "deliveries");
    let replayed = world
        .letters()
        .replay(&world.tenant, &[letters[0].id])
        .await;
    assert_eq!(replayed.unwrap(), [Replayed::Done]);
    assert_eq!(world.work().await.pushed, 1);
    assert_eq!(world.pushed("ada").await, ["once"]);
}

#[tokio::test]
async fn a_letter_that_was_cut_is_not_tried_again() {
    let world = World::new().await;
    let large = format!("{}{}", report("x"), " ".repeat(MAX_REPORT));
    world.add("annotation", large.as_bytes()).await;
    world.work().await;
    let letters = world.all().await;
    assert!(letters[0].cut);
    let own = world.letters();
    let ids = [letters[0].id];
    assert_eq!(
        own.replay(&world.tenant, &ids).await.unwrap(),
        [Replayed::Cut]
    );
    assert_eq!(
        own.letter(&world.tenant, ids[0]).await.unwrap(),
        Some(letters[0].clone())
    );
    let gone = EntryId::parse("1-1").unwrap();
    let discarded = own.discard(&world.tenant, &[ids[0], gone]).await.unwrap();
    assert_eq!(discarded, [true, false]);
    assert_eq!(own.letter(&world.tenant, ids[0]).await.unwrap(), None);
}
