//! From creation to deletion.

use super::*;

#[tokio::test]
async fn a_new_annotation_is_complete_and_read_as_it_was_returned() {
    let mut world = World::new().await;
    let before = world.now().await;
    let said = json!({
        "uri": " https://docs.example/a?b=\"c\" ",
        "text": "line\n\"two\" \u{0} grün {braces} \\/",
        "tags": ["a", "b/c"],
        "permissions": {"read": ["group:__world__"]},
        "target": [
            {"source": "https://elsewhere.example", "description": "here", "selector": [{"type": "TextQuoteSelector", "exact": "x"}], "more": 1},
            {"selector": []}
        ],
        "document": {"title": ["The \"title\"", "another"], "link": [{"href": "https://docs.example/b"}], "version": 0},
        "metadata": {"hush": "hush"},
        "empty": [], "object": {}, "number": 1.50, "große": 12345678901234567890_u64,
        "hidden": true, "user": "acct:eve@example.org", "actions": ["x"], "mentions": [1], "moderation_status": "SPAM"
    });
    let stored = world.create(ALICE, &said).await;
    let told = world.next().await;
    assert_eq!(told.action, Change::Create);
    assert_eq!(told.annotation.get(), stored.notification.annotation.get());
    assert!(told.annotation.get().contains(r#""number":1.5"#));
    let id = id(&stored);
    assert_eq!(id.len(), 22);

    let form = form(&stored);
    let created = form["created"].as_str().unwrap();
    let at: jiff::Timestamp = created.parse().unwrap();
    assert!((before..=world.now().await).contains(&at.as_millisecond()));
    assert_eq!(created.len(), "2026-01-01T00:00:00.000000+00:00".len());
    assert!(created.ends_with("+00:00"));
    assert_eq!(
        form,
        json!({
            "id": id, "created": created, "updated": created, "user": ALICE,
            "uri": "https://docs.example/a?b=\"c\"",
            "text": said["text"], "tags": ["a", "b/c"], "group": "__world__",
            "permissions": {"read": ["group:__world__"], "admin": [ALICE], "update": [ALICE], "delete": [ALICE]},
            "target": [{"source": "https://docs.example/a?b=\"c\"", "description": "here",
                "selector": [{"type": "TextQuoteSelector", "exact": "x"}]}],
            "document": {"title": ["The \"title\""]},
            "links": {"json": format!("https://notes.example/api/annotations/{id}"),
                "html": format!("https://notes.example/a/{id}"),
                "incontext": format!("https://go.example/{id}/docs.example/a?b=\"c\"")},
            "moderation_status": "APPROVED", "hidden": false, "flagged": false,
            "actions": [], "mentions": [], "user_info": {"display_name": null},
            "empty": [], "object": {}, "number": 1.5, "große": 12345678901234567890_u64,
        })
    );
    let read = world.read(id).await.unwrap();
    assert_eq!(super::form(&read), form);
    assert_eq!(read.notification.action, Change::Update);
}

#[tokio::test]
async fn what_is_not_said_has_a_default_and_is_the_author_s_alone() {
    let world = World::new().await;
    let stored = world.create(ALICE, &json!({"uri": "urn:x:1"})).await;
    let form = form(&stored);
    assert_eq!(form["text"], "");
    assert_eq!(form["tags"], json!([]));
    assert_eq!(form["group"], WORLD);
    assert_eq!(form["permissions"]["read"], json!([ALICE]));
    assert_eq!(form["target"], json!([{"source": "urn:x:1"}]));
    assert_eq!(form["document"], json!({}));
    assert_eq!(form["moderation_status"], Value::Null);
    assert_eq!(form.get("references"), None);
    let link = format!("https://go.example/{}", id(&stored));
    assert_eq!(form["links"]["incontext"], link, "no address for browsers");
    assert!(!stored.notification.shared);
    assert_eq!(stored.notification.moderation, None);
}

#[tokio::test]
async fn a_change_changes_what_is_given_and_is_told() {
    let mut world = World::new().await;
    let said = json!({"text": "one", "tags": ["a"], "keep": 1, "change": 1,
        "target": [{"selector": [{"type": "x"}]}]});
    let made = world
        .create(ALICE, &with(public("https://e.example/"), said))
        .await;
    world.next().await;
    let (id, before) = (id(&made), form(&made));

    let changed = world
        .update(ALICE, id, &json!({"text": "two", "change": 2, "add": null}))
        .await;
    let told = world.next().await;
    assert_eq!(told.action, Change::Update);
    assert_eq!(told.annotation.get(), changed.notification.annotation.get());
    let after = form(&changed);
    assert!(before["updated"].as_str() < after["updated"].as_str());
    let mut expected = before.clone();
    for (name, value) in [
        ("text", json!("two")),
        ("change", json!(2)),
        ("add", Value::Null),
        ("updated", after["updated"].clone()),
    ] {
        expected[name] = value;
    }
    assert_eq!(after, expected);

    let nothing = form(&world.update(ALICE, id, &json!({})).await);
    assert!(after["updated"].as_str() < nothing["updated"].as_str());
    assert_eq!(world.next().await.action, Change::Update);

    let moved = json!({"uri": "https://e.example/moved", "tags": [], "target": [{}], "group": "other", "references": ["x"]});
    let moved = form(&world.update(ALICE, id, &moved).await);
    assert_eq!(moved["uri"], "https://e.example/moved");
    assert_eq!(
        moved["target"],
        json!([{"source": "https://e.example/moved"}])
    );
    assert_eq!(moved["tags"], json!([]));
    assert_eq!(moved["group"], WORLD);
    assert_eq!(moved.get("references"), None);
    assert_eq!(scope(&world.next().await), ["httpx://e.example/moved"]);
}

#[tokio::test]
async fn a_deleted_annotation_is_gone_and_only_its_id_is_told() {
    let mut world = World::new().await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE])
        .await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "priv"))
        .await;
    world.next().await;
    let (id, by) = (id(&made), world.user(ALICE).await);
    let gone = world
        .annotations
        .delete(&world.site, id, &by, Some("tab"))
        .await;
    gone.unwrap();
    let told = world.next().await;
    assert_eq!(told.action, Change::Delete);
    assert_eq!(told.annotation.get(), format!(r#"{{"id":"{id}"}}"#));
    assert_eq!(&*told.author, ALICE);
    assert_eq!(&*told.group.id, "priv");
    assert!(told.shared);
    assert_eq!(scope(&told), ["httpx://e.example"]);
    assert_eq!(told.source_client_id.as_deref(), Some("tab"));

    assert!(world.read(id).await.is_none());
    let again = world.annotations.delete(&world.site, id, &by, None).await;
    assert_eq!(reason(again), NOT_FOUND);
    assert_eq!(
        reason(world.try_update(ALICE, id, &json!({})).await),
        NOT_FOUND
    );
    let reply = with(public("https://e.example/"), json!({"references": [id]}));
    let reply = world.try_create(ALICE, &reply).await;
    assert_eq!(
        reason(reply),
        format!("references.0: Annotation {id} does not exist")
    );
    let keys = &world.annotations.keys;
    let begin = keys.annotation_indexes_begin(&world.site.tenant);
    for index in [
        "all",
        "g:priv",
        &format!("u:{ALICE}"),
        "w:httpx://e.example",
    ] {
        let mut size = redis::cmd("ZCARD");
        let size: u64 = world
            .annotations
            .redis
            .query(size.arg(format!("{begin}{index}")))
            .await
            .unwrap();
        assert_eq!(size, 0, "{index}");
    }
}

#[tokio::test]
async fn only_the_author_changes_or_deletes() {
    let world = World::new().await;
    let made = world.create(ALICE, &public("https://e.example/")).await;
    let by = world.user(BOB).await;
    let refused = world
        .try_update(BOB, id(&made), &json!({"text": "x"}))
        .await;
    assert_eq!(reason(refused), NOT_FOUND);
    let refused = world
        .annotations
        .delete(&world.site, id(&made), &by, None)
        .await;
    assert_eq!(reason(refused), NOT_FOUND);
    assert_eq!(form(&world.read(id(&made)).await.unwrap()), form(&made));
}

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let world = World::new().await;
    for id in [
        "",
        "short",
        "22-characters-but-a-:.",
        "twenty-three-characters",
    ] {
        assert!(world.read(id).await.is_none(), "{id}");
        assert_eq!(
            reason(world.try_update(ALICE, id, &json!({})).await),
            NOT_FOUND,
            "{id}"
        );
    }
}

