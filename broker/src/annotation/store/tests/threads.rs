//! Replies.

use super::*;

fn reply(to: &[&str], read: &str) -> Value {
    json!({"uri": "https://e.example/", "references": to, "permissions": {"read": [read]}})
}

#[tokio::test]
async fn a_reply_is_in_the_group_of_what_it_answers() {
    let mut world = World::new().await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE, BOB])
        .await;
    let root = world
        .create(ALICE, &shared("https://e.example/", "priv"))
        .await;
    world.next().await;
    let root = id(&root);
    let said = with(reply(&[root], "group:priv"), json!({"group": "priv"}));
    let first = world.create(BOB, &said).await;
    assert_eq!(form(&first)["group"], "priv");
    assert_eq!(form(&first)["references"], json!([root]));
    assert!(world.next().await.shared);

    let second = world
        .create(BOB, &reply(&[root, id(&first)], "group:priv"))
        .await;
    assert_eq!(form(&second)["group"], "priv");
    let told = world.next().await;
    assert_eq!(told.references, [root.into(), Arc::from(id(&first))]);
    assert!(
        !told.shared,
        "measured by the group that was said, everybody's"
    );
    let link = format!("https://go.example/{root}/e.example/");
    assert_eq!(form(&second)["links"]["incontext"], link, "to the thread");
}

#[tokio::test]
async fn a_reply_needs_what_it_answers_and_the_right_to_write_there() {
    let world = World::new().await;
    world
        .group("priv", GroupKind::Private, false, &[ALICE])
        .await;
    let root = world
        .create(ALICE, &shared("https://e.example/", "priv"))
        .await;
    let refused = world
        .try_create(BOB, &reply(&[id(&root)], "group:priv"))
        .await;
    assert!(matches!(refused, Err(Refused::MayNotWrite)), "{refused:?}");
    for nothing in ["AAAAAAAAAAAAAAAAAAAAAA", "no id"] {
        let refused = world
            .try_create(ALICE, &reply(&[nothing], "group:priv"))
            .await;
        assert_eq!(
            reason(refused),
            format!("references.0: Annotation {nothing} does not exist")
        );
    }
    let deep = vec![id(&root); 101];
    let refused = world.try_create(ALICE, &reply(&deep, "group:priv")).await;
    assert_eq!(reason(refused), "references: at most 100");
}
