//! A WebSocket client that may break every rule.
//!
//! It writes the frames it is told to, masked or not, whole or in parts, valid
//! or not, and shows those of the server as they came.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::http::{self, Response};
use crate::until::PATIENCE;

const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
const PONG: u8 = 10;

/// XORed over what a client sends, as the RFC wants it.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x0f, 0xf0];

/// A frame to be sent.
pub(super) struct Outgoing<'a> {
    /// The opcode, and in the bits above it the reserved ones.
    pub(super) opcode: u8,
    /// Whether it is the last of its message.
    pub(super) fin: bool,
    /// Whether it is masked, as a client's must be.
    pub(super) masked: bool,
    /// The payload before it is masked.
    pub(super) payload: &'a [u8],
}

/// What the server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It sent a text message.
    Text(String),
    /// It sent a binary message.
    Binary(Vec<u8>),
    /// It sent a ping or a pong: the opcode and the payload.
    Control(u8, Vec<u8>),
    /// It sent a close frame: its code, if it has one, and its reason.
    Close(Option<u16>, String),
    /// It broke the protocol, in words.
    Broken(&'static str),
    /// It ended the connection.
    Gone,
}

/// An open WebSocket. It reads only when asked what it saw.
pub(super) struct Wire {
    stream: BufReader<TcpStream>,
    /// What is seen next, before anything is read.
    held: VecDeque<Seen>,
    /// Pings stay unanswered.
    mute: bool,
}

impl Wire {
    /// Asks this server, under the name of this host, for an upgrade with these
    /// headers beside the necessary ones; the answer, and the socket if there is
    /// one.
    ///
    /// # Errors
    /// If no whole answer comes.
    pub(super) async fn open(
        server: SocketAddr,
        host: &str,
        target: &str,
        version: &str,
        headers: &[(String, String)],
    ) -> Result<(Response, Option<Self>)> {
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: Y2FzZXMgb2YgY2FyaWxsbw==\r\n\
             Sec-WebSocket-Version: {version}\r\n"
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        stream.write_all(head.as_bytes()).await?;
        let answer = timeout(PATIENCE, http::read(&mut stream)).await;
        let response = answer.map_err(|_| ErrorKind::TimedOut)??;
        let upgraded = response.status == 101;
        let wire = Self {
            stream,
            held: VecDeque::new(),
            mute: false,
        };
        Ok((response, upgraded.then_some(wire)))
    }

    /// From now on pings are not answered.
    pub(super) fn fall_mute(&mut self) {
        self.mute = true;
    }

    /// Sends a text message in one frame.
    pub(super) async fn say(&mut self, text: &str) {
        self.send(&Outgoing {
            opcode: TEXT,
            fin: true,
            masked: true,
            payload: text.as_bytes(),
        })
        .await;
    }

    /// Sends a frame as it is. Whether it arrives is for the server to show.
    pub(super) async fn send(&mut self, frame: &Outgoing<'_>) {
        drop(self.stream.write_all(&encode(frame)).await);
    }

    /// What the server does next, within a time; pings are answered, unless the
    /// socket has fallen mute.
    pub(super) async fn seen_within(&mut self, patience: Duration) -> Option<Seen> {
        if let Some(seen) = self.held.pop_front() {
            return Some(seen);
        }
        // Only waiting for a frame may be given up: half a frame read and
        // forgotten, and its rest would be taken for the next one.
        let there = timeout(patience, self.stream.fill_buf())
            .await
            .ok()?
            .is_ok();
        let seen = if there {
            self.read().await
        } else {
            Ok(Seen::Gone)
        };
        let seen = seen.unwrap_or(Seen::Gone);
        if let (Seen::Control(PING, payload), false) = (&seen, self.mute) {
            self.send(&Outgoing {
                opcode: PONG,
                fin: true,
                masked: true,
                payload,
            })
            .await;
        }
        Some(seen)
    }

    /// The next that is neither ping nor pong, within a time.
    pub(super) async fn data_within(&mut self, patience: Duration) -> Option<Seen> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.seen_within(left).await? {
                Seen::Control(..) => {}
                seen => return Some(seen),
            }
        }
    }

    /// What was seen will be seen again.
    pub(super) fn hold(&mut self, seen: Seen) {
        self.held.push_front(seen);
    }

    /// Reads a frame that has begun to arrive.
    async fn read(&mut self) -> Result<Seen> {
        let whole = async {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).await?;
            let length = match head[1] & 0x7f {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).map_err(Error::other)?];
            self.stream.read_exact(&mut payload).await?;
            Ok(decode(head, payload))
        };
        timeout(PATIENCE, whole)
            .await
            .map_err(|_| ErrorKind::TimedOut)?
    }
}

fn encode(frame: &Outgoing<'_>) -> Vec<u8> {
    let mut bytes = vec![frame.opcode & 0x7f | u8::from(frame.fin) << 7];
    let masked = u8::from(frame.masked) << 7;
    match (
        u8::try_from(frame.payload.len()),
        u16::try_from(frame.payload.len()),
    ) {
        (Ok(length @ ..126), _) => bytes.push(masked | length),
        (_, Ok(length)) => {
            bytes.push(masked | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend((frame.payload.len() as u64).to_be_bytes());
        }
    }
    if frame.masked {
        bytes.extend(MASK);
        let mask = MASK.iter().cycle();
        bytes.extend(
            frame
                .payload
                .iter()
                .zip(mask)
                .map(|(byte, mask)| byte ^ mask),
        );
    } else {
        bytes.extend(frame.payload);
    }
    bytes
}

fn decode(head: [u8; 2], payload: Vec<u8>) -> Seen {
    if head[1] & 0x80 != 0 {
        return Seen::Broken("a masked frame");
    }
    if head[0] & 0x70 != 0 {
        return Seen::Broken("a frame with reserved bits");
    }
    if head[0] & 0x80 == 0 {
        return Seen::Broken("a message in several frames");
    }
    match head[0] & 0x0f {
        TEXT => String::from_utf8(payload)
            .map_or(Seen::Broken("a text frame that is not UTF-8"), Seen::Text),
        BINARY => Seen::Binary(payload),
        CLOSE => match payload.split_at_checked(2) {
            Some((code, reason)) => Seen::Close(
                Some(u16::from_be_bytes([code[0], code[1]])),
                String::from_utf8_lossy(reason).into_owned(),
            ),
            None if payload.is_empty() => Seen::Close(None, String::new()),
            None => Seen::Broken("a close frame with half a code"),
        },
        opcode @ (PING | PONG) => Seen::Control(opcode, payload),
        _ => Seen::Broken("a frame with an unknown opcode"),
    }
}
