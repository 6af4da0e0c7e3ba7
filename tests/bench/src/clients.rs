//! Thousands of WebSocket clients in one thread, which believe nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::marker::Marker;

/// Sockets in the middle of their handshake at any time.
const OPENING: usize = 200;
/// Each address of our own has some 28,000 ports for outgoing connections.
const SOCKETS_PER_ADDRESS: usize = 4000;
/// How long nothing may arrive while something should.
const SILENCE: Duration = Duration::from_secs(10);
/// Enough for what many sockets get in one turn.
const READ: usize = 256 * 1024;

/// What went wrong on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Never arrived.
    pub lost: u64,
    /// Arrived again.
    pub repeated: u64,
    /// Arrived after a later one.
    pub reordered: u64,
    /// Arrived where it does not belong, or cannot be read.
    pub misdelivered: u64,
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.misdelivered += other.misdelivered;
    }
}

/// The sockets, and what is on its way to them.
pub(crate) struct Clients {
    poll: Poll,
    events: Events,
    sockets: Vec<Client>,
    /// How many of them are open.
    open: usize,
    buffer: Vec<u8>,
    /// By number of the push: how many sockets have still to get it.
    awaited: Vec<u32>,
    /// Per topic: how many were pushed, and how many are still on their way.
    topics: Vec<Progress>,
    sockets_per_topic: u32,
    began: Instant,
    /// When the last socket was read, since `began`: one look at the clock for
    /// all that it got.
    now: Duration,
    latencies: Vec<u32>,
    done: u32,
    faults: Faults,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    pushed: u32,
    on_the_way: u32,
}

struct Client {
    stream: TcpStream,
    stage: Stage,
    topic: u32,
    /// The place of the next message, if nothing goes wrong.
    next: u32,
    /// Places that were passed over and may still come.
    missing: Vec<u32>,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Stage {
    Connecting,
    Asked,
    /// It said what it wants and waits for the first frame, which proves that
    /// the server has taken note.
    Greeting,
    Open,
}

impl Clients {
    /// Opens `sockets_per_topic` sockets for each topic at `server`, of which the
    /// n-th has the topic `n % topics`; `path` says what it asks for, `greeting`
    /// what it sends then, which is answered by one frame; nothing, and the socket
    /// is open without.
    ///
    /// # Panics
    /// If the server does not open all of them.
    pub(crate) fn open(
        server: SocketAddr,
        topics: usize,
        sockets_per_topic: usize,
        path: impl Fn(usize) -> String,
        greeting: impl Fn(usize) -> Vec<u8>,
    ) -> Self {
        let mut clients = Self {
            poll: Poll::new().expect("epoll is there"),
            events: Events::with_capacity(4096),
            sockets: Vec::with_capacity(topics * sockets_per_topic),
            open: 0,
            buffer: vec![0; READ],
            awaited: Vec::new(),
            topics: vec![Progress::default(); topics],
            sockets_per_topic: u32::try_from(sockets_per_topic).expect("fits"),
            began: Instant::now(),
            now: Duration::ZERO,
            latencies: Vec::new(),
            done: 0,
            faults: Faults::default(),
        };
        let count = topics * sockets_per_topic;
        while clients.open < count {
            while clients.len() < count.min(clients.open + OPENING) {
                // Sockets of a topic are spread over the whole, as in life.
                clients.connect(server, clients.len() % topics);
            }
            clients.wait(SILENCE);
            let ready: Vec<usize> = clients.events.iter().map(|event| event.token().0).collect();
            assert!(
                !ready.is_empty(),
                "{} of {count} sockets opened, then nothing happened",
                clients.open
            );
            for at in ready {
                match clients.sockets[at].stage {
                    Stage::Connecting => clients.ask(server, at, &path(at)),
                    Stage::Asked => clients.read_answer(at, &greeting(at)),
                    Stage::Greeting | Stage::Open => clients.read(at),
                }
            }
        }
        clients
    }

