//! Accepts callers' connections, and lets go of them when the process leaves.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::middleware::map_response;
use axum::response::Response;
use broker::node::Node;
use broker::node::entrance::{Entrance, Passed};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// How long a connection may take to send the headers of its next request.
/// That is also how long an idle one is kept, so it must outlast the pools of
/// common HTTP clients and load balancers (60 s).
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a caller has for the handshake of TLS.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections may take to end once no further request is taken: more
/// than a request may take.
const PARTING: Duration = Duration::from_secs(15);
/// Pause after a failed accept: without one, a process out of descriptors spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where callers connect, and on which terms.
pub struct Door {
    /// Where they are accepted.
    pub listener: TcpListener,
    /// What they pass before their first request.
    pub entrance: Entrance,
    /// While there are so many connections, further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a connection has for the headers of each request; it is closed if
    /// they are not there by then.
    pub header_timeout: Duration,
}

/// Serves `router` until the node drains, then `delay` longer, then finishes the
/// requests in flight. A node that hurries skips the delay and drops them.
pub async fn serve(door: Door, router: Router, node: Node, metrics: Metrics, delay: Duration) {
    let Door {
        listener,
        entrance,
        max_connections,
        header_timeout,
    } = door;
    let entrance = Arc::new(entrance);
    let router = router.layer(map_response(part_if_too_long));
    let places = Arc::new(Semaphore::new(max_connections));
    let limit = i64::try_from(max_connections).unwrap_or(i64::MAX);
    metrics.connections_limit.set(limit);
    let connections = TaskTracker::new();
    let last_call = CancellationToken::new();
    let mut leaving = pin!(async {
        node.draining().await;
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = node.hurrying() => {}
        }
    });
    loop {
        let next = async {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut leaving => break,
            next = next => next,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer goes out whole; waiting to fill a packet would only delay it.
        let _ = stream.set_nodelay(true);
        metrics.accepted.inc();
        metrics.connections.inc();
        let (entrance, metrics) = (Arc::clone(&entrance), metrics.clone());
        let (router, last_call) = (router.clone(), last_call.clone());
        connections.spawn(async move {
            match entrance.pass(stream, peer.ip()).await {
                Ok((Passed::Plain(stream), _)) => {
                    converse(stream, router, header_timeout, last_call).await;
                }
                Ok((Passed::Encrypted(stream), _)) => {
                    converse(*stream, router, header_timeout, last_call).await;
                }
                Err(error) => debug!(%peer, %error, "a connection is refused"),
            }
            metrics.connections.dec();
            drop(place);
        });
    }
    drop(listener);
    last_call.cancel();
    connections.close();
    let finished = tokio::time::timeout(PARTING, connections.wait());
    tokio::select! {
        finished = finished => if finished.is_err() {
            warn!("connections were cut that did not end within {PARTING:?}");
        },
        () = node.hurrying() => {}
    }
}

/// Answers one connection's requests; once `last_call` is cancelled, none after
/// the one being answered.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    header_timeout: Duration,
    last_call: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = last_call.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}

/// The rest of a body that is too long is not read, which ends the connection.
/// The caller is told, lest the next request be sent into it.
async fn part_if_too_long(mut response: Response) -> Response {
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::get;
    use prometheus::Registry;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    use super::*;

    /// Serves how many connections there are.
    async fn start(max_connections: usize, header_timeout: Duration) -> (SocketAddr, Metrics) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new(&Registry::new());
        let open = metrics.connections.clone();
        let router = Router::new().route("/", get(|| async move { open.get().to_string() }));
        let door = Door {
            listener,
            entrance: Entrance::new(
                Vec::new(),
                None,
                HANDSHAKE_TIMEOUT,
                metrics.entrance.clone(),
            )
            .unwrap(),
            max_connections,
            header_timeout,
        };
        let node = Node::new("api", "test".to_owned());
        tokio::spawn(serve(door, router, node, metrics.clone(), Duration::ZERO));
        (address, metrics)
    }

    /// What comes back until the connection ends.
    async fn answer(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn who_does_not_finish_a_head_is_cut_off() {
        let timeout = Duration::from_millis(200);
        let (address, metrics) = start(10, timeout).await;
        for head in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: api\r\n"] {
            let began = Instant::now();
            let mut slow = TcpStream::connect(address).await.unwrap();
            slow.write_all(head.as_bytes()).await.unwrap();
            let said = answer(&mut slow).await;
            assert!(!said.contains("200 OK"), "{said}");
            assert!(timeout <= began.elapsed(), "{:?}", began.elapsed());
        }
        assert_eq!(metrics.accepted.get(), 3);
        let mut quick = TcpStream::connect(address).await.unwrap();
        let whole = b"GET / HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n";
        quick.write_all(whole).await.unwrap();
        let said = answer(&mut quick).await;
        assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait_for_others_to_end() {
        let (address, metrics) = start(2, HEADER_TIMEOUT).await;
        let mut clients = JoinSet::new();
        for _ in 0..20 {
            clients.spawn(async move {
                let mut client = TcpStream::connect(address).await.unwrap();
                let whole = b"GET / HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n";
                client.write_all(whole).await.unwrap();
                answer(&mut client).await
            });
        }
        for said in clients.join_all().await {
            assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
            let open = said.rsplit("\r\n").next().unwrap();
            assert!(["1", "2"].contains(&open), "{open} connections are open");
        }
        assert_eq!(metrics.accepted.get(), 20);
    }
}
