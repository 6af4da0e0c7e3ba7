//! An authority of one's own, and certificates that it has signed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Server and client alike: servers of Redis are each other's clients.
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

/// An authority that lives in a folder.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// If there is no openssl, or the folder is not writable.
    pub fn new(folder: &Path) -> Self {
        std::fs::write(folder.join("openssl.cnf"), OPENSSL).expect("the folder is writable");
        let authority = Self {
            folder: folder.to_owned(),
        };
        authority.make("ca", 2, &["-extensions", "authority"]);
        authority
    }

    /// Signs a certificate for this host, valid from now on for so many days, and
    /// keeps it under this name, whatever was there.
    ///
    /// # Panics
    /// If openssl does not do so.
    pub fn certify(&self, name: &str, days: u32) {
        let (certificate, key) = (self.certificate("ca"), self.key("ca"));
        let by = [&certificate, &key].map(|path| path.to_str().expect("our names are UTF-8"));
        let args = ["-extensions", "leaf", "-CA", by[0], "-CAkey", by[1]];
        self.make(name, days, &args);
    }

    fn make(&self, name: &str, days: u32, args: &[&str]) {
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-noenc", "-newkey", "ec", "-days"])
            .arg(days.to_string())
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-config"])
            .arg(self.folder.join("openssl.cnf"))
            .arg("-out")
            .arg(self.certificate(name))
            .arg("-keyout")
            .arg(self.key(name))
            .args(["-subj", &format!("/CN=Carillon tests {name}")])
            .args(args);
        let status = command.stderr(Stdio::null()).status();
        let made = status.is_ok_and(|status| status.success());
        assert!(made, "openssl makes no certificate for {name}");
    }

    /// The certificate under a name, in PEM; that of the authority is under `ca`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// Its private key.
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }
}
