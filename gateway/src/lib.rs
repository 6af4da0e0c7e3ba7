//! The process that holds the sockets.
//!
//! In reading order: the bytes ([`websocket`]), the protocols ([`dialect`]) and
//! what surrounds one ([`session`], [`close`], [`client`]), the threads that own
//! sockets ([`shard`], [`hub`]), what takes time ([`errands`], [`mailbox`]), who
//! is let in ([`admission`], [`client_address`], [`router`]), and the process
//! ([`config`], [`metrics`], [`health`], [`control`], [`process`]).

pub mod admission;
pub mod client;
pub mod client_address;
pub mod close;
pub mod config;
pub mod control;
mod descriptors;
mod leaving;
mod threads;
pub mod dialect;
pub mod errands;
pub mod health;
pub mod hub;
pub mod mailbox;
pub mod metrics;
pub mod process;
pub mod router;
pub mod session;
pub mod shard;
pub mod websocket;
