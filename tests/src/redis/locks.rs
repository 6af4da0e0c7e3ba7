//! Certificates and users of a Redis of one's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Setup;

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// They are not.
    Off,
    /// They are; the server shows a certificate.
    On,
    /// They are; the client has to show one too.
    Mutual,
}

/// As whom servers sign in at each other.
const PEER: [&str; 3] = ["AUTH", "peer", "between-servers"];
/// As whom the test signs in.
const TEST: [&str; 3] = ["AUTH", "test", "behind-the-scenes"];
/// Server and client alike: servers are each other's clients.
const OPENSSL: &str = "[req]
distinguished_name = name
prompt = no
[name]
CN = Carillon tests
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = IP:127.0.0.1,DNS:localhost
";

/// What lets clients and servers in.
#[derive(Debug)]
pub struct Locks {
    tls: Tls,
    folder: PathBuf,
    acl: Option<PathBuf>,
}

impl Locks {
    /// Makes certificates and the ACL file where they are asked for.
    pub(super) fn new(setup: &Setup, folder: &Path) -> Self {
        let locks = Self {
            tls: setup.tls,
            folder: folder.to_owned(),
            acl: setup.users.as_ref().map(|_| folder.join("users.acl")),
        };
        if let (Some(file), Some(users)) = (&locks.acl, &setup.users) {
            let ours = [PEER, TEST]
                .map(|[_, user, password]| format!("user {user} on >{password} ~* &* +@all\n"));
            let text = format!("user default off\n{}{users}", ours.concat());
            std::fs::write(file, text).expect("the fleet's folder is writable");
        }
        if locks.tls() {
            locks.certify();
        }
        locks
    }

    /// Makes an authority, and certificates for servers and clients.
    fn certify(&self) {
        let config = self.folder.join("openssl.cnf");
        std::fs::write(&config, OPENSSL).expect("the fleet's folder is writable");
        for name in ["ca", "server", "client"] {
            let mut command = Command::new("openssl");
            command
                .args(["req", "-x509", "-noenc", "-days", "2", "-newkey", "ec"])
                .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-config"])
                .arg(&config)
                .arg("-out")
                .arg(self.pem(name, "crt"))
                .arg("-keyout")
                .arg(self.pem(name, "key"))
                .args(["-subj", &format!("/CN=Carillon tests {name}")]);
            if name == "ca" {
                command.args(["-extensions", "authority"]);
            } else {
                command.args(["-extensions", "leaf", "-CA"]);
                command.arg(self.pem("ca", "crt")).arg("-CAkey");
                command.arg(self.pem("ca", "key"));
            }
            let status = command.stderr(Stdio::null()).status();
            let made = status.is_ok_and(|status| status.success());
            assert!(made, "openssl makes no certificate for {name}");
        }
    }

    /// Whether connections are encrypted.
    pub fn tls(&self) -> bool {
        self.tls != Tls::Off
    }

    /// The certificate of the authority that vouches for servers and clients.
    pub fn authority(&self) -> PathBuf {
        self.pem("ca", "crt")
    }

    /// A client's certificate and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.pem("client", "crt"), self.pem("client", "key"))
    }

    fn pem(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{name}.{kind}"))
    }

    /// What a server that holds data is told.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.tls_lines();
        if self.tls() {
            lines.push("tls-cluster yes".to_owned());
        }
        if let (Some(file), [_, user, password]) = (&self.acl, PEER) {
            lines.push(format!("aclfile {}", file.display()));
            lines.push(format!("masteruser {user}"));
            lines.push(format!("masterauth {password}"));
        }
        lines
    }

    /// What a server and a sentinel are told of certificates.
    pub(super) fn tls_lines(&self) -> Vec<String> {
        if !self.tls() {
            return Vec::new();
        }
        let asks = if self.tls == Tls::Mutual { "yes" } else { "no" };
        vec![
            format!("tls-cert-file {}", self.pem("server", "crt").display()),
            format!("tls-key-file {}", self.pem("server", "key").display()),
            format!("tls-ca-cert-file {}", self.authority().display()),
            format!("tls-auth-clients {asks}"),
            "tls-replication yes".to_owned(),
        ]
    }

    /// As whom servers and sentinels sign in at servers, if they have to.
    pub(super) fn peers_sign_in(&self) -> Option<[&'static str; 3]> {
        self.acl.is_some().then_some(PEER)
    }

    /// As whom the test does.
    pub(super) fn test_signs_in(&self) -> Option<[&'static str; 3]> {
        self.acl.is_some().then_some(TEST)
    }
}