    fn connect(&mut self, server: SocketAddr, topic: usize) {
        let at = self.sockets.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("descriptors are left");
        let host = u8::try_from(2 + at / SOCKETS_PER_ADDRESS).expect("few addresses");
        let own = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
        socket
            .bind(&own.into())
            .expect("a loopback address is ours");
        socket.set_nonblocking(true).expect("TCP can");
        if let Err(error) = socket.connect(&server.into()) {
            const IN_PROGRESS: i32 = 115;
            assert_eq!(error.raw_os_error(), Some(IN_PROGRESS), "{error}");
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll
            .registry()
            .register(&mut stream, Token(at), Interest::WRITABLE)
            .expect("a socket can be watched");
        self.sockets.push(Client {
            stream,
            stage: Stage::Connecting,
            topic: u32::try_from(topic).expect("few topics"),
            next: 0,
            missing: Vec::new(),
            partial: Vec::new(),
        });
    }

    /// Asks for the upgrade, now that the socket is connected.
    fn ask(&mut self, server: SocketAddr, at: usize, path: &str) {
        let client = &mut self.sockets[at];
        let request = request(server, path);
        client
            .stream
            .write_all(&request)
            .expect("the server accepts");
        client.stage = Stage::Asked;
        self.poll
            .registry()
            .reregister(&mut client.stream, Token(at), Interest::READABLE)
            .expect("a socket can be watched");
    }

    /// Reads the answer to the upgrade, and greets once it is complete.
    fn read_answer(&mut self, at: usize, greeting: &[u8]) {
        let client = &mut self.sockets[at];
        let mut answer = std::mem::take(&mut client.partial);
        match client.stream.read(&mut self.buffer) {
            Ok(0) => panic!("the server closes: {}", String::from_utf8_lossy(&answer)),
            Ok(read) => answer.extend_from_slice(&self.buffer[..read]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            client.partial = answer;
            return;
        };
        let head = String::from_utf8_lossy(&answer[..end]);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        if greeting.is_empty() {
            client.stage = Stage::Open;
            self.open += 1;
        } else {
            client.stage = Stage::Greeting;
            let sent = client.stream.write_all(greeting);
            sent.expect("a new socket takes some bytes");
        }
        let early = answer.split_off(end + 4);
        self.frames(at, &early);
    }

    /// How many sockets are open.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// How many topics they are spread over.
    pub(crate) fn topics(&self) -> usize {
        self.topics.len()
    }

    /// What went wrong, since [`Clients::begin`].
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    /// Delays of all deliveries since [`Clients::begin`], in microseconds, sorted.
    pub(crate) fn latencies(&mut self) -> &[u32] {
        self.latencies.sort_unstable();
        &self.latencies
    }

    /// Starts counting anew.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
        self.latencies.clear();
        self.faults = Faults::default();
        self.awaited.clear();
        self.done = 0;
    }

    /// Time since [`Clients::begin`].
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many pushes are on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.awaited.len() - self.done as usize
    }

    /// How many pushes of the topic are on their way.
    pub(crate) fn on_the_way_to(&self, topic: usize) -> u32 {
        self.topics[topic].on_the_way
    }

    /// Expects one more push to the topic, meant to be sent at `due` after the
    /// begin, and says what to push.
    pub(crate) fn expect(&mut self, topic: usize, due: Duration) -> Marker {
        let progress = &mut self.topics[topic];
        let marker = Marker {
            topic: u32::try_from(topic).expect("few topics"),
            place: progress.pushed,
            number: u32::try_from(self.awaited.len()).expect("fewer pushes than that"),
            due: u64::try_from(due.as_nanos()).expect("a short run"),
        };
        progress.pushed += 1;
        progress.on_the_way += 1;
        self.awaited.push(self.sockets_per_topic);
        marker
    }

