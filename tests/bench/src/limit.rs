//! The least a delivery can cost: one thread, a finished frame, one `send()`.
//!
//! It speaks as much HTTP as it takes to be connected to, knows which socket
//! wants which topic, and sends what it is told. What was told together goes out
//! together, as any gateway may do that has several events for one socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
/// Enough for the orders of one turn.
const READ: usize = 256 * 1024;
/// How far back an order looks for others of its topic: the cost must stay small
/// where every order is for another topic.
const LOOK_BACK: usize = 16;
/// What every client is answered.
const WELCOME: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// How an order to send begins: topic and length of the frame, then the frame.
pub(crate) fn order(topic: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("payloads are short");
    let mut frame = vec![0x81, 126];
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    let size = u32::try_from(frame.len()).expect("payloads are short");
    [&topic.to_be_bytes(), &size.to_be_bytes(), &frame[..]].concat()
}

/// Serves at `address` until killed.
///
/// A socket asks for `/<topic>`; the one that asks for `/control` gives orders.
pub(crate) fn run(address: &str) {
    let address: SocketAddr = address.parse().expect("an address to listen on");
    let mut poll = Poll::new().expect("epoll is there");
    let mut listener = TcpListener::bind(address).expect("the address is free");
    let registry = poll.registry().try_clone().expect("epoll is there");
    registry
        .register(&mut listener, LISTENER, Interest::READABLE)
        .expect("a listener can be watched");
    let mut limit = Limit::default();
    let mut events = Events::with_capacity(4096);
    loop {
        if let Err(error) = poll.poll(&mut events, None) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let token = Token(limit.sockets.len());
                    stream.set_nodelay(true).expect("TCP can");
                    registry
                        .register(&mut stream, token, Interest::READABLE)
                        .expect("a socket can be watched");
                    limit.sockets.push(Some(stream));
                }
            } else {
                limit.read(event.token().0);
            }
        }
        limit.send();
    }
}

#[derive(Default)]
struct Limit {
    sockets: Vec<Option<TcpStream>>,
    /// The sockets of each topic.
    topics: Vec<Vec<usize>>,
    control: Option<usize>,
    /// Orders not carried out yet; the last may be incomplete.
    orders: Vec<u8>,
    buffer: Vec<u8>,
}

impl Limit {
    fn read(&mut self, socket: usize) {
        self.buffer.resize(READ, 0);
        while let Some(stream) = &mut self.sockets[socket] {
            let read = match stream.read(&mut self.buffer) {
                Ok(0) => {
                    self.sockets[socket] = None;
                    return;
                }
                Ok(read) => read,
                Err(_) => return,
            };
            let bytes = &self.buffer[..read];
            if self.control == Some(socket) {
                self.orders.extend_from_slice(bytes);
            } else if let Some(path) = bytes.strip_prefix(b"GET /") {
                let path = path.split(|&b| b == b' ').next().unwrap_or_default();
                let path = String::from_utf8_lossy(path);
                stream
                    .write_all(WELCOME)
                    .expect("a new socket takes some bytes");
                match path.parse::<usize>() {
                    Ok(topic) => {
                        if self.topics.len() <= topic {
                            self.topics.resize_with(topic + 1, Vec::new);
                        }
                        self.topics[topic].push(socket);
                    }
                    Err(_) => self.control = Some(socket),
                }
            }
        }
    }

    fn send(&mut self) {
        let mut batches: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut rest = &self.orders[..];
        while let Some((head, after)) = rest.split_first_chunk::<8>() {
            let number = |at: usize| {
                let bytes = head[at..at + 4].try_into().expect("four bytes");
                u32::from_be_bytes(bytes) as usize
            };
            let (topic, size) = (number(0), number(4));
            let Some(frame) = after.get(..size) else {
                break;
            };
            match batches
                .iter_mut()
                .rev()
                .take(LOOK_BACK)
                .find(|(of, _)| *of == topic)
            {
                Some((_, batch)) => batch.extend_from_slice(frame),
                None => batches.push((topic, frame.to_vec())),
            }
            rest = &after[size..];
        }
        let done = self.orders.len() - rest.len();
        self.orders.drain(..done);
        for (topic, batch) in batches {
            for &socket in self.topics.get(topic).map_or(&[][..], Vec::as_slice) {
                if let Some(stream) = &mut self.sockets[socket] {
                    send(stream, &batch);
                }
            }
        }
    }
}

fn send(stream: &mut TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => return,
        }
    }
}
