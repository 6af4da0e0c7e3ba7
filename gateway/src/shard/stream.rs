//! What the bytes of a socket travel on.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::encrypted::Encrypted;
use super::inbox::Carrier;
use super::out::Way;
#[cfg(test)]
use super::simulation::Pipe;

/// What the bytes of a socket travel on.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<Encrypted<TcpStream>>),
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

impl From<Carrier> for Stream {
    fn from(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Plain(tcp) => Self::Tcp(TcpStream::from_std(tcp)),
            Carrier::Encrypted(tcp, tls) => {
                let tls = Encrypted::new(TcpStream::from_std(tcp), *tls);
                Self::Tls(Box::new(tls))
            }
        }
    }
}

impl Stream {
    /// Whether there may be bytes that the poll does not know of, because they have been
    /// taken off the socket already.
    pub(super) fn may_hold_bytes(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Has the poll say what the stream is ready for.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let all = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(tcp) => registry.register(tcp, token, all),
            Self::Tls(tls) => registry.register(tls.below_mut(), token, all),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// The poll needs to say nothing more of it.
    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => registry.deregister(tcp),
            Self::Tls(tls) => registry.deregister(tls.below_mut()),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Has the kernel forget at once what it holds for a client that has not taken it,
    /// instead of trying to send it for minutes after the stream is closed.
    pub(super) fn forget_unsent(&self) -> io::Result<()> {
        let at_once = Some(Duration::ZERO);
        match self {
            Self::Tcp(tcp) => SockRef::from(tcp).set_linger(at_once),
            Self::Tls(tls) => SockRef::from(tls.below()).set_linger(at_once),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Ends our side.
    pub(super) fn finish_writing(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            // While the kernel does not take the goodbye, what is below it has to last.
            Self::Tls(tls) => {
                tls.say_goodbye();
                tls.push()?;
                tls.below().shutdown(Shutdown::Write)
            }
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.finish_writing(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            Self::Tls(_) => unreachable!("what comes over TLS is read in records"),
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write_vectored(parts),
            Self::Tls(tls) => tls.write_vectored(parts),
            #[cfg(test)]
            Self::Simulated(pipe) => pipe.write_vectored(parts),
        }
    }

    /// Writes what a stream has to say of itself, as far as it can be.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(tls) => tls.flush(),
            Self::Tcp(_) => Ok(()),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }
}

impl Way for Stream {
    fn sealed(&self) -> usize {
        match self {
            Self::Tls(tls) => tls.sealed(),
            Self::Tcp(_) => 0,
            #[cfg(test)]
            Self::Simulated(_) => 0,
        }
    }
}
