//! Annotations that are looked for.

use serde_json::{Value, json};
use tests::Fleet;

use super::{api, get, reply, shared};

/// The texts of the rows, or of the replies, that a search finds.
async fn texts(fleet: &Fleet, query: &str, token: Option<&str>, part: &str) -> Vec<String> {
    let (status, found) = get(fleet, &format!("/api/search?{query}"), token).await;
    assert_eq!(status, 200, "{found}");
    let rows = found[part].as_array().expect("it is a list");
    let text = |row: &Value| row["text"].as_str().expect("it is text").to_owned();
    rows.iter().map(text).collect()
}

#[tokio::test]
async fn a_search_finds_what_its_caller_may_see_as_they_may_see_it() {
    let fleet = api().await;
    let (ada, ben) = (fleet.person("ada").await, fleet.person("ben").await);
    let root = fleet
        .annotate(&ada, shared("https://a.example/p?x=1#top", "the root"))
        .await;
    fleet
        .annotate(
            &ada,
            json!({ "uri": "https://a.example/p?x=1", "text": "hers alone" }),
        )
        .await;
    fleet.annotate(&ben, reply(&root, "an answer")).await;
    fleet
        .annotate(&ben, shared("https://b.example/", "elsewhere"))
        .await;

    let page = "sort=created&order=asc&uri=http%3A%2F%2Fa.example%2Fp%3Fx%3D1";
    assert_eq!(
        texts(&fleet, page, Some(&ada), "rows").await,
        ["the root", "hers alone"]
    );
    assert_eq!(texts(&fleet, page, Some(&ben), "rows").await, ["the root"]);
    assert_eq!(texts(&fleet, page, None, "rows").await, ["the root"]);

    let separate = format!("{page}&_separate_replies=true");
    assert_eq!(texts(&fleet, &separate, None, "rows").await, ["the root"]);
    assert_eq!(
        texts(&fleet, &separate, None, "replies").await,
        ["an answer"]
    );

    let id = root["id"].as_str().unwrap();
    let thread = format!("references={id}");
    assert_eq!(texts(&fleet, &thread, None, "rows").await, ["an answer"]);
    let notebook = "limit=2&sort=updated&order=desc&_separate_replies=false&group=__world__";
    assert_eq!(
        texts(&fleet, notebook, None, "rows").await,
        ["elsewhere", "an answer"]
    );
    assert_eq!(
        texts(&fleet, "user=ada&order=asc", None, "rows").await,
        ["the root"]
    );
    assert_eq!(texts(&fleet, "group=nowhere", None, "rows").await, [""; 0]);
}

#[tokio::test]
async fn pages_of_a_search_follow_on_each_other() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    for n in 0..5 {
        fleet
            .annotate(&ada, shared("https://a.example/", &format!("number {n}")))
            .await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let query = format!("/api/search?limit=2&sort=created&order=asc{after}");
        let (_, found) = get(&fleet, &query, None).await;
        let rows = found["rows"].as_array().unwrap();
        let Some(last) = rows.last() else {
            break;
        };
        let last = last["created"].as_str().unwrap().replace('+', "%2B");
        after = format!("&search_after={last}");
        seen.extend(
            rows.iter()
                .map(|row| row["text"].as_str().unwrap().to_owned()),
        );
    }
    let all: Vec<_> = (0..5).map(|n| format!("number {n}")).collect();
    assert_eq!(seen, all);
    let rest = texts(&fleet, "sort=created&order=asc&offset=3", None, "rows").await;
    assert_eq!(rest, all[3..]);
}

#[tokio::test]
async fn a_search_for_what_is_not_indexed_is_refused_rather_than_too_wide() {
    let fleet = api().await;
    for query in [
        "tag=a",
        "any=words",
        "limit=many",
        "sort=text",
        "order=random",
    ] {
        let (status, told) = get(&fleet, &format!("/api/search?{query}"), None).await;
        let (name, _) = query.split_once('=').unwrap();
        let reason = told["reason"].as_str().unwrap();
        assert_eq!(status, 400, "{query}");
        assert!(reason.starts_with(&format!("{name}: ")), "{reason}");
    }
}
