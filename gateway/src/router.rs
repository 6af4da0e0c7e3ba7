//! The public listener: connections become requests, and a request that may be
//! upgraded becomes a socket of a shard.

mod hypothesis;
mod misskey;
mod push;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use broker::identity::Authenticator;
use broker::messages::Messages;
use broker::node::Node;
use broker::node::entrance::{Entrance, Passed};
use broker::quota::Places;
use broker::sites::Sites;
use broker::token::Keyring;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::admission::late::Late;
use crate::admission::{Admission, Denial, Permit};
use crate::client::Client;
use crate::client_address::client_address;
use crate::config::WebOrigin;
use crate::handshakes::{Handshakes, Lost, Place};
use crate::metrics::AdmissionMetrics;
use crate::misskey::Misskeys;
use crate::shard::inbox::{Admitted, Carrier, Inbox, Mail};
use crate::websocket::Handshake;

/// Room for the head of a request; a token takes at most a few KiB.
const MAX_HEAD: usize = 16 << 10;
/// Pause when no connection can be accepted, such as for want of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How long answering a request may take: it asks Redis once, and its client has
/// to take the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What requests are answered from.
pub struct Front {
    /// The process.
    pub node: Node,
    /// Checks tokens.
    pub keyring: Keyring,
    /// Knows which tokens are revoked.
    pub messages: Messages,
    /// Knows which host shows the annotations of which tenant.
    pub sites: Sites,
    /// Knows whom users' access tokens name.
    pub authenticator: Authenticator,
    /// Knows the users of Misskey hosts.
    pub misskeys: Misskeys,
    /// The web origins from which annotations may be read; empty means all.
    pub origins: Vec<WebOrigin>,
    /// Whether to do as the original Hypothesis also where it does wrong.
    pub strict: bool,
    /// Knows whether there is room.
    pub admission: Arc<Admission>,
    /// Knows how many sockets tenants have.
    pub places: Places,
    /// Holds back refusals.
    pub late: Late,
    /// What connections pass before their first request.
    pub entrance: Entrance,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where sockets go.
    pub shards: Vec<Arc<Inbox>>,
    /// Connections that may be without an upgrade at once; see [`Handshakes`].
    pub max_handshakes: usize,
    /// How long a client has to send its request.
    pub handshake_timeout: Duration,
    /// What is counted.
    pub metrics: AdmissionMetrics,
}

/// Where the request left the client that was let in, for the connection to
/// pick up once the upgrade is done.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<Option<(OnUpgrade, Client, Permit)>>>);

impl Pending {
    /// Leaves a client there and answers with the upgrade.
    fn upgrade(
        &self,
        mut request: Request,
        handshake: Handshake,
        client: Client,
        permit: Permit,
    ) -> Response {
        let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, client, permit));
        handshake.response().map(|()| Body::empty())
    }
}

/// Where a connection comes from, as a request extension: its peer, or what the proxy
/// says that it was passed on by.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

impl Front {
    fn client_address(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(HeaderValue::as_bytes);
        client_address(peer.0, &self.trusted_proxies, forwarded)
    }
}

/// Accepts connections until `stop` resolves.
pub async fn serve(listener: TcpListener, front: Arc<Front>, stop: impl Future<Output = ()>) {
    let router = Router::new()
        .route("/", any(push::open))
        .route("/ws", any(hypothesis::open))
        .route("/_status", any(hypothesis::status))
        .route("/streaming", any(misskey::open))
        .route("/streaming/", any(misskey::open))
        .fallback(hypothesis::elsewhere)
        .layer(map_response(ends_here))
        .with_state(Arc::clone(&front));
    let handshakes = Handshakes::new(front.max_handshakes);
    let mut next_shard = 0;
    let accept = async {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let (place, lost) = handshakes.enter().await;
            next_shard = (next_shard + 1) % front.shards.len();
            let shard = Arc::clone(&front.shards[next_shard]);
            let connection = Connection {
                front: Arc::clone(&front),
                shard,
                peer,
            };
            let router = router.clone();
            tokio::spawn(async move {
                connection.front.metrics.handshakes.inc();
                connection.serve(stream, router, &place, lost).await;
                connection.front.metrics.handshakes.dec();
                drop(place);
            });
        }
    };
    tokio::select! {
        () = stop => {}
        () = accept => {}
        () = front.admission.give_turns() => {}
    }
}

