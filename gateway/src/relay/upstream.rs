//! The other end of a relay: a WebSocket connection to a Misskey.

use std::time::Duration;

use broker::identity::Authenticator;
use broker::misskey::caller::Caller;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header;
use reqwest::{Client, StatusCode, Upgraded, redirect};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tracing::error;
use url::Url;

use super::{Ending, MAX_MESSAGE};

/// How long a Misskey has to upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it has to take a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a quiet one is pinged; silent for two of these, it is given up.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// What is read at once, little because there are many of these.
const READ: usize = 8 << 10;

/// Where the caller's relays lead. `None` if there is no such place, or if the
/// caller's token is one of ours, which is nobody else's business.
pub(super) fn address(caller: &Caller) -> Option<Url> {
    let mut address = caller.host.relay.clone()?;
    let scheme = match address.scheme() {
        "wss" => "https",
        _ => "http",
    };
    address.set_scheme(scheme).ok()?;
    if let Some(account) = &caller.account {
        let token = account.token.reveal();
        if caller.host.api.is_none() || Authenticator::is_own(token) {
            return None;
        }
        address.query_pairs_mut().append_pair("i", token);
    }
    Some(address)
}

/// Connects to Misskeys. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    client: Option<Client>,
}

impl Upstream {
    pub(super) fn new() -> Self {
        let client = Client::builder()
            // A redirect could take the token to somebody else.
            .redirect(redirect::Policy::none())
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("carillon/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client
            .inspect_err(|error| error!(%error, "nothing can be relayed: no HTTPS here"))
            .ok();
        Self { client }
    }

    /// A connection to this address.
    pub(super) async fn connect(&self, address: Url) -> Result<Socket, Ending> {
        let upgrading = timeout(CONNECT_TIMEOUT, self.upgrade(address));
        let upgraded = upgrading.await.unwrap_or(Err(Ending::Unreachable))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(READ)
            .write_buffer_size(0);
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok(Socket {
            stream,
            heard_at: Instant::now(),
            beat_at: Instant::now() + HEARTBEAT,
        })
    }

    /// Errors are not logged, as they may show the address.
    async fn upgrade(&self, address: Url) -> Result<Upgraded, Ending> {
        let client = self.client.as_ref().ok_or(Ending::Unreachable)?;
        let key = generate_key();
        let request = client
            .get(address)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let response = request.send().await.map_err(|_| Ending::Unreachable)?;
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let wanted = derive_accept_key(key.as_bytes());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted.is_none_or(|accepted| accepted != wanted.as_str())
        {
            return Err(Ending::Refused);
        }
        response.upgrade().await.map_err(|_| Ending::Refused)
    }
}

/// A connection to a Misskey.
pub(super) struct Socket {
    stream: WebSocketStream<Upgraded>,
    heard_at: Instant,
    beat_at: Instant,
}

impl Socket {
    /// Sends a message.
    pub(super) async fn send(&mut self, message: Box<str>) -> Result<(), Ending> {
        self.put(Message::text(String::from(message))).await
    }

    /// The next message that is a text; nothing if something else came, or the time
    /// for a ping. Nothing is lost if this is not waited for to its end.
    pub(super) async fn hear(&mut self) -> Result<Option<Box<str>>, Ending> {
        let heard = tokio::select! {
            heard = self.stream.next() => heard,
            () = tokio::time::sleep_until(self.beat_at) => {
                if 2 * HEARTBEAT <= self.heard_at.elapsed() {
                    return Err(Ending::Silent);
                }
                self.beat_at += HEARTBEAT;
                self.put(Message::Ping(Default::default())).await?;
                return Ok(None);
            }
        };
        self.heard_at = Instant::now();
        match heard {
            Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().into())),
            Some(Ok(Message::Close(_))) | None => Err(Ending::Upstream),
            Some(Ok(_)) => Ok(None),
            Some(Err(Error::Capacity(_))) => Err(Ending::TooLong),
            Some(Err(_)) => Err(Ending::Upstream),
        }
    }

    /// Says goodbye, if the Misskey still listens.
    pub(super) async fn close(mut self) {
        drop(timeout(SEND_TIMEOUT, self.stream.close(None)).await);
    }

    async fn put(&mut self, message: Message) -> Result<(), Ending> {
        match timeout(SEND_TIMEOUT, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ending::Upstream),
            Err(_) => Err(Ending::Overrun),
        }
    }
}
