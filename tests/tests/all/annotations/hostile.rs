//! Requests that mean harm, or are badly broken: each is refused in words, and
//! the api serves on.

use serde_json::json;
use tests::Fleet;

use super::{ABSENT, api, ask, failure, get, path_of, shared};

#[tokio::test]
async fn a_body_that_is_no_annotation_is_refused_whatever_it_is() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    let made = fleet
        .annotate(&ada, shared("https://a.example/", "still there"))
        .await;
    let bearer = format!("Bearer {ada}");
    let headers = [("Authorization", bearer.as_str())];
    let deep = format!(
        r#"{{"uri":"https://a/","x":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let long = format!(r#"{{"uri":"https://a/","text":"{}"}}"#, "x".repeat(3 << 20));
    let wide = format!(
        r#"{{"uri":"https://a/","tags":[{}1]}}"#,
        "1,".repeat(100_000)
    );
    let many: String = (0..200).map(|n| format!(r#""k{n}":1,"#)).collect();
    let many = format!(r#"{{{many}"uri":"https://a/"}}"#);
    let cases: [(&[u8], u16); 14] = [
        (b"", 400),
        (b"{nope", 400),
        (b"null", 400),
        (b"[]", 400),
        (b"\"uri\"", 400),
        (b"{\"uri\":\"\xff\xfe\"}", 400),
        (br#"{"uri":["https://a/"]}"#, 400),
        (br#"{"uri":"https://a/","permissions":{"read":["all"]}}"#, 400),
        (br#"{"uri":"https://a/","references":["../../etc/passwd"]}"#, 400),
        (br#"{"uri":"https://a/","target":[{"selector":[{"type":"TextQuoteSelector","prefix":"\ud800"}]}]}"#, 400),
        (deep.as_bytes(), 400),
        (many.as_bytes(), 400),
        (wide.as_bytes(), 400),
        (long.as_bytes(), 413),
    ];
    for (body, status) in cases {
        for (method, path) in [
            ("POST", "/api/annotations".to_owned()),
            ("PATCH", path_of(&made)),
        ] {
            // A change without an address changes nothing else, and what it is
            // said to answer is ignored.
            if method == "PATCH" && body.windows(10).any(|part| part == b"references") {
                continue;
            }
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            // A server that has seen enough may end the connection before all was sent.
            let Ok(answer) = fleet.http().request(method, &path, &headers, body).await else {
                assert_eq!(status, 413, "{method} {shown}");
                continue;
            };
            assert_eq!(answer.status, status, "{method} {shown}: {}", answer.text());
            // What comes next must not be sent into the rest of this.
            let parts = answer.header("connection") == Some("close");
            assert_eq!(parts, status == 413, "{method} {shown}");
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(told["status"], "failure");
            let reason = told["reason"].as_str().unwrap();
            assert!((1..5000).contains(&reason.len()), "{} bytes", reason.len());
        }
    }
    let (_, after) = get(&fleet, &path_of(&made), Some(&ada)).await;
    assert_eq!(after, made);
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_leads_nowhere() {
    let fleet = api().await;
    let ada = fleet.person("ada").await;
    for path in [
        "/api/annotations/..",
        "/api/annotations/../search",
        "/api/annotations/%2e%2e%2fsearch",
        "/api/annotations/..%2F..%2F..%2Fetc%2Fpasswd",
        "/api/annotations/AAAAAAAAAAAAAAAAAAAAA%00",
        "/api/annotations/AAAAAAAAAAAAAAAAAAAAA*",
        "/api/annotations/{}",
        "/api//annotations",
        "/api/annotations/",
        "/api/groups/%7Bacme%7D",
        "/api/groups/a:b",
        "/api/Search",
        "/apisearch",
        "/api/search/../profile",
        "/api/oauth/authorize",
    ] {
        let (status, _) = match path.starts_with("/api/") {
            true => get(&fleet, path, Some(&ada)).await,
            false => (fleet.http().get(path).await.unwrap().status, ABSENT.into()),
        };
        assert_eq!(status, 404, "{path}");
    }
    let long = format!("/api/annotations/{}", "A".repeat(10_000));
    assert_eq!(get(&fleet, &long, None).await, failure(404, ABSENT));
}

#[tokio::test]
async fn headers_that_cannot_be_read_name_nobody() {
    let fleet = api().await;
    let long = format!("Bearer {}", "x".repeat(10_000));
    for value in [
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer ct_\u{e9}",
        &long,
        "Bearer ct_a b",
    ] {
        let headers = [("Authorization", value), ("X-Client-Id", "\u{e9}")];
        let answer = fleet
            .http()
            .request("GET", "/api/profile", &headers, b"")
            .await
            .unwrap();
        let profile: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status, &profile["userid"]),
            (200, &serde_json::Value::Null)
        );
    }
}

#[tokio::test]
async fn an_annotation_does_not_grow_until_it_ends_its_readers_connections() {
    let fleet = Fleet::of(0, 0)
        .env("CARILLON_API_MAX_ANNOTATION_BYTES", "10KiB")
        .start()
        .await;
    let ada = fleet.person("ada").await;
    let long = shared("https://a.example/", &"x".repeat(11 << 10));
    let answer = ask(&fleet, "POST", "/api/annotations", Some(&ada), Some(&long)).await;
    assert_eq!(answer.0, 413);
    let made = fleet
        .annotate(&ada, shared("https://a.example/", "what it was"))
        .await;
    let mut statuses = Vec::new();
    for member in ["one", "two", "three"] {
        let more = json!({ member: "x".repeat(9 << 10) });
        let answer = ask(&fleet, "PATCH", &path_of(&made), Some(&ada), Some(&more)).await;
        statuses.push(answer.0);
    }
    assert_eq!(statuses, [200, 200, 413]);
    let (_, kept) = get(&fleet, &path_of(&made), Some(&ada)).await;
    assert_eq!((&kept["text"], kept.get("three")), (&made["text"], None));
}
