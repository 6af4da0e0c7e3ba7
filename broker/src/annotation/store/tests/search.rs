//! What is found, by whom, in which order.

use super::*;
use crate::annotation::store::search::{Found, Search, Sort};

impl World {
    async fn find(&self, viewer: Option<&str>, search: Search) -> Found {
        let by = match viewer {
            Some(userid) => Some(self.user(userid).await),
            None => None,
        };
        let found = self.annotations.search(&self.site, &search, by.as_ref());
        found.await.unwrap()
    }
}

fn texts(found: &[Stored]) -> Vec<String> {
    let text = |stored| form(stored)["text"].as_str().unwrap().to_owned();
    found.iter().map(text).collect()
}

fn named(said: Value, text: &str) -> Value {
    with(said, json!({"text": text}))
}

fn page(uri: &str) -> Search {
    Search {
        uris: vec![uri.to_owned()],
        sort: Sort::Created,
        descending: false,
        ..Search::default()
    }
}

#[tokio::test]
async fn a_page_is_found_by_all_addresses_of_its_document() {
    let world = World::new().await;
    let link = json!({"document": {"link": [{"href": "https://e.example/b", "rel": "x"}]}});
    world
        .create(ALICE, &named(public("https://e.example/b"), "early"))
        .await;
    world
        .create(
            ALICE,
            &named(with(public("http://e.example/a/"), link), "linked"),
        )
        .await;
    world
        .create(ALICE, &named(public("https://e.example/other"), "other"))
        .await;
    for uri in ["https://e.example/a", "http://e.example/b#x"] {
        let found = world.find(None, page(uri)).await;
        assert_eq!(texts(&found.rows), ["early", "linked"], "{uri}");
        assert_eq!(found.total, 2);
    }
    let both = Search {
        uris: vec![
            "https://e.example/a".to_owned(),
            "https://e.example/other".to_owned(),
        ],
        ..page("")
    };
    assert_eq!(
        texts(&world.find(None, both).await.rows),
        ["early", "linked", "other"]
    );
    assert_eq!(
        world.find(None, page("https://none.example/")).await.total,
        0
    );
    assert_eq!(world.find(None, page("http://[")).await.total, 0);
}

#[tokio::test]
async fn versions_of_a_page_are_found_as_they_are_asked_for() {
    let world = World::new().await;
    for version in 0..3 {
        let said = with(
            public("https://e.example/"),
            json!({"document": {"version": version}}),
        );
        world
            .create(ALICE, &named(said, &version.to_string()))
            .await;
    }
    for (suffix, expected) in [
        ("", &["0"][..]),
        (":v0", &["0"]),
        (":v2", &["2"]),
        (":v0:v1", &["0", "1"]),
        (":all", &["0", "1", "2"]),
        (":v9", &[]),
    ] {
        let found = world
            .find(None, page(&format!("https://e.example/{suffix}")))
            .await;
        assert_eq!(texts(&found.rows), expected, "{suffix}");
    }
}

#[tokio::test]
async fn everybody_finds_what_they_may_see() {
    let world = World::new().await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE, BOB])
        .await;
    world.group("pre", GroupKind::Open, true, &[]).await;
    let banned = UserPatch {
        banned: Some(true),
        ..UserPatch::default()
    };
    world
        .people
        .create_user(&world.site.tenant, MALLORY, &banned)
        .await
        .unwrap();
    let uri = "https://e.example/";
    world.create(ALICE, &named(public(uri), "public")).await;
    world
        .create(ALICE, &named(json!({"uri": uri}), "private"))
        .await;
    world
        .create(ALICE, &named(shared(uri, "priv"), "group"))
        .await;
    world
        .create(ALICE, &named(shared(uri, "pre"), "pending"))
        .await;
    world.create(MALLORY, &named(public(uri), "banned")).await;
    for (viewer, expected) in [
        (None, &["public"][..]),
        (Some(ALICE), &["public", "private", "group", "pending"]),
        (Some(BOB), &["public", "group"]),
        (Some(MOD), &["public", "group", "pending"]),
        (Some(MALLORY), &["public", "banned"]),
    ] {
        let found = world.find(viewer, page(uri)).await;
        assert_eq!(texts(&found.rows), expected, "{viewer:?}");
        assert_eq!(found.total, expected.len() as u64, "{viewer:?}");
    }
}

