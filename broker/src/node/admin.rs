//! The port for operators: `GET /live`, `/ready` and `/metrics`.
//!
//! It is never the port that clients connect to. It keeps answering while the
//! node drains, so that a long drain can be watched to its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::warn;

use self::process::ProcessMetrics;
use super::Node;

mod process;

/// More connections than probes and scrapers need; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's header may take to arrive, on an idle connection too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection ends after this, so that readers who stall cannot hold all of them.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// How long to wait when no connection can be accepted, such as for want of
/// file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Answers on `listener` for as long as it is polled; it never returns.
///
/// `main` drops it after [`Node::finished`]; the node does not wait for it.
pub async fn serve(listener: TcpListener, node: Node, registry: Registry) {
    let admin = Arc::new(Admin {
        process: ProcessMetrics::new(node.role()),
        node,
        registry,
    });
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = free
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the admin port cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let answer = admin.answer(request.method(), request.uri().path());
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer);
            // Whatever ends a connection here concerns only its peer.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

struct Admin {
    node: Node,
    registry: Registry,
    process: ProcessMetrics,
}

/// The body of `/ready`.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    phase: &'static str,
    conditions: BTreeMap<&'static str, ReadyCondition>,
}

#[derive(Serialize)]
struct ReadyCondition {
    state: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Admin {
    fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            let headers = refusal.headers_mut();
            headers.insert(ALLOW, "GET, HEAD".parse().expect("a header's value"));
            return refusal;
        }
        match path {
            "/live" => json(StatusCode::OK, r#"{"live":true}"#.to_owned()),
            "/ready" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "only /live, /ready and /metrics\n"),
        }
    }

    fn ready(&self) -> Response<String> {
        let ready = self.node.is_ready();
        let conditions = self.node.conditions();
        let conditions = conditions.iter().map(|(name, (state, since))| {
            let condition = ReadyCondition {
                state: state.as_str(),
                since: since.to_string(),
                reason: state.reason().map(str::to_owned),
            };
            (*name, condition)
        });
        let body = Ready {
            ready,
            phase: self.node.phase().as_str(),
            conditions: conditions.collect(),
        };
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::to_string(&body).expect("strings and booleans become JSON");
        json(status, body)
    }

    fn metrics(&self) -> Response<String> {
        let mut families = self.registry.gather();
        families.extend(self.process.gather(&self.node));
        match TextEncoder::new().encode_to_string(&families) {
            Ok(body) => with_type(StatusCode::OK, prometheus::TEXT_FORMAT, body),
            Err(error) => {
                warn!(%error, "the metrics cannot be written");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "metrics cannot be written\n",
                )
            }
        }
    }
}

fn json(status: StatusCode, body: String) -> Response<String> {
    with_type(status, "application/json", body)
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    with_type(status, "text/plain; charset=utf-8", body.to_owned())
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store")
        .body(body)
        .expect("the parts of the answer are valid")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// Sends one request and reads the status line and the body.
    async fn get(address: std::net::SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.lines().next().unwrap();
        (status.to_owned(), body.to_owned())
    }

    async fn started(node: &Node, registry: Registry) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, node.clone(), registry));
        address
    }

    #[tokio::test]
    async fn readiness_follows_phase_and_conditions_and_says_why() {
        let node = Node::new("gateway", "g1".to_owned());
        let link = node.condition("link");
        let address = started(&node, Registry::new()).await;

        node.running();
        link.down("connection refused");
        let (status, body) = get(address, "/ready").await;
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["ready"], false);
        assert_eq!(body["phase"], "running");
        assert_eq!(body["conditions"]["link"]["state"], "down");
        assert_eq!(body["conditions"]["link"]["reason"], "connection refused");
        let since = body["conditions"]["link"]["since"].as_str().unwrap();
        assert!(since.parse::<crate::Timestamp>().is_ok(), "{since}");

        link.up();
        let (status, body) = get(address, "/ready").await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(!body.contains("reason"), "{body}");
    }

    #[tokio::test]
    async fn a_draining_node_is_live_but_not_ready() {
        let node = Node::new("gateway", "g1".to_owned());
        let address = started(&node, Registry::new()).await;
        node.drain();
        assert_eq!(get(address, "/live").await.1, r#"{"live":true}"#);
        assert!(get(address, "/ready").await.0.contains("503"));
    }

    #[tokio::test]
    async fn metrics_tell_of_the_process_beside_its_work() {
        let node = Node::new("gateway", "g1".to_owned());
        node.condition("link").degraded("slow");
        let registry = Registry::new();
        let sockets = prometheus::IntGauge::new("carillon_sockets", "Open sockets.").unwrap();
        registry.register(Box::new(sockets.clone())).unwrap();
        sockets.set(3);
        let (_, body) = get(started(&node, registry).await, "/metrics").await;
        for line in [
            "carillon_sockets 3",
            &format!(
                "carillon_build_info{{role=\"gateway\",version=\"{}\"}} 1",
                env!("CARGO_PKG_VERSION")
            ),
            "carillon_node_phase 0",
            "carillon_condition{condition=\"link\"} 1",
        ] {
            assert!(body.lines().any(|l| l == line), "{line} in\n{body}");
        }
        for name in ["process_resident_memory_bytes", "carillon_tokio_workers"] {
            assert!(body.contains(name), "{name}");
        }
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let node = Node::new("gateway", "g1".to_owned());
        let admin = Admin {
            process: ProcessMetrics::new(node.role()),
            node,
            registry: Registry::new(),
        };
        let status = |method, path| admin.answer(&method, path).status();
        assert_eq!(status(Method::GET, "/"), StatusCode::NOT_FOUND);
        assert_eq!(
            status(Method::POST, "/live"),
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(status(Method::HEAD, "/live"), StatusCode::OK);
    }
}
