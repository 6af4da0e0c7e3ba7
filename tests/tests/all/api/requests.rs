//! Requests as HTTP carries them, and what is told when things go wrong.

use serde_json::{Value, json};
use tests::{Fleet, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{api, code, words};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn post(fleet: &Fleet, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut all = vec![("x-api-key", fleet.access_key())];
    all.extend(headers);
    let response = fleet
        .http()
        .request("POST", "/graphql", &all, body.as_bytes());
    let response = response.await.unwrap();
    (
        response.status,
        serde_json::from_slice(&response.body).unwrap(),
    )
}

#[tokio::test]
async fn only_single_requests_in_json_are_answered() {
    let fleet = api().await;
    let version = r#"{"query":"{ version }"}"#;
    let (status, answer) = post(
        &fleet,
        &[("content-type", "application/json; charset=utf-8")],
        version,
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(answer, json!({ "data": { "version": "0.1.0" } }));
    let nulls =
        r#"{"query":"{ version }","variables":null,"operationName":null,"extensions":null}"#;
    assert_eq!(post(&fleet, &[JSON], nulls).await.1, answer);
    for (headers, body, expected) in [
        (&[JSON][..], r#"[{"query":"{ version }"}]"#, 400),
        (&[JSON], r#" ["{ version }"]"#, 400),
        (&[JSON], "{ version }", 400),
        (&[JSON], "", 400),
        (&[], version, 415),
        (&[("content-type", "text/plain")], version, 415),
    ] {
        let (status, answer) = post(&fleet, headers, body).await;
        assert_eq!(status, expected, "{body}");
        assert_eq!(code(&answer), "BAD_USER_INPUT");
    }
}

#[tokio::test]
async fn fields_are_answered_in_the_order_of_the_query() {
    let fleet = api().await;
    let headers = [("x-api-key", fleet.access_key()), JSON];
    // The first takes the longest.
    let query = r#"{ a: recipientStatus(recipient: "ann") { pending }
        ...F b: __typename messages { nextToken } messages { __typename } }
        fragment F on Query { c: messages { nextToken } version }"#;
    let body = json!({ "query": query }).to_string();
    let answer = fleet
        .http()
        .request("POST", "/graphql", &headers, body.as_bytes());
    assert_eq!(
        answer.await.unwrap().text(),
        r#"{"data":{"a":{"pending":0},"c":{"nextToken":null},"version":"0.1.0","b":"Query","messages":{"nextToken":null,"__typename":"MessagesQueryResult"}}}"#
    );
}

#[tokio::test]
async fn a_get_is_no_query() {
    let fleet = api().await;
    let key = ("x-api-key", fleet.access_key());
    let answer = fleet
        .http()
        .request("GET", "/graphql?query=%7Bversion%7D", &[key], b"")
        .await
        .unwrap();
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("POST"));
    assert!(!answer.text().contains("0.1.0"));
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let fleet = Fleet::of(0, 0)
        .env("CARILLON_API_MAX_BODY", "1KiB")
        .start()
        .await;
    let body = json!({ "query": "{ version }", "pad": "x".repeat(2000) }).to_string();
    let (status, answer) = post(&fleet, &[JSON], &body).await;
    assert_eq!(status, 413);
    assert_eq!(code(&answer), "LIMITED");
}

#[tokio::test]
async fn a_document_has_limits() {
    let fleet = api().await;
    let many: String = (0..51).map(|n| format!("a{n}: version ")).collect();
    let bomb: String = (0..30)
        .map(|n| format!("fragment F{n} on Query {{ ...F{m} ...F{m} }} ", m = n + 1))
        .collect();
    for query in [
        format!("{{ {many} }}"),
        format!("{{ ...F0 }} {bomb}"),
        format!("{{ version(x: {}) }}", "[".repeat(50_000)),
        format!("{{ version }} #{}", "x".repeat(300_000)),
    ] {
        let answer = fleet.graphql(&query, json!({})).await;
        assert_eq!(code(&answer), "LIMITED");
    }
    assert!(fleet.api().is_running());
}

#[tokio::test]
async fn what_the_schema_does_not_know_is_bad_input() {
    let fleet = api().await;
    for query in [
        "{ versions }",
        "{ message { id } }",
        "{ messages { items { secret } } }",
        "query A { version } query B { version }",
        "subscription { messages { id } }",
        "query(",
        "",
    ] {
        let answer = fleet.graphql(query, json!({})).await;
        let codes = answer["errors"].as_array().unwrap().iter();
        for error in codes {
            assert_eq!(
                error["extensions"]["code"], "BAD_USER_INPUT",
                "{query}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_internal_is_told_when_redis_is_away() {
    let fleet = api().await;
    fleet.push("ann", "while it was there").await;
    fleet.redis().kill();
    let list = "{ messages { items { id } } }";
    let answer = fleet.graphql(list, json!({})).await;
    assert_eq!(code(&answer), "UNAVAILABLE");
    let input = json!({ "input": { "recipients": ["ann"], "message": "into the dark" } });
    let push = "mutation($input: MessageInput!) { pushMessage(input: $input) { item { id } error { code message } } }";
    let pushed = fleet.graphql(push, input).await;
    assert_eq!(
        pushed["data"]["pushMessage"][0]["error"]["code"],
        "UNAVAILABLE"
    );
    let unknown = "ck_0000000000_0000000000000000000000000000000000000000000_000000";
    let stranger = fleet.graphql_as(Some(unknown), list, json!({})).await;
    assert!(["UNAVAILABLE", "UNAUTHENTICATED"].contains(&code(&stranger)));
    let told = format!("{answer} {pushed} {stranger}").to_lowercase();
    for inside in ["redis", "127.0.0.1", "carillon:", "refused", "os error"] {
        assert!(!told.contains(inside), "{told}");
    }
    until("the api is not ready", async || {
        fleet
            .api()
            .ready()
            .await
            .is_some_and(|(status, _)| status == 503)
    })
    .await;

    fleet.redis().restart().await;
    until("the api is ready again", async || {
        fleet
            .api()
            .ready()
            .await
            .is_some_and(|(status, _)| status == 200)
    })
    .await;
    fleet.push("ann", "it is back").await;
}

#[tokio::test]
async fn every_mutation_is_written_down_and_counted() {
    let fleet = api().await;
    let headers = [JSON, ("x-request-id", "request-7")];
    let body = r#"{"query":"mutation { a: pushMessage(input: {recipients: [\"ann\"], message: \"audited text\"}) { item { id } } b: cancelMessage(id: \"x\") { id } }"}"#;
    fleet.secrets().keep("audited text");
    let (_, answer) = post(&fleet, &headers, body).await;
    assert_eq!(code(&answer), "BAD_USER_INPUT");
    assert!(words(&answer).starts_with("id: "));
    let output = fleet.api().output();
    let audited: Vec<Value> = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"] == "audit")
        .collect();
    let fields: Vec<_> = audited
        .iter()
        .map(|line| {
            (
                line["field"].as_str().unwrap(),
                line["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        fields,
        [("pushMessage", "ok"), ("cancelMessage", "bad_user_input")]
    );
    for line in &audited {
        assert_eq!(line["tenant"], "acme");
        assert_eq!(line["request_id"], "request-7");
        assert!(fleet.access_key().contains(line["key"].as_str().unwrap()));
    }
    let counted = async |labels: &str| {
        fleet
            .api()
            .metric(&format!("carillon_api_requests_total{{{labels}}}"))
            .await
    };
    assert_eq!(
        counted(r#"operation="mutation",field="pushMessage",outcome="ok""#).await,
        1.0
    );
    assert_eq!(
        counted(r#"operation="mutation",field="cancelMessage",outcome="error""#).await,
        1.0
    );
    fleet.graphql("{ nonsense: versions }", json!({})).await;
    assert_eq!(counted(r#"field="unknown""#).await, 1.0);
    let pushed = r#"carillon_api_messages_pushed_total{kind="recipient"}"#;
    assert_eq!(fleet.api().metric(pushed).await, 1.0);
}

#[tokio::test]
async fn a_mutation_nobody_waits_for_is_written_down_too() {
    let fleet = api().await;
    fleet.push("ann", "so the key is known").await;
    let asked = fleet.api().metric("carillon_api_auth_total").await;
    fleet.redis().freeze();
    let body = r#"{"query":"mutation { pushMessage(input: {recipients: [\"ann\"], message: \"hung up\"}) { item { id } } }"}"#;
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: api\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        fleet.access_key(),
        body.len()
    );
    let mut stream = TcpStream::connect(fleet.api().address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    until("the request is being executed", async || {
        asked < fleet.api().metric("carillon_api_auth_total").await
    })
    .await;
    drop(stream);
    let abandoned = r#"carillon_api_errors_total{code="abandoned"}"#;
    until("it is noted", async || {
        fleet.api().metric(abandoned).await == 1.0
    })
    .await;
    fleet.redis().thaw();
    assert!(fleet.api().output().contains("pushMessage: abandoned"));
}

#[tokio::test]
async fn what_a_directive_leaves_out_is_not_counted() {
    let fleet = api().await;
    let query = "{ version messages @skip(if: true) { nextToken } }";
    fleet.data(query, json!({})).await;
    let counted = async |field: &str| {
        let series = format!("carillon_api_requests_total{{field=\"{field}\"}}");
        fleet.api().metric(&series).await
    };
    assert_eq!(counted("version").await, 1.0);
    assert_eq!(counted("messages").await, 0.0);
}
