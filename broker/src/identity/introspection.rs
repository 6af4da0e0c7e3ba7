//! Tokens that only their issuer can read: it is asked, in the words of RFC 7662.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::settings::{Claims, Hidden, IntrospectionSettings};
use super::upstream::{Bounds, Upstream};
use super::vouched::{self, Vouched};
use crate::error::Error;

/// Asks the issuer.
pub(super) struct Introspection {
    upstream: Upstream,
    url: Url,
    client: String,
    secret: Hidden,
    claims: Claims,
}

impl Introspection {
    pub(super) fn new(settings: &IntrospectionSettings, claims: Claims) -> Self {
        Self {
            upstream: Upstream::new("the introspection endpoint", Bounds::default()),
            url: settings.url.clone(),
            client: settings.client.clone(),
            secret: settings.secret.clone(),
            claims,
        }
    }

    /// Whom the token names; `None` if it names nobody.
    ///
    /// # Errors
    /// If the issuer cannot tell now, or not us.
    pub(super) async fn ask(&self, token: &str) -> Result<Option<Vouched>, Error> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let credentials = basic(&self.client, &self.secret.0.get());
        let asked = self.upstream.ask(|client| {
            client
                .post(self.url.clone())
                .header(AUTHORIZATION, credentials)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(ACCEPT, "application/json")
                .body(form)
        });
        let reply = asked.await?;
        if reply.status != StatusCode::OK {
            // It is us whom it refuses, not the token.
            return Err(Error::Provider("it does not answer our question"));
        }
        let unread = |_| Error::Provider("its answer cannot be read");
        let answer: Map<String, Value> = serde_json::from_slice(&reply.body).map_err(unread)?;
        match answer.get("active").and_then(Value::as_bool) {
            Some(true) if self.is_meant(&answer) => {
                let ends = answer.get("exp").map(|claim| {
                    vouched::time(claim).ok_or(Error::Provider("its answer cannot be read"))
                });
                Ok(Vouched::read(&answer, &self.claims, ends.transpose()?))
            }
            Some(_) => Ok(None),
            None => Err(Error::Provider("its answer cannot be read")),
        }
    }

    /// Whether issuer and audience are ours, where the answer names them.
    fn is_meant(&self, answer: &Map<String, Value>) -> bool {
        let agrees = |claim: &str, ours: &Option<String>| match (answer.get(claim), ours) {
            (Some(Value::Array(several)), Some(ours)) => several.iter().any(|one| one == ours),
            (Some(one), Some(ours)) => one == ours,
            _ => true,
        };
        agrees("iss", &self.claims.issuer) && agrees("aud", &self.claims.audience)
    }
}

/// The header by which a client proves itself, each part encoded as in a form
/// first (RFC 6749, 2.3.1).
fn basic(client: &str, secret: &str) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let both = STANDARD.encode(format!("{}:{}", encode(client), encode(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {both}"))
        .expect("base64 has only letters that a header may have");
    value.set_sensitive(true);
    value
}
