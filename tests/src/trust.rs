//! Clients that believe an authority of a test, and what they saw of a server.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::Authority;
use crate::until::PATIENCE;

/// What a client saw of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The certificate that the server showed first.
    pub certificate: Vec<u8>,
    /// The version of TLS.
    pub version: ProtocolVersion,
    /// Whether it was known from another time.
    pub resumed: bool,
    /// What is spoken over it.
    pub protocol: Option<Vec<u8>>,
}

impl Authority {
    /// Clients that believe it, and speak these versions of TLS.
    ///
    /// # Panics
    /// If it has lost its own certificate.
    pub fn believed(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let own = CertificateDer::from_pem_file(self.certificate("ca"));
        let mut roots = RootCertStore::empty();
        let added = roots.add(own.expect("it has a certificate"));
        added.expect("it is an authority");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("these are spoken")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// Connects, as far as that everything is encrypted from then on.
///
/// # Errors
/// If the server is not believed, or speaks no TLS that the client does.
pub async fn shake_hands(
    server: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(server).await?;
    tcp.set_nodelay(true)?;
    let host = ServerName::try_from("localhost").expect("it is one");
    let shaking = TlsConnector::from(Arc::clone(config)).connect(host, tcp);
    timeout(PATIENCE, shaking).await?
}

/// What a client saw of the server at the other end.
///
/// # Panics
/// If the handshake is not done.
pub fn shown(stream: &TlsStream<TcpStream>) -> Shown {
    let (_, tls) = stream.get_ref();
    let chain = tls.peer_certificates().expect("the handshake is done");
    Shown {
        certificate: chain[0].to_vec(),
        version: tls.protocol_version().expect("so is this"),
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        protocol: tls.alpn_protocol().map(<[u8]>::to_vec),
    }
}
