//! What a recipient shows to be let in: a signed text that nobody has to store.
//!
//! A token is base64url (no padding) of its fields and an HMAC-SHA256 over them.
//! It says in clear whose it is, so it is no secret from its holder, but it
//! admits whoever has it: it never reaches a log, a metric or an error.

mod keyring;
mod origin;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;

pub use keyring::{BadKeyring, Keyring};
pub use origin::normal_origin;

use crate::time::Timestamp;
use crate::topic::Tenant;

/// No token lives longer, so that a revocation may be forgotten after this.
pub const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Longer texts are refused unread. The longest token that can be issued
/// (256 bytes each of recipient and label, an origin of 300) stays below.
const MAX_LENGTH: usize = 1536;

/// How long the tag at the end of a token is.
const TAG: usize = 32;

/// Tells the tags of tokens from others by the same keys.
const PURPOSE: &str = "recipient-token";

/// Who may open sockets as which recipient, from where, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientToken {
    /// The tenant that registered the recipient.
    pub tenant: Tenant,
    /// The tenant's name for it: 1 to 256 bytes without control characters.
    pub recipient: Arc<str>,
    /// Messages with another label (`topic` on the wire) do not reach its sockets. At most 256 bytes.
    pub label: Option<Arc<str>>,
    /// Only pages of this origin may connect; as [`normal_origin`] writes it.
    pub origin: Option<Arc<str>>,
    /// Only clients with these addresses may connect.
    pub source: Option<IpNet>,
    /// When it was signed. A revocation ends all tokens issued up to then.
    pub issued_at: Timestamp,
    /// From then on it opens nothing; at most [`LONGEST_LIFE`] after `issued_at`.
    pub expires_at: Timestamp,
    /// Makes each token different and unguessable in its own right.
    pub nonce: [u8; 12],
}

/// Why a text admits nobody. What the client is told does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadToken {
    /// Not the form of a token.
    #[error("not a token")]
    Malformed,
    /// Signed by a key that is not, or no longer, in the ring.
    #[error("signed by an unknown key")]
    UnknownKey,
    /// The tag does not fit: altered, or made up.
    #[error("the signature does not fit")]
    Forged,
    /// Genuine, but its time is over.
    #[error("expired")]
    Expired,
}

impl BadToken {
    /// A label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::Expired => "expired",
        }
    }
}

impl RecipientToken {
    /// A nonce that no other token has.
    pub fn fresh_nonce() -> [u8; 12] {
        rand::random()
    }
}

impl Keyring {
    /// The text to hand out. A life longer than [`LONGEST_LIFE`] is cut to it.
    ///
    /// # Panics
    /// If a name is longer than its limit; callers validate names.
    pub fn sign(&self, token: &RecipientToken) -> String {
        let last = token.issued_at + LONGEST_LIFE;
        let expires_at = token.expires_at.min(last);
        let ring = self.now();
        let mut bytes = wire::write(ring.signing_id(), token, expires_at);
        let tag = ring.mac(PURPOSE, &bytes);
        bytes.extend_from_slice(&tag);
        let text = URL_SAFE_NO_PAD.encode(bytes);
        assert!(text.len() <= MAX_LENGTH, "a name exceeds its limit");
        text
    }

