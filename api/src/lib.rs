//! The HTTP side of Carillon: GraphQL for application backends, a console, a page
//! to try a push in the browser, and what clients that annotate ask for.
//!
//! In reading order: a request comes in ([`server`], [`router`]), its document
//! is read and measured ([`document`]), its key's scopes are checked
//! ([`access`]), its fields resolve ([`schema`], [`cursor`]), are put in order
//! (`order`), and what cannot be done is told in words ([`failure`]). What was asked for is counted and written
//! down ([`account`]). Clients that annotate speak another language, with users'
//! tokens ([`annotations`]); what annotation systems report comes in by `ingest`.
//! What is recorded of all that for traces is in `trace`.
//! It keeps no state of its own.

pub mod access;
pub mod account;
pub mod annotations;
pub mod command;
pub mod config;
pub mod cursor;
pub mod document;
pub mod failure;
mod function;
mod ingest;
mod later;
pub mod metrics;
mod order;
pub mod page;
pub mod process;
pub mod router;
pub mod schema;
pub mod server;
mod trace;

use broker::annotation::ingest::DeadLetters;
use broker::census::Census;
use broker::identity::AccessTokens;
use broker::messages::Messages;
use broker::people::People;
use broker::quota::Quotas;
use broker::replicas::Replicas;
use broker::sites::Sites;
use broker::token::Keyring;

use crate::config::{Limits, PublicUrl};
use crate::metrics::Metrics;

/// What resolvers work with.
pub struct Api {
    /// Where messages are kept and pushed from.
    pub messages: Messages,
    /// Knows what replicas have.
    pub replicas: Replicas,
    /// What tenants may use.
    pub quotas: Quotas,
    /// Asks gateways who is connected.
    pub census: Census,
    /// What producers added and could not be published.
    pub dead_letters: DeadLetters,
    /// Users, groups and memberships.
    pub people: People,
    /// Tokens that name users.
    pub access_tokens: AccessTokens,
    /// Where users belong.
    pub sites: Sites,
    /// Signs tokens.
    pub keyring: Keyring,
    /// Where browsers connect.
    pub public_url: PublicUrl,
    /// What a request may ask for.
    pub limits: Limits,
    /// What counts pushes.
    pub metrics: Metrics,
}
