//! What Redis sends is read the same however it is cut.
//!
//! The first byte says how it is cut.

#![no_main]

use broker::link::resp::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [cut, bytes @ ..] = input else {
        return;
    };
    let whole = read(std::iter::once(bytes));
    assert_eq!(read(bytes.chunks(usize::from(*cut).max(1))), whole);
});

/// Every reply, and whether the bytes stopped making sense.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, bool) {
    let mut reader = Reader::default();
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