#[tokio::test]
async fn every_condition_has_to_be_met() {
    let world = World::new().await;
    world.group("g", GroupKind::Open, false, &[]).await;
    let (one, two) = ("https://e.example/1", "https://e.example/2");
    world.create(ALICE, &named(public(one), "a1")).await;
    world.create(ALICE, &named(shared(one, "g"), "a1g")).await;
    world.create(BOB, &named(shared(one, "g"), "b1g")).await;
    world.create(BOB, &named(shared(two, "g"), "b2g")).await;
    let group = || vec!["g".to_owned()];
    let search = |uris: &[&str], groups, users: &[&str]| Search {
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        groups,
        users: users.iter().map(|user| (*user).to_owned()).collect(),
        ..page("")
    };
    for (search, expected) in [
        (search(&[one], group(), &[]), &["a1g", "b1g"][..]),
        (search(&[], group(), &[]), &["a1g", "b1g", "b2g"]),
        (search(&[], group(), &[BOB]), &["b1g", "b2g"]),
        (search(&[one], group(), &[BOB]), &["b1g"]),
        (search(&[], vec![WORLD.to_owned()], &[ALICE, BOB]), &["a1"]),
        (search(&[], Vec::new(), &[]), &["a1", "a1g", "b1g", "b2g"]),
        (search(&[], vec!["none".to_owned()], &[]), &[]),
    ] {
        assert_eq!(
            texts(&world.find(None, search.clone()).await.rows),
            expected,
            "{search:?}"
        );
    }
}

#[tokio::test]
async fn what_changes_is_found_where_it_is_now() {
    let world = World::new().await;
    let made = world.create(ALICE, &public("https://e.example/1")).await;
    world
        .update(ALICE, id(&made), &json!({"uri": "https://e.example/2"}))
        .await;
    assert_eq!(world.find(None, page("https://e.example/1")).await.total, 0);
    assert_eq!(world.find(None, page("https://e.example/2")).await.total, 1);
    world
        .update(ALICE, id(&made), &json!({"permissions": {"read": [ALICE]}}))
        .await;
    assert_eq!(world.find(None, page("https://e.example/2")).await.total, 0);
    let by = world.user(ALICE).await;
    world
        .annotations
        .delete(&world.site, id(&made), &by, None)
        .await
        .unwrap();
    assert_eq!(
        world
            .find(Some(ALICE), page("https://e.example/2"))
            .await
            .total,
        0
    );
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let world = World::new().await;
    let mut made = Vec::new();
    for n in 0..7 {
        made.push(
            world
                .create(ALICE, &named(public("https://e.example/"), &n.to_string()))
                .await,
        );
    }
    world.update(ALICE, id(&made[0]), &json!({})).await;
    let newest_first = ["0", "6", "5", "4", "3", "2", "1"];
    let mut search = Search {
        limit: 3,
        ..Search::default()
    };
    let mut all = Vec::new();
    loop {
        let found = world.find(None, search.clone()).await;
        assert_eq!(found.total, 7, "on all pages");
        let Some(last) = found.rows.last() else {
            break;
        };
        search.after = Some(form(last)["updated"].as_str().unwrap().to_owned());
        all.extend(texts(&found.rows));
    }
    assert_eq!(all, newest_first);

    search.after = None;
    search.offset = 5;
    assert_eq!(
        texts(&world.find(None, search.clone()).await.rows),
        ["2", "1"]
    );
    search.offset = 50;
    assert!(world.find(None, search.clone()).await.rows.is_empty());

    let by_id = Search {
        sort: Sort::Id,
        descending: false,
        limit: 1000,
        ..Search::default()
    };
    let found = world.find(None, by_id.clone()).await;
    let ids: Vec<_> = found.rows.iter().map(|row| id(row).to_owned()).collect();
    assert!(ids.is_sorted() && ids.len() == 7, "{ids:?}");
    let after = Search {
        after: Some(ids[4].clone()),
        ..by_id
    };
    let found = world.find(None, after).await;
    let after: Vec<_> = found.rows.iter().map(|row| id(row).to_owned()).collect();
    assert_eq!(after, ids[5..]);
    let past = Search {
        after: Some("1000".to_owned()),
        ..Search::default()
    };
    assert_eq!(
        world.find(None, past).await.rows.len(),
        0,
        "nothing is older than a second of 1970"
    );
}

