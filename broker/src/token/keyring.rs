//! The deployment's secret keys: the first signs, all verify.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::current::Current;
use crate::node::env::Files;
use crate::node::secrets::SecretFiles;

/// Shorter secrets could be found by trying.
const MIN_SECRET: usize = 32;
/// Tags may be cut, but not shorter than this.
const MIN_TAG: usize = 16;
/// Ids stand in every token.
const MAX_ID: usize = 16;

/// Some tools that make keys pad them, others do not.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Secret keys by their ids, newest first.
///
/// Written as `id:secret,id:secret`: ids of up to 16 letters, digits, `-` and
/// `_`; secrets of at least 32 random bytes in base64 or base64url. To rotate,
/// append the new key everywhere, then move it to the front everywhere, then
/// take the old one out once the last token it signed has expired.
///
/// All clones share the keys, also when they are [replaced](Self::replace).
#[derive(Clone)]
pub struct Keyring {
    current: Current<Ring>,
}

/// The keys as they are at one time.
pub(super) struct Ring {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    /// Already keyed; cloned for each tag.
    mac: Hmac<Sha256>,
}

/// The text is not a ring of keys. Repeats no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyring {
    /// Not one key.
    #[error("names no key: expected id:secret,id:secret")]
    Empty,
    /// Not `id:secret`.
    #[error("key {0} is not of the form id:secret")]
    Form(usize),
    /// The id is empty, too long, or has other characters.
    #[error("the id of key {0} is not 1 to 16 letters, digits, '-' or '_'")]
    Id(usize),
    /// Two keys of one id: one would shadow the other.
    #[error("the id of key {0} is taken by an earlier one")]
    Twice(usize),
    /// Not base64.
    #[error("the secret of key {0} is not base64 or base64url")]
    Encoding(usize),
    /// Too short.
    #[error("the secret of key {0} is shorter than 32 bytes")]
    Short(usize),
}

impl FromStr for Keyring {
    type Err = BadKeyring;

    fn from_str(text: &str) -> Result<Self, BadKeyring> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, entry) in text.split(',').map(str::trim).enumerate() {
            if entry.is_empty() {
                continue;
            }
            let number = at + 1;
            let (id, secret) = entry.split_once(':').ok_or(BadKeyring::Form(number))?;
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if !(1..=MAX_ID).contains(&id.len()) || !id.bytes().all(fits) {
                return Err(BadKeyring::Id(number));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(BadKeyring::Twice(number));
            }
            let secret = secret.replace('+', "-").replace('/', "_");
            let secret = ANY_PADDING
                .decode(secret)
                .map_err(|_| BadKeyring::Encoding(number))?;
            if secret.len() < MIN_SECRET {
                return Err(BadKeyring::Short(number));
            }
            keys.push(Key {
                id: id.to_owned(),
                mac: Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length"),
            });
        }
        if keys.is_empty() {
            return Err(BadKeyring::Empty);
        }
        Ok(Self {
            current: Current::new(Ring { keys }),
        })
    }
}

/// Shows ids only.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.now().keys.iter().map(|key| &key.id))
            .finish()
    }
}

impl Keyring {
    /// From now on, the keys of `other`, for all who share these.
    pub fn replace(&self, other: &Self) {
        self.current.set_as(&other.current);
    }

    /// Has `secrets` replace the keys, if they are one of `files`.
    pub fn watch(&self, secrets: &mut SecretFiles, files: &Files) {
        let keys = self.clone();
        secrets.setting(files, "CARILLON_TOKEN_KEYS", move |new: Self| {
            keys.replace(&new);
            Ok::<_, Infallible>(())
        });
    }

    /// The keys of now, for what needs the same ones twice.
    pub(super) fn now(&self) -> Arc<Ring> {
        self.current.get()
    }

    /// A tag of `data` by the signing key. Tags of different purposes never fit
    /// each other.
    pub fn mac(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        self.now().mac(purpose, data)
    }

    /// Whether any of the keys made this tag of `data` for this purpose. The tag
    /// may be cut to no less than 16 bytes.
    pub fn verify_mac(&self, purpose: &str, data: &[u8], tag: &[u8]) -> bool {
        let ring = self.now();
        ring.keys.iter().any(|key| key.fits(purpose, data, tag))
    }
}

