//! Which addresses are one document, and what that does to events.

use futures_util::future::join_all;

use super::*;

fn linked(uri: &str, links: &[Value]) -> Value {
    with(public(uri), json!({"document": {"link": links}}))
}

#[tokio::test]
async fn an_annotation_is_told_under_all_addresses_of_its_document() {
    let mut world = World::new().await;
    let said = linked(
        "https://e.example/a",
        &[json!({"href": "https://e.example/b", "rel": "alternate"})],
    );
    world.create(ALICE, &said).await;
    let both = ["httpx://e.example/a", "httpx://e.example/b"];
    assert_eq!(scope(&world.next().await), both, "by the same annotation");
    world.create(BOB, &public("http://e.example/b/#x")).await;
    assert_eq!(scope(&world.next().await), both, "by an earlier one");
    world.create(BOB, &public("https://e.example/c")).await;
    assert_eq!(scope(&world.next().await), ["httpx://e.example/c"]);
}

#[tokio::test]
async fn documents_that_share_an_address_become_one() {
    let mut world = World::new().await;
    let pair = |a: &str, b: &str| {
        let (a, b) = (
            format!("https://e.example/{a}"),
            format!("https://e.example/{b}"),
        );
        linked(&a, &[json!({"href": b, "rel": "alternate"})])
    };
    let titled = with(
        pair("c", "d"),
        json!({"document": {"title": "Newer", "link": [{"href": "https://e.example/d", "rel": "x"}]}}),
    );
    let untitled = world.create(ALICE, &pair("a", "b")).await;
    world.next().await;
    let newer = world.create(ALICE, &titled).await;
    world.next().await;
    assert_eq!(
        form(&world.read(id(&untitled)).await.unwrap())["document"],
        json!({})
    );
    world.create(ALICE, &pair("b", "c")).await;
    let all = ["a", "b", "c", "d"].map(|page| format!("httpx://e.example/{page}"));
    assert_eq!(scope(&world.next().await), all);
    for old in [&untitled, &newer] {
        let form = form(&world.read(id(old)).await.unwrap());
        assert_eq!(
            form["document"],
            json!({"title": ["Newer"]}),
            "the one that has a title"
        );
    }
    let late = with(
        public("https://e.example/a"),
        json!({"document": {"title": "Late"}}),
    );
    let late = world.create(BOB, &late).await;
    assert_eq!(form(&late)["document"], json!({"title": ["Newer"]}));
    assert_eq!(scope(&world.next().await), all);
}

#[tokio::test]
async fn a_document_s_canonical_address_stands_for_itself_alone() {
    let mut world = World::new().await;
    let (page, canonical) = ("https://e.example/page", "https://e.example/canonical");
    world
        .create(
            ALICE,
            &linked(page, &[json!({"href": canonical, "rel": "canonical"})]),
        )
        .await;
    let both = ["httpx://e.example/canonical", "httpx://e.example/page"];
    assert_eq!(scope(&world.next().await), both);
    world.create(ALICE, &public(canonical)).await;
    assert_eq!(scope(&world.next().await), ["httpx://e.example/canonical"]);
    world
        .create(ALICE, &public("https://e.example/canonical#x"))
        .await;
    assert_eq!(scope(&world.next().await), both, "it is written otherwise");
}

#[tokio::test]
async fn an_annotation_of_a_version_is_told_under_that_version() {
    let mut world = World::new().await;
    let said = |version: u32| {
        let document =
            json!({"version": version, "link": [{"href": "https://e.example/b", "rel": "x"}]});
        with(public("https://e.example/a"), json!({"document": document}))
    };
    let made = world.create(ALICE, &said(3)).await;
    let versioned = ["httpx://e.example/a__v3", "httpx://e.example/b__v3"];
    assert_eq!(scope(&world.next().await), versioned);
    assert_eq!(form(&made)["document"], json!({}));
    world.update(ALICE, id(&made), &json!({"text": "x"})).await;
    assert_eq!(scope(&world.next().await), versioned);

    let reply = with(
        public("https://e.example/a"),
        json!({"references": [id(&made)]}),
    );
    world.create(BOB, &reply).await;
    assert_eq!(scope(&world.next().await), versioned, "as what it answers");
    world
        .create(BOB, &with(reply, json!({"document": {"version": 0}})))
        .await;
    let bare = ["httpx://e.example/a", "httpx://e.example/b"];
    assert_eq!(scope(&world.next().await), bare, "unless it says otherwise");

    world
        .update(ALICE, id(&made), &json!({"document": {"version": 0}}))
        .await;
    assert_eq!(scope(&world.next().await), bare);
}

#[tokio::test]
async fn a_change_of_document_or_address_joins_documents_too() {
    let mut world = World::new().await;
    let made = world.create(ALICE, &public("https://e.example/a")).await;
    world.next().await;
    let link = json!({"document": {"link": [{"href": "https://e.example/b", "rel": "x"}, {"href": "https://e.example/a"}]}});
    world.update(ALICE, id(&made), &link).await;
    assert_eq!(
        scope(&world.next().await),
        ["httpx://e.example/a", "httpx://e.example/b"]
    );
    world
        .update(ALICE, id(&made), &json!({"uri": "https://e.example/c"}))
        .await;
    assert_eq!(scope(&world.next().await), ["httpx://e.example/c"]);
}