#[tokio::test]
async fn tenants_do_not_see_each_other_s_annotations() {
    let world = World::new().await;
    let made = world.create(ALICE, &public("https://e.example/")).await;
    let other = Site {
        tenant: "other".parse().unwrap(),
        authority: "example.org".into(),
    };
    let read = world.annotations.annotation(&other, id(&made)).await;
    assert!(read.unwrap().is_none());
    let found = world
        .annotations
        .search(&other, &Search::default(), None)
        .await;
    assert_eq!(found.unwrap().total, 0);
}

#[tokio::test]
async fn the_author_s_account_is_shown_as_it_is_now() {
    let world = World::new().await;
    let made = world.create(ALICE, &public("https://e.example/")).await;
    let tenant = &world.site.tenant;
    let name = UserPatch {
        display_name: Some(Some("Alice \"A\" / Ä".to_owned())),
        banned: Some(true),
        ..UserPatch::default()
    };
    world
        .people
        .update_user(tenant, ALICE, &name)
        .await
        .unwrap();
    let read = world.read(id(&made)).await.unwrap();
    assert_eq!(
        form(&read)["user_info"],
        json!({"display_name": "Alice \"A\" / Ä"})
    );
    assert!(read.notification.author_banned);
    world.people.delete_user(tenant, ALICE).await.unwrap();
    let read = world.read(id(&made)).await.unwrap();
    assert_eq!(form(&read).get("user_info"), None);
}

