//! What a Misskey is asked over HTTP, with the token of whoever wants to know.
//!
//! What it says of tokens is remembered for half a minute at most, by their
//! digests; what may change at any moment, such as who is on a list, is asked
//! each time.

mod answers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prometheus::Histogram;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use url::Url;

use self::answers::{Failure, ListAnswer, MeAnswer, MetaAnswer, RoleAnswer};
use super::caller::Token;
use super::viewer::{Policies, Visitors};
use crate::error::Error;
use crate::event::{Event, NOTE};
use crate::identity::upstream::{Bounds, Reply, Upstream};
use crate::key::KeySet;
use crate::misskey::Field;
use crate::recent::{KNOWN_FOR, Recent};

/// Longer texts are no tokens.
const MAX_TOKEN: usize = 512;
/// What visitors may see is not asked again before this.
const VISITING_FOR: Duration = Duration::from_secs(5);
/// An answer that nobody understands is asked for again after this.
const UNCLEAR_FOR: Duration = Duration::from_secs(1);
/// Tokens whose answers are remembered: those of all users of a large node, who
/// may come back together.
const TOKENS: usize = 1 << 16;

/// What asking it may cost. A client waits four seconds for its socket, and a
/// user's profile holds the notes pinned to it.
const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(3),
    body: 2 << 20,
    at_once: 64,
    place_timeout: Duration::from_secs(2),
    tires: false,
};

/// What a Misskey says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It names this user, whose account may be read with it.
    Signed(Signed),
    /// It names a user who is suspended.
    Suspended,
    /// It says something that nobody understands.
    Unclear,
}

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The user's id.
    pub user: Arc<str>,
    /// Which timelines the user may see.
    pub policies: Policies,
    /// Hosts that the user mutes.
    pub muted_servers: Option<KeySet>,
}

/// The HTTP API of a Misskey.
pub struct Api {
    base: Url,
    upstream: Upstream,
    /// By digest of the token, as nothing else of it is kept.
    standings: Recent<Standing>,
    /// Whether a token may read chats, likewise.
    chats: Recent<bool>,
    visiting: Recent<(Policies, Visitors)>,
    seconds: Histogram,
}

/// What is asked, beside the token.
#[derive(Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    i: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    antenna_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a str>,
}

impl Api {
    /// That of the host called `name`, at `base`, which ends in a slash; how long
    /// answers take is told to `seconds`.
    pub fn new(name: &str, base: Url, seconds: Histogram) -> Self {
        Self {
            base,
            upstream: Upstream::new(&format!("the API of {name}"), BOUNDS),
            standings: Recent::holding(TOKENS),
            chats: Recent::holding(TOKENS),
            visiting: Recent::default(),
            seconds,
        }
    }

