//! What crosses between Carillon's processes, and the only crate that names Redis.
//!
//! In reading order: where things are ([`topic`], [`keys`], [`topology`]), what
//! is published and kept ([`event`], [`message`], [`messages`]), who may
//! ([`token`], [`access`]), and how a process lives ([`node`]).

pub mod error;
pub mod keys;
pub mod message;
pub mod time;
pub mod topic;
pub mod topology;

pub use error::Error;
pub use time::Timestamp;
