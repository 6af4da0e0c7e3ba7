//! Ports of the loopback interface, each of which is one owner's alone.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the system gives to outgoing connections, and to whoever
/// asks for any: what is down finds its port free when it is started again.
const FIRST: u16 = 2000;
/// More than all tests hold at the same time.
const COUNT: u32 = 8000;

/// A port to listen at, now and again later: until it is dropped nobody else who
/// asks gets it, in this process or another, whether its owner runs or not.
pub struct Port {
    address: SocketAddr,
    /// Nothing is sent to it: the system lets one process have it, however that ends.
    _claim: UdpSocket,
}

impl Port {
    /// One at which nobody listens.
    ///
    /// # Panics
    /// If there is none.
    pub fn claim() -> Self {
        Self::found().0
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn found() -> (Self, TcpListener) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Processes that test at the same time begin far from each other.
        let start = std::process::id().wrapping_mul(37);
        let number = || {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            FIRST + u16::try_from(offset).expect("there are few")
        };
        std::iter::repeat_with(number)
            .take(COUNT as usize)
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .find_map(|address| {
                let _claim = UdpSocket::bind(address).ok()?;
                let listener = TcpListener::bind(address).ok()?;
                Some((Self { address, _claim }, listener))
            })
            .unwrap_or_else(|| panic!("all {COUNT} ports from {FIRST} on are taken"))
    }
}

/// Somebody who listens at such a port, and where.
///
/// # Panics
/// If there is none.
pub fn listener() -> (TcpListener, SocketAddr) {
    let (port, listener) = Port::found();
    (listener, port.address())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_port_is_one_owner_s_while_nobody_listens_at_it() {
        let held: Vec<Port> = (0..50).map(|_| Port::claim()).collect();
        let all: HashSet<SocketAddr> = held.iter().map(Port::address).collect();
        assert_eq!(all.len(), held.len());
        for address in all {
            assert!(UdpSocket::bind(address).is_err(), "{address} is claimed");
            assert!(TcpListener::bind(address).is_ok(), "{address} is free");
        }
    }

    #[test]
    fn a_port_is_free_again_once_it_is_dropped() {
        let port = Port::claim();
        let address = port.address();
        drop(port);
        assert!(UdpSocket::bind(address).is_ok());
    }
}