    /// Whom the token names; `None` if nobody, or if it may not read the account.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn standing(&self, token: &Token) -> Result<Option<Arc<Standing>>, Arc<Error>> {
        // Of what its database cannot be asked for it says that it failed, and enough of
        // that would keep out everybody.
        let is_none = |text: &str| MAX_TOKEN < text.len() || text.contains(char::is_control);
        if is_none(token.reveal()) {
            return Ok(None);
        }
        let asked = async {
            let standing = self.ask_standing(token).await?;
            Ok(standing.map(|standing| {
                let unclear = standing == Standing::Unclear;
                (standing, if unclear { UNCLEAR_FOR } else { KNOWN_FOR })
            }))
        };
        let name = digest(token);
        self.standings.get(&name, Instant::now(), asked).await
    }

    /// Forgets what it said of the token.
    pub fn forget(&self, token: &Token) {
        let name = digest(token);
        self.standings.forget(&name);
        self.chats.forget(&name);
    }

    async fn ask_standing(&self, token: &Token) -> Result<Option<Standing>, Error> {
        let reply = self.ask("i", Some(token), Asked::default()).await?;
        Ok(match reply.status {
            StatusCode::OK => Some(match serde_json::from_slice::<MeAnswer>(&reply.body) {
                Ok(me) if me.is_suspended => Standing::Suspended,
                Ok(me) => Standing::Signed(me.signed()),
                Err(_) => Standing::Unclear,
            }),
            StatusCode::FORBIDDEN if Failure::is_suspension(&reply.body) => {
                Some(Standing::Suspended)
            }
            // The second, if it is an app's token that may not read the account.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => None,
            // Such as 404: the address is wrong, which is not the user's fault.
            _ => Some(Standing::Unclear),
        })
    }

    /// What visitors may see.
    ///
    /// # Errors
    /// If it does not answer, or nobody understands what it says.
    pub async fn visiting(&self) -> Result<(Policies, Visitors), Arc<Error>> {
        let asked = async {
            let asked = Asked {
                detail: Some(true),
                ..Asked::default()
            };
            let reply = self.ask("meta", None, asked).await?;
            let meta: MetaAnswer = read(&reply)?;
            Ok(Some((meta.visiting(), VISITING_FOR)))
        };
        let visiting = self.visiting.get("", Instant::now(), asked).await?;
        Ok(visiting.map(|known| *known).unwrap_or_default())
    }

    /// Has it read what the user follows and mutes, as it does for the user's
    /// timeline, and so put it in its cache.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn refill(&self, token: &Token) -> Result<(), Error> {
        let asked = Asked {
            limit: Some(1),
            ..Asked::default()
        };
        let reply = self.ask("notes/timeline", Some(token), asked).await?;
        granted(reply).map(drop)
    }

    /// The note as the token's user, or a visitor, may see it, packed, in an event;
    /// `None` if they may not, or there is none.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn note(&self, token: Option<&Token>, note: &str) -> Result<Option<Event>, Error> {
        let asked = Asked {
            note_id: Some(note),
            ..Asked::default()
        };
        let reply = granted(self.ask("notes/show", token, asked).await?)?;
        let note: Option<Box<RawValue>> = reply.map(|reply| read(&reply)).transpose()?;
        Ok(note.map(|note| Event::of(NOTE, note)))
    }

    /// Who is on the list, if it is of the token's user.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn list(&self, token: &Token, list: &str) -> Result<Option<KeySet>, Error> {
        let asked = Asked {
            list_id: Some(list),
            ..Asked::default()
        };
        let reply = self.ask("users/lists/show", Some(token), asked).await?;
        let Some(reply) = granted(reply)? else {
            return Ok(None);
        };
        let list: ListAnswer = read(&reply)?;
        let members = list.user_ids.iter().map(|id| Field::User.key(id));
        Ok(Some(members.collect()))
    }

    /// Whether the antenna is of the token's user.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn antenna(&self, token: &Token, antenna: &str) -> Result<bool, Error> {
        let asked = Asked {
            antenna_id: Some(antenna),
            ..Asked::default()
        };
        let reply = self.ask("antennas/show", Some(token), asked).await?;
        Ok(granted(reply)?.is_some())
    }

    /// Whether everybody may look at the notes of the role's users.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn role(&self, role: &str) -> Result<bool, Error> {
        let asked = Asked {
            role_id: Some(role),
            ..Asked::default()
        };
        let reply = granted(self.ask("roles/show", None, asked).await?)?;
        let role: Option<RoleAnswer> = reply.map(|reply| read(&reply)).transpose()?;
        Ok(role.is_some_and(|role| role.is_open()))
    }

    /// Whether the token allows to read chats.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn chat(&self, token: &Token) -> Result<bool, Arc<Error>> {
        let asked = async {
            let asked = Asked {
                limit: Some(1),
                ..Asked::default()
            };
            let reply = self.ask("chat/history", Some(token), asked).await?;
            let may = granted(reply)?.is_some();
            Ok(may.then_some((true, KNOWN_FOR)))
        };
        let name = digest(token);
        let known = self.chats.get(&name, Instant::now(), asked).await?;
        Ok(known.is_some())
    }

    /// Whether the token's user may look into the chat room, and the token allows it.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn room(&self, token: &Token, room: &str) -> Result<bool, Error> {
        let asked = Asked {
            room_id: Some(room),
            ..Asked::default()
        };
        let there = self.ask("chat/rooms/show", Some(token), asked).await?;
        if granted(there)?.is_none() {
            return Ok(false);
        }
        // Whoever knows its id is shown the room, but not what is said in it.
        let asked = Asked {
            limit: Some(1),
            ..asked
        };
        let said = self.ask("chat/messages/room-timeline", Some(token), asked);
        Ok(granted(said.await?)?.is_some())
    }

    async fn ask(
        &self,
        endpoint: &'static str,
        token: Option<&Token>,
        asked: Asked<'_>,
    ) -> Result<Reply, Error> {
        let wrong = |_| Error::Provider("its address is wrong");
        let url = self.base.join("api/").and_then(|url| url.join(endpoint));
        let url = url.map_err(wrong)?;
        let asked = Asked {
            i: token.map(Token::reveal),
            ..asked
        };
        let body = serde_json::to_vec(&asked).expect("plain values can be written as JSON");
        let timer = self.seconds.start_timer();
        let reply = self.upstream.ask(|client| {
            let json = HeaderValue::from_static("application/json");
            client.post(url).header(CONTENT_TYPE, json).body(body)
        });
        let reply = reply.await;
        match &reply {
            Ok(_) => timer.observe_duration(),
            Err(_) => drop(timer.stop_and_discard()),
        }
        reply
    }
}

/// The answer, if it is no refusal.
fn granted(reply: Reply) -> Result<Option<Reply>, Error> {
    match reply.status {
        status if status.is_success() => Ok(Some(reply)),
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::GONE => Ok(None),
        _ => Err(Error::Provider("it does not answer our question")),
    }
}

fn read<'a, T: serde::Deserialize<'a>>(reply: &'a Reply) -> Result<T, Error> {
    let unread = |_| Error::Provider("its answer cannot be read");
    match reply.status {
        status if status.is_success() => serde_json::from_slice(&reply.body).map_err(unread),
        _ => Err(Error::Provider("it does not answer our question")),
    }
}

fn digest(token: &Token) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.reveal()))
}

#[cfg(test)]
mod tests;
