//! What a connection passes before its first request: a proxy says whose it is, and it
//! is encrypted.

mod proxied;
mod tls;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use prometheus::{Error, IntCounter};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use self::proxied::Header;
pub use self::tls::{BadCertificate, Certificate, TlsFiles};
use super::register::Register;

/// How long a proxy has for its header. It knows it all along, and sends it before
/// anything else.
const HEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection passes before its first request.
pub struct Entrance {
    proxies: Vec<IpNet>,
    tls: Option<TlsAcceptor>,
    patience: Duration,
    metrics: EntranceMetrics,
}

/// A connection that has passed.
#[derive(Debug)]
pub enum Passed {
    /// In clear.
    Plain(TcpStream),
    /// Over TLS, whose handshake is done.
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Why a connection was ended before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// From where a header is due there came none in time, or none that can be read.
    #[error("it does not begin with a PROXY header, as one from its network has to")]
    NoProxyHeader,
    /// There is no TLS to be had with it, or not in time.
    #[error("its TLS handshake failed")]
    NoHandshake,
    /// It has ended without a word, as those do that only look whether somebody is there.
    #[error("it said nothing")]
    Silent,
}

/// Counts connections that were ended before their first request. Clones are the same.
#[derive(Clone, Debug)]
pub struct EntranceMetrics {
    no_proxy_header: IntCounter,
    no_handshake: IntCounter,
}

impl EntranceMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(register: Register<'_>) -> Result<Self, Error> {
        let causes = ["proxy_header", "tls"];
        let refused = register.counters(
            "unopened_total",
            "Connections ended before their first request, by what was wrong.",
            ["cause"],
            causes.map(|cause| [cause]),
        )?;
        let [no_proxy_header, no_handshake] =
            causes.map(|cause| refused.with_label_values(&[cause]));
        Ok(Self {
            no_proxy_header,
            no_handshake,
        })
    }
}

impl Entrance {
    /// Connections from these networks begin with a PROXY header, others do not. All are
    /// over TLS, if there is a certificate for it, and have so long for its handshake.
    ///
    /// # Errors
    /// If TLS cannot be had.
    pub fn new(
        proxies: Vec<IpNet>,
        certificate: Option<&Certificate>,
        patience: Duration,
        metrics: EntranceMetrics,
    ) -> Result<Self, BadCertificate> {
        let config = certificate.map(Certificate::config).transpose()?;
        let tls = config.map(|config| TlsAcceptor::from(Arc::new(config)));
        Ok(Self {
            proxies,
            tls,
            patience,
            metrics,
        })
    }

    /// The connection and whose it is that came from `peer`: where a proxy has it from,
    /// or the peer itself.
    ///
    /// # Errors
    /// If the connection is to be ended.
    pub async fn pass(
        &self,
        mut stream: TcpStream,
        peer: IpAddr,
    ) -> Result<(Passed, IpAddr), Refused> {
        let passed = async {
            let address = self.whose(&mut stream, peer).await?;
            Ok((self.encrypt(stream).await?, address))
        };
        let passed = passed.await;
        match passed {
            Err(Refused::NoProxyHeader) => self.metrics.no_proxy_header.inc(),
            Err(Refused::NoHandshake) => self.metrics.no_handshake.inc(),
            Ok(_) | Err(Refused::Silent) => {}
        }
        passed
    }