    /// Reads what arrives, at most for `patience`; says whether anything did.
    pub(crate) fn turn(&mut self, patience: Duration) -> bool {
        self.wait(patience);
        let tokens: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for &at in &tokens {
            self.read(at);
        }
        !tokens.is_empty()
    }

    /// Reads until nothing is on its way, or nothing arrives for [`SILENCE`]: what
    /// is then missing is lost.
    pub(crate) fn finish(&mut self) {
        while self.in_flight() > 0 && self.turn(SILENCE) {}
        self.faults.lost += self
            .awaited
            .iter()
            .map(|&missing| u64::from(missing))
            .sum::<u64>();
    }

    fn wait(&mut self, patience: Duration) {
        while let Err(error) = self.poll.poll(&mut self.events, Some(patience)) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
    }

    fn read(&mut self, at: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.now = self.began.elapsed();
        loop {
            let client = &mut self.sockets[at];
            let kept = client.partial.len();
            if kept > 0 {
                buffer[..kept].copy_from_slice(&client.partial);
                client.partial.clear();
            }
            match client.stream.read(&mut buffer[kept..]) {
                Ok(0) => panic!("the server closes a socket"),
                Ok(read) => {
                    self.frames(at, &buffer[..kept + read]);
                    // A short read emptied the socket: epoll tells when there is more.
                    if kept + read < buffer.len() {
                        break;
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    client.partial.extend_from_slice(&buffer[..kept]);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// Takes the frames apart that the server sent; keeps an incomplete one.
    fn frames(&mut self, at: usize, mut bytes: &[u8]) {
        while let Some((opcode, payload, rest)) = split(bytes) {
            match opcode {
                1 => self.arrived(at, payload),
                9 => {
                    // An empty mask is allowed; a ping's payload is at most 125 bytes.
                    let length = u8::try_from(payload.len()).expect("a short ping");
                    let head = [0x8A, 0x80 | length, 0, 0, 0, 0];
                    let pong = [&head[..], payload].concat();
                    drop(self.sockets[at].stream.write(&pong));
                }
                _ => panic!("the server closes a socket: opcode {opcode}, {payload:?}"),
            }
            bytes = rest;
        }
        self.sockets[at].partial.extend_from_slice(bytes);
    }

    fn arrived(&mut self, at: usize, payload: &[u8]) {
        let client = &mut self.sockets[at];
        if let Stage::Greeting = client.stage {
            client.stage = Stage::Open;
            self.open += 1;
            return;
        }
        let marker = match Marker::read(payload) {
            Some(marker) if marker.topic == client.topic => marker,
            _ => {
                self.faults.misdelivered += 1;
                return;
            }
        };
        if marker.place == client.next {
            client.next += 1;
        } else if client.next < marker.place {
            client.missing.extend(client.next..marker.place);
            client.next = marker.place + 1;
        } else if let Some(late) = client
            .missing
            .iter()
            .position(|&place| place == marker.place)
        {
            client.missing.swap_remove(late);
            self.faults.reordered += 1;
        } else {
            self.faults.repeated += 1;
            return;
        }
        let delay = self.now.saturating_sub(Duration::from_nanos(marker.due));
        self.latencies
            .push(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
        let Some(awaited) = self.awaited.get_mut(marker.number as usize) else {
            self.faults.misdelivered += 1;
            return;
        };
        *awaited -= 1;
        if *awaited == 0 {
            self.done += 1;
            self.topics[marker.topic as usize].on_the_way -= 1;
        }
    }
}

/// One unmasked frame: opcode, payload, what follows.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match second {
        127 => panic!("no payload is that long"),
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        length => (usize::from(length), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first & 0x0F, payload, rest))
}

/// A text frame as a client sends it. An empty mask is allowed.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length),
        _ => {
            let length = u16::try_from(payload.len()).expect("clients say little");
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload.as_bytes());
    frame
}

fn request(server: SocketAddr, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}
