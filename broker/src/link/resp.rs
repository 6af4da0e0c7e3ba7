//! Reads what Redis sends on a connection that subscribes (RESP2), and writes
//! the few commands such a connection sends.
//!
//! The crate's own reader costs over 1 µs per message and queues without bound
//! behind it; this one borrows from the bytes that were read.

/// A reply with a string longer than this is not one that we asked for.
const MAX_BULK: usize = 64 << 20;
/// Room asked for per read.
const CHUNK: usize = 64 << 10;

/// One thing that Redis said.
#[derive(Debug, PartialEq, Eq)]
pub enum Push<'a> {
    /// A frame published on a channel.
    Message {
        /// Its name.
        channel: &'a [u8],
        /// What was published.
        payload: &'a [u8],
    },
    /// This connection now listens to the channel.
    Subscribed(&'a [u8]),
    /// This connection no longer listens to the channel.
    Unsubscribed(&'a [u8]),
    /// A command without a result to speak of succeeded.
    Done,
    /// A command was refused.
    Refused(&'a [u8]),
}

/// The bytes are not what Redis sends to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis sent something that is no reply to a subscriber")]
pub struct BadReply;

/// Collects bytes and takes replies out of them.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Where the first reply not yet taken begins.
    start: usize,
}

impl Reader {
    /// Where the next bytes from Redis belong: at the end of this, which has
    /// room for a good read.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            if self.buffer.capacity() > 8 * CHUNK {
                self.buffer.shrink_to(CHUNK);
            }
        } else if self.start > CHUNK {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(CHUNK);
        &mut self.buffer
    }

    /// Takes the next whole reply; `None` until more bytes have come.
    ///
    /// # Errors
    /// If the bytes make no sense; the connection cannot be used any more.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend its items"
    )]
    pub fn next(&mut self) -> Result<Option<Push<'_>>, BadReply> {
        let mut cursor = Cursor {
            bytes: &self.buffer[self.start..],
            at: 0,
        };
        let push = cursor.push()?;
        let taken = cursor.at;
        if push.is_some() {
            self.start += taken;
        }
        Ok(push)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn push(&mut self) -> Result<Option<Push<'a>>, BadReply> {
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        match line.split_first() {
            Some((b'*', b"3")) => self.triple(),
            Some((b'*', b"2")) => self.pong(),
            Some((b'+', _)) => Ok(Some(Push::Done)),
            Some((b'-', why)) => Ok(Some(Push::Refused(why))),
            _ => Err(BadReply),
        }
    }

    fn triple(&mut self) -> Result<Option<Push<'a>>, BadReply> {
        let Some(kind) = self.bulk()? else {
            return Ok(None);
        };
        let Some(channel) = self.bulk()? else {
            return Ok(None);
        };
        Ok(match kind {
            b"message" => self
                .bulk()?
                .map(|payload| Push::Message { channel, payload }),
            b"subscribe" => self.count()?.map(|()| Push::Subscribed(channel)),
            b"unsubscribe" => self.count()?.map(|()| Push::Unsubscribed(channel)),
            _ => return Err(BadReply),
        })
    }

    /// The answer to PING while subscribed.
    fn pong(&mut self) -> Result<Option<Push<'a>>, BadReply> {
        let Some(kind) = self.bulk()? else {
            return Ok(None);
        };
        match kind {
            b"pong" => Ok(self.bulk()?.map(|_| Push::Done)),
            _ => Err(BadReply),
        }
    }

    /// The number of channels after a subscription, which says nothing new.
    fn count(&mut self) -> Result<Option<()>, BadReply> {
        match self.line()? {
            None => Ok(None),
            Some([b':', digits @ ..]) if number(digits).is_some() => Ok(Some(())),
            Some(_) => Err(BadReply),
        }
    }

    fn bulk(&mut self) -> Result<Option<&'a [u8]>, BadReply> {
        let length = match self.line()? {
            None => return Ok(None),
            Some([b'$', digits @ ..]) => number(digits).ok_or(BadReply)?,
            Some(_) => return Err(BadReply),
        };
        if length > MAX_BULK {
            return Err(BadReply);
        }
        let (from, to) = (self.at, self.at + length);
        match self.bytes.get(to..to + 2) {
            None => Ok(None),
            Some(b"\r\n") => {
                self.at = to + 2;
                Ok(Some(&self.bytes[from..to]))
            }
            Some(_) => Err(BadReply),
        }
    }

    /// Up to the next line end, which only error texts keep from being near.
    fn line(&mut self) -> Result<Option<&'a [u8]>, BadReply> {
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(1024)];
        match window.iter().position(|&b| b == b'\r') {
            Some(end) => match rest.get(end + 1) {
                None => Ok(None),
                Some(b'\n') => {
                    self.at += end + 2;
                    Ok(Some(&rest[..end]))
                }
                Some(_) => Err(BadReply),
            },
            None if window.len() == 1024 => Err(BadReply),
            None => Ok(None),
        }
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    digits.iter().try_fold(0usize, |n, d| {
        d.is_ascii_digit().then(|| n * 10 + usize::from(d - b'0'))
    })
}

/// Appends a command to what is to be written.
pub(crate) fn command<'a>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[u8] = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n\
        *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$7\r\nhi\r\n\0\xffx\r\n\
        *2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n-ERR no\r\n";

    fn told(chunk: usize) -> Vec<String> {
        let mut reader = Reader::default();
        let mut told = Vec::new();
        for bytes in SAID.chunks(chunk) {
            reader.space().extend_from_slice(bytes);
            while let Some(push) = reader.next().unwrap() {
                told.push(format!("{push:?}"));
            }
        }
        told
    }

    #[test]
    fn replies_are_the_same_however_the_bytes_arrive() {
        let whole = told(SAID.len());
        assert_eq!(whole.len(), 6);
        assert_eq!(whole[0], "Done");
        assert!(whole[2].starts_with("Message"), "{}", whole[2]);
        for chunk in 1..SAID.len() {
            assert_eq!(told(chunk), whole, "in chunks of {chunk}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_never_waited_for() {
        let long = [b"-".as_slice(), &[b'x'; 2000]].concat();
        for bytes in [
            b"*3\r\n$7\r\nmessage\r\n$99999999999\r\n".as_slice(),
            b"*3\r\n$-1\r\n",
            b"*3\r\n$7\r\nmassage\r\n$1\r\na\r\n",
            b"*4\r\n",
            b":1\r\n",
            b"\r\n",
            b"*3\rx",
            b"*3\r\n$1\r\nabc\r\n",
            &long,
        ] {
            let mut reader = Reader::default();
            reader.space().extend_from_slice(bytes);
            assert_eq!(reader.next(), Err(BadReply), "{bytes:?}");
        }
    }

    #[test]
    fn commands_are_written_as_redis_reads_them() {
        let mut out = Vec::new();
        command(&mut out, [b"SUBSCRIBE".as_slice(), b"a b"].into_iter());
        assert_eq!(out, b"*2\r\n$9\r\nSUBSCRIBE\r\n$3\r\na b\r\n");
    }
}
