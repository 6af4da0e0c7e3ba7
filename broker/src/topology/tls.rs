//! TLS to servers of Redis: whom we believe, and who we say we are.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt;

use super::settings::TlsFiles;
use crate::error::Error;

/// How connections are made over TLS.
pub(crate) struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    /// As it was at the start; all there is to it if no file is named.
    first: Arc<ClientConfig>,
}

impl Tls {
    /// With what the files say.
    ///
    /// # Errors
    /// [`Error::Topology`] if they cannot be read.
    pub(super) fn new(files: TlsFiles) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let first = build(&files, Arc::clone(&provider))
            .map_err(|error| Error::Topology(error.to_string()))?;
        Ok(Self {
            files,
            provider,
            first: Arc::new(first),
        })
    }

    /// What the next connection uses: certificates are renewed while we run.
    pub(super) fn config(&self) -> io::Result<Arc<ClientConfig>> {
        if self.files == TlsFiles::default() {
            return Ok(Arc::clone(&self.first));
        }
        build(&self.files, Arc::clone(&self.provider)).map(Arc::new)
    }
}

fn build(files: &TlsFiles, provider: Arc<CryptoProvider>) -> io::Result<ClientConfig> {
    let config: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
    let config = match &files.authorities {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots
                    .add(authority)
                    .map_err(|error| in_file(path, &error))?;
            }
            config.with_root_certificates(roots)
        }
        None => config.with_platform_verifier().map_err(io::Error::other)?,
    };
    match &files.own {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            // What the key holds is not repeated, whatever is wrong with it.
            let private = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|_| in_file(key, &"no private key in PEM"))?;
            config
                .with_client_auth_cert(chain, private)
                .map_err(|error| in_file(certificate, &error))
        }
    }
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| in_file(path, &error))?;
    if all.is_empty() {
        return Err(in_file(path, &"no certificate in PEM"));
    }
    Ok(all)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}
