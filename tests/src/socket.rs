//! A WebSocket client that shows everything: refusals, frames, pings, closes.
//!
//! The frames are read by an implementation that is not ours, so a mistake in
//! our codec cannot hide behind the same mistake here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::until::PATIENCE;

/// The subprotocol on which clients acknowledge.
pub const JSON: &str = "push.v1.json";

/// An upgrade about to be asked for.
pub struct Upgrade {
    uri: String,
    server: SocketAddr,
    from: Option<IpAddr>,
    headers: Vec<(&'static str, String)>,
    receive_buffer: Option<u32>,
    tls: Option<Arc<ClientConfig>>,
}

/// Why there is no socket.
#[derive(Debug)]
pub enum Refusal {
    /// The server answered with this status and these headers.
    Http(u16, Vec<(String, String)>),
    /// There was no answer that HTTP knows.
    Broken(String),
}

impl Refusal {
    /// The status of the refusal.
    ///
    /// # Panics
    /// If the server did not answer in HTTP.
    pub fn status(&self) -> u16 {
        match self {
            Self::Http(status, _) => *status,
            Self::Broken(why) => panic!("no HTTP answer: {why}"),
        }
    }

    /// A header of the refusal, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Http(_, headers) => {
                let found = headers.iter().find(|(known, _)| known == name)?;
                Some(&found.1)
            }
            Self::Broken(_) => None,
        }
    }
}

impl Upgrade {
    /// Asks for what the URI names, at the address it names.
    ///
    /// # Panics
    /// If the URI does not name an address.
    pub fn to(uri: &str) -> Self {
        let (_, rest) = uri.split_once("://").expect("a URI has a scheme");
        let authority = rest.split('/').next().unwrap_or_default();
        let server = authority
            .parse()
            .expect("the URI names an IP address and a port");
        Self::to_host(uri, server)
    }

    /// Asks this server for what the URI names, whose host may be any.
    pub fn to_host(uri: &str, server: SocketAddr) -> Self {
        Self {
            uri: uri.to_owned(),
            server,
            from: None,
            headers: Vec::new(),
            receive_buffer: None,
            tls: None,
        }
    }

    /// Goes to another server than the URI names.
    pub fn at(mut self, server: SocketAddr) -> Self {
        self.server = server;
        self
    }

    /// Comes from this address of our own.
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Sends a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Asks for the subprotocol on which messages are JSON and acknowledged.
    pub fn acknowledging(self) -> Self {
        self.header("sec-websocket-protocol", JSON)
    }

