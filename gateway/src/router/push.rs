//! Requests for a socket of a recipient, at `/`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use broker::Timestamp;
use broker::token::RecipientToken;
use broker::topic::Topic;
use http::Uri;
use http::header::{self, HeaderMap};

use super::{Front, Peer, Pending, come_back, no_referrer};
use crate::admission::{Denial, Permit, check_in, identify, place};
use crate::client::Client;
use crate::dialect::Protocol;
use crate::dialect::push::{Form, JSON_SUBPROTOCOL};
use crate::websocket::{Handshake, Refusal};

/// Answers a request for a socket.
pub(super) async fn open(
    State(front): State<Arc<Front>>,
    Extension(pending): Extension<Pending>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let known = [JSON_SUBPROTOCOL];
    let (method, version) = (request.method(), request.version());
    let handshake = match Handshake::read(method, version, request.headers(), &known) {
        Ok(handshake) => handshake,
        Err(refusal) => return refuse(&front, refusal),
    };
    match admit(&front, peer, request.uri(), request.headers()).await {
        Ok((token, since, permit)) => {
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
            front.metrics.outcome(Protocol::Push, "ok");
            pending.upgrade(request, handshake, client, permit)
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
    front.admission.is_open()?;
    let address = front.client_address(peer, headers);
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
    let place = place(&front.places, &token.tenant).await?;
    let permit = front.admission.permit(address).await?.with(place);
    let since = check_in(&front.messages, &token).await?;
    Ok((token, since, permit))
}

fn refuse(front: &Front, refusal: Refusal) -> Response {
    front.metrics.outcome(Protocol::Push, "no_upgrade");
    no_referrer(refusal.response().map(Body::from))
}

fn deny(front: &Front, denial: Denial) -> Response {
    front.metrics.outcome(Protocol::Push, denial.outcome());
    let mut response = (denial.status(), denial.text()).into_response();
    come_back(&mut response, denial);
    no_referrer(response)
}
