//! A client at the other end of a simulated socket: what it says, what it gets, and
//! what it may count on.

use std::collections::BTreeMap;

use super::pipe::Pipe;
use super::redis::Time;
use crate::hub::SessionKey;

/// What a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A recipient's, who acknowledges what it gets or does not.
    Push {
        json: bool,
    },
    Hypothesis,
    Misskey,
}

/// A topic that a client asked for.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// It has not given it up.
    pub(super) asked: bool,
    /// It gave it up once.
    pub(super) again: bool,
    /// So many times it was told of late that it asked, and not been answered.
    pub(super) opened: u32,
    /// It has been told that it hears it.
    pub(super) sure: bool,
    /// From this of its events on it may count on all.
    pub(super) from: Option<usize>,
    /// What it got of it, by the places among its events.
    pub(super) got: Vec<usize>,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) kind: Kind,
    pub(super) node: usize,
    pub(super) shard: usize,
    pub(super) key: Option<SessionKey>,
    pub(super) pipe: Pipe,
    /// It takes what comes.
    pub(super) reads: bool,
    /// It will read at a time that is set already.
    pub(super) will_read: bool,
    /// It has been closed, or has gone, when.
    pub(super) ended: Option<Time>,
    /// Why, if the gateway said so.
    pub(super) code: Option<u16>,
    /// What it asked for, by the number of the topic.
    pub(super) hears: BTreeMap<usize, Hearing>,
    /// The topic that it came for.
    pub(super) own: usize,
    /// Who it is signed in as.
    pub(super) user: Option<usize>,
    /// That user was in the club when it came.
    pub(super) was_member: bool,
    /// What it calls itself, so as to be sent what it missed when it comes back.
    pub(super) tab: Option<usize>,
    /// There were times when it did not read.
    pub(super) has_stalled: bool,
    unread: Vec<u8>,
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Text(String),
    Close(u16),
    Ping,
}

impl Client {
    pub(super) fn new(kind: Kind, node: usize, shard: usize, room: usize) -> Self {
        Self {
            kind,
            node,
            shard,
            key: None,
            pipe: Pipe::with_room(room),
            reads: true,
            will_read: false,
            ended: None,
            code: None,
            hears: BTreeMap::new(),
            own: 0,
            user: None,
            was_member: false,
            tab: None,
            has_stalled: false,
            unread: Vec::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// Sends a text, masked with zeros as a lazy client might.
    pub(super) fn say(&self, text: &str) {
        let mut frame = vec![0x81];
        match text.len() {
            few @ 0..126 => frame.push(0x80 | few as u8),
            many => {
                frame.push(0x80 | 126);
                frame.extend((many as u16).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.pipe.send(&frame);
    }

    pub(super) fn pong(&self) {
        self.pipe.send(&[0x8a, 0x80, 0, 0, 0, 0]);
    }

    /// Takes what has arrived, as far as it is whole.
    pub(super) fn read(&mut self) -> Vec<Got> {
        self.unread.extend(self.pipe.take());
        let mut got = Vec::new();
        let mut at = 0;
        while let Some((opcode, payload, end)) = frame(&self.unread[at..]) {
            got.push(match opcode {
                8 => Got::Close(u16::from_be_bytes([payload[0], payload[1]])),
                9 => Got::Ping,
                _ => Got::Text(String::from_utf8(payload.to_vec()).expect("text is UTF-8")),
            });
            at += end;
        }
        self.unread.drain(..at);
        got
    }
}

/// The first frame, if it is whole: its opcode, what it carries, where it ends.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (start, length) = match bytes.get(1)? {
        126 => (
            4,
            u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]).into(),
        ),
        127 => panic!("nothing in this world is that long"),
        few => (2, usize::from(*few)),
    };
    let payload = bytes.get(start..start + length)?;
    Some((bytes[0] & 0xf, payload, start + length))
}
