//! Accepts callers' connections, and lets go of them when the process leaves.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use broker::node::Node;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// How long a connection may take to send the headers of its next request.
/// That is also how long an idle one is kept, so it must outlast the pools of
/// common HTTP clients and load balancers (60 s).
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long connections may take to end once no further request is taken: more
/// than a request may take.
const PARTING: Duration = Duration::from_secs(15);
/// Pause after a failed accept: without one, a process out of descriptors spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until the node drains, then `delay` longer, then finishes the
/// requests in flight. A node that hurries skips the delay and drops them.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    node: Node,
    metrics: Metrics,
    max_connections: usize,
    delay: Duration,
) {
    let places = Arc::new(Semaphore::new(max_connections));
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
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        metrics.accepted.inc();
        metrics.connections.inc();
        let conversation = converse(stream, router.clone(), last_call.clone());
        let metrics = metrics.clone();
        connections.spawn(async move {
            if let Err(error) = conversation.await {
                debug!(%error, "a connection broke");
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
    stream: TcpStream,
    router: Router,
    last_call: CancellationToken,
) -> hyper::Result<()> {
    // An answer goes out whole; waiting to fill a packet would only delay it.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = last_call.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
