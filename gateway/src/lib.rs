//! The process that holds the sockets.
//!
//! In reading order: the bytes ([`websocket`]), the protocols ([`dialect`]) and
//! what surrounds one ([`session`], [`close`], [`client`]), the threads that own
//! sockets ([`shard`], [`hub`], [`interest`]), what takes time ([`errands`], [`mailbox`], [`relay`]), who
//! is let in ([`admission`], [`client_address`], [`handshakes`], [`router`]), and
//! the process ([`config`], [`metrics`], [`health`], [`control`], [`process`]).

pub mod websocket;
pub mod dialect;
pub mod session;
pub mod close;
pub mod client;
pub mod shard;
pub mod hub;
pub mod interest;
pub mod errands;
pub mod misskey;
pub mod mailbox;
pub mod relay;
pub mod admission;
pub mod client_address;
pub mod handshakes;
pub mod router;
pub mod config;
pub mod metrics;
pub mod health;
pub mod control;
mod descriptors;
mod threads;
mod feeds;
mod leaving;
mod relief;
mod headroom;
mod busy;
pub mod process;
