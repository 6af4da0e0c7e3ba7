//! One connection to one server: a name looked up, TCP, and TLS where it is asked for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::{ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::settings::{Address, Login};
use super::tls::Tls;
use crate::current::Current;

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection on which nothing happens for so long is asked whether it is one
/// still, lest something between us and Redis forgets it.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// As whom, and how, to speak to servers.
pub(crate) struct Access {
    pub(crate) login: Current<Login>,
    pub(super) db: i64,
    pub(super) tls: Option<Tls>,
}

/// A server, and how to speak to it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) access: Arc<Access>,
}

impl Access {
    /// As the client's library understands it. The protocol is the one that
    /// tells of ends.
    pub(super) fn info(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            // Servers before 7.2 do not know how to be told of libraries, and so none
            // can be given the right to be.
            .set_skip_set_lib_name()
            .set_db(self.db);
        let login = self.login.get();
        if let Some(user) = &login.user {
            info = info.set_username(user);
        }
        if let Some(password) = &login.password {
            info = info.set_password(password);
        }
        info
    }
}

impl Server {
    /// Connects. The name is looked up anew each time: a failover may have moved it.
    ///
    /// # Errors
    /// If that fails, or takes longer than a second.
    pub(crate) async fn dial(&self) -> io::Result<Stream> {
        timeout(CONNECT_TIMEOUT, self.connect())
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn connect(&self) -> io::Result<Stream> {
        let Address { host, port } = &self.address;
        let tcp = TcpStream::connect((&**host, *port)).await?;
        tcp.set_nodelay(true)?;
        SockRef::from(&tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        let Some(tls) = &self.access.tls else {
            return Ok(Stream::Plain(tcp));
        };
        let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(tls.config()?).connect(name, tcp).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// A connection, in clear or not.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
