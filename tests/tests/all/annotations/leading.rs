//! What leads a client to everything else.

use serde_json::json;

use super::{ABSENT, api, failure, get};
use tests::Fleet;

#[tokio::test]
async fn a_client_finds_its_socket_from_the_address_of_the_api_alone() {
    let fleet = Fleet::of(1, 0).start().await;
    let (status, index) = get(&fleet, "/api/", None).await;
    assert_eq!(status, 200);
    let links = index["links"]["links"]["url"].as_str().unwrap();
    let base = format!("http://{}", fleet.api().address());
    let (_, links) = get(&fleet, links.strip_prefix(&base).unwrap(), None).await;
    let socket = format!("ws://{}/ws", fleet.gateway(0).address());
    assert_eq!(links["websocket"], socket);
    assert_eq!(links["user"], format!("{base}/u/:user"));
    assert_eq!(get(&fleet, "/api", None).await, (200, index));
}

#[tokio::test]
async fn pages_of_any_origin_may_ask_and_are_told_so_beforehand() {
    let fleet = api().await;
    let preflight = [
        ("Origin", "https://sidebar.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    let ask = async |headers: &[(&str, &str)]| {
        let answer = fleet
            .http()
            .request("OPTIONS", "/api/annotations", headers, b"");
        answer.await.unwrap()
    };
    let answer = ask(&preflight).await;
    assert_eq!(answer.status, 200);
    for (header, value) in [
        ("access-control-allow-origin", "https://sidebar.example"),
        ("access-control-max-age", "86400"),
        (
            "access-control-allow-methods",
            "HEAD, GET, PATCH, POST, PUT, DELETE, OPTIONS",
        ),
        (
            "access-control-allow-headers",
            "Authorization, Content-Type, Hypothesis-Client-Version, X-Client-Id",
        ),
    ] {
        assert_eq!(answer.header(header), Some(value));
    }
    assert_eq!(ask(&preflight[..1]).await.status, 400);
    assert_eq!(ask(&preflight[1..]).await.status, 400);
    for path in [
        "/api/",
        "/api/nowhere",
        "/api/annotations/x",
        "/api/profile",
    ] {
        let answer = fleet.http().get(path).await.unwrap();
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
        let media = answer.header("hypothesis-media-type");
        let known = (answer.status == 200).then_some("application/vnd.hypothesis.v1+json");
        assert_eq!(media, known, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_reads_no_json_is_refused() {
    let fleet = api().await;
    for (accept, status) in [
        ("text/html", 406),
        ("application/vnd.hypothesis.v3+json", 406),
        ("application/vnd.hypothesis.v1+json", 200),
        ("text/html, */*;q=0.1", 200),
    ] {
        let headers = [("Accept", accept)];
        let answer = fleet
            .http()
            .request("GET", "/api/", &headers, b"")
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{accept}");
        if status == 406 {
            assert_eq!(
                answer.text(),
                r#"{"reason":"Not acceptable","status":"failure"}"#
            );
        }
    }
}

#[tokio::test]
async fn a_host_that_is_no_site_has_no_annotations() {
    let fleet = Fleet::of(0, 0)
        .env("CARILLON_SITES", "notes.example=acme")
        .start()
        .await;
    assert_eq!(get(&fleet, "/api/", None).await, failure(404, ABSENT));
    assert_eq!(get(&fleet, "/api/search", None).await, failure(404, ABSENT));
    let host = [("Host", "notes.example")];
    let answer = fleet.http().request("GET", "/api/search", &host, b"").await;
    // A second Host header: the request is refused, or led by the first.
    assert_ne!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn what_a_client_counts_is_taken_and_dropped() {
    let fleet = api().await;
    let event = json!({ "event": "client.realtime.apply_updates" });
    let answer = super::ask(&fleet, "POST", "/api/analytics/events", None, Some(&event)).await;
    assert_eq!(answer, (204, serde_json::Value::Null));
}

#[tokio::test]
async fn without_redis_a_client_is_told_to_come_back() {
    let fleet = api().await;
    let token = fleet.person("ada").await;
    fleet.redis().kill();
    let answer = fleet
        .annotation_api("GET", "/api/profile", Some(&token), None)
        .await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}
