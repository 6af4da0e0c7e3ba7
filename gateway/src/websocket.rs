//! RFC 6455 on bytes: what a frame is, what a client may send, how it gets in.
//!
//! Pure: nothing here reads a socket, a clock or a setting. In reading order:
//! the frame on the wire ([`Frame`]), the rules of what clients send
//! ([`Violation`], [`Decoder`]), and the upgrade ([`Handshake`]).

mod frame;
mod violation;
mod codec;
mod partial;
mod handshake;

#[cfg(test)]
mod client;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod random;

pub use codec::{Decoder, Limits, Received};
pub use frame::{CloseFrame, Frame, Shared};
pub use handshake::{Handshake, Refusal};
pub use violation::Violation;