#[tokio::test]
async fn replies_come_with_what_they_answer_or_on_their_own() {
    let world = World::new().await;
    let uri = "https://e.example/";
    let root = world.create(ALICE, &named(public(uri), "root")).await;
    let other = world.create(ALICE, &named(public(uri), "other")).await;
    let below = |to: &[&str], text: &str| named(with(public(uri), json!({"references": to})), text);
    let first = world.create(BOB, &below(&[id(&root)], "first")).await;
    world
        .create(BOB, &below(&[id(&root), id(&first)], "second"))
        .await;
    let hidden = with(
        below(&[id(&root)], "hidden"),
        json!({"permissions": {"read": [BOB]}}),
    );
    world.create(BOB, &hidden).await;
    world.create(BOB, &below(&[id(&other)], "elsewhere")).await;

    let separate = Search {
        limit: 1,
        separate_replies: true,
        ..page(uri)
    };
    let found = world.find(None, separate).await;
    assert_eq!(
        (found.total, texts(&found.rows)),
        (2, vec!["root".to_owned()])
    );
    assert_eq!(texts(&found.replies), ["first", "second"]);
    let found = world.find(None, page(uri)).await;
    assert_eq!((found.total, found.replies.len()), (5, 0));
    let thread = Search {
        references: vec![id(&root).to_owned()],
        ..page("")
    };
    let thread = Search {
        uris: Vec::new(),
        ..thread
    };
    assert_eq!(
        texts(&world.find(None, thread).await.rows),
        ["first", "second"]
    );
}

#[tokio::test]
async fn a_search_looks_at_more_annotations_than_one_script_does() {
    let world = World::new().await;
    let said = public("https://e.example/");
    let draft = schema::draft(said.to_string().as_bytes()).unwrap();
    let by = world.user(ALICE).await;
    for _ in 0..1100 {
        let made = world
            .annotations
            .create(&world.site, draft.clone(), &by, None)
            .await;
        made.unwrap();
    }
    let found = world.find(None, page("https://e.example/")).await;
    assert_eq!((found.total, found.rows.len()), (1100, 20));
}

#[tokio::test]
async fn an_annotation_that_cannot_be_read_keeps_no_other_from_being_found() {
    for damage in [["HSET", "text", "no JSON"], ["HDEL", "text", "uri"]] {
        let world = World::new().await;
        let said = named(public("https://e.example/"), "spoilt");
        let spoilt = world.create(ALICE, &said).await;
        let said = named(public("https://e.example/"), "whole");
        world.create(ALICE, &said).await;
        let begin = world.annotations.keys.annotations_begin(&world.site.tenant);
        let mut spoil = redis::cmd(damage[0]);
        spoil
            .arg(format!("{begin}{}", id(&spoilt)))
            .arg(&damage[1..]);
        world.annotations.redis.query::<()>(&spoil).await.unwrap();
        let found = world.find(None, page("https://e.example/")).await;
        assert_eq!(texts(&found.rows), ["whole"], "{damage:?}");
        assert!(world.read(id(&spoilt)).await.is_none());
    }
}

#[test]
fn a_page_follows_a_time_or_a_text_as_the_order_has_it() {
    for time in [
        "2026-11-21T11:40:01.012345+00:00",
        "2026-11-21T11:40:01Z",
        "1700000000000",
    ] {
        assert!(Sort::Updated.can_follow(time), "{time}");
    }
    for text in [
        "",
        "yesterday",
        "2026-11-21",
        "1e99",
        "99999999999999999999",
    ] {
        assert!(!Sort::Created.can_follow(text), "{text}");
        assert!(Sort::User.can_follow(text), "{text}");
    }
}

#[tokio::test]
async fn no_address_is_no_page() {
    let world = World::new().await;
    world.create(ALICE, &public("https://e.example/")).await;
    for uri in ["", ":v0", ":all"] {
        assert_eq!(world.find(None, page(uri)).await.total, 0, "{uri:?}");
    }
}

#[tokio::test]
async fn a_page_of_long_annotations_ends_early_and_the_next_goes_on() {
    let world = World::new().await;
    let long = "x".repeat(500_000);
    for n in 0..20 {
        let said = named(public("https://e.example/"), &format!("{n} {long}"));
        world.create(ALICE, &said).await;
    }
    let (mut offset, mut pages) = (0, 0);
    while offset < 20 {
        let asked = Search {
            limit: 200,
            offset,
            ..page("https://e.example/")
        };
        let found = world.find(None, asked).await;
        assert_eq!(found.total, 20);
        let bytes: usize = texts(&found.rows).iter().map(String::len).sum();
        assert!((1..6_000_000).contains(&bytes), "{bytes}");
        let first = format!("{offset} x");
        assert!(texts(&found.rows)[0].starts_with(&first));
        offset += found.rows.len();
        pages += 1;
    }
    assert_eq!(pages, 2);
}
