//! A socket whose bytes are encrypted on their way.
//!
//! Written is what the kernel has, as of any other socket. But a record that was
//! sealed cannot be taken back or sealed anew: while the kernel does not take all of
//! it, the bytes in it are neither written nor to be dropped, and whoever writes has
//! to offer them again, first of all ([`Encrypted::sealed`]).

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::ServerConnection;

use super::conn::Input;

/// How much is sealed at once: what fits in one record. What waits for a slow client
/// is held twice up to this, once as it is and once sealed.
const RECORD: usize = 16 << 10;

/// A connection over TLS whose handshake is done.
pub(super) struct Encrypted<S: Read + Write> {
    below: S,
    tls: ServerConnection,
    /// Bytes that were sealed, in a record that the kernel does not have all of.
    sealed: usize,
}

impl<S: Read + Write> Encrypted<S> {
    /// Goes on with a connection where a handshake has left it.
    pub(super) fn new(below: S, mut tls: ServerConnection) -> Self {
        tls.set_buffer_limit(Some(RECORD));
        Self {
            below,
            tls,
            sealed: 0,
        }
    }

    /// What the bytes travel on.
    pub(super) fn below(&self) -> &S {
        &self.below
    }

    /// The same, to change it.
    pub(super) fn below_mut(&mut self) -> &mut S {
        &mut self.below
    }

    /// Bytes that were offered to be written, are not, and cannot be taken back: what
    /// is offered next has to begin with them.
    pub(super) fn sealed(&self) -> usize {
        self.sealed
    }

    /// Reads once. That less came than there is room for does not mean that there is
    /// no more: it says only where a record ended.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Input {
        match self.opened(buffer) {
            Input::Empty => {}
            input => return input,
        }
        match self.tls.read_tls(&mut self.below) {
            // At the end of the stream there may be something left that came before.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Input::Empty,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Input::Nothing,
            Err(_) => return Input::Gone,
        }
        let understood = self.tls.process_new_packets().is_ok();
        // What is to be said to that, such as what was wrong with it, or new keys. If
        // it cannot be written now it is when the socket is ready for it.
        let said = self.push();
        let broken = said.is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
        if !understood || broken {
            return Input::Gone;
        }
        match self.opened(buffer) {
            Input::Empty => Input::Nothing,
            input => input,
        }
    }

    /// Takes what has been opened.
    fn opened(&mut self, buffer: &mut [u8]) -> Input {
        match self.tls.reader().read(buffer) {
            Ok(0) => Input::Gone,
            Ok(read) => Input::Bytes(read, true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Input::Empty,
            Err(_) => Input::Gone,
        }
    }

    /// Says that nothing more will be written. It may have to be pushed.
    pub(super) fn say_goodbye(&mut self) {
        self.tls.send_close_notify();
    }

    /// Writes what is sealed.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if the client must read first, and others if the
    /// connection is broken.
    pub(super) fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.below) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same, and how many of the bytes that are offered first it had in it.
    fn finish(&mut self) -> io::Result<usize> {
        self.push()?;
        Ok(std::mem::take(&mut self.sealed))
    }
}

/// As of any other socket, less is written than was offered only if the client must
/// read first.
impl<S: Read + Write> Write for Encrypted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = self.finish()?;
        loop {
            let record = next(parts, written);
            if record.is_empty() {
                return Ok(written);
            }
            self.sealed = self.tls.writer().write_vectored(&record)?;
            match self.finish() {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock && 0 < written => {
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

/// As much as fits in a record of what comes after the first `skip` bytes.
fn next<'p>(parts: &'p [IoSlice<'_>], mut skip: usize) -> Vec<IoSlice<'p>> {
    let mut room = RECORD;
    let mut record = Vec::with_capacity(parts.len());
    for part in parts {
        let skipped = skip.min(part.len());
        skip -= skipped;
        let part = &part[skipped..];
        let taken = &part[..part.len().min(room)];
        room -= taken.len();
        if !taken.is_empty() {
            record.push(IoSlice::new(taken));
        }
    }
    record
}

impl<S: Read + Write> Drop for Encrypted<S> {
    /// However it ends, the client is to see that it was us who ended it, if there is
    /// room to say so.
    fn drop(&mut self) {
        self.say_goodbye();
        drop(self.push());
    }
}

/// Nothing of what it is made of is for others to see.
impl<S: Read + Write> fmt::Debug for Encrypted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted")
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