impl Ring {
    /// The id of the key that signs.
    pub(super) fn signing_id(&self) -> &str {
        &self.keys[0].id
    }

    /// A tag of `data` by the signing key.
    pub(super) fn mac(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        self.keys[0]
            .tagged(purpose, data)
            .finalize()
            .into_bytes()
            .into()
    }

    /// Whether the key called `id` made this tag; `None` if there is no such key.
    pub(super) fn verify_by(
        &self,
        id: &str,
        purpose: &str,
        data: &[u8],
        tag: &[u8],
    ) -> Option<bool> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        Some(key.fits(purpose, data, tag))
    }
}

impl Key {
    fn tagged(&self, purpose: &str, data: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        // The length keeps a purpose from running into the data.
        mac.update(&(purpose.len() as u64).to_be_bytes());
        mac.update(purpose.as_bytes());
        mac.update(data);
        mac
    }

    /// Compares in constant time.
    fn fits(&self, purpose: &str, data: &[u8], tag: &[u8]) -> bool {
        MIN_TAG <= tag.len()
            && self
                .tagged(purpose, data)
                .verify_truncated_left(tag)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn secret(fill: u8) -> String {
        STANDARD.encode([fill; 33])
    }

    #[test]
    fn a_ring_shows_ids_and_never_secrets() {
        let text = format!("new:{}, old:{}", secret(0xfb), secret(2));
        let ring: Keyring = text.parse().unwrap();
        assert_eq!(format!("{ring:?}"), r#"["new", "old"]"#);
    }

    #[test]
    fn what_is_no_ring_is_refused_without_being_repeated() {
        let good = secret(1);
        let short = STANDARD.encode([1; 31]);
        for (text, mistake) in [
            (String::new(), BadKeyring::Empty),
            (good.clone(), BadKeyring::Form(1)),
            (format!("a:{good},hush"), BadKeyring::Form(2)),
            (format!(":{good}"), BadKeyring::Id(1)),
            (format!("a b:{good}"), BadKeyring::Id(1)),
            (format!("a:{good},a:{good}"), BadKeyring::Twice(2)),
            ("a:hush!".to_owned(), BadKeyring::Encoding(1)),
            (format!("a:{short}"), BadKeyring::Short(1)),
        ] {
            let error = text.parse::<Keyring>().unwrap_err();
            assert_eq!(error, mistake);
            assert!(!error.to_string().contains("hush"));
        }
    }

    #[test]
    fn who_shares_a_ring_sees_its_keys_replaced() {
        let ring: Keyring = format!("a:{}", secret(1)).parse().unwrap();
        let shared = ring.clone();
        let tag = shared.mac("cursor", b"page 2");
        let both: Keyring = format!("b:{},a:{}", secret(2), secret(1)).parse().unwrap();
        ring.replace(&both);
        assert!(shared.verify_mac("cursor", b"page 2", &tag));
        assert_ne!(shared.mac("cursor", b"page 2"), tag, "the new key signs");
        let new: Keyring = format!("b:{}", secret(2)).parse().unwrap();
        ring.replace(&new);
        assert!(!shared.verify_mac("cursor", b"page 2", &tag));
    }

    #[test]
    fn tags_may_be_cut_but_not_too_short() {
        let ring: Keyring = format!("b:{},a:{}", secret(2), secret(1)).parse().unwrap();
        let old: Keyring = format!("a:{}", secret(1)).parse().unwrap();
        let tag = old.mac("cursor", b"page 2");
        assert!(ring.verify_mac("cursor", b"page 2", &tag));
        assert!(ring.verify_mac("cursor", b"page 2", &tag[..16]));
        assert!(!ring.verify_mac("cursor", b"page 2", &tag[..15]));
        assert!(!ring.verify_mac("cursor", b"page 2", b""));
        assert!(!ring.verify_mac("cursor", b"page 3", &tag));
        assert!(!ring.verify_mac("curso", b"rpage 2", &tag));
        assert!(!ring.verify_mac("token", b"page 2", &tag));
    }
}
