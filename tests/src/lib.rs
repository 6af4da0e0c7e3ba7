//! Runs Carillon as its users run it, so that tests can watch it from outside.
//!
//! A [`Fleet`] is a private Redis, some gateways, an api and some workers, each
//! a process of its own. Tests talk to it through GraphQL ([`graphql`]) and
//! WebSockets ([`socket`]), read its metrics ([`metrics`]), and stop, freeze and
//! restart its processes ([`process`]) and the network between them and Redis
//! ([`proxy`]). What it prints is kept ([`secrets`]).

#![allow(clippy::disallowed_methods)] // Tests are no process of the cluster: they have no settings to read once.

mod binaries;
mod undertaker;

pub mod authority;
pub mod balancer;
pub mod cases;
pub mod collector;
pub mod fleet;
pub mod front;
pub mod graphql;
pub mod haproxy;
pub mod http;
pub mod hypothesis;
pub mod metrics;
pub mod misskey;
pub mod port;
pub mod process;
pub mod procfs;
pub mod proxy;
pub mod redis;
pub mod secrets;
pub mod socket;
pub mod trust;
pub mod until;

pub use collector::{Collector, Told};
pub use fleet::{Fleet, FleetBuilder};
pub use graphql::Registration;
pub use misskey::Misskey;
pub use process::Process;
pub use proxy::{Lines, Proxy};
pub use socket::{Heard, Refusal, Socket, Upgrade};
pub use until::{until, until_some, within};
