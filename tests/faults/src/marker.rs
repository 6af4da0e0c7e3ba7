//! The number of an event, as it stands in what clients are told.

/// All texts hold this, so that one entry among the secrets of a fleet covers
/// them all.
pub(crate) const BELL: &str = "faults-bell-";

/// The text of the event with this number.
pub(crate) fn write(event: u32) -> String {
    format!("{BELL}{event}-")
}

/// The number of the event whose text stands somewhere in `message`.
pub(crate) fn read(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once(BELL)?;
    let (number, _) = rest.split_once('-')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_in_what_a_client_is_told() {
        let message = format!(r#"{{"id":"01-2","message":"{}"}}"#, write(4711));
        assert_eq!(read(&message), Some(4711));
        assert_eq!(read("faults-bell-"), None);
        assert_eq!(read(r#"{"type":"pong"}"#), None);
    }
}
