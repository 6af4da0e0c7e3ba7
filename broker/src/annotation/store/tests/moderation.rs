//! What moderators decide, and what readers object to.

use super::*;

async fn moderated(kind_of: bool) -> World {
    let world = World::new().await;
    world.group("g", GroupKind::Open, kind_of, &[]).await;
    world
}

impl World {
    async fn moderate(
        &self,
        by: &str,
        id: &str,
        status: Moderation,
        expected: &Expected,
    ) -> Result<Stored, Refused> {
        let by = self.user(by).await;
        self.annotations
            .moderate(&self.site, id, status, &by, Some("tab"), expected)
            .await
    }
}

#[tokio::test]
async fn what_is_shared_with_a_pre_moderated_group_waits_for_a_moderator() {
    let mut world = moderated(true).await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "g"))
        .await;
    assert_eq!(world.next().await.moderation, Some(Moderation::Pending));
    let id = id(&made);
    assert_eq!(form(&made)["moderation_status"], "PENDING");
    assert_eq!(world.seen(Some(BOB), id).await, None);
    assert_eq!(world.seen(None, id).await, None);
    assert_eq!(world.seen(Some(ALICE), id).await.unwrap()["hidden"], false);
    assert_eq!(world.seen(Some(MOD), id).await.unwrap()["hidden"], true);

    let approved = world
        .moderate(MOD, id, Moderation::Approved, &Expected::default())
        .await
        .unwrap();
    assert_eq!(
        form(&approved)["updated"],
        form(&made)["updated"],
        "its author did not change it"
    );
    let told = world.next().await;
    assert_eq!(
        (told.action, told.moderation),
        (Change::Update, Some(Moderation::Approved))
    );
    assert_eq!(told.source_client_id.as_deref(), Some("tab"));
    assert!(world.seen(Some(BOB), id).await.is_some());

    world.update(ALICE, id, &json!({"text": "changed"})).await;
    assert_eq!(
        world.next().await.moderation,
        Some(Moderation::Pending),
        "to be looked at again"
    );
}

#[tokio::test]
async fn a_change_is_looked_at_again_as_its_status_asks() {
    for (pre_moderated, before, after) in [
        (true, Moderation::Approved, Moderation::Pending),
        (true, Moderation::Pending, Moderation::Pending),
        (true, Moderation::Denied, Moderation::Pending),
        (true, Moderation::Spam, Moderation::Spam),
        (false, Moderation::Approved, Moderation::Approved),
        (false, Moderation::Denied, Moderation::Pending),
        (false, Moderation::Spam, Moderation::Spam),
    ] {
        let world = moderated(pre_moderated).await;
        let made = world
            .create(ALICE, &shared("https://e.example/", "g"))
            .await;
        world
            .moderate(MOD, id(&made), before, &Expected::default())
            .await
            .unwrap();
        let changed = world.update(ALICE, id(&made), &json!({"text": "x"})).await;
        assert_eq!(
            changed.notification.moderation,
            Some(after),
            "{pre_moderated} {before:?}"
        );
    }
}

#[tokio::test]
async fn what_becomes_shared_is_looked_at_first() {
    let world = moderated(true).await;
    let made = world
        .create(ALICE, &json!({"uri": "https://e.example/", "group": "g"}))
        .await;
    assert_eq!(made.notification.moderation, None);
    let changed = world
        .update(
            ALICE,
            id(&made),
            &json!({"permissions": {"read": ["group:g"]}}),
        )
        .await;
    assert_eq!(changed.notification.moderation, Some(Moderation::Pending));
}

#[tokio::test]
async fn only_moderators_decide_and_only_of_what_is_shared() {
    let world = moderated(false).await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "g"))
        .await;
    for userid in [ALICE, BOB] {
        let refused = world
            .moderate(userid, id(&made), Moderation::Spam, &Expected::default())
            .await;
        assert_eq!(reason(refused), NOT_FOUND, "{userid}");
    }
    let mine = world
        .create(ALICE, &json!({"uri": "https://e.example/", "group": "g"}))
        .await;
    let refused = world
        .moderate(MOD, id(&mine), Moderation::Spam, &Expected::default())
        .await;
    assert_eq!(reason(refused), NOT_FOUND);
    let own = world.create(MOD, &shared("https://e.example/", "g")).await;
    world
        .moderate(MOD, id(&own), Moderation::Spam, &Expected::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_decision_about_what_has_changed_since_is_not_made() {
    let mut world = moderated(false).await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "g"))
        .await;
    let id = id(&made);
    let at = |stored: &Stored| Some(form(stored)["updated"].as_str().unwrap().to_owned());
    let changed = world.update(ALICE, id, &json!({"text": "x"})).await;
    for (updated, status, made_it) in [
        (at(&made), None, false),
        (Some("yesterday".to_owned()), None, false),
        (at(&changed), Some(Moderation::Pending), false),
        (at(&changed), Some(Moderation::Approved), true),
        (at(&changed), Some(Moderation::Approved), false),
        (at(&changed), Some(Moderation::Denied), true),
    ] {
        let expected = Expected { updated, status };
        let decided = world.moderate(MOD, id, Moderation::Denied, &expected).await;
        assert_eq!(decided.is_ok(), made_it, "{expected:?}");
        if let Err(refused) = decided {
            assert!(matches!(refused, Refused::Conflict(_)), "{refused}");
        }
    }
    for action in [
        Change::Create,
        Change::Update,
        Change::Update,
        Change::Update,
    ] {
        assert_eq!(
            world.next().await.action,
            action,
            "what was not done is not told"
        );
    }
}

#[tokio::test]
async fn a_flag_is_counted_once_per_reader_and_told_to_nobody() {
    let mut world = moderated(false).await;
    let made = world
        .create(ALICE, &shared("https://e.example/", "g"))
        .await;
    world.next().await;
    let id = id(&made);
    for userid in [BOB, BOB, MOD] {
        let by = world.user(userid).await;
        world.annotations.flag(&world.site, id, &by).await.unwrap();
    }
    assert_eq!(world.seen(Some(BOB), id).await.unwrap()["flagged"], true);
    let alice = world.seen(Some(ALICE), id).await.unwrap();
    assert_eq!(
        (&alice["flagged"], alice.get("moderation")),
        (&json!(false), None)
    );
    let moderator = world.seen(Some(MOD), id).await.unwrap();
    assert_eq!(moderator["moderation"], json!({"flagCount": 2}));
    world.update(ALICE, id, &json!({})).await;
    let told = world.next().await;
    assert_eq!(
        told.action,
        Change::Update,
        "of the change, and not of flags"
    );
    assert_eq!(told.flaggers.len(), 2);

    let mine = world
        .create(ALICE, &json!({"uri": "https://e.example/"}))
        .await;
    let by = world.user(BOB).await;
    let refused = world
        .annotations
        .flag(&world.site, super::id(&mine), &by)
        .await;
    assert_eq!(reason(refused), NOT_FOUND, "Bob cannot read it");
}
