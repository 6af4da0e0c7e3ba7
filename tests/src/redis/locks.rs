//! Certificates and users of a Redis of one's own.

use std::path::{Path, PathBuf};

use broker::topology::TlsFiles;

use super::{Setup, recipe};
use crate::authority::Authority;

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

/// As whom to sign in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Login {
    fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// As whom servers sign in at each other.
    pub(super) fn peer() -> Self {
        Self::new("peer", "between-servers")
    }

    /// As whom the test does.
    fn test() -> Self {
        Self::new("test", "behind-the-scenes")
    }
}

/// What lets clients and servers in.
#[derive(Debug)]
pub struct Locks {
    tls: Tls,
    authority: Option<Authority>,
    /// Where the users are listed, and who they are.
    acl: Option<(PathBuf, Vec<Login>)>,
    open: bool,
}

impl Locks {
    /// Makes certificates and the ACL file where they are asked for.
    pub(super) fn new(setup: &Setup, folder: &Path) -> Self {
        let acl = setup.users.as_ref().map(|users| {
            let file = folder.join("users.acl");
            let default = if setup.open {
                "user default on nopass ~* &* +@all"
            } else {
                recipe::nobody()
            };
            let ours = [Login::peer(), Login::test()]
                .map(|Login { user, password }| format!("user {user} on >{password} ~* &* +@all"));
            let text = format!("{default}\n{}\n{users}", ours.join("\n"));
            std::fs::write(&file, text).expect("the fleet's folder is writable");
            (file, users.lines().filter_map(login).collect())
        });
        let authority = (setup.tls != Tls::Off).then(|| Authority::new(folder));
        if let Some(authority) = &authority {
            authority.certify("server", 2);
            authority.certify("client", 2);
        }
        Self {
            tls: setup.tls,
            authority,
            acl,
            open: setup.open,
        }
    }

    /// Whether connections are encrypted.
    pub fn tls(&self) -> bool {
        self.tls != Tls::Off
    }

    /// What clients need to speak to the servers.
    pub(super) fn for_clients(&self) -> TlsFiles {
        let ours = self.authority.as_ref();
        let own = ours.filter(|_| self.tls == Tls::Mutual);
        TlsFiles {
            authorities: ours.map(|authority| authority.certificate("ca")),
            own: own.map(|authority| (authority.certificate("client"), authority.key("client"))),
        }
    }

    /// The settings by which processes are told of these.
    pub(crate) fn settings(&self) -> Vec<(&'static str, PathBuf)> {
        let TlsFiles { authorities, own } = self.for_clients();
        let (certificate, key) = own.unzip();
        let all = [
            ("CARILLON_REDIS_CA_FILE", authorities),
            ("CARILLON_REDIS_CERT_FILE", certificate),
            ("CARILLON_REDIS_KEY_FILE", key),
        ];
        let named = all.into_iter();
        named
            .filter_map(|(name, file)| Some((name, file?)))
            .collect()
    }

    /// What a server that holds data is told.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.tls_lines();
        if self.tls() {
            lines.push("tls-cluster yes".to_owned());
        }
        if let Some((file, _)) = &self.acl {
            let Login { user, password } = Login::peer();
            lines.push(format!("aclfile {}", file.display()));
            lines.push(format!("masteruser {user}"));
            lines.push(format!("masterauth {password}"));
        }
        lines
    }

    /// What a server and a sentinel are told of certificates.
    pub(super) fn tls_lines(&self) -> Vec<String> {
        let Some(authority) = &self.authority else {
            return Vec::new();
        };
        let asks = if self.tls == Tls::Mutual { "yes" } else { "no" };
        vec![
            format!(
                "tls-cert-file {}",
                authority.certificate("server").display()
            ),
            format!("tls-key-file {}", authority.key("server").display()),
            format!("tls-ca-cert-file {}", authority.certificate("ca").display()),
            format!("tls-auth-clients {asks}"),
            "tls-replication yes".to_owned(),
        ]
    }

    /// As whom servers and sentinels sign in at servers, if they have to.
    pub(super) fn peers_sign_in(&self) -> Option<Login> {
        self.acl.as_ref().map(|_| Login::peer())
    }

    /// As whom the test does, if it has to.
    pub(super) fn test_signs_in(&self) -> Option<Login> {
        (!self.open).then(Login::test)
    }

    /// Whether this is one of the users that were listed.
    pub(super) fn knows(&self, user: &str) -> bool {
        let listed = self.acl.as_ref().map(|(_, users)| users);
        listed.is_some_and(|users| users.iter().any(|login| login.user == user))
    }

    /// As whom a process of this role does, if there is somebody: whose name
    /// ends so.
    pub(super) fn signs_in(&self, role: &str) -> Option<Login> {
        let (_, users) = self.acl.as_ref()?;
        let of_role = users.iter().find(|login| login.user.ends_with(role));
        of_role.cloned()
    }
}

/// Who is let in by a line of an ACL file.
fn login(line: &str) -> Option<Login> {
    let mut words = line.split_whitespace().skip_while(|&word| word != "user");
    let user = words.nth(1)?;
    let password = words.find_map(|word| word.strip_prefix('>'))?;
    Some(Login::new(user, password))
}