#[tokio::test]
async fn a_fingerprint_links_to_where_the_document_is_on_the_web() {
    let world = World::new().await;
    let said = linked(
        "urn:x-pdf:abc",
        &[
            json!({"href": "file:///x"}),
            json!({"href": "http://e.example/doc.pdf?x=1"}),
        ],
    );
    let made = world.create(ALICE, &said).await;
    let link = format!("https://go.example/{}/e.example/doc.pdf?x=1", id(&made));
    assert_eq!(form(&made)["links"]["incontext"], link);
}

#[tokio::test]
async fn a_document_stops_growing_before_it_swallows_everything() {
    let mut world = World::new().await;
    let chunk = |from: usize| {
        let link = |n| json!({"href": format!("https://e.example/{n}"), "rel": "x"});
        let links: Vec<_> = (from..from + 150).map(link).collect();
        linked(&format!("https://e.example/{from}"), &links)
    };
    world.create(ALICE, &chunk(0)).await;
    assert_eq!(world.next().await.scope_keys.len(), 150);
    world.create(ALICE, &chunk(1000)).await;
    assert_eq!(world.next().await.scope_keys.len(), 150);
    let bridge = json!({"href": "https://e.example/1000", "rel": "x"});
    world
        .create(ALICE, &linked("https://e.example/0", &[bridge]))
        .await;
    assert_eq!(
        world.next().await.scope_keys.len(),
        150,
        "not joined: 300 are too many"
    );
    world
        .create(
            ALICE,
            &linked(
                "https://e.example/0",
                chunk(100)["document"]["link"].as_array().unwrap(),
            ),
        )
        .await;
    assert_eq!(world.next().await.scope_keys.len(), 200, "filled up");
    let outside = json!({"href": "https://e.example/0", "rel": "x"});
    world
        .create(ALICE, &linked("https://e.example/alone", &[outside]))
        .await;
    assert_eq!(scope(&world.next().await), ["httpx://e.example/alone"]);
}

#[tokio::test]
async fn creations_at_once_that_join_documents_leave_one_document() {
    let mut world = World::new().await;
    for round in 0..10 {
        let page = |n| format!("https://r{round}.example/{n}");
        let chain: Vec<_> = (0..8)
            .map(|n| linked(&page(n), &[json!({"href": page(n + 1), "rel": "x"})]))
            .collect();
        join_all(chain.iter().map(|said| world.create(ALICE, said))).await;
        let mut last = None;
        for _ in 0..8 {
            last = Some(world.next().await);
        }
        let last = last.unwrap();
        let all: Vec<_> = (0..9)
            .map(|n| format!("httpx://r{round}.example/{n}"))
            .collect();
        assert_eq!(scope(&last), all, "the last to be told knows all");
    }
}

#[tokio::test]
async fn an_address_too_long_for_every_event_is_a_document_of_its_own() {
    let mut world = World::new().await;
    let (short, long) = (
        "https://e.example/",
        format!("https://e.example/{}", "x".repeat(2048)),
    );
    let to = |href: &str| json!({"href": href, "rel": "x"});
    world
        .create(
            ALICE,
            &linked(short, &[to(&long), to("https://e.example/b")]),
        )
        .await;
    assert_eq!(
        scope(&world.next().await),
        ["httpx://e.example", "httpx://e.example/b"]
    );
    let made = world
        .create(
            ALICE,
            &with(
                linked(&long, &[to(short)]),
                json!({"document": {"title": "Long", "link": [to(short)]}}),
            ),
        )
        .await;
    assert_eq!(world.next().await.scope_keys.len(), 1);
    assert_eq!(form(&made)["document"], json!({"title": ["Long"]}));
}

#[tokio::test]
async fn changes_at_once_of_address_and_document_all_come_to_pass() {
    let mut world = World::new().await;
    let made = world.create(ALICE, &public("https://e.example/0")).await;
    let id = id(&made);
    let changes = (1..9).flat_map(|n| {
        let links = [json!({"href": format!("https://e.example/linked/{n}"), "rel": "x"})];
        [
            json!({"uri": format!("https://e.example/{n}")}),
            json!({"document": {"link": links}}),
        ]
    });
    let changes: Vec<_> = changes.collect();
    join_all(changes.iter().map(|said| world.update(ALICE, id, said))).await;
    for _ in 0..=changes.len() {
        world.next().await;
    }
    // Each link was claimed for an address that the annotation had just then, so
    // no two addresses without a link between them have become one.
    for n in 0..9 {
        world
            .create(BOB, &public(&format!("https://e.example/{n}")))
            .await;
        let told = world.next().await;
        let own = scope(&told)
            .into_iter()
            .filter(|key| !key.contains("/linked/"));
        assert_eq!(own.collect::<Vec<_>>(), [format!("httpx://e.example/{n}")]);
    }
}

#[tokio::test]
async fn a_title_is_as_long_as_it_can_be_shown_with_every_annotation() {
    let world = World::new().await;
    let title = "ü".repeat(2000);
    let said = with(
        public("https://e.example/"),
        json!({"document": {"title": title}}),
    );
    let stored = world.create(ALICE, &said).await;
    let expected = "ü".repeat(1000);
    assert_eq!(form(&stored)["document"], json!({"title": [expected]}));
}
