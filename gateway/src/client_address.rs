//! Whose address a connection comes from, when proxies stand in between.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// More hops than any sensible chain has; what lies beyond was not written by
/// our proxies.
const MAX_HOPS: usize = 32;

/// The client's address: the peer's, or, if that is a trusted proxy, the nearest
/// untrusted one of the `X-Forwarded-For` lines.
///
/// Each proxy appends the address it was spoken to from, so the list is read
/// from the right and believed only as long as it was written by a proxy that we
/// trust. What cannot be read ends it: then the last address that could be read
/// counts. With nobody trusted the header is ignored.
///
/// `forwarded` are the values of all such headers, in the order they came.
/// IPv4 addresses written as IPv6 are returned as IPv4.
pub fn client_address<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    let entries = forwarded
        .rev()
        .flat_map(|line| line.rsplit(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty());
    for entry in entries.take(MAX_HOPS) {
        if !is_trusted(client) {
            break;
        }
        match read(entry) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, with or without brackets and port.
fn read(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?;
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|bare| bare.contains(':'))
        .unwrap_or(entry);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => entry.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client's address for a peer, with 10.0.0.0/8 and fd00::/8 trusted.
    fn client(peer: &str, forwarded: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let lines = forwarded.iter().map(|line| line.as_bytes());
        client_address(peer.parse().unwrap(), &trusted, lines).to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["10.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn the_nearest_untrusted_address_is_the_client() {
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &["10.9.9.9, 203.0.113.9, 10.0.0.2"]),
            "203.0.113.9",
            "what a client wrote itself stands further left"
        );
    }

    #[test]
    fn all_lines_count_in_the_order_they_came() {
        assert_eq!(
            client(
                "10.0.0.1",
                &["1.1.1.1", "198.51.100.1,10.0.0.3", "10.0.0.2"]
            ),
            "198.51.100.1"
        );
    }

    #[test]
    fn without_a_header_a_trusted_peer_is_the_client() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["", " , "]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn what_cannot_be_read_ends_the_list() {
        for garbage in ["unknown", "_hidden", "1.2.3", "1.2.3.4:x", "[1.2.3.4]", "ü"] {
            let line = format!("198.51.100.1, {garbage}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[&line]), "10.0.0.2", "{garbage}");
        }
    }

    #[test]
    fn ports_and_brackets_are_no_part_of_an_address() {
        for (entry, address) in [
            ("198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
        ] {
            assert_eq!(client("10.0.0.1", &[entry]), address);
        }
    }

    #[test]
    fn an_ipv4_address_has_one_form() {
        assert_eq!(client("::ffff:203.0.113.9", &[]), "203.0.113.9");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            client("fd00::1", &["198.51.100.1, ::ffff:10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &["[::ffff:198.51.100.1]:80"]),
            "198.51.100.1"
        );
    }

    #[test]
    fn an_endless_list_is_not_walked_to_its_end() {
        let line = "10.0.0.9,".repeat(100_000);
        assert_eq!(client("10.0.0.1", &["198.51.100.1", &line]), "10.0.0.9");
    }
}
