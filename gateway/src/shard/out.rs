//! Frames on their way out: gathered over a turn, written at once, and kept
//! only when the client does not take them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use broker::Timestamp;

use crate::dialect::{Outgoing, Tag};
use crate::websocket::Frame;

/// Frames gathered into one write; a larger one would only wait in the kernel.
const GATHER: usize = 64 << 10;

/// Two parts of a frame that are not longer than this are put together.
const TOGETHER: usize = 16 << 10;

/// What frames go out on.
pub(super) trait Way: Write {
    /// Bytes that it was offered, has not written, and cannot give back: what it is
    /// offered next has to begin with them.
    fn sealed(&self) -> usize;
}

/// What became of a tagged frame.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// Handed to the kernel.
    Flushed(Tag),
    /// Dropped: it expired before it could be written.
    Expired(Tag),
}

/// What became of frames, and how many there were.
#[derive(Debug, Default)]
pub(super) struct Fates {
    /// Of those whose dialect wants to know.
    pub(super) tagged: Vec<Fate>,
    /// Frames handed to the kernel.
    pub(super) frames: u64,
    /// Bytes handed to the kernel.
    pub(super) bytes: u64,
    /// Frames dropped because they expired.
    pub(super) dropped: u64,
}

impl Fates {
    /// Frames, bytes and dropped frames since the last time.
    pub(super) fn take_counts(&mut self) -> (u64, u64, u64) {
        let Self {
            frames,
            bytes,
            dropped,
            ..
        } = self;
        let take = std::mem::take::<u64>;
        (take(frames), take(bytes), take(dropped))
    }

    fn flushed(&mut self, outgoing: Outgoing) {
        self.frames += 1;
        self.tagged.extend(outgoing.tag.map(Fate::Flushed));
    }

    fn expired(&mut self, outgoing: Outgoing) {
        self.dropped += 1;
        self.tagged.extend(outgoing.tag.map(Fate::Expired));
    }
}

/// Frames of one turn for all sockets, each socket's chained together, so that
/// a socket without traffic costs nothing.
#[derive(Debug, Default)]
pub(super) struct Turn {
    slots: Vec<(Option<Outgoing>, u32)>,
}

/// A socket's chain in the turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

/// No slot: the end of a chain, and the chain of a socket without frames.
const NONE: u32 = u32::MAX;

impl Chain {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };

    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

impl Turn {
    pub(super) fn add(&mut self, chain: &mut Chain, outgoing: Outgoing) {
        let slot = u32::try_from(self.slots.len()).expect("a turn has fewer than 2^32 frames");
        self.slots.push((Some(outgoing), NONE));
        if chain.is_empty() {
            chain.first = slot;
        } else {
            self.slots[chain.last as usize].1 = slot;
        }
        chain.last = slot;
    }

    /// How many frames were added since it was cleared.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many frames were added since it had so many, and their bytes. None of
    /// them has been taken yet.
    pub(super) fn added_since(&self, before: usize) -> (usize, usize) {
        let added = self.slots.get(before..).unwrap_or_default();
        let frames = added.iter().filter_map(|(outgoing, _)| outgoing.as_ref());
        frames.fold((0, 0), |(count, bytes), outgoing| {
            (count + 1, bytes + outgoing.frame.len())
        })
    }

    /// Takes a socket's next frame.
    fn next(&mut self, chain: &mut Chain) -> Option<Outgoing> {
        if chain.is_empty() {
            return None;
        }
        let (outgoing, next) = &mut self.slots[chain.first as usize];
        chain.first = *next;
        outgoing.take()
    }

    /// Forgets the turn; every chain must have been taken.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.slots.shrink_to(1 << 16);
    }
}

/// Frames that the client did not take yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Outgoing>,
    /// Bytes of the first frame that are written.
    written: usize,
    /// Bytes after those that are [sealed](Way::sealed), be it of several frames.
    sealed: usize,
    /// Bytes still to be written.
    bytes: usize,
}

/// Bytes that wait in a queue, if there is one.
pub(super) fn queued(queue: Option<&Queue>) -> usize {
    queue.map_or(0, Queue::bytes)
}

/// How far writing came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All is with the kernel.
    Done,
    /// The client must read first.
    Blocked,
}