    /// Tells the kernel to keep little for a client that does not read, in bytes.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Speaks TLS; the server is to show that it is `localhost`.
    pub fn over_tls(mut self, config: &Arc<ClientConfig>) -> Self {
        self.tls = Some(Arc::clone(config));
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// If the server refuses or is not there.
    pub async fn open(self) -> Result<Socket, Refusal> {
        let broken = |error: &dyn std::fmt::Display| Refusal::Broken(error.to_string());
        let tcp = self.connect().await.map_err(|error| broken(&error))?;
        let local = tcp.local_addr().map_err(|error| broken(&error))?;
        let stream: Box<dyn Line> = match &self.tls {
            None => Box::new(tcp),
            Some(config) => {
                let host = ServerName::try_from("localhost").expect("it is one");
                let connector = TlsConnector::from(Arc::clone(config));
                let handshake = timeout(PATIENCE, connector.connect(host, tcp));
                let shaken = handshake.await.map_err(|error| broken(&error))?;
                Box::new(shaken.map_err(|error| broken(&error))?)
            }
        };
        let mut request = self
            .uri
            .into_client_request()
            .map_err(|error| broken(&error))?;
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).map_err(|error| broken(&error))?;
            request
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
        let handshake = timeout(PATIENCE, tokio_tungstenite::client_async(request, stream));
        match handshake.await.map_err(|error| broken(&error))? {
            Ok((stream, response)) => Ok(Socket {
                stream,
                local,
                subprotocol: response
                    .headers()
                    .get("sec-websocket-protocol")
                    .and_then(|name| name.to_str().ok())
                    .map(str::to_owned),
            }),
            Err(tungstenite::Error::Http(response)) => Err(Refusal::Http(
                response.status().as_u16(),
                response
                    .headers()
                    .iter()
                    .map(|(name, value)| {
                        let value = String::from_utf8_lossy(value.as_bytes());
                        (name.to_string(), value.into_owned())
                    })
                    .collect(),
            )),
            Err(error) => Err(broken(&error)),
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(address) = self.from {
            socket.bind(SocketAddr::new(address, 0))?;
        }
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// A ping, which is answered when the socket is next read.
    Ping,
    /// A pong.
    Pong,
    /// A close frame: its code and reason, or 1005 for one without.
    Closed(u16, String),
    /// The connection ended without a close frame.
    Gone,
}

/// What bytes travel on, encrypted or not.
pub(crate) trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<L: AsyncRead + AsyncWrite + Unpin + Send> Line for L {}

/// An open WebSocket. It reads only when asked what it heard.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Line>>,
    local: SocketAddr,
    subprotocol: Option<String>,
}

impl Socket {
    /// The subprotocol the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Our end of the connection.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// What comes next, however long it takes.
    pub async fn heard(&mut self) -> Heard {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Heard::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(bytes))) => Heard::Binary(bytes.to_vec()),
            Some(Ok(Message::Ping(_))) => Heard::Ping,
            Some(Ok(Message::Pong(_))) => Heard::Pong,
            Some(Ok(Message::Close(Some(frame)))) => {
                Heard::Closed(frame.code.into(), frame.reason.as_str().to_owned())
            }
            Some(Ok(Message::Close(None))) => Heard::Closed(1005, String::new()),
            Some(Ok(Message::Frame(_)) | Err(_)) | None => Heard::Gone,
        }
    }

    /// What comes within `patience`, if anything.
    pub async fn heard_within(&mut self, patience: Duration) -> Option<Heard> {
        timeout(patience, self.heard()).await.ok()
    }

    /// The next text frame; pings are passed over.
    ///
    /// # Panics
    /// If something else comes, or nothing within [`PATIENCE`].
    pub async fn text(&mut self) -> String {
        loop {
            match self.heard_within(PATIENCE).await {
                Some(Heard::Text(text)) => return text,
                Some(Heard::Ping | Heard::Pong) => {}
                other => panic!("expected a text frame, heard {other:?}"),
            }
        }
    }

    /// The next text frame, read as JSON.
    ///
    /// # Panics
    /// As [`Socket::text`], or if it is not JSON.
    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).expect("the frame is JSON")
    }

    /// How the server ends the connection; what comes before is passed over.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    pub async fn end(&mut self) -> Heard {
        loop {
            match self.heard_within(PATIENCE).await {
                Some(end @ (Heard::Closed(..) | Heard::Gone)) => return end,
                Some(_) => {}
                None => panic!("the server keeps the connection open"),
            }
        }
    }

    /// The code with which the server closes; what comes before is passed over.
    ///
    /// # Panics
    /// If it does not close, or without a close frame.
    pub async fn close_code(&mut self) -> u16 {
        match self.end().await {
            Heard::Closed(code, _) => code,
            other => panic!("expected a close frame, heard {other:?}"),
        }
    }

    /// Sends a text frame. Whether it arrives is for the server to show.
    pub async fn say(&mut self, text: &str) {
        drop(self.stream.send(Message::text(text)).await);
    }

    /// Sends a ping.
    pub async fn ping(&mut self) {
        drop(self.stream.send(Message::Ping(Vec::new().into())).await);
    }

    /// Acknowledges messages.
    pub async fn acknowledge(&mut self, ids: &[&str]) {
        self.say(&json!({ "ack": ids }).to_string()).await;
    }

    /// Sends a close frame. What the server sent before it is still to be heard.
    pub async fn ask_to_close(&mut self) {
        drop(self.stream.close(None).await);
    }

    /// Closes as a browser does, and waits for the server to agree.
    pub async fn close(mut self) {
        self.ask_to_close().await;
        while !matches!(self.heard_within(PATIENCE).await, None | Some(Heard::Gone)) {}
    }
}
