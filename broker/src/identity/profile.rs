//! Tokens of an existing Hypothesis server: it is asked for the profile of
//! whoever holds the token.

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::upstream::{Bounds, Upstream};
use super::vouched::{self, Vouched};
use crate::error::Error;

/// Asks the server.
pub(super) struct Profile {
    upstream: Upstream,
    url: Url,
}

/// The part of the answer that we read.
#[derive(Deserialize)]
struct Answer {
    /// Nobody, for a token that the server does not know.
    userid: Option<String>,
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    id: String,
}

impl Profile {
    pub(super) fn new(url: Url) -> Self {
        Self {
            upstream: Upstream::new("the profile endpoint", Bounds::default()),
            url,
        }
    }

    /// Whom the token names; `None` if it names nobody.
    ///
    /// # Errors
    /// If the server cannot tell now.
    pub(super) async fn ask(&self, token: &str) -> Result<Option<Vouched>, Error> {
        // What cannot stand in a header is no token that it has issued.
        let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {token}")) else {
            return Ok(None);
        };
        bearer.set_sensitive(true);
        let asked = self.upstream.ask(|client| {
            client
                .get(self.url.clone())
                .header(AUTHORIZATION, bearer)
                .header(ACCEPT, "application/json")
        });
        let reply = asked.await?;
        match reply.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
            // Such as 404: the address is wrong, which must not make everybody
            // nobody.
            _ => return Err(Error::Provider("it does not answer our question")),
        }
        let unread = |_| Error::Provider("its answer cannot be read");
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(unread)?;
        let ids = answer.groups.iter().map(|group| group.id.as_str());
        let groups = vouched::groups(ids);
        Ok(answer.userid.map(|name| Vouched {
            name,
            groups,
            expires_at: None,
        }))
    }
}
