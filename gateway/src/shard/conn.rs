//! One socket and the session on it.

use std::io::{self, ErrorKind, Read};

use broker::Timestamp;

use super::out::{Chain, Queue};
use super::stream::Stream;
use crate::admission::Permit;
use crate::close::CloseReason;
use crate::dialect::Protocol;
use crate::session::Session;
use crate::websocket::Decoder;

/// A socket of this shard.
pub(super) struct Conn {
    pub(super) stream: Stream,
    pub(super) session: Session,
    pub(super) protocol: Protocol,
    /// Whether its client has signed in, where that is left to the client.
    pub(super) signed_in: Option<bool>,
    pub(super) decoder: Decoder,
    pub(super) state: State,
    /// What this turn has for it.
    pub(super) chain: Chain,
    /// What the client did not take in earlier turns.
    pub(super) queue: Option<Box<Queue>>,
    pub(super) opened_at: Timestamp,
    /// Whether it is to be closed for what it missed, when its turn comes.
    pub(super) missed: bool,
    /// Bytes that came after our close frame.
    pub(super) late: usize,
    /// Tells it from earlier sockets in the same slot.
    pub(super) turn: u32,
    pub(super) _permit: Permit,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Frames go both ways.
    Open,
    /// A close frame is on its way; nothing follows it.
    Closing(CloseReason),
}

/// What a read came to.
pub(super) enum Input {
    /// So many bytes, and whether more may be waiting.
    Bytes(usize, bool),
    /// Nothing for us, and more may be waiting.
    Nothing,
    /// Nothing for now.
    Empty,
    /// The client is gone.
    Gone,
}

impl Conn {
    /// Reads once. With edge-triggered readiness a short read means that the
    /// socket is empty, unless the client has closed its side.
    pub(super) fn read(&mut self, buffer: &mut [u8], to_end: bool) -> Input {
        if let Stream::Tls(tls) = &mut self.stream {
            return tls.read(buffer);
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Input::Gone,
                Ok(read) => return Input::Bytes(read, to_end || read == buffer.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Input::Empty,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Input::Gone,
            }
        }
    }

    /// Ends our side, so that the client sees the end after the close frame.
    pub(super) fn finish_writing(&mut self) -> io::Result<()> {
        self.stream.finish_writing()
    }
}
