//! How keys and tokens are written: `<prefix>_<id 10>_<secret 43>_<checksum 6>`.
//!
//! The checksum lets typing errors and made-up keys fail before anything is
//! looked up, and lets scanners of published code tell our keys from noise.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What the text begins with says what it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// A key to the API.
    AccessKey,
    /// A token of a user.
    AccessToken,
}

impl Prefix {
    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AccessKey => "ck_",
            Self::AccessToken => "ct_",
        }
    }
}

/// Characters of a prefix.
const PREFIX: usize = 3;
/// Characters of an id: 50 bits, so that two never meet.
const ID: usize = 10;
/// Characters of a secret: 32 bytes in base64url.
const SECRET: usize = 43;
/// Characters of the checksum: 32 bits in base 62.
const CHECKSUM: usize = 6;
const LENGTH: usize = PREFIX + ID + 1 + SECRET + 1 + CHECKSUM;

/// Without letters that are read as others.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHECKSUM_ALPHABET: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key or token, before it is handed out.
pub(crate) struct Secret {
    prefix: Prefix,
    id: String,
    bytes: [u8; 32],
}

impl Secret {
    /// One that nobody can guess.
    pub(crate) fn generate(prefix: Prefix) -> Self {
        let places: [u8; ID] = rand::random();
        let id = places.map(|place| char::from(ID_ALPHABET[usize::from(place % 32)]));
        Self {
            prefix,
            id: id.iter().collect(),
            bytes: rand::random(),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What is stored of it. It has 256 random bits, so a fast digest without
    /// salt tells nothing.
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.bytes).into()
    }

    /// The text for its holder.
    pub(crate) fn reveal(&self) -> String {
        let secret = URL_SAFE_NO_PAD.encode(self.bytes);
        let text = format!("{}{}_{secret}", self.prefix.as_str(), self.id);
        let checksum = checksum(text.as_bytes());
        format!("{text}_{checksum}")
    }

    #[cfg(test)]
    pub(crate) fn with_id(&self, id: &str) -> Self {
        Self {
            prefix: self.prefix,
            id: id.to_owned(),
            bytes: self.bytes,
        }
    }
}

/// A text that has the form of a key or token.
pub(crate) struct Presented<'a> {
    pub(crate) id: &'a str,
    pub(crate) digest: [u8; 32],
}

impl<'a> Presented<'a> {
    /// Nothing if the text is none of this kind, whoever may hold it.
    pub(crate) fn parse(prefix: Prefix, text: &'a str) -> Option<Self> {
        if text.len() != LENGTH || !text.is_ascii() {
            return None;
        }
        let (signed, tail) = text.split_at(LENGTH - CHECKSUM - 1);
        if tail.strip_prefix('_')? != checksum(signed.as_bytes()) {
            return None;
        }
        let (id, secret) = signed.strip_prefix(prefix.as_str())?.split_at(ID);
        if !is_id(id) {
            return None;
        }
        let secret = URL_SAFE_NO_PAD.decode(secret.strip_prefix('_')?).ok()?;
        Some(Self {
            id,
            digest: Sha256::digest(secret).into(),
        })
    }
}

/// Whether an id may look like this.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|b| ID_ALPHABET.contains(&b))
}

fn checksum(text: &[u8]) -> String {
    let mut rest = crc32(text);
    let mut places = [0; CHECKSUM];
    for place in places.iter_mut().rev() {
        *place = CHECKSUM_ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    places.iter().map(|&place| char::from(place)).collect()
}

/// The CRC-32 of zip and Ethernet.
fn crc32(text: &[u8]) -> u32 {
    !text.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let low = crc & 1;
            (crc >> 1) ^ (low * 0xEDB8_8320)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_key_reads_back_as_what_was_made() {
        let made = Secret::generate(Prefix::AccessKey);
        let text = made.reveal();
        assert_eq!(text.len(), 64);
        assert!(Presented::parse(Prefix::AccessToken, &text).is_none());
        let read = Presented::parse(Prefix::AccessKey, &text).unwrap();
        assert_eq!((read.id, read.digest), (made.id(), made.digest()));
    }

    #[test]
    fn a_slip_of_one_character_is_no_key() {
        let text = Secret::generate(Prefix::AccessKey).reveal();
        for at in 0..text.len() {
            for other in ["0", "z", "_", "é"] {
                let mut slipped = text.clone();
                slipped.replace_range(at..=at, other);
                assert!(
                    slipped == text || Presented::parse(Prefix::AccessKey, &slipped).is_none(),
                    "{at}, {other}"
                );
            }
        }
        for end in 0..text.len() {
            assert!(Presented::parse(Prefix::AccessKey, &text[..end]).is_none());
        }
    }
}
