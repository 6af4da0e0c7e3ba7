//! The public listener: connections become requests, and a request that may be
//! upgraded becomes a socket of a shard.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use broker::Timestamp;
use broker::messages::Messages;
use broker::node::{Node, Phase};
use broker::token::{Keyring, RecipientToken};
use broker::topic::Topic;
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::admission::{Admission, Denial, Permit, check_in, identify};
use crate::client::Client;
use crate::client_address::client_address;
use crate::dialect::push::{Form, JSON_SUBPROTOCOL};
use crate::handshakes::{Handshakes, Lost, Place};
use crate::metrics::AdmissionMetrics;
use crate::shard::inbox::{Admitted, Inbox, Mail};
use crate::websocket::{Handshake, Refusal};

/// Room for the head of a request; a token takes at most a few KiB.
const MAX_HEAD: usize = 16 << 10;
/// Pause when no connection can be accepted, such as for want of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How long answering a request may take: it asks Redis once, and its client has
/// to take the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds after which a refused client is asked to come back, at least and at most.
const RETRY_AFTER: std::ops::RangeInclusive<u32> = 1..=5;

/// What requests are answered from.
pub struct Front {
    /// The process.
    pub node: Node,
    /// Checks tokens.
    pub keyring: Keyring,
    /// Knows which tokens are revoked.
    pub messages: Messages,
    /// Knows whether there is room.
    pub admission: Arc<Admission>,
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

/// A connection's peer, as a request extension.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

/// Accepts connections until `stop` resolves.
pub async fn serve(listener: TcpListener, front: Arc<Front>, stop: impl Future<Output = ()>) {
    let router = Router::new()
        .route("/", any(open))
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
        let peer = Peer(self.peer.ip());
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: http::Request<Incoming>| {
            place.heard();
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(pending.clone());
            router.call(request)
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.front.handshake_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            result = &mut serving => if let Err(error) = result {
                debug!(%error, "a connection ended before its upgrade");
            },
            () = lost.lost() => {
                debug!("a connection was silent for longest when places ran out");
                return;
            }
            () = tokio::time::sleep(self.front.handshake_timeout + ANSWER_TIMEOUT) => {
                debug!("a connection took too long before its upgrade");
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

    /// Gives the raw socket to the shard. Bytes that the client sent before it
    /// saw the upgrade are put in front of what the shard reads.
    async fn hand_over(&self, upgrade: OnUpgrade, client: Client, permit: Permit) {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            unreachable!("connections are served on TCP streams and nothing else");
        };
        let early = parts.read_buf.to_vec();
        match parts.io.into_inner().into_std() {
            Ok(stream) => {
                let admitted = Admitted {
                    stream,
                    early,
                    client,
                    permit,
                };
                self.shard.send(Mail::Open(Box::new(admitted)));
            }
            Err(error) => warn!(%error, "a socket cannot be taken off the runtime"),
        }
    }
}

/// Answers a request for a socket.
async fn open(
    State(front): State<Arc<Front>>,
    axum::Extension(pending): axum::Extension<Pending>,
    axum::Extension(peer): axum::Extension<Peer>,
    mut request: Request,
) -> Response {
    let known = [JSON_SUBPROTOCOL];
    let (method, version) = (request.method(), request.version());
    let handshake = match Handshake::read(method, version, request.headers(), &known) {
        Ok(handshake) => handshake,
        Err(refusal) => return refuse(&front, refusal),
    };
    match admit(&front, peer, request.uri(), request.headers()).await {
        Ok((token, since, permit)) => {
            let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            };
            let form = match handshake.subprotocol() {
                Some(JSON_SUBPROTOCOL) => Form::Json,
                _ => Form::Raw,
            };
            let recipient = Topic::recipient(&token.tenant, &token.recipient);
            let client = Client::Push {
                recipient,
                label: token.label,
                form,
                since,
            };
            *pending.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((upgrade, client, permit));
            front.metrics.outcome("ok");
            handshake.response().map(|()| Body::empty())
        }
        Err(denial) => deny(&front, denial),
    }
}

async fn admit(
    front: &Front,
    peer: Peer,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(RecipientToken, Timestamp, Permit), Denial> {
    if Phase::Draining <= front.node.phase() {
        return Err(Denial::Draining);
    }
    let forwarded = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(HeaderValue::as_bytes);
    let address = client_address(peer.0, &front.trusted_proxies, forwarded);
    let token = uri.query().and_then(|query| {
        url::form_urlencoded::parse(query.as_bytes())
            .find_map(|(name, value)| (name == "token").then_some(value))
    });
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    let token = token.as_deref();
    let token = identify(&front.keyring, token, origin, address, Timestamp::now())?;
    // Only now, so that made-up tokens cannot use up what real ones are allowed.
    let permit = front.admission.permit(address)?;
    let since = check_in(&front.messages, &token).await?;
    Ok((token, since, permit))
}

fn refuse(front: &Front, refusal: Refusal) -> Response {
    front.metrics.outcome("no_upgrade");
    no_referrer(refusal.response().map(Body::from))
}

fn deny(front: &Front, denial: Denial) -> Response {
    let (outcome, status, text) = match denial {
        Denial::Unauthorized => (
            "unauthorized",
            StatusCode::UNAUTHORIZED,
            "the token is missing, invalid or expired",
        ),
        Denial::Origin => (
            "forbidden_origin",
            StatusCode::FORBIDDEN,
            "the token is for another origin",
        ),
        Denial::Address => (
            "forbidden_ip",
            StatusCode::FORBIDDEN,
            "the token is for another address",
        ),
        Denial::Limited => (
            "limited",
            StatusCode::SERVICE_UNAVAILABLE,
            "this node is full, come back later",
        ),
        Denial::Draining => (
            "draining",
            StatusCode::SERVICE_UNAVAILABLE,
            "this node is leaving, come back",
        ),
        Denial::Unavailable => (
            "unavailable",
            StatusCode::SERVICE_UNAVAILABLE,
            "tokens cannot be checked now",
        ),
    };
    front.metrics.outcome(outcome);
    let mut response = (status, text).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Spread, so that those who were refused together do not return together.
        let seconds = rand::random_range(RETRY_AFTER);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    no_referrer(response)
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
