//! Where traces go, and how many.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::node::env::{Env, Files};
use crate::node::secrets::SecretFiles;

/// Below which collectors take traces.
const PATH: &str = "/v1/traces";

/// What is exported.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// `CARILLON_OTLP_ENDPOINT`, default none: the OpenTelemetry collector that
    /// traces are sent to (OTLP over HTTP). Without it nothing is recorded.
    pub endpoint: Option<Endpoint>,
    /// `CARILLON_OTLP_HEADERS`, default empty, secret: what the collector wants to
    /// be shown.
    pub headers: Headers,
    /// `CARILLON_TRACE_SAMPLE`, default `0.01`: the share of requests that are
    /// recorded though their callers do not say so.
    pub sample: Share,
}

impl TraceSettings {
    /// Reads them.
    pub fn read(env: &mut Env) -> Self {
        Self {
            endpoint: env.optional("CARILLON_OTLP_ENDPOINT"),
            headers: env.secret().get("CARILLON_OTLP_HEADERS", ""),
            sample: env.get("CARILLON_TRACE_SAMPLE", "0.01"),
        }
    }

    /// Has `secrets` renew the headers, if they are one of `files`.
    pub fn watch(&self, secrets: &mut SecretFiles, files: &Files) {
        let headers = self.headers.clone();
        let renew = move |new: Headers| {
            headers.renew(&new);
            Ok::<_, BadHeaders>(())
        };
        secrets.setting(files, "CARILLON_OTLP_HEADERS", renew);
    }
}

/// Where a collector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

/// The text is not such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://host:4318 or https://host, without user, query and fragment")]
pub struct BadEndpoint;

impl Endpoint {
    /// Where it takes traces.
    pub fn traces(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let mut url = Url::parse(text).map_err(|_| BadEndpoint)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(BadEndpoint);
        }
        let below = url.path().trim_end_matches('/');
        if !below.ends_with(PATH) {
            let path = format!("{below}{PATH}");
            url.set_path(&path);
        }
        Ok(Self(url))
    }
}

/// Headers with credentials in them. Clones are the same, also once they are renewed.
#[derive(Clone, Default)]
pub struct Headers(Arc<Mutex<HeaderMap>>);

/// The text is not a list of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected headers between commas, name=value, the values percent-encoded")]
pub struct BadHeaders;

impl Headers {
    /// From now on they are these.
    pub fn renew(&self, headers: &Self) {
        let headers = headers.map();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = headers;
    }

    /// As they are now.
    pub(super) fn map(&self) -> HeaderMap {
        let headers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        headers.clone()
    }
}

impl FromStr for Headers {
    type Err = BadHeaders;

    fn from_str(text: &str) -> Result<Self, BadHeaders> {
        let mut all = HeaderMap::new();
        let entries = text.split(',').map(str::trim);
        for entry in entries.filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('=').ok_or(BadHeaders)?;
            let name = HeaderName::from_str(name.trim()).map_err(|_| BadHeaders)?;
            let value: Vec<u8> = percent_decode_str(value.trim()).collect();
            let mut value = HeaderValue::from_bytes(&value).map_err(|_| BadHeaders)?;
            value.set_sensitive(true);
            all.insert(name, value);
        }
        Ok(Self(Arc::new(Mutex::new(all))))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.map().keys()).finish()
    }
}

/// A share of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

/// The text is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number from 0 to 1, such as 0.01")]
pub struct BadShare;

impl Share {
    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let share = text.parse().map_err(|_| BadShare)?;
        (0.0..=1.0)
            .contains(&share)
            .then_some(Self(share))
            .ok_or(BadShare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_endpoint() {
        let traces = |text: &str| text.parse::<Endpoint>().unwrap().traces().to_string();
        for (text, url) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("https://c/otlp/", "https://c/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(traces(text), url);
        }
    }

    #[test]
    fn an_endpoint_says_where_and_nothing_else() {
        for text in [
            "c:4318",
            "grpc://c:4317",
            "http://",
            "http://u:p@c/",
            "http://c/?k=hush",
            "http://c/#a",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(BadEndpoint), "{text}");
        }
    }

    #[test]
    fn headers_are_never_shown_with_their_values() {
        let headers: Headers = "authorization=Bearer%20hush,x-team = a=b ,"
            .parse()
            .unwrap();
        assert_eq!(headers.map()["authorization"], "Bearer hush");
        assert_eq!(headers.map()["x-team"], "a=b");
        let shown = format!("{headers:?} {:?}", headers.map());
        assert!(shown.contains("authorization"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
        for text in ["hush", "a b=hush", "a=hush%0Ab: c"] {
            let told = text.parse::<Headers>().unwrap_err().to_string();
            assert!(!told.contains("hush"), "{told}");
        }
    }

    #[test]
    fn renewed_headers_are_those_of_all_clones() {
        let headers: Headers = "a=old,b=old".parse().unwrap();
        let same = headers.clone();
        same.renew(&"a=new".parse().unwrap());
        assert_eq!(headers.map()["a"], "new");
        assert!(!headers.map().contains_key("b"));
    }

    #[test]
    fn a_share_is_from_none_to_all() {
        for text in ["0", "0.01", "1"] {
            assert!(text.parse::<Share>().is_ok(), "{text}");
        }
        for text in ["-0.1", "1.01", "NaN", "inf", "1%", ""] {
            assert_eq!(text.parse::<Share>(), Err(BadShare), "{text}");
        }
    }
}
