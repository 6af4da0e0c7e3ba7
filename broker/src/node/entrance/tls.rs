//! TLS to clients: the certificate that they are shown, which may be renewed while
//! connections come, and how they are served.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntGauge, Registry};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::warn;
use x509_cert::der::Decode as _;

use crate::node::env::Env;
use crate::node::register::Register;
use crate::node::secrets::SecretFiles;

/// What is spoken over it.
const PROTOCOL: &[u8] = b"http/1.1";

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The variable that names the first.
    variable: &'static str,
}

impl TlsFiles {
    /// What two variables say that come together, if they are set.
    pub fn read(env: &mut Env, certificate: &'static str, key: &'static str) -> Option<Self> {
        let variable = certificate;
        let files = (env.optional(certificate), env.optional(key));
        if files.0.is_some() != files.1.is_some() {
            env.complain(format!("{certificate} and {key} come together"));
        }
        let (certificate, key) = files.0.zip(files.1)?;
        Some(Self {
            certificate,
            key,
            variable,
        })
    }

    /// What they say, and from then on what they come to say.
    ///
    /// # Errors
    /// If it cannot be shown.
    pub fn open(
        &self,
        registry: &Registry,
        secrets: &mut SecretFiles,
    ) -> Result<Certificate, BadCertificate> {
        let certificate = Certificate::open(self, registry)?;
        let renewed = certificate.clone();
        let paths = [self.certificate.clone(), self.key.clone()];
        secrets.watch(self.variable, paths, move |contents| {
            renewed.renew(contents)
        });
        Ok(certificate)
    }
}

/// Why a certificate cannot be shown. Nothing of what the files hold is repeated.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// A file cannot be read.
    #[error("{}: {}", .0.display(), .1.kind())]
    Unreadable(PathBuf, std::io::Error),
    /// There is none.
    #[error("there is no certificate in PEM")]
    None,
    /// It is none.
    #[error("the certificate cannot be read")]
    NoCertificate,
    /// There is no key.
    #[error("there is no private key in PEM")]
    NoKey,
    /// The key is of no use, or another certificate's.
    #[error("certificate and key do not fit together: {0}")]
    Unfit(rustls::Error),
    /// It has ended, and what it was to replace has not.
    #[error("the certificate has ended already")]
    Ended,
    /// The system gives no random numbers, or a metric exists twice.
    #[error("TLS cannot be had: {0}")]
    Unavailable(String),
}

/// The certificate that clients are shown. Clones are the same.
#[derive(Clone, Debug)]
pub struct Certificate {
    shown: Arc<Mutex<Arc<CertifiedKey>>>,
    not_after: IntGauge,
}

