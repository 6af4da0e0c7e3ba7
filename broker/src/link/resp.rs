//! Reads what Redis sends on a connection that subscribes (RESP2), and writes
//! the few commands such a connection sends.
//!
//! The crate's own reader costs over 1 µs per message and queues without bound
//! behind it; this one borrows from the bytes that were read.

/// The longest frame that is read, unless a reader is told otherwise. A reply
/// with any other string as long is not one that we asked for.
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
    /// A frame published on this channel, longer than this reader reads. It is
    /// skipped as it comes.
    TooLong(&'a [u8]),
    /// This connection now listens to the channel.
    Subscribed(&'a [u8]),
    /// This connection no longer listens to the channel.
    Unsubscribed(&'a [u8]),
    /// A command without a result to speak of succeeded.
    Done,
    /// The answer to a question.
    Answer(&'a [u8]),
    /// A command was refused.
    Refused(&'a [u8]),
}

/// The bytes are not what Redis sends to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis sent something that is no reply to a subscriber")]
pub struct BadReply;

/// Collects bytes and takes replies out of them.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Where the first reply not yet taken begins.
    start: usize,
    /// The longest frame that is read.
    longest: usize,
    /// Bytes from there on that are still to come of a frame that is not read.
    skip: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::up_to(MAX_BULK)
    }
}

impl Reader {
    /// A reader of frames of at most so many bytes.
    pub fn up_to(longest: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            longest,
            skip: 0,
        }
    }

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
        let skipped = self.skip.min(self.buffer.len() - self.start);
        self.start += skipped;
        self.skip -= skipped;
        let mut cursor = Cursor {
            bytes: &self.buffer[self.start..],
            at: 0,
            longest: self.longest,
            skip: 0,
        };
        let push = cursor.push()?;
        if push.is_some() {
            self.start += cursor.at;
            self.skip = cursor.skip;
        }
        Ok(push)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    longest: usize,
    skip: usize,
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
            Some((b'$', digits)) => self.answer(digits),
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
            b"message" => self.message(channel)?,
            b"subscribe" => self.count()?.map(|()| Push::Subscribed(channel)),
            b"unsubscribe" => self.count()?.map(|()| Push::Unsubscribed(channel)),
            _ => return Err(BadReply),
        })
    }

    fn message(&mut self, channel: &'a [u8]) -> Result<Option<Push<'a>>, BadReply> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        if self.longest < length {
            self.skip = length + 2;
            return Ok(Some(Push::TooLong(channel)));
        }
        let payload = self.text(length)?;
        Ok(payload.map(|payload| Push::Message { channel, payload }))
    }

    fn answer(&mut self, digits: &[u8]) -> Result<Option<Push<'a>>, BadReply> {
        match number(digits) {
            Some(length) if length <= MAX_BULK => Ok(self.text(length)?.map(Push::Answer)),
            _ => Err(BadReply),
        }
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
        match self.length()? {
            None => Ok(None),
            Some(length) if MAX_BULK < length => Err(BadReply),
            Some(length) => self.text(length),
        }
    }

    /// The length of the string that follows.
    fn length(&mut self) -> Result<Option<usize>, BadReply> {
        match self.line()? {
            None => Ok(None),
            Some([b'$', digits @ ..]) => number(digits).map(Some).ok_or(BadReply),
            Some(_) => Err(BadReply),
        }
    }

    /// The string of this length, and its end.
    fn text(&mut self, length: usize) -> Result<Option<&'a [u8]>, BadReply> {
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
        *2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n$3\r\nyou\r\n-ERR no\r\n";

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
        assert_eq!(whole.len(), 7);
        assert_eq!(whole[0], "Done");
        assert!(whole[2].starts_with("Message"), "{}", whole[2]);
        for chunk in 1..SAID.len() {
            assert_eq!(told(chunk), whole, "in chunks of {chunk}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_skipped_and_what_follows_is_read() {
        let message = |payload: &str| {
            let (channel, length) = ("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n", payload.len());
            format!("{channel}${length}\r\n{payload}\r\n")
        };
        let said = [message("1234"), message("12345"), message("x")].concat();
        for chunk in 1..=said.len() {
            let mut reader = Reader::up_to(4);
            let mut told = Vec::new();
            for bytes in said.as_bytes().chunks(chunk) {
                reader.space().extend_from_slice(bytes);
                while let Some(push) = reader.next().unwrap() {
                    told.push(match push {
                        Push::Message { payload, .. } => payload.to_vec(),
                        Push::TooLong(channel) => channel.to_vec(),
                        other => panic!("{other:?}"),
                    });
                }
            }
            assert_eq!(told, [&b"1234"[..], b"a", b"x"], "in chunks of {chunk}");
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
