//! The forms in which a Misskey's processes tell each other things. Only what is
//! needed is looked at, and checked as it is read.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;

use crate::key::Key;
use crate::misskey::Field;
use crate::misskey::caller::Token;
use crate::misskey::viewer::{Policies, Visitors};
use crate::misskey::wire::BadFrame;

/// The longest id of anything, in bytes. The longest in use has 26.
pub(super) const MAX_ID: usize = 128;
/// The longest token, in bytes.
const MAX_TOKEN: usize = 1024;

/// Reads a body.
pub(super) fn of<'a, T: Deserialize<'a>>(body: &'a RawValue) -> Result<T, BadFrame> {
    // Members by name only: an array would do for them all.
    if !body.get().starts_with('{') {
        return Err(BadFrame::Form);
    }
    serde_json::from_str(body.get()).map_err(|_| BadFrame::Form)
}

#[derive(Deserialize)]
pub(super) struct Follow {
    #[serde(rename = "followerId", deserialize_with = "user")]
    pub follower: Key,
    #[serde(rename = "followeeId", deserialize_with = "user")]
    pub followee: Key,
}

#[derive(Deserialize)]
pub(super) struct Block {
    #[serde(rename = "blockerId", deserialize_with = "user")]
    pub blocker: Key,
    #[serde(rename = "blockeeId", deserialize_with = "user")]
    pub blockee: Key,
}

#[derive(Deserialize)]
pub(super) struct OfChannel {
    #[serde(rename = "userId", deserialize_with = "user")]
    pub user: Key,
    #[serde(rename = "channelId", deserialize_with = "channel")]
    pub channel: Key,
}

#[derive(Deserialize)]
pub(super) struct OfList {
    #[serde(rename = "userListId", deserialize_with = "id")]
    pub list: Box<str>,
    #[serde(rename = "memberId", deserialize_with = "user")]
    pub member: Key,
}

#[derive(Deserialize)]
pub(super) struct Regenerated {
    #[serde(rename = "id", deserialize_with = "id")]
    pub user: Arc<str>,
    #[serde(rename = "oldToken", deserialize_with = "token")]
    pub old: Token,
}

#[derive(Deserialize)]
pub(super) struct State {
    #[serde(rename = "id", deserialize_with = "id")]
    pub user: Arc<str>,
    #[serde(rename = "isSuspended", default)]
    pub suspended: bool,
    #[serde(rename = "isDeleted", default)]
    pub deleted: bool,
}

/// What names a user and may say more.
#[derive(Deserialize)]
pub(super) struct User {
    #[serde(rename = "id", deserialize_with = "id")]
    pub user: Arc<str>,
}

/// The same of what a user has.
#[derive(Deserialize)]
pub(super) struct OfUser {
    #[serde(rename = "userId", deserialize_with = "id")]
    pub user: Arc<str>,
}

/// What is gone, of which only the id is needed.
#[derive(Deserialize)]
pub(super) struct Gone {
    #[serde(deserialize_with = "id")]
    pub id: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Role {
    #[serde(deserialize_with = "id")]
    pub id: Box<str>,
    #[serde(default)]
    is_public: Option<bool>,
    #[serde(default)]
    is_explorable: Option<bool>,
}

impl Role {
    /// Whether everybody may look at the notes of its users, if that is said.
    pub(super) fn open(&self) -> Option<bool> {
        let both = self.is_public.zip(self.is_explorable);
        both.map(|(public, explorable)| public && explorable)
    }
}

#[derive(Deserialize)]
pub(super) struct Settings<'a> {
    #[serde(borrow)]
    pub after: Setting<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Setting<'a> {
    #[serde(borrow, default)]
    ugc_visibility_for_visitor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    policies: Option<Available<'a>>,
}

impl Setting<'_> {
    /// What visitors see, if that is said.
    pub(super) fn visitors(&self) -> Option<Visitors> {
        match self.ugc_visibility_for_visitor.as_deref()? {
            "all" => Some(Visitors::All),
            "local" => Some(Visitors::Local),
            "none" => Some(Visitors::None),
            _ => None,
        }
    }

    /// What those may see who have no role, and visitors; if that is said.
    pub(super) fn policies(&self) -> Option<Policies> {
        self.policies.as_ref().map(Available::policies)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Available<'a> {
    #[serde(borrow, default)]
    ltl_available: Option<&'a RawValue>,
    #[serde(borrow, default)]
    gtl_available: Option<&'a RawValue>,
}

impl Available<'_> {
    /// What is not said is allowed, as by default.
    pub(super) fn policies(&self) -> Policies {
        let allows = |said: Option<&RawValue>| said.is_none_or(|said| said.get() != "false");
        Policies {
            local: allows(self.ltl_available),
            global: allows(self.gtl_available),
        }
    }
}

/// A text that is only looked at.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn user<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
    Ok(Field::User.key(&Text::deserialize(from)?.0))
}

fn channel<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
    Ok(Field::Channel.key(&Text::deserialize(from)?.0))
}

fn id<'de, D: Deserializer<'de>, T: for<'a> From<&'a str>>(from: D) -> Result<T, D::Error> {
    let Text(id) = Text::deserialize(from)?;
    if id.is_empty() || MAX_ID < id.len() {
        return Err(D::Error::custom("no id"));
    }
    Ok(T::from(&id))
}

fn token<'de, D: Deserializer<'de>>(from: D) -> Result<Token, D::Error> {
    let Text(token) = Text::deserialize(from)?;
    if MAX_TOKEN < token.len() {
        return Err(D::Error::custom("no token"));
    }
    Ok(Token::new(&token))
}
