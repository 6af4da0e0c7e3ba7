//! What a collector of traces is told, and that nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::http::Response;
use tests::{Collector, Fleet, FleetBuilder, Process, Told, until, within};

use super::ingest::{add, report};

/// The trace of a caller, and its span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
/// What no span and no log line may say.
const TEXT: &str = "only for the recipient's eyes";
const RECIPIENT: &str = "recipient-in-clear";
const CREDENTIALS: &str = "Basic-hush-hush";

fn sampled(trace: &str) -> String {
    format!("00-{trace}-{SPAN}-01")
}

/// A fleet that tells this collector of a share of what it does.
fn telling(fleet: FleetBuilder, collector: &Collector, share: &str) -> FleetBuilder {
    fleet
        .env("CARILLON_OTLP_ENDPOINT", &collector.endpoint())
        .env(
            "CARILLON_OTLP_HEADERS",
            &format!("authorization={CREDENTIALS}"),
        )
        .env("CARILLON_TRACE_SAMPLE", share)
}

/// Asks the api with these headers beside its own.
async fn ask(fleet: &Fleet, path: &str, more: &[(&str, &str)], body: &Value) -> Response {
    for secret in [TEXT, CREDENTIALS, RECIPIENT] {
        fleet.secrets().keep(secret);
    }
    let own = [
        ("content-type", "application/json"),
        ("x-api-key", fleet.access_key()),
    ];
    let headers = [&own[..], more].concat();
    let body = body.to_string();
    let asked = fleet
        .http()
        .request("POST", path, &headers, body.as_bytes());
    let response = asked.await.expect("the api answers");
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

/// Pushes the text, with these headers.
async fn push(fleet: &Fleet, more: &[(&str, &str)]) -> Response {
    let query =
        "mutation($input: MessageInput!) { again: pushMessage(input: $input) { item { id } } }";
    let input = json!({"recipients": [RECIPIENT], "message": TEXT});
    let body = json!({"query": query, "variables": {"input": input}});
    let response = ask(fleet, "/graphql", more, &body).await;
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert!(
        answer["data"]["again"][0]["item"]["id"].is_string(),
        "{answer}"
    );
    response
}

/// Has every process end, which sends what it has left.
async fn end(fleet: &Fleet) {
    let all = fleet
        .gateways()
        .iter()
        .chain([fleet.api(), fleet.worker(0)]);
    for process in all {
        assert!(process.terminate().await.success(), "{}", process.name());
    }
}

/// The only line of a process's log that has these words.
fn line(process: &Process, words: &str) -> Value {
    let output = process.output();
    let mut found = output.lines().filter(|line| line.contains(words));
    let line = found
        .next()
        .unwrap_or_else(|| panic!("no line has {words}"));
    assert_eq!(found.next(), None, "{words}");
    serde_json::from_str(line).expect("lines are JSON")
}

fn is_within(part: &Told, whole: &Told) -> bool {
    part.parent == whole.id && whole.from <= part.from && part.to <= whole.to
}

#[tokio::test]
async fn a_push_that_its_caller_records_is_one_trace_from_the_api_to_the_sockets() {
    let collector = Collector::start().await;
    let fleet = telling(Fleet::of(2, 1), &collector, "0").start().await;
    let mut sockets = [
        fleet.connect_at(0, RECIPIENT).await,
        fleet.connect_at(1, RECIPIENT).await,
    ];
    // Who has been sent something is no longer catching up.
    push(&fleet, &[]).await;
    for socket in &mut sockets {
        socket.text().await;
    }
    let traceparent = sampled(TRACE);
    let named = [("traceparent", &*traceparent), ("x-request-id", "order-7")];
    let response = push(&fleet, &named).await;
    assert_eq!(response.header("x-trace-id"), Some(TRACE));
    for socket in &mut sockets {
        assert_eq!(
            socket.text().await,
            TEXT,
            "the client is told the text alone"
        );
    }

    let request = collector.span(TRACE, "mutation pushMessage").await;
    assert_eq!(request.service, "carillon-api");
    assert_eq!(request.parent, SPAN);
    assert!(!request.failed);
    let noted = |name: &str| request.notes.get(name).map(String::as_str);
    assert_eq!(noted("carillon.outcome"), Some("ok"));
    assert_eq!(noted("carillon.tenant"), Some("acme"));
    assert_eq!(noted("carillon.request_id"), Some("order-7"));
    assert_eq!(noted("carillon.fields"), Some("pushMessage"));
    assert_eq!(noted("http.response.status_code"), Some("200"));
    let publish = collector.span(TRACE, "carillon.publish").await;
    assert!(is_within(&publish, &request), "{publish:?} {request:?}");
    assert_eq!(publish.notes["carillon.recipients"], "1");
    let script = collector.span(TRACE, "redis.script").await;
    assert!(is_within(&script, &publish), "{script:?} {publish:?}");
    assert_eq!(script.notes["db.stored_procedure.name"], "push");

    let fanouts = || {
        let all = collector.spans().into_iter();
        all.filter(|span| span.name == "carillon.fanout")
            .collect::<Vec<_>>()
    };
    until("both gateways tell of it", async || fanouts().len() == 2).await;
    for fanout in fanouts() {
        assert_eq!(fanout.service, "carillon-gateway");
        assert_eq!((&*fanout.trace, &fanout.parent), (TRACE, &publish.id));
        assert_eq!(fanout.notes["carillon.sockets"], "1");
        assert_eq!(fanout.notes["carillon.frames"], "1");
        let bytes: usize = fanout.notes["carillon.bytes"].parse().unwrap();
        assert!(TEXT.len() < bytes && bytes < TEXT.len() + 100, "{bytes}");
        assert!(script.from <= fanout.from && fanout.from <= fanout.to);
        assert!(fanout.to - fanout.from < 10_000_000_000, "{fanout:?}");
    }

    let audit = line(fleet.api(), "order-7");
    assert_eq!(audit["trace_id"], TRACE);
    assert_eq!(audit["span_id"], *request.id);
    assert_eq!(audit["request_id"], "order-7");
    until("the api counts what the collector took", async || {
        3.0 <= fleet.api().metric("carillon_trace_exported_total").await
    })
    .await;
    assert_eq!(collector.spans().len(), 5, "{:#?}", collector.spans());
    assert!(
        collector
            .header("authorization")
            .iter()
            .all(|it| it == CREDENTIALS)
    );
    // Names of users are no secrets to the log, as tokens name them, but to spans.
    assert!(fleet.secrets().told_in(&collector.raw()).is_empty());
    assert!(collector.raw().contains("carillon.fanout"));
}

#[tokio::test]
async fn what_nobody_records_is_told_to_nobody_and_the_rest_before_the_end() {
    let collector = Collector::start().await;
    let fleet = telling(Fleet::of(1, 1), &collector, "0").start().await;
    let mut socket = fleet.connect(RECIPIENT).await;
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    let garbage = format!("00-{TRACE}-{SPAN}-0x");
    for more in [
        &[][..],
        &[("traceparent", &*unsampled)],
        &[("traceparent", &*garbage)],
    ] {
        let response = push(&fleet, more).await;
        assert_eq!(response.header("x-trace-id"), None);
        socket.text().await;
    }
    let refused = json!({"query": "{ version }"}).to_string();
    let traceparent = sampled(TRACE);
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &*traceparent),
    ];
    let asked = fleet
        .http()
        .request("POST", "/graphql", &headers, refused.as_bytes());
    let response = asked.await.expect("the api answers");
    assert_eq!(response.status, 401);
    assert_eq!(
        response.header("x-trace-id"),
        None,
        "strangers have nothing recorded"
    );
    let last = TRACE.replace('0', "1");
    push(&fleet, &[("traceparent", &sampled(&last))]).await;
    socket.text().await;
    end(&fleet).await;
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == last), "{spans:#?}");
    assert_eq!(spans.len(), 4, "{spans:#?}");
}

