//! Requests for a socket of the Misskey protocol, at `/streaming`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use broker::misskey::hosts::Host;
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Uri};

use super::{Front, Peer, Pending, come_back, no_referrer};
use crate::admission::{Denial, Permit, place};
use crate::client::Client;
use crate::dialect::Protocol;
use crate::misskey::Refused;
use crate::websocket::Handshake;

/// How a token stands in a header; any other spelling is none.
const BEARER: &str = "Bearer ";
/// What a wrong token is answered with.
const CHALLENGE: &str = "Bearer realm=\"Misskey\", error=\"invalid_token\", error_description=\"Failed to authenticate\"";

/// Why a request is refused.
enum No {
    /// By the node.
    Denied(Denial),
    /// By the host.
    Refused(Refused),
}

impl From<Denial> for No {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Answers a request for a socket.
pub(super) async fn open(
    State(front): State<Arc<Front>>,
    Extension(pending): Extension<Pending>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let header = request.headers().get(header::HOST);
    let header = header.and_then(|host| host.to_str().ok());
    let Some(host) = front.misskeys.host(header).cloned() else {
        return empty(StatusCode::NOT_FOUND);
    };
    let (method, version) = (request.method(), request.version());
    let Ok(handshake) = Handshake::read(method, version, request.headers(), &[]) else {
        return no_upgrade(&front);
    };
    match admit(&front, &host, peer, request.uri(), request.headers()).await {
        Ok((client, permit)) => {
            front.metrics.outcome(Protocol::Misskey, "ok");
            pending.upgrade(request, handshake, client, permit)
        }
        Err(no) => {
            // Its clients heed no hint as to when to come back. Who may find
            // another node open is not held up.
            if let No::Refused(_) | No::Denied(Denial::Quota) = no {
                front.late.refuse().await;
            }
            refuse(&front, &no)
        }
    }
}

async fn admit(
    front: &Front,
    host: &Host,
    peer: Peer,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Client, Permit), No> {
    front.admission.is_open()?;
    let place = place(&front.places, &host.tenant).await?;
    // Whoever checks tokens is asked no faster than sockets may come.
    let permit = front
        .admission
        .permit(front.client_address(peer, headers))
        .await?
        .with(place);
    let token = token(uri, headers);
    let (caller, viewer) = front.misskeys.admit(host, token.as_deref()).await?;
    Ok((Client::Misskey { caller, viewer }, permit))
}

/// The token of a request. One in the header counts before one in the query,
/// which counts even if it is empty.
fn token(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let header = headers.get(header::AUTHORIZATION);
    let bearer = header.and_then(|header| header.to_str().ok()?.strip_prefix(BEARER));
    if let Some(token) = bearer.filter(|token| !token.is_empty() && !token.starts_with(' ')) {
        return Some(token.to_owned());
    }
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "i").then(|| value.into_owned()))
}

/// Nothing is to be seen here, and no proxy may keep that.
fn no_upgrade(front: &Front) -> Response {
    front.metrics.outcome(Protocol::Misskey, "no_upgrade");
    let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
    let never = HeaderValue::from_static("private, max-age=0");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    no_referrer(response)
}

fn refuse(front: &Front, no: &No) -> Response {
    let denial = match no {
        No::Denied(denial) => Some(*denial),
        No::Refused(Refused::Unavailable) => Some(Denial::Unavailable),
        No::Refused(Refused::Unauthorized | Refused::Suspended | Refused::Fault) => None,
    };
    let (outcome, status) = match (no, denial) {
        (_, Some(denial)) => (denial.outcome(), denial.status()),
        (No::Refused(Refused::Suspended), None) => ("suspended", StatusCode::FORBIDDEN),
        (No::Refused(Refused::Fault), None) => ("fault", StatusCode::INTERNAL_SERVER_ERROR),
        (_, None) => ("unauthorized", StatusCode::UNAUTHORIZED),
    };
    front.metrics.outcome(Protocol::Misskey, outcome);
    let mut response = empty(status);
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static(CHALLENGE);
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(denial) = denial {
        come_back(&mut response, denial);
    }
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uri: &'static str, authorization: Option<&'static str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        token(&Uri::from_static(uri), &headers)
    }

    #[test]
    fn a_token_in_the_header_counts_before_one_in_the_query() {
        let shown = |authorization| shown("/streaming?i=a%20b%26c&_t=1", Some(authorization));
        assert_eq!(shown("Bearer x").as_deref(), Some("x"));
        for other in ["bearer x", "Bearerx", "Bearer  x", "Bearer ", "x", ""] {
            assert_eq!(shown(other).as_deref(), Some("a b&c"), "{other}");
        }
    }

    #[test]
    fn a_token_in_the_query_counts_even_if_it_is_empty() {
        assert_eq!(shown("/streaming?i=", None).as_deref(), Some(""));
        assert_eq!(shown("/streaming?i", None).as_deref(), Some(""));
        assert_eq!(shown("/streaming?_t=1", None), None);
        assert_eq!(shown("/streaming", None), None);
    }
}