impl Certificate {
    /// What the files say.
    ///
    /// # Errors
    /// If it cannot be shown.
    fn open(files: &TlsFiles, registry: &Registry) -> Result<Self, BadCertificate> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| BadCertificate::Unreadable(path.clone(), error))
        };
        let (certified, ends) = certified(&read(&files.certificate)?, &read(&files.key)?)?;
        let not_after = Register::new("carillon_tls", registry)
            .gauge(
                "not_after_seconds",
                "When the certificate ends that clients are shown, Unix time.",
            )
            .map_err(|error| BadCertificate::Unavailable(error.to_string()))?;
        not_after.set(ends);
        if ends <= now() {
            // Not to start would help nobody: some clients do not look, and whoever
            // renews it may be a process that is to start after this one.
            warn!("the certificate that clients are shown has ended");
        }
        Ok(Self {
            shown: Arc::new(Mutex::new(Arc::new(certified))),
            not_after,
        })
    }

    /// Shows another one from now on, which certificate and key say in PEM, in this
    /// order. Connections that are open keep what they were shown.
    ///
    /// # Errors
    /// If it cannot be shown; then the one before is, as it was.
    fn renew(&self, contents: &[Vec<u8>]) -> Result<(), BadCertificate> {
        let [certificate, key] = contents else {
            return Err(BadCertificate::None);
        };
        let (certified, ends) = certified(certificate, key)?;
        if ends <= now().min(self.not_after.get()) {
            return Err(BadCertificate::Ended);
        }
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        self.not_after.set(ends);
        Ok(())
    }

    /// How connections are served with it: TLS 1.2 and 1.3, and whoever was here
    /// lately may come back with a ticket, which spares both sides the certificate.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub(super) fn config(&self) -> Result<ServerConfig, BadCertificate> {
        let unavailable = |error: rustls::Error| BadCertificate::Unavailable(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unavailable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.ticketer = Ticketer::new().map_err(unavailable)?;
        Ok(config)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// A certificate with its key, and when it ends.
fn certified(certificate: &[u8], key: &[u8]) -> Result<(CertifiedKey, i64), BadCertificate> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| BadCertificate::None)?;
    let leaf = chain.first().ok_or(BadCertificate::None)?;
    let leaf = x509_cert::Certificate::from_der(leaf).map_err(|_| BadCertificate::NoCertificate)?;
    let ends = leaf.tbs_certificate().validity().not_after;
    let ends = i64::try_from(ends.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadCertificate::NoKey)?;
    let provider = aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(BadCertificate::Unfit)?;
    Ok((certified, ends))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    const DAY: i64 = 86_400;

    fn openssl(folder: &Path, args: &str) {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(folder).stderr(Stdio::null());
        let done = openssl.args(args.split(' ')).status();
        assert!(done.expect("openssl is installed").success(), "{args}");
    }

    /// What the files of a certificate hold that ends in so many days.
    fn make(folder: &Path, days: i64) -> Vec<Vec<u8>> {
        // Without any extension it would be of a version that nobody takes any more.
        fs::write(folder.join("ext"), "basicConstraints=CA:FALSE").unwrap();
        openssl(
            folder,
            "req -new -noenc -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=tests -keyout key -out csr",
        );
        openssl(
            folder,
            &format!("x509 -req -in csr -signkey key -extfile ext -days {days} -out crt"),
        );
        ["crt", "key"]
            .map(|name| fs::read(folder.join(name)).unwrap())
            .into()
    }

    #[test]
    fn a_certificate_gives_way_only_to_one_that_can_be_shown() {
        let name = format!("carillon-certificate-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let (new, ended, first) = (make(&folder, 9), make(&folder, -1), make(&folder, 5));
        let files = TlsFiles {
            certificate: folder.join("crt"),
            key: folder.join("key"),
            variable: "CARILLON_GATEWAY_TLS_CERT_FILE",
        };
        let certificate = Certificate::open(&files, &Registry::new()).unwrap();
        let shown = || certificate.shown.lock().unwrap().cert[0].to_vec();
        let ends = || certificate.not_after.get() - now();
        let was = shown();
        assert!((5 * DAY - 600..=5 * DAY).contains(&ends()), "{}", ends());

        let crossed = vec![new[0].clone(), first[1].clone()];
        let without_key = vec![new[0].clone(), new[0].clone()];
        let turned = vec![new[1].clone(), new[0].clone()];
        let cut = vec![new[0][..new[0].len() / 2].to_vec(), new[1].clone()];
        for (bad, why) in [
            (ended, "the certificate has ended already"),
            (without_key, "there is no private key in PEM"),
            (turned, "there is no certificate in PEM"),
            (cut, "there is no certificate in PEM"),
            (
                vec![Vec::new(), Vec::new()],
                "there is no certificate in PEM",
            ),
        ] {
            assert_eq!(certificate.renew(&bad).unwrap_err().to_string(), why);
        }
        let unfit = certificate.renew(&crossed).unwrap_err();
        assert!(matches!(unfit, BadCertificate::Unfit(_)), "{unfit}");
        assert_eq!(shown(), was, "none of them is shown");

        certificate.renew(&new).unwrap();
        assert_ne!(shown(), was);
        assert!((9 * DAY - 600..=9 * DAY).contains(&ends()), "{}", ends());
        fs::remove_dir_all(folder).unwrap();
    }
}
