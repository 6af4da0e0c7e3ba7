//! What readers object to, and what moderators do about it.

use serde_json::{Value, json};
use tests::Fleet;
use tests::hypothesis::userid;

use super::{api, ask, failure, get, path_of};

/// A group that anybody reads, its moderator's token, and an annotation there of
/// somebody else.
async fn moderated(fleet: &Fleet, author: &str) -> (String, Value) {
    let mo = fleet.person("mo").await;
    let group = json!({ "name": "Open", "kind": "OPEN", "creator": userid("mo") });
    let group = fleet.create_group(group).await;
    let annotation = json!({
        "uri": "https://a.example/", "text": "disputed words", "tags": ["t"], "group": group,
        "permissions": { "read": [format!("group:{group}")] },
    });
    (mo, fleet.annotate(author, annotation).await)
}

#[tokio::test]
async fn a_flag_is_seen_by_who_set_it_and_counted_for_moderators() {
    let fleet = api().await;
    let (ada, ben) = (fleet.person("ada").await, fleet.person("ben").await);
    let (mo, made) = moderated(&fleet, &ada).await;
    let path = path_of(&made);
    let flag = format!("{path}/flag");
    for _ in 0..2 {
        assert_eq!(
            ask(&fleet, "PUT", &flag, Some(&ben), None).await,
            (204, Value::Null)
        );
    }
    let (_, by_ben) = get(&fleet, &path, Some(&ben)).await;
    assert_eq!(
        (&by_ben["flagged"], by_ben.get("moderation")),
        (&json!(true), None)
    );
    assert_eq!(by_ben["actions"], json!([]));
    let (_, by_mo) = get(&fleet, &path, Some(&mo)).await;
    assert_eq!(by_mo["flagged"], json!(false));
    assert_eq!(by_mo["moderation"], json!({ "flagCount": 1 }));
    assert_eq!(by_mo["actions"], json!(["moderate"]));
    let answer = ask(&fleet, "PUT", &flag, None, None).await;
    assert_eq!(answer.0, 404);
}

#[tokio::test]
async fn what_a_moderator_hides_is_there_for_them_and_its_author_only() {
    let fleet = api().await;
    let (ada, ben) = (fleet.person("ada").await, fleet.person("ben").await);
    let (mo, made) = moderated(&fleet, &ada).await;
    let path = path_of(&made);
    let hide = format!("{path}/hide");
    assert_eq!(
        ask(&fleet, "PUT", &hide, Some(&mo), None).await,
        (204, Value::Null)
    );
    for token in [Some(ben.as_str()), None] {
        assert_eq!(get(&fleet, &path, token).await.0, 404);
    }
    let (_, by_mo) = get(&fleet, &path, Some(&mo)).await;
    assert_eq!(
        (&by_mo["hidden"], &by_mo["moderation_status"]),
        (&json!(true), &json!("SPAM"))
    );
    let (_, by_ada) = get(&fleet, &path, Some(&ada)).await;
    assert_eq!(
        (&by_ada["hidden"], &by_ada["text"]),
        (&json!(false), &made["text"])
    );
    assert_eq!(
        ask(&fleet, "DELETE", &hide, Some(&mo), None).await,
        (204, Value::Null)
    );
    let (status, by_ben) = get(&fleet, &path, Some(&ben)).await;
    assert_eq!((status, &by_ben["text"]), (200, &made["text"]));
}

#[tokio::test]
async fn a_decision_is_about_what_the_moderator_saw() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    let (mo, made) = moderated(&fleet, &ada).await;
    let path = format!("{}/moderation", path_of(&made));
    let decide = async |token: &str, decision: Value| {
        ask(&fleet, "PATCH", &path, Some(token), Some(&decision)).await
    };
    let updated = &made["updated"];
    let deny = json!({ "moderation_status": "DENIED", "annotation_updated": updated });
    assert_eq!(decide(&ada, deny.clone()).await.0, 404);
    let mut outdated = deny.clone();
    outdated["annotation_updated"] = json!("2001-01-01T00:00:00.000000+00:00");
    assert_eq!(decide(&mo, outdated.clone()).await.0, 409);
    outdated["annotation_updated"] = json!("yesterday");
    assert_eq!(decide(&mo, outdated).await.0, 409);
    let mut other = deny.clone();
    other["current_moderation_status"] = json!("SPAM");
    assert_eq!(decide(&mo, other.clone()).await.0, 409);
    other["current_moderation_status"] = json!("APPROVED");
    let (status, denied) = decide(&mo, other).await;
    assert_eq!(
        (status, &denied["moderation_status"]),
        (200, &json!("DENIED"))
    );
    let nothing = json!({ "annotation_updated": updated });
    let reason = "'moderation_status' is a required property";
    assert_eq!(decide(&mo, nothing).await, failure(400, reason));
}