#[tokio::test]
async fn a_share_of_what_comes_without_a_trace_is_recorded_by_whatever_way_it_comes() {
    let collector = Collector::start().await;
    let fleet = telling(Fleet::of(1, 1), &collector, "1").start().await;
    let mut socket = fleet.connect(RECIPIENT).await;
    let told = json!({"recipients": [RECIPIENT], "message": TEXT});
    add(&fleet, "push", told.to_string().as_bytes()).await;
    assert_eq!(socket.text().await, TEXT);
    let of_worker = async |name: &str| {
        let find = || {
            let mut all = collector.spans().into_iter();
            all.rfind(|span| span.name == name && span.service == "carillon-worker")
        };
        until(&format!("the worker tells of {name}"), async || {
            find().is_some()
        })
        .await;
        find().unwrap()
    };
    let publish = of_worker("carillon.publish").await;
    let whole = of_worker("carillon.ingest").await;
    assert!(is_within(&publish, &whole) && whole.parent.is_empty());
    let fanout = collector.span(&whole.trace, "carillon.fanout").await;
    assert_eq!(fanout.parent, publish.id);

    let mut reader = fleet.hypothesis_socket(0, None).await;
    let page = tests::hypothesis::page_filter(&["https://example.org/article"]);
    reader.settle(&page).await;
    let response = ask(&fleet, "/ingest/annotations", &[], &report("a1")).await;
    let frame = reader.json().await;
    assert!(!frame.to_string().contains("traceparent"), "{frame}");
    let trace = response
        .header("x-trace-id")
        .expect("it is recorded")
        .to_owned();
    let request = collector.span(&trace, "POST /ingest/annotations").await;
    assert!(request.parent.is_empty());
    let publish = collector.span(&trace, "carillon.publish").await;
    assert!(is_within(&publish, &request));
    let fanout = collector.span(&trace, "carillon.fanout").await;
    assert_eq!(fanout.parent, publish.id);
    assert_eq!(fanout.notes["carillon.sockets"], "1");
    let audit = line(fleet.api(), "ingestAnnotations: 1 events");
    assert_eq!(audit["trace_id"], *trace);

    let asked = fleet
        .http()
        .request("GET", "/api/annotations/hidden-id", &[], b"")
        .await
        .expect("the api answers");
    assert_eq!(asked.status, 404);
    let route = "GET /api/annotations/:id";
    let find = || {
        collector
            .spans()
            .into_iter()
            .find(|span| span.name == route)
    };
    until("the api tells of who reads an annotation", async || {
        find().is_some()
    })
    .await;
    let reading = find().unwrap();
    assert!(reading.parent.is_empty());
    assert_eq!(reading.notes["carillon.outcome"], "not_found");
    assert!(!collector.raw().contains("hidden-id"));
    assert!(fleet.secrets().told_in(&collector.raw()).is_empty());
}