    /// Whose connection it is. What follows the header is left in the stream.
    async fn whose(&self, stream: &mut TcpStream, peer: IpAddr) -> Result<IpAddr, Refused> {
        let address = peer.to_canonical();
        if !self.proxies.iter().any(|net| net.contains(&address)) {
            return Ok(peer);
        }
        let reading = timeout(HEADER_TIMEOUT, read_header(stream));
        let source = reading.await.unwrap_or(Err(Refused::NoProxyHeader))?;
        Ok(source.unwrap_or(peer))
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<Passed, Refused> {
        let Some(acceptor) = &self.tls else {
            return Ok(Passed::Plain(stream));
        };
        let accepting = async {
            if stream.peek(&mut [0]).await.is_ok_and(|bytes| bytes == 0) {
                return Err(Refused::Silent);
            }
            let accepted = acceptor.accept(stream).await;
            accepted.map_err(|error| {
                debug!(%error, "a TLS handshake failed");
                Refused::NoHandshake
            })
        };
        let accepted = timeout(self.patience, accepting).await;
        let accepted = accepted.unwrap_or(Err(Refused::NoHandshake))?;
        Ok(Passed::Encrypted(Box::new(accepted)))
    }
}

/// Takes a header off the stream, and not a byte more.
async fn read_header(stream: &mut TcpStream) -> Result<Option<IpAddr>, Refused> {
    let mut bytes = vec![0; proxied::LONGEST];
    let mut taken = 0;
    let broken = |_: io::Error| Refused::NoProxyHeader;
    loop {
        let more = stream.peek(&mut bytes[taken..]).await.map_err(broken)?;
        let seen = taken + more;
        let header = match more {
            0 if taken == 0 => return Err(Refused::Silent),
            0 => return Err(Refused::NoProxyHeader),
            _ => proxied::read(&bytes[..seen]),
        };
        let (upto, source) = match header.map_err(|_| Refused::NoProxyHeader)? {
            Header::Incomplete => (seen, None),
            Header::Whole { length, source } => (length, Some(source)),
        };
        let taking = stream.read_exact(&mut bytes[taken..upto]);
        taking.await.map_err(broken)?;
        taken = upto;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn entrance(proxies: &str) -> Entrance {
        let proxies = proxies.split(',').filter(|net| !net.is_empty());
        let proxies = proxies.map(|net| net.parse().unwrap()).collect();
        let register = Registry::new();
        let register = Register::new("carillon_test", &register);
        let metrics = EntranceMetrics::register(register).unwrap();
        Entrance::new(proxies, None, HEADER_TIMEOUT, metrics).unwrap()
    }

    /// What comes of a connection that sends these pieces, and what is left of them.
    async fn pass(entrance: &Entrance, pieces: &[&[u8]]) -> (Result<String, Refused>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.set_nodelay(true).unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let passing = entrance.pass(stream, peer.ip());
        let (passed, ()) = tokio::join!(passing, sending);
        let mut left = Vec::new();
        let passed = match passed {
            Ok((Passed::Plain(mut stream), address)) => {
                stream.read_to_end(&mut left).await.unwrap();
                Ok(address.to_string())
            }
            Ok((Passed::Encrypted(_), _)) => panic!("nobody asked for TLS"),
            Err(refused) => Err(refused),
        };
        (passed, left)
    }

    const LINE: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n";

    #[tokio::test]
    async fn from_a_proxy_the_address_in_the_header_counts() {
        let entrance = entrance("10.0.0.0/8,127.0.0.0/8");
        let (passed, left) = pass(&entrance, &[LINE, b"GET /"]).await;
        assert_eq!(
            (passed, &left[..]),
            (Ok("203.0.113.9".to_owned()), &b"GET /"[..])
        );
        let pieces: Vec<_> = LINE.chunks(1).chain([&b"GET /"[..]]).collect();
        let (passed, left) = pass(&entrance, &pieces).await;
        assert_eq!(
            (passed, &left[..]),
            (Ok("203.0.113.9".to_owned()), &b"GET /"[..])
        );
        let (passed, left) = pass(&entrance, &[b"PROXY UNKNOWN\r\n"]).await;
        assert_eq!((passed, &left[..]), (Ok("127.0.0.1".to_owned()), &b""[..]));
    }

    #[tokio::test]
    async fn from_a_proxy_a_header_has_to_come() {
        let entrance = entrance("127.0.0.1/32");
        for pieces in [&[&b"GET / HTTP/1.1\r\n\r\n"[..]][..], &[&LINE[..20]]] {
            let (passed, _) = pass(&entrance, pieces).await;
            assert_eq!(passed, Err(Refused::NoProxyHeader));
        }
        assert_eq!(entrance.metrics.no_proxy_header.get(), 2);
        let (passed, _) = pass(&entrance, &[]).await;
        assert_eq!(passed, Err(Refused::Silent));
        assert_eq!(entrance.metrics.no_proxy_header.get(), 2);
    }

    #[tokio::test]
    async fn a_header_is_not_waited_for_longer_than_a_second() {
        let entrance = entrance("127.0.0.1/32");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connecting, listener.accept());
        let (stream, peer) = accepted.unwrap();
        let mut client = client.unwrap();
        client.write_all(&LINE[..LINE.len() - 1]).await.unwrap();
        let began = std::time::Instant::now();
        let passed = entrance.pass(stream, peer.ip()).await;
        assert_eq!(passed.unwrap_err(), Refused::NoProxyHeader);
        assert!(HEADER_TIMEOUT <= began.elapsed());
    }

    #[tokio::test]
    async fn from_others_nothing_is_read() {
        for proxies in ["", "10.0.0.0/8,::1/128"] {
            let (passed, left) = pass(&entrance(proxies), &[LINE, b"GET /"]).await;
            assert_eq!(passed, Ok("127.0.0.1".to_owned()));
            assert_eq!(left, [LINE, b"GET /"].concat());
        }
    }
}
