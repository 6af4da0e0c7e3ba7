//! Who is on a socket, and with what.

use std::fmt;
use std::sync::Arc;

use crate::key::Key;
use crate::misskey::hosts::Host;

/// Who is on a socket: a user of a host, or nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The host.
    pub host: Arc<Host>,
    /// The user, if anybody has signed in.
    pub account: Option<Account>,
}

/// A user who has shown a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's id.
    pub user: Arc<str>,
    /// What stands for it.
    pub key: Key,
    /// What the token allows.
    pub grant: Grant,
    /// The token itself, for asking the host on the user's behalf.
    pub token: Token,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Everything: it is the user's own.
    Native,
    /// `read:account`, and what the host says when asked: an app's.
    App,
}

/// Characters of a user's own token.
const NATIVE: usize = 16;

impl Grant {
    /// What the token allows, which its length tells.
    pub fn of(token: &Token) -> Self {
        if token.reveal().chars().count() == NATIVE {
            Self::Native
        } else {
            Self::App
        }
    }
}

/// A token. Shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// The token with this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text, for the host that issued it and for nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