#[tokio::test]
async fn users_of_elsewhere_have_no_page_of_their_annotations_here() {
    let world = World::new().await;
    world
        .group("open", GroupKind::Open, false, &["acct:ann@else.example"])
        .await;
    let made = world
        .create(
            "acct:ann@else.example",
            &shared("https://e.example/", "open"),
        )
        .await;
    assert_eq!(form(&made)["links"].get("html"), None);
}

#[tokio::test]
async fn times_are_told_rightly_in_every_kind_of_year() {
    let world = World::new().await;
    let made = world.create(ALICE, &public("https://e.example/")).await;
    let key = format!(
        "{}{}",
        world.annotations.keys.annotations_begin(&world.site.tenant),
        id(&made)
    );
    for date in [
        "1970-01-01T00:00:00.000000+00:00",
        "1999-12-31T23:59:59.999999+00:00",
        "2000-02-29T12:00:00.000001+00:00",
        "2000-03-01T00:00:00.000000+00:00",
        "2024-02-29T23:59:59.500000+00:00",
        "2026-11-21T11:40:01.012345+00:00",
        "2100-02-28T00:00:00.000000+00:00",
        "2100-03-01T00:00:00.000000+00:00",
    ] {
        let micros = micros(date).unwrap();
        let mut set = redis::cmd("HSET");
        set.arg(&key).arg("created").arg(micros);
        world.annotations.redis.query::<()>(&set).await.unwrap();
        assert_eq!(form(&world.read(id(&made)).await.unwrap())["created"], date);
    }
}

#[tokio::test]
async fn an_annotation_holds_a_hundred_members_of_the_client_s_own() {
    let world = World::new().await;
    let many = |from: usize, to: usize| {
        let members = (from..to).map(|n| (format!("m{n}"), json!(n)));
        Value::Object(members.collect())
    };
    let made = world
        .create(ALICE, &with(public("https://e.example/"), many(0, 100)))
        .await;
    let more = world.try_update(ALICE, id(&made), &many(99, 101)).await;
    assert_eq!(reason(more), "members: at most 100");
    world.update(ALICE, id(&made), &many(0, 100)).await;
    let more = world
        .try_create(ALICE, &with(public("https://e.example/"), many(0, 101)))
        .await;
    assert_eq!(reason(more), "members: at most 100");
}