#[tokio::test]
async fn a_collector_that_fails_costs_traces_and_nothing_else() {
    let collector = Collector::start().await;
    collector.hang();
    let fleet = telling(Fleet::of(1, 1), &collector, "1").start().await;
    let mut socket = fleet.connect(RECIPIENT).await;
    let push = json!({"recipients": [RECIPIENT], "message": TEXT});
    let query =
        "mutation($input: [MessageInput!]!) { pushMessages(input: $input) { error { message } } }";
    let many = json!({"query": query, "variables": {"input": vec![push; 100]}});
    let dropped = |why: &str| format!(r#"carillon_trace_dropped_total{{why="{why}"}}"#);
    let mut slowest = Duration::ZERO;
    until("the queue overflows", async || {
        let began = Instant::now();
        ask(&fleet, "/graphql", &[], &many).await;
        slowest = slowest.max(began.elapsed());
        for _ in 0..100 {
            assert_eq!(socket.text().await, TEXT);
        }
        fleet.api().metric(&dropped("queue")).await > 0.0
    })
    .await;
    // It would be five seconds, were anybody to wait for the collector.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    collector.answer(500);
    let refused = async || fleet.api().metric(&dropped("collector")).await;
    within(Duration::from_secs(30), "it is given up", async || {
        refused().await > 0.0
    })
    .await;
    collector.answer(200);
    // All that waited may be given up by now.
    ask(&fleet, "/graphql", &[], &many).await;
    let exported = async || fleet.api().metric("carillon_trace_exported_total").await;
    within(Duration::from_secs(30), "it is told again", async || {
        exported().await > 0.0
    })
    .await;
    let log = fleet.api().output();
    let told = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(told("the collector takes no traces"), 1);
    assert_eq!(told("the collector takes traces again"), 1);
    assert!(!log.contains(&collector.endpoint()));
    collector.hang();
    ask(&fleet, "/graphql", &[], &many).await;
    let began = Instant::now();
    end(&fleet).await;
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_sent_and_lines_still_name_the_request() {
    let collector = Collector::start().await;
    // What programs of OpenTelemetry read, and we do not.
    let fleet = Fleet::of(1, 1)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .env("CARILLON_TRACE_SAMPLE", "1")
        .start()
        .await;
    let mut socket = fleet.connect(RECIPIENT).await;
    let traceparent = sampled(TRACE);
    let named = [("traceparent", &*traceparent), ("x-request-id", "order-8")];
    let response = push(&fleet, &named).await;
    assert_eq!(response.header("x-trace-id"), None);
    assert_eq!(socket.text().await, TEXT);
    let audit = line(fleet.api(), "order-8");
    assert_eq!(audit["trace_id"], TRACE);
    assert_eq!(audit["span_id"], SPAN);
    end(&fleet).await;
    assert_eq!(collector.requests(), 0);
}
