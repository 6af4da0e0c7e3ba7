//! What Redis sends is read the same however it is cut.
//!
//! The first byte says how it is cut, the second how long a frame may be.

#![no_main]

use broker::link::resp::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [cut, longest, bytes @ ..] = input else {
        return;
    };
    let longest = usize::from(*longest);
    let whole = read(longest, std::iter::once(bytes));
    let cut = bytes.chunks(usize::from(*cut).max(1));
    assert_eq!(read(longest, cut), whole);
});

/// Every reply, and whether the bytes stopped making sense.
fn read<'a>(longest: usize, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, bool) {
    let mut reader = Reader::up_to(longest);
    let mut replies = Vec::new();
    for piece in pieces {
        reader.space().extend_from_slice(piece);
        loop {
            match reader.next() {
                Ok(Some(push)) => replies.push(format!("{push:?}")),
                Ok(None) => break,
                Err(_) => return (replies, true),
            }
        }
    }
    (replies, false)
}
