//! The pages, as a server sees them and in a real browser.

use serde_json::json;
use tests::Fleet;

#[tokio::test]
async fn everything_a_page_needs_comes_from_the_api() {
    let fleet = super::api().await;
    let html = [("accept", "text/html")];
    let mut paths = vec!["/".to_owned(), "/graphql".to_owned()];
    let mut seen = 0;
    while let Some(path) = paths.pop() {
        let response = fleet
            .http()
            .request("GET", &path, &html, b"")
            .await
            .unwrap();
        assert_eq!(response.status, 200, "{path}");
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
        assert!(!policy.contains("unsafe"), "{policy}");
        let tag = response.header("etag").unwrap();
        let again = fleet
            .http()
            .request("GET", &path, &[html[0], ("if-none-match", tag)], b"")
            .await
            .unwrap();
        assert_eq!((again.status, again.body.len()), (304, 0));
        seen += 1;
        if response
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"))
        {
            let text = response.text();
            let links = text
                .split(['"'])
                .filter(|part| part.starts_with("/assets/"));
            paths.extend(links.map(str::to_owned));
            assert!(
                !text.contains("//cdn") && !text.contains("https://"),
                "{path}"
            );
        }
    }
    assert!(seen > 10, "{seen}");
    for path in [
        "/assets/",
        "/assets/..%2fCargo.toml",
        "/assets/none.js",
        "/graphiql",
    ] {
        assert_eq!(fleet.http().get(path).await.unwrap().status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_person_can_try_a_push_in_a_browser() {
    let fleet = Fleet::start().await;
    let facts = json!({
        "api": format!("http://{}", fleet.api().address()),
        "accessKey": fleet.access_key(),
    });
    crate::clients::drive("try-it.mjs", &facts);
}
