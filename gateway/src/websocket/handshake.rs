//! The upgrade from HTTP: whether a request asks for it properly, and the answer.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use sha1::{Digest, Sha1};

/// What the server appends to a client's key to show that it speaks the
/// protocol (RFC 6455, section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version that RFC 6455 defines.
const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Reads keys. The last character holds bits that mean nothing, and not every
/// client clears them.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A request that properly asks for the upgrade.
#[derive(Clone, Debug)]
pub struct Handshake {
    accept: HeaderValue,
    subprotocol: Option<&'static str>,
}

impl Handshake {
    /// Checks a request as RFC 6455, section 4.2.1 asks.
    ///
    /// `known` are the subprotocols of the endpoint; of those that the client
    /// offers, the first that is known is chosen.
    pub fn read(
        method: &Method,
        version: Version,
        headers: &HeaderMap,
        known: &[&'static str],
    ) -> Result<Self, Refusal> {
        if method != Method::GET {
            return Err(Refusal::Method);
        }
        let asks = names(headers, &header::CONNECTION).any(|name| is(name, &UPGRADE))
            && names(headers, &header::UPGRADE).any(|name| is(name, &WEBSOCKET));
        if !asks {
            return Err(Refusal::NoUpgrade);
        }
        if version != Version::HTTP_11 {
            return Err(Refusal::HttpVersion);
        }
        if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(Refusal::Version);
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY)
            .filter(|key| is_key(key))
            .ok_or(Refusal::Key)?;
        let subprotocol = names(headers, &header::SEC_WEBSOCKET_PROTOCOL)
            .find_map(|offer| known.iter().copied().find(|name| *name == offer));
        Ok(Self {
            accept: accept(key),
            subprotocol,
        })
    }

    /// What both sides will speak within the frames, if they agreed on a name for it.
    pub fn subprotocol(&self) -> Option<&'static str> {
        self.subprotocol
    }

    /// Switches to frames.
    pub fn response(self) -> Response<()> {
        let mut response = upgrading(StatusCode::SWITCHING_PROTOCOLS, ());
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(name) = self.subprotocol {
            headers.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(name),
            );
        }
        response
    }
}

/// Why a request is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only GET can be upgraded.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// The request does not ask for an upgrade, as when the address is opened in a browser's tab.
    #[error("this address speaks WebSocket")]
    NoUpgrade,
    /// Only HTTP/1.1 has this upgrade.
    #[error("a WebSocket is opened over HTTP/1.1")]
    HttpVersion,
    /// The client speaks another version of WebSocket than 13, or does not say which.
    #[error("this server speaks version 13 of WebSocket")]
    Version,
    /// The key is missing, given twice, or not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Key => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer; its body is the reason for people.
    pub fn response(self) -> Response<String> {
        let mut response = if self.status() == StatusCode::UPGRADE_REQUIRED {
            upgrading(self.status(), self.to_string())
        } else {
            let mut response = Response::new(self.to_string());
            *response.status_mut() = self.status();
            response
        };
        let headers = response.headers_mut();
        match self {
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            Self::NoUpgrade | Self::Version => {
                headers.insert(header::SEC_WEBSOCKET_VERSION, VERSION);
            }
            Self::HttpVersion | Self::Key => {}
        }
        response
    }
}

/// A response that names the protocol to upgrade to.
fn upgrading<T>(status: StatusCode, body: T) -> Response<T> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
    response
}

/// The names in a list that may be spread over several lines.
fn names<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

fn is(name: &str, wanted: &HeaderValue) -> bool {
    name.as_bytes().eq_ignore_ascii_case(wanted.as_bytes())
}

/// The value of a header that must not stand there twice.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_key(key: &HeaderValue) -> bool {
    let mut bytes = [0; 18];
    KEY.decode_slice(key, &mut bytes) == Ok(16)
}

