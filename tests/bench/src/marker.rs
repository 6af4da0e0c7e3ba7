//! What a payload tells about itself: where it belongs and when it was due.

use std::time::Duration;

use crate::misskey;

/// Length of every payload, in bytes.
pub(crate) const PAYLOAD: usize = 200;
/// Length of every message that tells of an annotation whose text is a payload.
const NOTIFICATION: usize = 1103;
/// Where it begins, among whatever it is sent in.
const SIGN: u8 = b'#';

/// One push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The topic it was pushed to.
    pub topic: u32,
    /// Its place among the pushes to that topic, from 0.
    pub place: u32,
    /// Its place among all pushes of the run, from 0.
    pub number: u32,
    /// When it was meant to be sent, in nanoseconds since the run began.
    pub due: u64,
}

impl Marker {
    /// The payload, in hexadecimal and padding.
    pub(crate) fn write(self) -> String {
        let Self {
            topic,
            place,
            number,
            due,
        } = self;
        let sign = char::from(SIGN);
        let mut text = format!("{sign}{topic:08x}{place:08x}{number:08x}{due:016x}");
        text.extend(std::iter::repeat_n('.', PAYLOAD - text.len()));
        text
    }

    /// What is pushed to a topic that no socket has.
    pub(crate) fn elsewhere(due: Duration) -> Self {
        Self {
            topic: u32::MAX,
            place: 0,
            number: u32::MAX,
            due: u64::try_from(due.as_nanos()).expect("a short run"),
        }
    }

    /// A message as long as one that tells of an annotation.
    pub(crate) fn notification(self) -> String {
        let message = format!(r#"{{"text":"{}"}}"#, self.write());
        format!("{message:NOTIFICATION$}")
    }

    /// Reads what [`Marker::write`] wrote, wherever it stands in a frame.
    ///
    /// # Panics
    /// If a message is of another length than what the limit program sends, which
    /// would be no limit then.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        if frame.starts_with(b"{") {
            let expected = misskey::expected_length(frame).unwrap_or(NOTIFICATION);
            assert_eq!(frame.len(), expected);
        }
        let start = frame.iter().position(|&byte| byte == SIGN)? + 1;
        let payload = &frame[start..];
        let field = |from: usize, to: usize| {
            let text = std::str::from_utf8(payload.get(from..to)?).ok()?;
            u64::from_str_radix(text, 16).ok()
        };
        let short = |from| u32::try_from(field(from, from + 8)?).ok();
        Some(Self {
            topic: short(0)?,
            place: short(8)?,
            number: short(16)?,
            due: field(24, 40)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back() {
        let marker = Marker {
            topic: 7,
            place: u32::MAX,
            number: 9,
            due: u64::MAX - 1,
        };
        let payload = marker.write();
        assert_eq!(payload.len(), PAYLOAD);
        assert_eq!(Marker::read(payload.as_bytes()), Some(marker));
        assert_eq!(Marker::read(marker.notification().as_bytes()), Some(marker));
        assert_eq!(Marker::read(b"short"), None);
    }
}
