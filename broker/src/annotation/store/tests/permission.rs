//! Who may write where, and who may read it.

use super::*;

const MAY_NOT: &str = "group: You may not create annotations in the specified group!";

#[tokio::test]
async fn each_kind_of_group_is_written_by_those_who_may() {
    let world = World::new().await;
    let stranger = "acct:ann@else.example";
    world.group("open", GroupKind::Open, false, &[]).await;
    world
        .group("rest", GroupKind::Restricted, false, &[ALICE])
        .await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE])
        .await;
    for (userid, group, may) in [
        (ALICE, WORLD, true),
        (stranger, WORLD, false),
        (BOB, "open", true),
        (stranger, "open", false),
        (ALICE, "rest", true),
        (BOB, "rest", false),
        (ALICE, "priv", true),
        (BOB, "priv", false),
    ] {
        let made = world
            .try_create(userid, &shared("https://e.example/", group))
            .await;
        match made {
            Ok(made) => {
                assert!(may, "{userid} {group}");
                assert_eq!(form(&made)["group"], group);
            }
            Err(refused) => {
                assert!(!may, "{userid} {group}");
                assert_eq!(refused.to_string(), MAY_NOT);
            }
        }
    }
}

#[tokio::test]
async fn a_group_that_is_not_there_is_named_to_who_asked_for_it() {
    let world = World::new().await;
    for group in ["nogroup1", "no such group", "{x}", ""] {
        let made = world
            .try_create(ALICE, &json!({"uri": "https://e.example/", "group": group}))
            .await;
        assert_eq!(reason(made), format!("group: Invalid group id {group}"));
    }
}

#[tokio::test]
async fn permissions_show_who_reads_it_now() {
    let world = World::new().await;
    world.group("open", GroupKind::Open, false, &[]).await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE])
        .await;
    let open = world
        .create(ALICE, &shared("https://e.example/", "open"))
        .await;
    assert_eq!(
        form(&open)["permissions"]["read"],
        json!(["group:__world__"])
    );
    let private = world
        .create(ALICE, &shared("https://e.example/", "priv"))
        .await;
    assert_eq!(form(&private)["permissions"]["read"], json!(["group:priv"]));
    let mine = with(
        shared("https://e.example/", "priv"),
        json!({"permissions": {"read": ["group:open"]}}),
    );
    let mine = world.create(ALICE, &mine).await;
    assert_eq!(form(&mine)["permissions"]["read"], json!([ALICE]));
}

#[tokio::test]
async fn a_change_of_permissions_is_measured_by_the_group_it_is_in() {
    let mut world = World::new().await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE])
        .await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "priv"))
        .await;
    world.next().await;
    let id = id(&made);
    for (read, is_shared) in [
        (json!([ALICE]), false),
        (json!(["group:priv"]), true),
        (json!(["group:__world__"]), false),
        (json!(["group:priv", ALICE]), false),
    ] {
        world
            .update(ALICE, id, &json!({"permissions": {"read": read}}))
            .await;
        assert_eq!(world.next().await.shared, is_shared, "{read}");
    }
    world.update(ALICE, id, &json!({"text": "x"})).await;
    assert!(!world.next().await.shared, "as it was");
}

#[tokio::test]
async fn who_has_left_a_group_changes_nothing_there() {
    let world = World::new().await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE])
        .await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "priv"))
        .await;
    assert!(
        world
            .people
            .leave(&world.site, "priv", ALICE)
            .await
            .unwrap()
    );
    let changed = world
        .try_update(ALICE, id(&made), &json!({"text": "x"}))
        .await;
    assert_eq!(reason(changed), MAY_NOT);
    world
        .people
        .delete_group(&world.site.tenant, "priv")
        .await
        .unwrap();
    let changed = world
        .try_update(ALICE, id(&made), &json!({"text": "x"}))
        .await;
    assert_eq!(reason(changed), "group: Invalid group id priv");
    let by = world.user(ALICE).await;
    let gone = world
        .annotations
        .delete(&world.site, id(&made), &by, None)
        .await;
    gone.unwrap();
}

#[tokio::test]
async fn a_group_may_be_about_some_addresses_only() {
    let world = World::new().await;
    world.group("open", GroupKind::Open, false, &[]).await;
    let scopes = GroupPatch {
        scopes: Some(vec![
            "https://e.example/in".to_owned(),
            "https://f.example".to_owned(),
        ]),
        enforce_scope: Some(true),
        ..GroupPatch::default()
    };
    let tenant = &world.site.tenant;
    world
        .people
        .update_group(tenant, "open", &scopes)
        .await
        .unwrap();
    let out = "group scope: Annotations for this target URI are not allowed in this group";
    let made = world
        .create(ALICE, &shared("https://e.example/in/side", "open"))
        .await;
    world
        .create(ALICE, &shared("https://f.example/", "open"))
        .await;
    let refused = world
        .try_create(ALICE, &shared("https://e.example/out", "open"))
        .await;
    assert_eq!(reason(refused), out);
    let moved = world
        .try_update(ALICE, id(&made), &json!({"uri": "https://e.example/out"}))
        .await;
    assert_eq!(reason(moved), out);
    let lax = GroupPatch {
        enforce_scope: Some(false),
        ..GroupPatch::default()
    };
    world
        .people
        .update_group(tenant, "open", &lax)
        .await
        .unwrap();
    world
        .create(ALICE, &shared("https://e.example/out", "open"))
        .await;
}

#[tokio::test]
async fn readers_of_a_group_that_is_gone_read_nothing_of_it() {
    let world = World::new().await;
    world.group("open", GroupKind::Open, false, &[BOB]).await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "open"))
        .await;
    assert!(world.seen(None, id(&made)).await.is_some());
    world
        .people
        .delete_group(&world.site.tenant, "open")
        .await
        .unwrap();
    for userid in [None, Some(BOB), Some(MOD)] {
        assert_eq!(world.seen(userid, id(&made)).await, None, "{userid:?}");
    }
}

#[tokio::test]
async fn what_a_group_wrote_is_not_left_to_another_of_its_id() {
    let world = World::new().await;
    world.group("g", GroupKind::Private, false, &[ALICE]).await;
    let secret = world
        .create(ALICE, &shared("https://e.example/", "g"))
        .await;
    let tenant = &world.site.tenant;
    world.people.delete_group(tenant, "g").await.unwrap();
    let again = GroupDraft {
        id: Some("g".to_owned()),
        name: "Another".to_owned(),
        kind: GroupKind::Open,
        pre_moderated: false,
        scopes: Vec::new(),
        enforce_scope: false,
        creator: MALLORY.into(),
    };
    let made = world.people.create_group(&world.site, &again).await;
    assert_eq!(world.seen(None, id(&secret)).await, None);
    assert_eq!(world.seen(Some(MALLORY), id(&secret)).await, None);
    made.unwrap_err();

    let by = world.user(ALICE).await;
    let deleted = world
        .annotations
        .delete(&world.site, id(&secret), &by, None);
    deleted.await.unwrap();
    world
        .people
        .create_group(&world.site, &again)
        .await
        .unwrap();
}