impl Queue {
    /// What is sealed is there twice.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.sealed
    }

    /// Bytes of memory that it alone keeps. What others keep too counts in part.
    pub(super) fn weight(&self) -> usize {
        let frames = self.frames.iter().map(|outgoing| outgoing.frame.weight());
        frames.sum::<usize>() + self.frames.capacity() * size_of::<Outgoing>() + self.sealed
    }

    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.frame.len();
        self.frames.push_back(outgoing);
    }

    /// Appends what a turn has for this socket.
    pub(super) fn extend(&mut self, turn: &mut Turn, chain: &mut Chain) {
        while let Some(outgoing) = turn.next(chain) {
            self.push(outgoing);
        }
    }

    /// Bytes from the beginning of the first frame on that cannot be taken back.
    fn begun(&self) -> usize {
        self.written + self.sealed
    }

    /// Drops all frames but the rest of those that are partly written.
    pub(super) fn cut_short(&mut self) {
        let (mut kept, mut length) = (0, 0);
        while length < self.begun() {
            length += self.frames[kept].frame.len();
            kept += 1;
        }
        self.frames.truncate(kept);
        self.frames.shrink_to_fit();
        self.bytes = length - self.written;
    }

    /// Writes as much as the client takes; what expired is dropped instead.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(super) fn write(
        &mut self,
        stream: &mut impl Way,
        scratch: &mut Vec<u8>,
        now: Timestamp,
        fates: &mut Fates,
    ) -> io::Result<Progress> {
        loop {
            self.drop_expired(now, fates);
            let Some(first) = self.frames.front() else {
                return Ok(Progress::Done);
            };
            let left = first.frame.len() - self.written;
            let alone = self.frames.len() == 1 || GATHER <= left;
            let written = if alone {
                write_some(stream, after(&first.frame, self.written), scratch)?
            } else {
                self.gather(scratch, now);
                accepted(|| stream.write(scratch))?
            };
            self.sealed = stream.sealed();
            match written {
                Some(written) => self.advance(written, fates),
                None => return Ok(Progress::Blocked),
            }
        }
    }

    fn gather(&self, scratch: &mut Vec<u8>, now: Timestamp) {
        scratch.clear();
        let mut skip = self.written;
        for outgoing in &self.frames {
            let left = outgoing.frame.len() - skip;
            let begun = 0 < skip || scratch.len() < self.sealed;
            let stale = !begun && expired(outgoing, now);
            if stale || (!scratch.is_empty() && GATHER < scratch.len() + left) {
                break;
            }
            for part in after(&outgoing.frame, skip) {
                scratch.extend_from_slice(part);
            }
            skip = 0;
        }
    }

    fn advance(&mut self, written: usize, fates: &mut Fates) {
        fates.bytes += written as u64;
        self.bytes -= written;
        self.written += written;
        while let Some(first) = self.frames.front()
            && first.frame.len() <= self.written
        {
            self.written -= first.frame.len();
            let done = self.frames.pop_front();
            done.into_iter().for_each(|done| fates.flushed(done));
        }
    }

    /// Drops what expired at the front, unless its first bytes are out already.
    fn drop_expired(&mut self, now: Timestamp, fates: &mut Fates) {
        while self.begun() == 0
            && let Some(first) = self.frames.front()
            && expired(first, now)
        {
            self.bytes -= first.frame.len();
            let gone = self.frames.pop_front();
            gone.into_iter().for_each(|gone| fates.expired(gone));
        }
    }
}

/// Writes a turn's frames for one socket that has no queue; what is not taken
/// comes back as one.
///
/// # Errors
/// If the connection is broken.
pub(super) fn write_chain(
    stream: &mut impl Way,
    turn: &mut Turn,
    chain: &mut Chain,
    scratch: &mut Vec<u8>,
    now: Timestamp,
    fates: &mut Fates,
) -> io::Result<Option<Queue>> {
    let Some(only) = turn.next(chain) else {
        return Ok(None);
    };
    let mut queue = Queue::default();
    if chain.is_empty() && !expired(&only, now) {
        // The usual case, which needs neither a queue nor a copy.
        let written = write_some(stream, only.frame.parts(), scratch)?.unwrap_or(0);
        if written == only.frame.len() {
            fates.bytes += written as u64;
            fates.flushed(only);
            return Ok(None);
        }
        queue.push(only);
        queue.advance(written, fates);
        queue.sealed = stream.sealed();
        return Ok(Some(queue));
    }
    queue.push(only);
    queue.extend(turn, chain);
    match queue.write(stream, scratch, now, fates)? {
        Progress::Done => Ok(None),
        Progress::Blocked => Ok(Some(queue)),
    }
}

fn expired(outgoing: &Outgoing, now: Timestamp) -> bool {
    outgoing.expires_at.is_some_and(|at| at <= now)
}

/// What comes after the first `written` bytes of a frame.
fn after(frame: &Frame, written: usize) -> [&[u8]; 2] {
    let [start, rest] = frame.parts();
    match start.get(written..) {
        Some(start) => [start, rest],
        None => [&rest[written - start.len()..], &[]],
    }
}

