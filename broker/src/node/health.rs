//! Whether a process of the cluster lives, asked from the outside.
//!
//! Images hold no shell and no HTTP client, so each program can ask its own admin
//! port itself. It blocks and needs no runtime: it is over before one had started.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long the answer may take, connecting included. Whoever asks has others to ask.
const PATIENCE: Duration = Duration::from_secs(2);
/// The line that comes first, `HTTP/1.1 200 OK`, and no other, is looked at.
const LINE: usize = 128;

/// Why a process is not known to live.
#[derive(Debug, thiserror::Error)]
pub enum NotLive {
    /// Its settings leave the choice to the system, which only its log tells.
    #[error("{0} is any free port: nobody but the log knows which")]
    AnyPort(SocketAddr),
    /// Nobody answers.
    #[error("{0}: {1}")]
    Silent(SocketAddr, io::Error),
    /// Somebody answers otherwise.
    #[error("{0} answers {1:?}")]
    Otherwise(SocketAddr, String),
}

/// Asks the process whose admin port listens on `bound` whether it lives.
///
/// # Errors
/// If it does not say so within two seconds.
pub fn ask(bound: SocketAddr) -> Result<(), NotLive> {
    if bound.port() == 0 {
        return Err(NotLive::AnyPort(bound));
    }
    let address = reachable(bound);
    let line = first_line(address).map_err(|error| NotLive::Silent(address, error))?;
    match line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(NotLive::Otherwise(address, line)),
    }
}

/// Where somebody on this machine reaches what listens on `bound`.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

fn first_line(address: SocketAddr) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of nothing would mean none.
        (!left.is_zero())
            .then_some(left)
            .ok_or(io::ErrorKind::TimedOut)
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!("GET /live HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; LINE];
    while !answer.contains(&b'\n') && answer.len() < LINE {
        stream.set_read_timeout(Some(left()?))?;
        let read = stream
            .read(&mut chunk)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => error,
            })?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..read]);
    }
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    Ok(line.chars().take(LINE).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one connection, if with anything, and holds it until it ends.
    fn answering(answer: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if let Some(answer) = answer {
                stream.write_all(answer.as_bytes()).unwrap();
            }
            // Whatever is sent until the other side is gone.
            drop(io::copy(&mut stream, &mut io::sink()));
        });
        address
    }

    #[test]
    fn who_answers_that_it_lives_does() {
        let address = answering(Some("HTTP/1.1 200 OK\r\n\r\n{}"));
        assert!(ask(address).is_ok());
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        assert_eq!(reachable(everywhere), address);
        assert_eq!(
            reachable("[::]:9101".parse().unwrap()),
            "[::1]:9101".parse().unwrap()
        );
    }

    #[test]
    fn whoever_does_not_is_named_with_what_it_said() {
        let stranger = answering(Some("HTTP/1.1 404 Not Found\r\n\r\n"));
        let why = ask(stranger).unwrap_err().to_string();
        assert_eq!(
            why,
            format!("{stranger} answers \"HTTP/1.1 404 Not Found\"")
        );
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        assert!(matches!(ask(gone.unwrap()), Err(NotLive::Silent(..))));
        let any = ask("127.0.0.1:0".parse().unwrap());
        assert!(matches!(any, Err(NotLive::AnyPort(_))));
    }

    #[test]
    fn who_says_nothing_is_not_waited_for_for_ever() {
        let began = Instant::now();
        let why = ask(answering(None)).unwrap_err();
        assert!(
            matches!(&why, NotLive::Silent(_, error)
            if error.kind() == io::ErrorKind::TimedOut),
            "{why}"
        );
        assert!(PATIENCE <= began.elapsed());
    }
}
