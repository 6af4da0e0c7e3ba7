//! Annotations that are made, changed and removed.

use serde_json::{Value, json};
use tests::hypothesis::userid;

use super::{ABSENT, api, ask, failure, get, path_of, reply, shared};

#[tokio::test]
async fn an_annotation_is_made_read_changed_and_removed_by_its_author() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    let made = fleet
        .annotate(&ada, shared("https://a.example/x", "first words"))
        .await;
    let path = path_of(&made);
    assert_eq!(made["user"], userid("ada"));
    assert_eq!(made["hidden"], json!(false));
    assert_eq!(made["moderation_status"], "APPROVED");
    let base = format!("http://{}", fleet.api().address());
    assert_eq!(made["links"]["json"], format!("{base}{path}"));
    assert_eq!(get(&fleet, &path, Some(&ada)).await, (200, made.clone()));
    assert_eq!(get(&fleet, &path, None).await.0, 200);

    for (method, text) in [("PATCH", "second words"), ("PUT", "third words")] {
        fleet.secrets().keep(text);
        let patch = json!({ "text": text });
        let (status, changed) = ask(&fleet, method, &path, Some(&ada), Some(&patch)).await;
        assert_eq!((status, &changed["text"]), (200, &json!(text)));
        assert_ne!(changed["updated"], made["updated"]);
    }
    let gone = json!({ "id": made["id"], "deleted": true });
    assert_eq!(
        ask(&fleet, "DELETE", &path, Some(&ada), None).await,
        (200, gone)
    );
    for method in ["GET", "DELETE"] {
        let answer = ask(&fleet, method, &path, Some(&ada), None).await;
        assert_eq!(answer, failure(404, ABSENT), "{method}");
    }
}

#[tokio::test]
async fn who_may_not_is_told_that_there_is_nothing() {
    let fleet = api().await;
    let (ada, ben) = (fleet.person("ada").await, fleet.person("ben").await);
    let public = fleet
        .annotate(&ada, shared("https://a.example/", "for all"))
        .await;
    let own = fleet
        .annotate(
            &ada,
            json!({ "uri": "https://a.example/", "text": "for herself" }),
        )
        .await;
    let change = json!({ "text": "not theirs" });
    let absent = failure(404, ABSENT);
    for token in [None, Some(ben.as_str()), Some("ct_nobody")] {
        for annotation in [&public, &own] {
            let path = path_of(annotation);
            for (method, path) in [
                ("PATCH", path.clone()),
                ("PUT", path.clone()),
                ("DELETE", path.clone()),
                ("PUT", format!("{path}/hide")),
                ("DELETE", format!("{path}/hide")),
            ] {
                let answer = ask(&fleet, method, &path, token, Some(&change)).await;
                assert_eq!(answer, absent, "{method} {path}");
            }
        }
        assert_eq!(get(&fleet, &path_of(&own), token).await, absent);
        let flag = format!("{}/flag", path_of(&own));
        assert_eq!(ask(&fleet, "PUT", &flag, token, None).await, absent);
    }
    let answer = ask(&fleet, "POST", "/api/annotations", None, Some(&change)).await;
    assert_eq!(answer, absent);
}

#[tokio::test]
async fn a_reply_is_where_its_thread_is() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    let group = json!({ "name": "Us", "kind": "PRIVATE", "creator": userid("ada") });
    let group = fleet.create_group(group).await;
    let mut root = shared("https://a.example/", "the root");
    root["group"] = json!(group);
    root["permissions"] = json!({ "read": [format!("group:{group}")] });
    let root = fleet.annotate(&ada, root).await;
    let mut answer = reply(&root, "an answer");
    answer["group"] = json!(group);
    let answer = fleet.annotate(&ada, answer).await;
    assert_eq!(answer["group"], json!(group));
    assert_eq!(answer["references"], json!([root["id"]]));
    // Shared with a group that it is not in.
    assert_eq!(answer["permissions"]["read"], json!([userid("ada")]));
}

#[tokio::test]
async fn what_is_wrong_with_an_annotation_is_told_with_its_place() {
    let fleet = api().await;
    let (ada, ben) = (fleet.person("ada").await, fleet.person("ben").await);
    let private = json!({ "name": "Us", "kind": "PRIVATE", "creator": userid("ada") });
    let private = fleet.create_group(private).await;
    let scoped = json!({
        "name": "Docs", "kind": "OPEN", "creator": userid("ada"),
        "scopes": ["https://docs.example/"], "enforceScope": true,
    });
    let scoped = fleet.create_group(scoped).await;
    let page = |member: &str, value: Value| {
        let mut annotation = json!({ "uri": "https://a.example/" });
        annotation[member] = value;
        annotation
    };
    for (annotation, reason) in [
        (json!({}), "uri: 'uri' is a required property"),
        (json!({ "uri": " " }), "uri: 'uri' is a required property"),
        (
            page("tags", json!(false)),
            "tags: False is not of type 'array'",
        ),
        (
            page("group", json!("nowhere")),
            "group: Invalid group id nowhere",
        ),
        (
            page("group", json!(private)),
            "group: You may not create annotations in the specified group!",
        ),
        (
            page("group", json!(scoped)),
            "group scope: Annotations for this target URI are not allowed in this group",
        ),
        (
            page("references", json!(["AAAAAAAAAAAAAAAAAAAAAA"])),
            "references.0: Annotation AAAAAAAAAAAAAAAAAAAAAA does not exist",
        ),
    ] {
        let answer = ask(
            &fleet,
            "POST",
            "/api/annotations",
            Some(&ben),
            Some(&annotation),
        )
        .await;
        assert_eq!(answer, failure(400, reason), "{annotation}");
    }
    let made = fleet
        .annotate(&ada, shared("https://a.example/", "whose uri stays"))
        .await;
    let blank = json!({ "uri": "" });
    let answer = ask(&fleet, "PATCH", &path_of(&made), Some(&ada), Some(&blank)).await;
    assert_eq!(answer, failure(400, "uri: 'uri' is a required property"));
}

#[tokio::test]
async fn a_token_that_ends_is_nobody_s() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    let (_, profile) = get(&fleet, "/api/profile", Some(&ada)).await;
    assert_eq!(profile["userid"], userid("ada"));
    fleet.delete_user("ada").await;
    let (status, profile) = get(&fleet, "/api/profile", Some(&ada)).await;
    assert_eq!((status, &profile["userid"]), (200, &Value::Null));
    let annotation = shared("https://a.example/", "from beyond");
    let answer = ask(
        &fleet,
        "POST",
        "/api/annotations",
        Some(&ada),
        Some(&annotation),
    )
    .await;
    assert_eq!(answer, failure(404, ABSENT));
}