/// Writes a frame's parts at once. To put two together costs less than to have the
/// kernel gather them, unless they are long.
///
/// `None` if the client must read first.
fn write_some(
    stream: &mut impl Write,
    parts: [&[u8]; 2],
    scratch: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    match parts {
        [bytes, []] | [[], bytes] => accepted(|| stream.write(bytes)),
        [start, rest] if start.len() + rest.len() <= TOGETHER => {
            scratch.clear();
            scratch.extend_from_slice(start);
            scratch.extend_from_slice(rest);
            accepted(|| stream.write(scratch))
        }
        parts => accepted(|| stream.write_vectored(&parts.map(IoSlice::new))),
    }
}

/// How much a write was accepted of; `None` if the client must read first.
fn accepted(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match write() {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(Some(written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use broker::keys::Partition;
    use broker::message::MessageId;

    use super::*;
    use crate::websocket::Shared;

    /// Takes so many bytes, then blocks.
    struct Client {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= taken;
            self.got.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Way for Client {
        fn sealed(&self) -> usize {
            0
        }
    }

    fn tag(n: u32) -> Tag {
        let partition = Partition::new(0).unwrap();
        Tag::Message(MessageId {
            millis: 1,
            sequence: n,
            partition,
        })
    }

    fn frame(n: u32, expires_at: Option<i64>) -> Outgoing {
        let expires_at = expires_at.map(Timestamp::from_millis);
        let start = format!("message {n}");
        let frame = match n % 2 {
            0 => Frame::text(&start),
            _ => Frame::joined(&[&start], &Shared::new(&["end".repeat(200).as_str()])),
        };
        Outgoing {
            frame,
            expires_at,
            tag: Some(tag(n)),
        }
    }

    fn bytes(numbers: &[u32]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|&n| frame(n, None).frame.parts().concat())
            .collect()
    }

    const NOW: Timestamp = Timestamp::from_millis(100);

    #[test]
    fn frames_come_out_whole_and_in_order_however_little_is_taken_at_once() {
        for step in 1..40 {
            let mut client = Client {
                room: 0,
                got: Vec::new(),
            };
            let (mut turn, mut chain) = (Turn::default(), Chain::EMPTY);
            (0..5).for_each(|n| turn.add(&mut chain, frame(n, None)));
            let (mut scratch, mut fates) = (Vec::new(), Fates::default());
            let mut queue = write_chain(
                &mut client,
                &mut turn,
                &mut chain,
                &mut scratch,
                NOW,
                &mut fates,
            )
            .unwrap();
            while let Some(blocked) = &mut queue {
                client.room = step;
                if blocked
                    .write(&mut client, &mut scratch, NOW, &mut fates)
                    .unwrap()
                    == Progress::Done
                {
                    assert_eq!(blocked.bytes(), 0);
                    queue = None;
                }
            }
            assert_eq!(client.got, bytes(&[0, 1, 2, 3, 4]));
            let flushed: Vec<_> = (0..5).map(|n| Fate::Flushed(tag(n))).collect();
            assert_eq!(fates.tagged, flushed);
            assert_eq!(fates.frames, 5);
            assert_eq!(fates.bytes, client.got.len() as u64);
        }
    }

    #[test]
    fn what_expired_while_it_waited_is_never_written() {
        let mut client = Client {
            room: 3,
            got: Vec::new(),
        };
        let (mut turn, mut chain) = (Turn::default(), Chain::EMPTY);
        turn.add(&mut chain, frame(0, Some(150)));
        turn.add(&mut chain, frame(1, Some(150)));
        turn.add(&mut chain, frame(2, None));
        let (mut scratch, mut fates) = (Vec::new(), Fates::default());
        let mut queue = write_chain(
            &mut client,
            &mut turn,
            &mut chain,
            &mut scratch,
            NOW,
            &mut fates,
        )
        .unwrap()
        .expect("three bytes are not enough");
        client.room = 1000;
        let later = Timestamp::from_millis(150);
        queue
            .write(&mut client, &mut scratch, later, &mut fates)
            .unwrap();
        assert_eq!(
            client.got,
            bytes(&[0, 2]),
            "the first had begun and must be finished"
        );
        let fate = [
            Fate::Flushed(tag(0)),
            Fate::Expired(tag(1)),
            Fate::Flushed(tag(2)),
        ];
        assert_eq!(fates.tagged, fate);
        assert_eq!((fates.frames, fates.dropped), (2, 1));
    }

    #[test]
    fn a_queue_cut_short_keeps_only_what_was_begun() {
        let mut client = Client {
            room: 3,
            got: Vec::new(),
        };
        let mut queue = Queue::default();
        (0..3).for_each(|n| queue.push(frame(n, None)));
        queue
            .write(&mut client, &mut Vec::new(), NOW, &mut Fates::default())
            .unwrap();
        queue.cut_short();
        queue.push(frame(9, None));
        client.room = 1000;
        queue
            .write(&mut client, &mut Vec::new(), NOW, &mut Fates::default())
            .unwrap();
        assert_eq!(client.got, bytes(&[0, 9]));
    }
}
