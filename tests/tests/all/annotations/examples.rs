//! The requests of the documentation, sent as they stand there.

use serde_json::Value;

use super::api;

const PAGE: &str = include_str!("../../../../docs/api.md");
/// Stands in examples for a user's token.
const SOME_TOKEN: &str = "ct_…";
/// Stands in examples for the annotation that was made before.
const SOME_ID: &str = "{id}";

#[tokio::test]
async fn the_requests_of_the_documentation_work() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    let mut last = String::new();
    let examples: Vec<_> = PAGE.split("```http\n").skip(1).collect();
    assert!(7 <= examples.len());
    for example in examples {
        let (example, _) = example.split_once("```").expect("an example ends");
        let example = example.replace(SOME_TOKEN, &ada).replace(SOME_ID, &last);
        let (head, body) = example
            .split_once("\n\n")
            .unwrap_or((example.trim_end(), ""));
        let mut lines = head.lines();
        let (method, path) = lines
            .next()
            .and_then(|line| line.split_once(' '))
            .expect("a request");
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        let answer = fleet
            .http()
            .request(method, path, &headers, body.as_bytes())
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        match (method, path) {
            ("POST", "/api/annotations") if last.is_empty() => {
                json["id"].as_str().unwrap().clone_into(&mut last);
            }
            ("GET", path) if path.starts_with("/api/search") => {
                assert_eq!(json["rows"][0]["id"], last, "{json}");
            }
            ("GET", "/api/profile") => assert_eq!(json["userid"], tests::hypothesis::userid("ada")),
            _ => {}
        }
    }
}