    /// What the text says, if one of our keys signed it and its time is not over.
    ///
    /// Origin, address and revocation are the caller's to check.
    ///
    /// # Errors
    /// See [`BadToken`].
    pub fn verify(&self, text: &str, now: Timestamp) -> Result<RecipientToken, BadToken> {
        if text.len() > MAX_LENGTH {
            return Err(BadToken::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| BadToken::Malformed)?;
        let (fields, tag) = bytes.split_last_chunk::<TAG>().ok_or(BadToken::Malformed)?;
        // The key's id is the one field used before the tag is checked.
        let key = wire::key_id(fields).ok_or(BadToken::Malformed)?;
        match self.now().verify_by(key, PURPOSE, fields, tag) {
            None => return Err(BadToken::UnknownKey),
            Some(false) => return Err(BadToken::Forged),
            Some(true) => {}
        }
        let token = wire::read(fields).ok_or(BadToken::Malformed)?;
        if token.expires_at > token.issued_at + LONGEST_LIFE {
            return Err(BadToken::Malformed);
        }
        if token.expires_at <= now {
            return Err(BadToken::Expired);
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn ring(text: &str) -> Keyring {
        text.parse().unwrap()
    }

    fn key(id: &str, fill: u8) -> String {
        format!("{id}:{}", URL_SAFE_NO_PAD.encode([fill; 32]))
    }

    fn token() -> RecipientToken {
        RecipientToken {
            tenant: "acme".parse().unwrap(),
            recipient: "user:42".into(),
            label: Some("orders".into()),
            origin: Some("https://app.example".into()),
            source: Some("10.0.0.0/8".parse().unwrap()),
            issued_at: NOW,
            expires_at: NOW + Duration::from_secs(60),
            nonce: *b"0123456789ab",
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let ring = ring(&key("a", 1));
        let longest = "x".repeat(256);
        for recipient in ["u", "a:b:c", "grün \u{1F514}", "{0} 100%", &longest] {
            for source in [
                None,
                Some("::1/128"),
                Some("2001:db8::/32"),
                Some("10.1.2.3/32"),
            ] {
                let token = RecipientToken {
                    recipient: recipient.into(),
                    label: source.map(|_| longest.as_str().into()),
                    origin: None,
                    source: source.map(|net| net.parse().unwrap()),
                    ..token()
                };
                assert_eq!(ring.verify(&ring.sign(&token), NOW), Ok(token));
            }
        }
    }

    #[test]
    fn the_longest_names_still_make_a_token() {
        let ring = ring(&key(&"k".repeat(16), 1));
        let token = RecipientToken {
            tenant: "t".repeat(32).parse().unwrap(),
            recipient: "r".repeat(256).into(),
            label: Some("l".repeat(256).into()),
            origin: Some("o".repeat(300).into()),
            source: Some("2001:db8::/128".parse().unwrap()),
            ..token()
        };
        assert_eq!(ring.verify(&ring.sign(&token), NOW), Ok(token));
    }

    #[test]
    fn no_byte_of_a_token_can_be_changed() {
        let ring = ring(&format!("{},{}", key("a", 1), key("b", 2)));
        let text = ring.sign(&token());
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let changed = URL_SAFE_NO_PAD.encode(changed);
                assert!(ring.verify(&changed, NOW).is_err(), "byte {at}, bit {bit}");
            }
        }
        for at in 0..text.len() {
            for other in ["A", "_", "=", "+", "é"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, other);
                assert!(
                    changed == text || ring.verify(&changed, NOW).is_err(),
                    "character {at} as {other}"
                );
            }
        }
    }

    #[test]
    fn a_token_cannot_be_shortened_or_extended() {
        let ring = ring(&key("a", 1));
        let text = ring.sign(&token());
        for end in 0..text.len() {
            assert!(ring.verify(&text[..end], NOW).is_err(), "{end}");
        }
        for more in ["A", "AAAA", "=", "==", "\n", " ", &text] {
            assert!(
                ring.verify(&format!("{text}{more}"), NOW).is_err(),
                "{more}"
            );
            assert!(
                ring.verify(&format!("{more}{text}"), NOW).is_err(),
                "{more}"
            );
        }
        let huge = "A".repeat(1 << 20);
        assert_eq!(ring.verify(&huge, NOW), Err(BadToken::Malformed));
    }

    #[test]
    fn a_token_cannot_be_moved_to_another_tenant() {
        let ring = ring(&key("a", 1));
        let text = ring.sign(&token());
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        let at = bytes.windows(4).position(|four| four == b"acme").unwrap();
        bytes[at..at + 4].copy_from_slice(b"evil");
        let moved = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(ring.verify(&moved, NOW), Err(BadToken::Forged));
    }

    #[test]
    fn keys_rotate_without_ending_tokens() {
        let old = ring(&key("a", 1));
        let both = ring(&format!("{},{}", key("b", 2), key("a", 1)));
        let new = ring(&key("b", 2));
        let issued_before = old.sign(&token());
        let issued_after = both.sign(&token());
        assert_eq!(both.verify(&issued_before, NOW), Ok(token()));
        assert_eq!(new.verify(&issued_after, NOW), Ok(token()));
        assert_eq!(new.verify(&issued_before, NOW), Err(BadToken::UnknownKey));
        let impostor = ring(&key("a", 9));
        assert_eq!(impostor.verify(&issued_before, NOW), Err(BadToken::Forged));
    }

    #[test]
    fn a_token_ends_on_time_and_within_thirty_days() {
        let ring = ring(&key("a", 1));
        let text = ring.sign(&token());
        let end = token().expires_at;
        assert!(ring.verify(&text, end - Duration::from_millis(1)).is_ok());
        assert_eq!(ring.verify(&text, end), Err(BadToken::Expired));

        let eternal = RecipientToken {
            expires_at: Timestamp::from_millis(i64::MAX),
            ..token()
        };
        let cut = ring.verify(&ring.sign(&eternal), NOW).unwrap();
        assert_eq!(cut.expires_at, NOW + LONGEST_LIFE);
    }

    #[test]
    fn a_tag_made_for_another_purpose_signs_no_token() {
        let ring = ring(&key("a", 1));
        let mut bytes = wire::write("a", &token(), token().expires_at);
        let tag = ring.mac("cursor", &bytes);
        bytes.extend_from_slice(&tag);
        let text = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(ring.verify(&text, NOW), Err(BadToken::Forged));
    }

    #[test]
    fn random_texts_are_refused_quietly() {
        let ring = ring(&key("a", 1));
        for length in 0..600 {
            let mut bytes = vec![0_u8; length];
            rand::fill(&mut bytes[..]);
            if let Some(first) = bytes.first_mut() {
                *first = 1;
            }
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            assert!(ring.verify(&text, NOW).is_err());
            assert!(ring.verify(&String::from_utf8_lossy(&bytes), NOW).is_err());
        }
    }

    #[test]
    fn even_signed_nonsense_is_refused() {
        let ring = ring(&key("a", 1));
        let good = wire::write("a", &token(), token().expires_at);
        for at in 3..good.len() {
            let mut bytes = good.clone();
            bytes.truncate(at);
            let tag = ring.mac(PURPOSE, &bytes);
            bytes.extend_from_slice(&tag);
            let text = URL_SAFE_NO_PAD.encode(bytes);
            assert_eq!(ring.verify(&text, NOW), Err(BadToken::Malformed), "{at}");
        }
    }
}
