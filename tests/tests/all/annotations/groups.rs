//! Who the caller is, and which groups they know.

use serde_json::{Value, json};
use tests::Fleet;
use tests::hypothesis::userid;

use super::{ABSENT, api, ask, failure, get};

async fn group(fleet: &Fleet, name: &str, kind: &str, scopes: &[&str]) -> String {
    let input = json!({ "name": name, "kind": kind, "creator": userid("ada"), "scopes": scopes });
    fleet.create_group(input).await
}

fn names(groups: &Value) -> Vec<&str> {
    let groups = groups.as_array().expect("it is a list");
    groups
        .iter()
        .map(|group| group["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_profile_tells_the_caller_s_name_groups_and_preferences() {
    let fleet = api().await;
    let (status, nobody) = get(&fleet, "/api/profile", None).await;
    let public = json!({ "id": "__world__", "name": "Public", "public": true });
    let wanted = json!({
        "userid": null, "authority": "example.org", "groups": [public],
        "features": {}, "preferences": {},
    });
    assert_eq!((status, nobody), (200, wanted));

    let input = json!({ "userid": userid("ada"), "displayName": "Ada L." });
    fleet.create_user(input).await;
    let ada = fleet.sign_in("ada").await;
    let id = group(&fleet, "Us two", "PRIVATE", &[]).await;
    let (_, profile) = get(&fleet, "/api/profile", Some(&ada)).await;
    let page = format!("http://{}/groups/{id}/us-two", fleet.api().address());
    let wanted = json!({
        "userid": userid("ada"), "authority": "example.org",
        "groups": [public, { "id": id, "name": "Us two", "public": false, "url": page }],
        "features": {}, "preferences": {}, "user_info": { "display_name": "Ada L." },
    });
    assert_eq!(profile, wanted);
}

#[tokio::test]
async fn preferences_are_remembered_until_they_are_dismissed() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    let keys = json!({ "open": "o" });
    for (said, remembered) in [
        (
            json!({ "show_sidebar_tutorial": true }),
            json!({ "show_sidebar_tutorial": true }),
        ),
        (
            json!({ "shortcuts_preferences": keys }),
            json!({ "show_sidebar_tutorial": true, "shortcuts_preferences": keys }),
        ),
        (
            json!({ "show_sidebar_tutorial": false }),
            json!({ "shortcuts_preferences": keys }),
        ),
    ] {
        let body = json!({ "preferences": said });
        let (status, profile) = ask(&fleet, "PATCH", "/api/profile", Some(&ada), Some(&body)).await;
        assert_eq!((status, &profile["preferences"]), (200, &remembered));
        let (_, again) = get(&fleet, "/api/profile", Some(&ada)).await;
        assert_eq!(again, profile);
    }
    for said in [
        json!({ "show_sidebar_tutorial": 1 }),
        json!({ "shortcuts_preferences": "o" }),
        json!({ "shortcuts_preferences": { "open": "o".repeat(5000) } }),
        json!({ "admin": true }),
        json!([]),
    ] {
        let body = json!({ "preferences": said });
        let (status, told) = ask(&fleet, "PATCH", "/api/profile", Some(&ada), Some(&body)).await;
        assert_eq!(
            (status, &told["status"]),
            (400, &json!("failure")),
            "{said}"
        );
    }
    let body = json!({ "preferences": {} });
    let answer = ask(&fleet, "PATCH", "/api/profile", None, Some(&body)).await;
    assert_eq!(answer, failure(404, ABSENT));
}

#[tokio::test]
async fn a_caller_is_told_of_public_groups_about_the_page_and_of_their_own() {
    let fleet = api().await;
    let (ada, ben) = (fleet.person("ada").await, fleet.person("ben").await);
    group(&fleet, "Anything", "OPEN", &[]).await;
    group(&fleet, "Docs", "RESTRICTED", &["https://docs.example/"]).await;
    group(&fleet, "Secret", "PRIVATE", &[]).await;
    let listed = async |path: &str, token: Option<&str>| get(&fleet, path, token).await.1;
    let query = "expand=organization&expand=scopes&document_uri=https%3A%2F%2Fdocs.example%2Fa";
    let about = listed(&format!("/api/groups?{query}"), None).await;
    assert_eq!(names(&about), ["Public", "Anything", "Docs"]);
    let scopes = json!({ "enforced": false, "uri_patterns": ["https://docs.example/*"] });
    assert_eq!(
        (&about[2]["scopes"], &about[2]["type"]),
        (&scopes, &json!("restricted"))
    );
    let elsewhere = "/api/groups?document_uri=https%3A%2F%2Fother.example%2F";
    assert_eq!(
        names(&listed(elsewhere, Some(&ben)).await),
        ["Public", "Anything"]
    );
    let own = listed(elsewhere, Some(&ada)).await;
    assert_eq!(names(&own), ["Public", "Anything", "Docs", "Secret"]);

    let own = listed("/api/profile/groups?expand=organization", Some(&ada)).await;
    assert_eq!(names(&own), ["Anything", "Docs", "Secret"]);
    assert_eq!(listed("/api/profile/groups", Some(&ben)).await, json!([]));
    assert_eq!(listed("/api/profile/groups", None).await, json!([]));
}

#[tokio::test]
async fn a_private_group_is_there_for_its_members_only_and_they_can_leave() {
    let fleet = api().await;
    let (ada, ben) = (fleet.person("ada").await, fleet.person("ben").await);
    let id = group(&fleet, "Secret", "PRIVATE", &[]).await;
    let path = format!("/api/groups/{id}");
    assert_eq!(get(&fleet, &path, Some(&ada)).await.1["name"], "Secret");
    for token in [None, Some(ben.as_str())] {
        assert_eq!(get(&fleet, &path, token).await, failure(404, ABSENT));
    }
    assert_eq!(get(&fleet, "/api/groups/__world__", None).await.0, 200);
    fleet.join(&id, "ben", "MEMBER").await;
    assert_eq!(get(&fleet, &path, Some(&ben)).await.0, 200);

    let leave = format!("{path}/members/me");
    let leave = async |token| ask(&fleet, "DELETE", &leave, token, None).await;
    assert_eq!(leave(None).await, failure(404, ABSENT));
    assert_eq!(leave(Some(&ben)).await, (204, Value::Null));
    assert_eq!(leave(Some(&ben)).await, failure(404, ABSENT));
    assert_eq!(get(&fleet, &path, Some(&ben)).await, failure(404, ABSENT));
    let other = format!("{path}/members/{}", userid("ada"));
    let answer = ask(&fleet, "DELETE", &other, Some(&ada), None).await;
    assert_eq!(answer, failure(404, ABSENT));
    let everybody = "/api/groups/__world__/members/me";
    let answer = ask(&fleet, "DELETE", everybody, Some(&ada), None).await;
    assert_eq!(answer, failure(404, ABSENT));
}