struct Connection {
    front: Arc<Front>,
    shard: Arc<Inbox>,
    peer: SocketAddr,
}

impl Connection {
    async fn serve(&self, stream: TcpStream, router: Router, place: &Place, lost: Lost) {
        // Frames are small and gathered already; waiting for more costs 40 ms.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let pending = Pending::default();
        let serving = self.answer(stream, router, place, &pending);
        tokio::select! {
            () = serving => {}
            () = lost.lost() => {
                debug!("a connection was silent for longest when places ran out");
                return;
            }
            // A drain does not wait for clients that never ask for anything.
            () = self.front.node.hurrying() => return,
        }
        let upgrade = pending
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((upgrade, client, permit)) = upgrade {
            self.hand_over(upgrade, client, permit).await;
        }
    }

    /// Answers requests until the connection ends, or one of them is its upgrade.
    async fn answer(&self, stream: TcpStream, router: Router, place: &Place, pending: &Pending) {
        let passed = self.front.entrance.pass(stream, self.peer.ip()).await;
        let (stream, peer) = match passed {
            Ok((stream, address)) => (stream, Peer(address)),
            Err(error) => return debug!(peer = %self.peer, %error, "a connection is refused"),
        };
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: http::Request<Incoming>| {
            place.heard();
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(pending.clone());
            router.call(request)
        });
        match stream {
            Passed::Plain(stream) => self.converse(stream, service).await,
            Passed::Encrypted(stream) => self.converse(*stream, service).await,
        }
    }

    /// Answers by `service` whatever a stream brings.
    async fn converse<IO, S>(&self, stream: IO, service: S)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<http::Request<Incoming>, Response = Response, Error = Infallible>,
    {
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.front.handshake_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let patience = self.front.handshake_timeout + ANSWER_TIMEOUT;
        match tokio::time::timeout(patience, serving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a connection ended before its upgrade"),
            Err(_) => debug!("a connection took too long before its upgrade"),
        }
    }

    /// Gives the raw socket to the shard. Bytes that the client sent before it
    /// saw the upgrade are put in front of what the shard reads.
    async fn hand_over(&self, upgrade: OnUpgrade, client: Client, permit: Permit) {
        let Ok(upgraded) = upgrade.await else { return };
        let (early, stream) = match carrier(upgraded) {
            Ok(both) => both,
            Err(error) => return warn!(%error, "a socket cannot be taken off the runtime"),
        };
        let admitted = Admitted {
            stream,
            early,
            client,
            permit,
        };
        self.shard.send(Mail::Open(Box::new(admitted)));
    }
}

/// What a client sent before it saw the upgrade, as far as it has been read and opened,
/// and the connection without the runtime.
fn carrier(upgraded: Upgraded) -> io::Result<(Vec<u8>, Carrier)> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let tcp = parts.io.into_inner().into_std()?;
            return Ok((parts.read_buf.to_vec(), Carrier::Plain(tcp)));
        }
        Err(upgraded) => upgraded,
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() else {
        unreachable!("connections are served on TCP streams, in clear or over TLS");
    };
    let (tcp, tls) = parts.io.into_inner().into_inner();
    let stream = Carrier::Encrypted(tcp.into_std()?, Box::new(tls));
    Ok((parts.read_buf.to_vec(), stream))
}

/// Asks who is refused for the moment to come back; not all together, as they were
/// refused together.
fn come_back(response: &mut Response, denial: Denial) {
    if let Some(seconds) = denial.retry_after() {
        let seconds = rand::random_range(seconds);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Ends the connection of whoever was not upgraded: it has no other business here,
/// and its place is wanted.
async fn ends_here(mut response: Response) -> Response {
    let value = match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => return response,
        StatusCode::UPGRADE_REQUIRED => "upgrade, close",
        _ => "close",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static(value));
    response
}

/// The address holds a token, which must not travel on as a referrer.
fn no_referrer(mut response: Response) -> Response {
    let never = HeaderValue::from_static("no-referrer");
    response
        .headers_mut()
        .insert(header::REFERRER_POLICY, never);
    response
}