/// Shows that the server understood the client's key.
fn accept(key: &HeaderValue) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(MAGIC).finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 6455, section 1.2, with some lines replaced; an empty
    /// value leaves the line out.
    fn ask(changes: &[(&'static str, &'static str)]) -> Result<Handshake, Refusal> {
        ask_with(&Method::GET, Version::HTTP_11, changes)
    }

    fn ask_with(
        method: &Method,
        version: Version,
        changes: &[(&'static str, &'static str)],
    ) -> Result<Handshake, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, _) in changes {
            headers.remove(*name);
        }
        for (name, value) in changes.iter().filter(|(_, value)| !value.is_empty()) {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Handshake::read(method, version, &headers, &["push.v1.json", "other"])
    }

    fn header<'a, T>(response: &'a Response<T>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|v| v.to_str().unwrap())
    }

    #[test]
    fn the_example_of_the_standard_is_accepted_with_its_answer() {
        let response = ask(&[]).unwrap().response();
        assert_eq!(response.status(), 101);
        assert_eq!(header(&response, "upgrade"), Some("websocket"));
        assert_eq!(header(&response, "connection"), Some("upgrade"));
        assert_eq!(
            header(&response, "sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert_eq!(header(&response, "sec-websocket-protocol"), None);
    }

    #[test]
    fn lists_are_read_whatever_their_case_and_lines() {
        for changes in [
            [
                ("connection", "keep-alive, UPGRADE"),
                ("upgrade", "WebSocket"),
            ],
            [("connection", ",upgrade ,"), ("upgrade", "h2c, websocket")],
        ] {
            assert!(ask(&changes).is_ok(), "{changes:?}");
        }
        let lines = [("connection", "keep-alive"), ("connection", "upgrade")];
        assert!(ask(&lines).is_ok());
    }

    #[test]
    fn a_plain_request_learns_that_it_must_upgrade() {
        for change in [
            ("connection", ""),
            ("connection", "close"),
            ("connection", "upgraded"),
            ("upgrade", ""),
            ("upgrade", "h2c"),
            ("upgrade", "websockets"),
        ] {
            let refusal = ask(&[change]).unwrap_err();
            assert_eq!(refusal, Refusal::NoUpgrade, "{change:?}");
            let response = refusal.response();
            assert_eq!(response.status(), 426);
            assert_eq!(header(&response, "upgrade"), Some("websocket"));
            assert_eq!(header(&response, "sec-websocket-version"), Some("13"));
        }
    }

    #[test]
    fn another_version_learns_which_one_is_spoken() {
        for changes in [
            &[("sec-websocket-version", "")][..],
            &[("sec-websocket-version", "8")],
            &[("sec-websocket-version", "13, 8")],
            &[
                ("sec-websocket-version", "13"),
                ("sec-websocket-version", "8"),
            ],
        ] {
            let refusal = ask(changes).unwrap_err();
            assert_eq!(refusal, Refusal::Version, "{changes:?}");
            let response = refusal.response();
            assert_eq!(response.status(), 426);
            assert_eq!(header(&response, "sec-websocket-version"), Some("13"));
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        for changes in [
            &[("sec-websocket-key", "")][..],
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")],
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25j")],
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSE=")],
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSEh")],
            &[(
                "sec-websocket-key",
                "dGhlIHNhbXBsZSBub25jZSEhISEhISEhISEhISEhISEh",
            )],
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25j!!==")],
            &[
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ],
        ] {
            assert_eq!(ask(changes).unwrap_err(), Refusal::Key, "{changes:?}");
        }
        assert_eq!(Refusal::Key.status(), 400);
    }

    #[test]
    fn bits_of_a_key_that_mean_nothing_may_be_set() {
        assert!(ask(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR==")]).is_ok());
    }

    #[test]
    fn only_a_get_over_http_1_1_is_upgraded() {
        let post = ask_with(&Method::POST, Version::HTTP_11, &[]).unwrap_err();
        assert_eq!(post, Refusal::Method);
        assert_eq!(post.response().status(), 405);
        assert_eq!(header(&post.response(), "allow"), Some("GET"));
        for version in [Version::HTTP_10, Version::HTTP_2] {
            let old = ask_with(&Method::GET, version, &[]).unwrap_err();
            assert_eq!(old, Refusal::HttpVersion);
            assert_eq!(old.status(), 505);
        }
    }

    #[test]
    fn the_clients_first_known_subprotocol_is_chosen() {
        let offer = |lines: &[&'static str]| {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| ("sec-websocket-protocol", *line))
                .collect();
            ask(&lines).unwrap().subprotocol()
        };
        assert_eq!(offer(&["chat, push.v1.json"]), Some("push.v1.json"));
        assert_eq!(offer(&["other,push.v1.json"]), Some("other"));
        assert_eq!(offer(&["chat", "other"]), Some("other"));
        assert_eq!(offer(&["chat", ",", "PUSH.V1.JSON"]), None);
        let chosen = ask(&[("sec-websocket-protocol", "other")]).unwrap();
        assert_eq!(
            header(&chosen.response(), "sec-websocket-protocol"),
            Some("other")
        );
    }
}
