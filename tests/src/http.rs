//! As much of an HTTP/1.1 client as tests need.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustls::ClientConfig;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::socket::Line;
use crate::trust::shake_hands;

/// Far longer than any server of ours takes to answer, if only to say that it
/// took too long.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client of one server; keeps connections open for the next request.
///
/// A request is sent once: what fails is told, never tried again.
pub struct Http {
    server: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Vec<BufReader<Box<dyn Line>>>>,
}

impl Http {
    /// A client of this server. Connects when there is something to ask.
    pub fn to(server: SocketAddr) -> Self {
        Self {
            server,
            tls: None,
            idle: Mutex::default(),
        }
    }

    /// The same over TLS.
    pub fn over_tls(mut self, config: &Arc<ClientConfig>) -> Self {
        self.tls = Some(Arc::clone(config));
        self
    }

    /// `GET path`.
    ///
    /// # Errors
    /// If no whole answer comes.
    pub async fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], b"").await
    }

    /// `GET path` of one of the hosts that the server answers for.
    ///
    /// # Errors
    /// If no whole answer comes.
    pub async fn get_as(&self, host: &str, path: &str) -> Result<Response> {
        self.send("GET", host, path, &[], b"").await
    }

    /// Sends one request and reads the answer.
    ///
    /// # Errors
    /// If no whole answer comes.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let host = self.server.to_string();
        self.send(method, &host, path, headers, body).await
    }

    async fn send(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut connection = self.connection().await?;
        let sent = connection
            .write_all(&[head.as_bytes(), body].concat())
            .await;
        // Who refuses a request may do so before all of it has come.
        let answer = timeout(ANSWERS_WITHIN, read(&mut connection)).await;
        let response = match answer.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
            Ok(response) => response,
            Err(unread) => return Err(sent.err().unwrap_or(unread)),
        };
        if response.header("connection") != Some("close") {
            self.idle
                .lock()
                .expect("nobody panics here")
                .push(connection);
        }
        Ok(response)
    }

    async fn connection(&self) -> Result<BufReader<Box<dyn Line>>> {
        let idle = || self.idle.lock().expect("nobody panics here").pop();
        while let Some(mut connection) = idle() {
            // A server that went away has closed its end: then reading would not block.
            if connection.read(&mut [0]).now_or_never().is_none() {
                return Ok(connection);
            }
        }
        let stream: Box<dyn Line> = match &self.tls {
            Some(config) => Box::new(shake_hands(self.server, config).await?),
            None => {
                let stream = TcpStream::connect(self.server).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Ok(BufReader::new(stream))
    }
}

/// Reads one answer.
pub(crate) async fn read<L: AsyncRead + Unpin>(connection: &mut BufReader<L>) -> Result<Response> {
    let status = line(connection).await?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut response = Response {
        status: status.ok_or(ErrorKind::InvalidData)?,
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let line = line(connection).await?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        response
            .headers
            .push((name.to_lowercase(), value.trim().to_owned()));
    }
    if response.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = line(connection).await?;
            let size = usize::from_str_radix(&size, 16).map_err(Error::other)?;
            let start = response.body.len();
            response.body.resize(start + size, 0);
            connection.read_exact(&mut response.body[start..]).await?;
            line(connection).await?;
            if size == 0 {
                return Ok(response);
            }
        }
    }
    let length = response
        .header("content-length")
        .and_then(|length| length.parse().ok());
    response.body.resize(length.unwrap_or(0), 0);
    connection.read_exact(&mut response.body).await?;
    Ok(response)
}

/// One line without its end.
async fn line<L: AsyncRead + Unpin>(connection: &mut BufReader<L>) -> Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line).await? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}
