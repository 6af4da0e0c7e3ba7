//! A socket without a kernel: what a gateway wrote and the client did not read yet,
//! and the other way round.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

/// The gateway's end, or a way to look at the client's.
#[derive(Clone, Debug, Default)]
pub(in crate::shard) struct Pipe(Rc<RefCell<Buffers>>);

#[derive(Debug, Default)]
struct Buffers {
    to_gateway: VecDeque<u8>,
    to_client: Vec<u8>,
    /// How much more the gateway may write before it must wait.
    room: usize,
    finished: bool,
    broken: bool,
}

impl Pipe {
    pub(super) fn with_room(room: usize) -> Self {
        let pipe = Self::default();
        pipe.0.borrow_mut().room = room;
        pipe
    }

    /// The client sends bytes.
    pub(super) fn send(&self, bytes: &[u8]) {
        self.0.borrow_mut().to_gateway.extend(bytes);
    }

    /// The client takes what is there, which makes as much room.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut buffers = self.0.borrow_mut();
        let taken = std::mem::take(&mut buffers.to_client);
        buffers.room += taken.len();
        taken
    }

    /// Whether there is something for the client.
    pub(super) fn has_more(&self) -> bool {
        !self.0.borrow().to_client.is_empty()
    }

    /// The client goes away without a word.
    pub(super) fn break_off(&self) {
        self.0.borrow_mut().broken = true;
    }

    /// The gateway has closed the socket.
    pub(super) fn end(&self) {
        self.0.borrow_mut().finished = true;
    }

    pub(in crate::shard) fn finish_writing(&self) -> io::Result<()> {
        self.end();
        Ok(())
    }

    /// Whether the gateway has ended its side, or the connection is broken.
    pub(super) fn is_over(&self) -> bool {
        let buffers = self.0.borrow();
        buffers.finished || buffers.broken
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffers = self.0.borrow_mut();
        if buffers.broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if buffers.to_gateway.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffers.to_gateway.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffers = self.0.borrow_mut();
        if buffers.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(buffers.room);
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffers.room -= taken;
        buffers.to_client.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
