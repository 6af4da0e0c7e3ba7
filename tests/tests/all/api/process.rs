//! How the api's process begins and ends.

use serde_json::json;
use tests::http::Http;
use tests::{Fleet, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_leaving_api_answers_until_its_delay_is_over_and_ends_well() {
    let fleet = Fleet::of(0, 0)
        .env("CARILLON_SHUTDOWN_DELAY", "1s")
        .start()
        .await;
    // A request under way: its headers are there, its body is not.
    let mut stream = TcpStream::connect(fleet.api().address()).await.unwrap();
    let body = r#"{"query":"{ version }"}"#;
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: api\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        fleet.access_key(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();

    fleet.api().signal("TERM");
    until("it is not ready any more", async || {
        fleet
            .api()
            .ready()
            .await
            .is_some_and(|(status, _)| status == 503)
    })
    .await;
    let answer = fleet.graphql("{ version }", json!({})).await;
    assert_eq!(answer["data"]["version"], "0.1.0");
    until("it accepts no more", async || {
        TcpStream::connect(fleet.api().address()).await.is_err()
    })
    .await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.ends_with(r#"{"data":{"version":"0.1.0"}}"#),
        "{answer}"
    );
    assert!(fleet.api().ended().await.success());
}

#[tokio::test]
async fn operators_and_callers_have_ports_of_their_own() {
    let fleet = super::api().await;
    let public = Http::to(fleet.api().address());
    for path in ["/metrics", "/ready", "/live"] {
        assert_eq!(public.get(path).await.unwrap().status, 404);
        assert_eq!(fleet.api().ask(path).await.unwrap().status, 200);
    }
    let metrics = fleet.api().metrics().await;
    assert!(metrics.contains("# HELP carillon_api_messages_pushed_total"));
}
