//! What a Misskey's bus brings is told the same however it is written, and breaks
//! nothing.

#![no_main]

use broker::misskey::internal::Internal;
use broker::misskey::wire::{INTERNAL, route};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let Ok(routed) = route(frame) else {
        return;
    };
    let Ok(message) = routed.message() else {
        assert!(routed.event().is_err());
        return;
    };
    if let Ok(event) = routed.event() {
        // What is sent on to clients is JSON, whatever came in.
        serde_json::from_str::<serde::de::IgnoredAny>(event.body.get()).expect("it is JSON");
        drop(event.note().cloned());
    }
    if routed.stream == INTERNAL {
        drop(Internal::read(message));
    }
    // Once more, with a blank where nobody writes one.
    let name = serde_json::to_string(&routed.stream).expect("a text can be written");
    let otherwise = format!("{{ \"channel\":{name},\"message\":{message}}}");
    let again = route(otherwise.as_bytes()).expect("it is a frame");
    assert_eq!(again.stream, routed.stream);
    assert_eq!(again.message(), Ok(message));
});
