//! The header by which a proxy says whose connection it passes on: the PROXY protocol
//! of HAProxy, versions 1 and 2.
//!
//! It waits for nothing: it is given the bytes that have come, and says what they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest header of version 1, its end of line included.
const LONGEST_LINE: usize = 107;
/// What version 2 begins with; chosen so that nothing else does.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of a header of version 2 that says how long the rest is.
const HEAD: usize = 16;
/// The longest header that is read. Beside addresses it may hold what a proxy knows of
/// TLS and of its own network, of which nothing is needed here: some hundred bytes.
pub(super) const LONGEST: usize = 4 << 10;

/// What bytes are that begin a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// All of them belong to a header, and there is more of it to come.
    Incomplete,
    /// So many of them are a header.
    Whole {
        /// How many.
        length: usize,
        /// Whose connection it is; `None` if it is the proxy's own, or the proxy does
        /// not say.
        source: Option<IpAddr>,
    },
}

/// The bytes begin no header that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHeader;

/// Reads a header at the beginning of `bytes`.
///
/// # Errors
/// As soon as no further byte could make it one.
pub(super) fn read(bytes: &[u8]) -> Result<Header, NoHeader> {
    match bytes.first() {
        None => Ok(Header::Incomplete),
        Some(b'P') => read_line(bytes),
        Some(_) => read_block(bytes),
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443`, or TCP6, or `PROXY UNKNOWN`
/// and anything, and an end of line.
fn read_line(bytes: &[u8]) -> Result<Header, NoHeader> {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        let begins = within
            .iter()
            .zip(b"PROXY ")
            .all(|(has, wants)| has == wants);
        return match begins && within.len() < LONGEST_LINE {
            true => Ok(Header::Incomplete),
            false => Err(NoHeader),
        };
    };
    let line = str::from_utf8(&within[..end]).map_err(|_| NoHeader)?;
    let words: Vec<_> = line.split(' ').collect();
    let source = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let addresses = both::<Ipv4Addr>(from, to)?;
            ports(from_port, to_port)?;
            Some(addresses.into())
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let addresses = both::<Ipv6Addr>(from, to)?;
            ports(from_port, to_port)?;
            Some(addresses.into())
        }
        _ => return Err(NoHeader),
    };
    Ok(Header::Whole {
        length: end + 2,
        source,
    })
}

/// The first of two addresses.
fn both<A: std::str::FromStr>(from: &str, to: &str) -> Result<A, NoHeader> {
    let _: A = to.parse().map_err(|_| NoHeader)?;
    from.parse().map_err(|_| NoHeader)
}

fn ports(from: &str, to: &str) -> Result<(), NoHeader> {
    let is_port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits && text.parse::<u16>().is_ok()
    };
    (is_port(from) && is_port(to)).then_some(()).ok_or(NoHeader)
}

/// Version 2: the signature, version and command, family and transport, the length of
/// what follows, the addresses, and what else the proxy has to say.
fn read_block(bytes: &[u8]) -> Result<Header, NoHeader> {
    let begins = bytes.iter().zip(SIGNATURE).all(|(has, wants)| has == wants);
    if !begins {
        return Err(NoHeader);
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(Header::Incomplete);
    };
    let [.., command, family, high, low] = *head;
    let follows = usize::from(u16::from_be_bytes([high, low]));
    let length = HEAD + follows;
    let size = match (command, family) {
        // The proxy's own connection, such as to see whether we are there: its
        // addresses are not to be looked at. Or a stream from a client whose address
        // the proxy does not know, or that has none, as it came over a socket in the
        // file system.
        (0x20, _) | (0x21, 0x00 | 0x31) => None,
        (0x21, 0x11) => Some(4),
        (0x21, 0x21) => Some(16),
        // Other versions and commands, and what is no stream.
        _ => return Err(NoHeader),
    };
    // Two addresses and two ports.
    if LONGEST < length || size.is_some_and(|size| follows < 2 * size + 4) {
        return Err(NoHeader);
    }
    let Some(rest) = rest.get(..follows) else {
        return Ok(Header::Incomplete);
    };
    let source = size.and_then(|size| match size {
        4 => rest.first_chunk::<4>().map(|&octets| IpAddr::from(octets)),
        _ => rest.first_chunk::<16>().map(|&octets| IpAddr::from(octets)),
    });
    Ok(Header::Whole { length, source })
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, RngExt, SeedableRng};

    use super::*;

    fn whole(bytes: &[u8]) -> Option<(usize, Option<String>)> {
        match read(bytes) {
            Ok(Header::Whole { length, source }) => {
                Some((length, source.map(|address| address.to_string())))
            }
            _ => None,
        }
    }

    /// A header of version 2.
    fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    const FOUR: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0x12, 0x34, 0, 80];

    fn six() -> Vec<u8> {
        let from: Ipv6Addr = "2001:db8::9".parse().unwrap();
        let to: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&from.octets()[..], &to.octets(), &FOUR[8..]].concat()
    }

    /// Headers of every kind, and whose connection each says it is.
    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let line = |text: &str| text.as_bytes().to_vec();
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let noted = [&FOUR[..], &[0xea, 0, 3, 1, 2, 3]].concat();
        vec![
            (
                line("PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n"),
                Some("203.0.113.9"),
            ),
            (
                line("PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n"),
                Some("2001:db8::9"),
            ),
            (
                line(&format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n")),
                Some(longest),
            ),
            (line("PROXY UNKNOWN\r\n"), None),
            (
                line(&format!(
                    "PROXY UNKNOWN {longest} {longest} 65535 65535\r\n"
                )),
                None,
            ),
            (block(0x21, 0x11, &FOUR), Some("203.0.113.9")),
            (block(0x21, 0x11, &noted), Some("203.0.113.9")),
            (block(0x21, 0x21, &six()), Some("2001:db8::9")),
            (block(0x21, 0x00, b""), None),
            (block(0x21, 0x31, &[7; 216]), None),
            (block(0x20, 0x00, b""), None),
            (block(0x20, 0x11, &FOUR), None),
            (block(0x20, 0x00, &[0; LONGEST - HEAD]), None),
        ]
    }

    #[test]
    fn a_header_says_whose_connection_it_is_and_where_the_connection_begins() {
        for (header, source) in headers() {
            let begun = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            let expected = Some((header.len(), source.map(str::to_owned)));
            assert_eq!(whole(&begun), expected, "{header:?}");
        }
    }

    #[test]
    fn a_header_may_come_in_any_pieces() {
        for (header, _) in headers() {
            for end in 0..header.len() {
                assert_eq!(read(&header[..end]), Ok(Header::Incomplete), "{header:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told_at_once() {
        let lines = [
            "GET / HTTP/1.1\r\n",
            "PUT",
            "PROXYTCP4 203.0.113.9 192.0.2.1 1 2\r\n",
            "PROXY\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 203.0.113.9 192.0.2.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 1\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 1 2 3\r\n",
            "PROXY TCP4  203.0.113.9 192.0.2.1 1 2\r\n",
            "PROXY TCP4 203.0.113.09 192.0.2.1 1 2\r\n",
            "PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n",
            "PROXY TCP6 203.0.113.9 192.0.2.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 1 65536\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 +1 2\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1  2\r\n",
            "PROXY TCP4 203.0.113.9\0 192.0.2.1 1 2\r\n",
            "proxy UNKNOWN\r\n",
            "\r\n\r\n",
            "\r\n\r\n\0\r\nQUIT\r",
        ];
        for line in lines {
            // The signature's own beginning may still become one.
            let expected = match SIGNATURE.starts_with(line.as_bytes()) {
                true => Ok(Header::Incomplete),
                false => Err(NoHeader),
            };
            assert_eq!(read(line.as_bytes()), expected, "{line:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(LONGEST_LINE));
        assert_eq!(read(endless.as_bytes()), Err(NoHeader));
        for (command, family, rest) in [
            (0x11, 0x11, &FOUR[..]),
            (0x22, 0x11, &FOUR),
            (0x21, 0x12, &FOUR),
            (0x21, 0x41, &FOUR),
            (0x21, 0x11, &FOUR[..11]),
            (0x21, 0x21, &FOUR),
            (0x20, 0x00, &[0; LONGEST - HEAD + 1]),
        ] {
            let header = block(command, family, rest);
            assert_eq!(read(&header), Err(NoHeader), "{header:?}");
            // Nobody has to wait for the rest to see that.
            assert_eq!(read(&header[..HEAD]), Err(NoHeader), "{header:?}");
        }
    }

    #[test]
    fn whatever_comes_is_judged_alike_in_one_piece_and_in_many_and_within_bounds() {
        let mut random = SmallRng::seed_from_u64(7);
        for _ in 0..20_000 {
            let all = headers();
            let (mut bytes, _) = all[random.random_range(..all.len())].clone();
            for _ in 0..random.random_range(0..4) {
                let at = random.random_range(..bytes.len());
                match random.random_range(0..3) {
                    0 => bytes[at] = random.random(),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, random.random()),
                }
            }
            let mut tail = vec![0; random.random_range(..64)];
            random.fill_bytes(&mut tail);
            bytes.extend(tail);
            // The first answer that is not "more" is the answer for good.
            let first = (0..=bytes.len()).find_map(|end| match read(&bytes[..end]) {
                Ok(Header::Incomplete) => None,
                answer => Some((end, answer)),
            });
            match first {
                Some((end, answer)) => {
                    assert_eq!(read(&bytes), answer, "{bytes:?}");
                    assert!(end <= LONGEST);
                    if let Ok(Header::Whole { length, .. }) = answer {
                        assert_eq!(length, end, "{bytes:?}");
                    }
                }
                None => assert!(bytes.len() < LONGEST, "{bytes:?}"),
            }
        }
    }
}
