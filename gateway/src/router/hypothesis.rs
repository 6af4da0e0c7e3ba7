//! Requests for a socket of the Hypothesis protocol, at `/ws`, and what its hosts
//! answer beside it.
//!
//! A token that names nobody makes an anonymous socket, as in the original:
//! refusing it would keep a client from reading what everybody may read.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use broker::annotation;
use broker::sites::Site;
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Uri};
use serde::Serialize;
use tracing::debug;

use super::{Front, Peer, Pending, come_back, no_referrer};
use crate::admission::{Denial, Permit, place};
use crate::client::Client;
use crate::dialect::Protocol;
use crate::websocket::{Handshake, Refusal};

/// How a token stands in a header; the original knows no other spelling.
const BEARER: &str = "Bearer ";

/// The body of a refusal.
#[derive(Serialize)]
struct Refused {
    ok: bool,
    error: &'static str,
    reason: String,
}

/// Answers a request for a socket.
pub(super) async fn open(
    State(front): State<Arc<Front>>,
    Extension(pending): Extension<Pending>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let Some(site) = site(&front, request.headers()) else {
        return no_site();
    };
    let (method, version) = (request.method(), request.version());
    let handshake = match Handshake::read(method, version, request.headers(), &[]) {
        Ok(handshake) => handshake,
        Err(refusal) => return bad_handshake(&front, refusal),
    };
    match admit(&front, site, peer, request.uri(), request.headers()).await {
        Ok((client, permit)) => {
            front.metrics.outcome(Protocol::Hypothesis, "ok");
            pending.upgrade(request, handshake, client, permit)
        }
        Err(denial) => deny(&front, denial),
    }
}

/// Says that there is a gateway.
pub(super) async fn status(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    if site(&front, &headers).is_none() {
        return no_site();
    }
    json(StatusCode::OK, r#"{"status":"okay"}"#.into())
}

/// Answers for every path that there is not.
pub(super) async fn elsewhere(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    if site(&front, &headers).is_none() {
        return no_site();
    }
    refused(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
}

async fn admit(
    front: &Front,
    site: &Site,
    peer: Peer,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Client, Permit), Denial> {
    front.admission.is_open()?;
    let origin = headers.get(header::ORIGIN);
    let may = |origin: &str| front.origins.iter().any(|allowed| allowed.is(origin));
    let allowed = origin.is_some_and(|origin| origin.to_str().is_ok_and(may));
    if !front.origins.is_empty() && !allowed {
        return Err(Denial::Origin);
    }
    let place = place(&front.places, &site.tenant).await?;
    // Whoever checks tokens is asked no faster than sockets may come.
    let permit = front
        .admission
        .permit(front.client_address(peer, headers))
        .await?
        .with(place);
    let viewer = match token(uri, headers) {
        Some(token) => {
            let signed_in = front.authenticator.signed_in(site, &token).await;
            signed_in.map_err(|error| {
                debug!(%error, "tokens cannot be checked");
                Denial::Unavailable
            })?
        }
        None => None,
    };
    let client = Client::Hypothesis {
        annotations: annotation::topic(&site.tenant),
        viewer: viewer.map(Box::new),
        strict: front.strict,
    };
    Ok((client, permit))
}

/// The access token of a request. One in the query counts even if it is empty;
/// then the client wants to be nobody.
fn token(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes())
        .filter_map(|(name, value)| (name == "access_token").then_some(value))
        .last();
    let token = match named {
        Some(token) => token.into_owned(),
        None => {
            let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
            header.strip_prefix(BEARER)?.trim().to_owned()
        }
    };
    (!token.is_empty()).then_some(token)
}

fn site<'a>(front: &'a Front, headers: &HeaderMap) -> Option<&'a Site> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    front.sites.site(host)
}

/// As every host answers that has no annotations to show.
fn no_site() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn bad_handshake(front: &Front, refusal: Refusal) -> Response {
    front.metrics.outcome(Protocol::Hypothesis, "no_upgrade");
    refused(
        StatusCode::BAD_REQUEST,
        "bad_handshake",
        &refusal.to_string(),
    )
}

fn deny(front: &Front, denial: Denial) -> Response {
    front
        .metrics
        .outcome(Protocol::Hypothesis, denial.outcome());
    let (error, reason) = match denial {
        Denial::Origin => ("forbidden", "pages of this origin may not connect"),
        _ => ("unavailable", denial.text()),
    };
    let mut response = refused(denial.status(), error, reason);
    come_back(&mut response, denial);
    response
}

fn refused(status: StatusCode, error: &'static str, reason: &str) -> Response {
    let body = Refused {
        ok: false,
        error,
        reason: reason.to_owned(),
    };
    let body = serde_json::to_string(&body).expect("text can always be written as JSON");
    no_referrer(json(status, body))
}

fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let never = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, never);
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
    fn a_token_in_the_query_counts_before_one_in_the_header() {
        let shown = |uri, authorization| shown(uri, Some(authorization));
        assert_eq!(
            shown("/ws?access_token=a%2Bb", "Bearer c").as_deref(),
            Some("a+b")
        );
        assert_eq!(shown("/ws?debug=1", "Bearer c").as_deref(), Some("c"));
        assert_eq!(
            shown("/ws?access_token=", "Bearer c"),
            None,
            "also if it is empty"
        );
    }

    #[test]
    fn a_token_in_the_header_is_spelled_in_one_way() {
        assert_eq!(shown("/ws", Some("Bearer  a ")).as_deref(), Some("a"));
        for other in ["bearer a", "Bearera", "Bearer", "Bearer ", "Basic YTpi"] {
            assert_eq!(shown("/ws", Some(other)), None, "{other}");
        }
        assert_eq!(shown("/ws", None), None);
    }
}
