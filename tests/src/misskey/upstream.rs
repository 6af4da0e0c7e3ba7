//! Its own streaming address, as far as gateways relay to it or an operator
//! rolls back to it.
//!
//! `connect` is answered by a pong where it is asked for; `serverStats` and
//! `queueStats` answer `requestLog`; whatever else is said to a channel comes
//! back from it as an event of the same type.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State as Extract};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Shout, State, api, lock};

const REFUSED: &str =
    r#"Bearer realm="Misskey", error="invalid_token", error_description="Failed to authenticate""#;

/// Answers an upgrade.
pub(super) async fn stream(
    Extract(state): Extract<Arc<State>>,
    Query(query): Query<BTreeMap<String, String>>,
    mut request: Request,
) -> Response {
    state.count("streaming");
    if let Some(answer) = api::weather(&state).await {
        return answer;
    }
    let headers = request.headers();
    let Some(key) = headers.get("sec-websocket-key") else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let bearer = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let token = bearer.or_else(|| query.get("i").map(String::as_str));
    if let Some(token) = token {
        let world = state.world();
        match world.principals.get(token) {
            Some(caller) if caller.suspended => return StatusCode::FORBIDDEN.into_response(),
            Some(caller) if caller.may("read:account") => {}
            _ => {
                let why = [(header::WWW_AUTHENTICATE, HeaderValue::from_static(REFUSED))];
                return (StatusCode::UNAUTHORIZED, why).into_response();
            }
        }
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let io = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None);
            converse(&state, socket.await).await;
        }
    });
    let upgrade = [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_ACCEPT, &accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response()
}

type Upgraded = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn converse(state: &State, mut socket: Upgraded) {
    let mut shouts = state.shouts.subscribe();
    let mut channels = BTreeMap::new();
    loop {
        tokio::select! {
            shout = shouts.recv() => match shout {
                Ok(Shout::Text(text)) => drop(socket.send(Message::text(text)).await),
                _ => return,
            },
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(text))) => {
                    lock(&state.said).push(text.as_str().to_owned());
                    let message = serde_json::from_str(&text).unwrap_or_default();
                    if let Some(answer) = answer(&mut channels, &message) {
                        drop(socket.send(Message::text(answer.to_string())).await);
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

/// What a message is answered with; `channels` are those that are open, by id.
fn answer(channels: &mut BTreeMap<String, String>, message: &Value) -> Option<Value> {
    let body = &message["body"];
    let id = body["id"].as_str()?;
    match message["type"].as_str()? {
        "connect" => {
            let name = body["channel"].as_str()?;
            channels.insert(id.to_owned(), name.to_owned());
            (body["pong"] == true).then(|| json!({ "type": "connected", "body": { "id": id } }))
        }
        "disconnect" => {
            channels.remove(id);
            None
        }
        "ch" | "channel" => {
            let (kind, body) = (body["type"].as_str()?, body.get("body")?);
            let (kind, body) = match channels.get(id)?.as_str() {
                "serverStats" | "queueStats" if kind == "requestLog" => {
                    ("statsLog", json!([{ "cpu": 0.125 }]))
                }
                _ => (kind, body.clone()),
            };
            Some(json!({ "type": "channel", "body": { "id": id, "type": kind, "body": body } }))
        }
        _ => None,
    }
}
