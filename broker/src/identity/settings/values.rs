//! How what providers are described by is written in a variable.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::Algorithm;
use url::Url;

use crate::current::Current;

/// A way of signing by a key that only the provider has.
pub(super) struct Signature(pub(super) Algorithm);

/// The text is none that we verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected RS256, ES256 or EdDSA")]
pub(super) struct BadSignature;

impl FromStr for Signature {
    type Err = BadSignature;

    fn from_str(text: &str) -> Result<Self, BadSignature> {
        match text {
            "RS256" => Ok(Self(Algorithm::RS256)),
            "ES256" => Ok(Self(Algorithm::ES256)),
            "EdDSA" => Ok(Self(Algorithm::EdDSA)),
            _ => Err(BadSignature),
        }
    }
}

/// What may be left out.
pub(super) struct Given<T>(pub(super) Option<T>);

impl<T: FromStr> FromStr for Given<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "" => Ok(Self(None)),
            text => text.parse().map(|value| Self(Some(value))),
        }
    }
}

/// Where something is asked.
pub(super) struct HttpUrl(pub(super) Url);

/// The text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected https://host/path (or http://), without user and fragment")]
pub(super) struct BadHttpUrl;

impl FromStr for HttpUrl {
    type Err = BadHttpUrl;

    fn from_str(text: &str) -> Result<Self, BadHttpUrl> {
        let url = Url::parse(text).map_err(|_| BadHttpUrl)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if plain {
            Ok(Self(url))
        } else {
            Err(BadHttpUrl)
        }
    }
}

/// A text that is never shown. All clones share it, also when it is replaced.
#[derive(Clone)]
pub(crate) struct Hidden(pub(crate) Current<String>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Current::new(text.to_owned())))
    }
}
