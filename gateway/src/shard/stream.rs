//! What the bytes of a socket travel on.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

#[cfg(test)]
use super::simulation::Pipe;

/// What the bytes of a socket travel on.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(test)]
    Simulated(Pipe),
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) writable: bool,
    pub(super) readable: bool,
    /// The client has closed its side, or the connection is broken.
    pub(super) ended: bool,
}

impl From<&Event> for Ready {
    fn from(event: &Event) -> Self {
        Self {
            writable: event.is_writable(),
            readable: event.is_readable(),
            ended: event.is_read_closed() || event.is_error(),
        }
    }
}

impl Stream {
    /// Has the poll say what the stream is ready for.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => {
                registry.register(tcp, token, Interest::READABLE | Interest::WRITABLE)
            }
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// The poll needs to say nothing more of it.
    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => registry.deregister(tcp),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Has the kernel forget at once what it holds for a client that has not taken it,
    /// instead of trying to send it for minutes after the stream is closed.
    pub(super) fn forget_unsent(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => SockRef::from(tcp).set_linger(Some(Duration::ZERO)),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Ends our side.
    pub(super) fn finish_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.finish_writing(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write_vectored(parts),
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
