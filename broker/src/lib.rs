//! What crosses between Carillon's processes, and the only crate that names Redis.
//!
//! In reading order: where things are ([`topic`], [`sites`], [`keys`], [`topology`]),
//! what is published and kept ([`event`], [`ring`], [`function`], [`message`], [`messages`]), how it travels
//! ([`bus`], [`link`], [`replay`], [`control`], [`census`]), who may ([`token`], [`access`],
//! [`quota`], [`people`], [`identity`]), what is annotated ([`annotation`]), what a
//! Misskey tells ([`misskey`]), whether events are as they should be ([`lint`]), and how a
//! process lives ([`node`]).

pub mod time;
pub mod key;
pub mod topic;
pub mod sites;
pub mod keys;
pub mod topology;
pub mod event;
pub mod ring;
pub mod function;
pub mod message;
pub mod messages;
pub mod replicas;
pub mod resumption;
pub mod bus;
pub mod link;
pub mod replay;
pub mod control;
pub mod census;
pub mod token;
pub mod access;
pub mod quota;
pub mod people;
pub mod identity;
pub mod annotation;
pub mod misskey;
pub mod lint;
pub mod node;
pub mod trace;
pub mod error;
pub mod current;
mod recent;
#[cfg(test)]
mod fixture;

pub use error::Error;
pub use time::Timestamp;
