//! Messages of a bus: read alike however they are written, and the hostile ones.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::misskey::internal::Internal;

fn read(frame: &str) -> Result<(String, String, String), BadFrame> {
    let routed = route(frame.as_bytes())?;
    let event = routed.event()?;
    Ok((
        routed.stream.into_owned(),
        event.kind.into(),
        event.body.get().to_owned(),
    ))
}

fn says(stream: &str, kind: &str, body: &str) -> Result<(String, String, String), BadFrame> {
    Ok((stream.to_owned(), kind.to_owned(), body.to_owned()))
}

#[test]
fn a_message_is_the_same_however_it_is_written() {
    let told = says("mainStream:u1", "followed", r#"{"id": "u2"}"#);
    for frame in [
        r#"{"channel":"mainStream:u1","message":{"type":"followed","body":{"id": "u2"}}}"#,
        r#" { "channel" : "mainStream:u1" , "message" : {"body":{"id": "u2"},"type":"followed"} } "#,
        r#"{"message":{"type":"followed","body":{"id": "u2"}},"channel":"mainStream:u1"}"#,
        r#"{"channel":"main\u0053tream:u1","message":{"type":"f\u006fllowed","body":{"id": "u2"}}}"#,
        r#"{"channel":"mainStream:u1","message":{"type":"followed","body":{"id": "u2"}},"at":[1]}"#,
    ] {
        assert_eq!(read(frame), told, "{frame}");
    }
}

#[test]
fn what_has_no_body_is_told_with_null() {
    for message in [r#"{"type":"x"}"#, r#"{"type":"x","body":null}"#] {
        let frame = format!(r#"{{"channel":"broadcast","message":{message}}}"#);
        assert_eq!(read(&frame), says("broadcast", "x", "null"));
    }
}

#[test]
fn a_note_is_kept_to_the_letter() {
    let note = r#"{"id":"n1", "text":"\ud83d {\"\u0000", "n":1.0}"#;
    let frame = format!(r#"{{"channel":"notesStream","message":{note}}}"#);
    assert_eq!(read(&frame), says("notesStream", "note", note));
}

#[test]
fn of_what_nobody_wants_only_the_stream_is_read() {
    let frame = b"{\"channel\":\"driveStream:u\",\"message\":\xff no JSON}";
    let routed = route(frame).unwrap();
    assert_eq!(routed.stream, "driveStream:u");
    assert_eq!(routed.message(), Err(BadFrame::Json));
}

#[test]
fn what_is_no_message_is_refused() {
    use BadFrame::*;
    let deep = format!(
        r#"{{"channel":"x","message":{{"type":"t","body":{}1{}}}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let unclosed = format!(r#"{{"channel":"x","message":{}"#, "{\"a\":".repeat(100_000));
    let long = format!(
        r#"{{"channel":"x","message":"{}"}}"#,
        "x".repeat(MAX_MESSAGE)
    );
    for (frame, why) in [
        ("", Json),
        ("hello", Json),
        ("{}", Form),
        ("[]", Form),
        ("null", Form),
        (r#"{"channel":"x"}"#, Form),
        (r#"{"channel":5,"message":{}}"#, Form),
        (r#"{"channel":"x","message":{}}"#, Form),
        (r#"{"channel":"x","message":[]}"#, Form),
        (r#"{"channel":"x","message":"type"}"#, Form),
        (r#"{"channel":"x","message":["t",{}]}"#, Form),
        (r#" ["x",{"type":"t"}]"#, Form),
        (r#"{"channel":"x","message":{"type":5}}"#, Form),
        (r#"{"channel":"notesStream","message":"note"}"#, Form),
        (r#"{"channel":"notesStream","message":[]}"#, Form),
        (r#"{"channel":"x","message":{"type":"t"}"#, Json),
        (r#"{"channel":"x","message":}"#, Json),
        (
            r#"{"channel":"x","message":{"type":"t"},"channel":"y"}"#,
            Form,
        ),
        (
            r#"{"channel":"x","message":{"type":"t"},"message":1}"#,
            Form,
        ),
        (r#"{"channel":"x","message":{"type":"t","type":"u"}}"#, Form),
        (&deep, Depth),
        (&unclosed, Json),
        (&long, Size),
    ] {
        let shown = &frame[..frame.len().min(80)];
        assert_eq!(read(frame), Err(why), "{shown}");
    }
}

#[test]
fn many_objects_beside_each_other_are_not_deep() {
    let many = format!("[{}1]", "{\"[\\\"{\":[]},".repeat(1000));
    assert!(!is_too_deep(&many));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(!is_too_deep(&nested(MAX_DEPTH)));
    assert!(is_too_deep(&nested(MAX_DEPTH + 1)));
}

#[test]
fn each_stream_has_its_topic() {
    let tenant = "acme".parse().unwrap();
    let mut name = "what was there".to_owned();
    for (stream, topic) in [
        ("mainStream:u1", "acme:user:u1"),
        ("noteStream:n1", "acme:note:n1"),
        ("notesStream", "acme:channel:notesStream"),
        ("driveStream:u1", "acme:channel:driveStream:u1"),
        ("mainStream", "acme:channel:mainStream"),
        ("x {y}", "acme:channel:x%20%7By%7D"),
    ] {
        name_topic(&mut name, &tenant, stream);
        assert_eq!(name, topic);
        let (kind, id) = address(stream);
        assert_eq!(crate::topic::Topic::new(&tenant, kind, id).as_str(), topic);
    }
}

/// What a Misskey says, and what it might.
const SAID: [&str; 5] = [
    r#"{"channel":"mainStream:u1","message":{"type":"followed","body":{"id":"u2"}}}"#,
    r#"{"channel":"notesStream","message":{"id":"n1","userId":"u1","user":{"host":null},"text":"\\u00e4 \\ud83d","visibility":"specified","visibleUserIds":["u2"],"reply":{"id":"n0"},"tags":["T"]}}"#,
    r#"{"channel":"internal","message":{"type":"userTokenRegenerated","body":{"id":"u1","oldToken":"a","newToken":"b"}}}"#,
    r#"{"channel":"internal","message":{"type":"metaUpdated","body":{"after":{"policies":{"ltlAvailable":false}}}}}"#,
    r#" { "message" : [1, {"a": "}"}] , "channel" : "x\\u0041" } "#,
];

/// Bytes that matter to JSON.
const TELLING: &[u8] = b"{}[]\",:\\ u0\xff\n";

fn broken(random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = SAID
        .choose(random)
        .expect("there are some")
        .as_bytes()
        .to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, *TELLING.choose(random).expect("there are some")),
            2 => bytes[at] = *TELLING.choose(random).expect("there are some"),
            _ => {
                let from = random.random_range(0..=at);
                let piece = bytes[from..at].to_vec();
                bytes.splice(at..at, piece);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn a_hundred_thousand_broken_messages_are_read_alike_however_they_are_written() {
    let random = &mut SmallRng::seed_from_u64(4);
    let (mut messages, mut events) = (0, 0);
    for _ in 0..100_000 {
        let frame = broken(random);
        let Ok(routed) = route(&frame) else {
            continue;
        };
        let Ok(message) = routed.message() else {
            assert!(routed.event().is_err());
            continue;
        };
        messages += 1;
        if routed.stream == INTERNAL {
            drop(Internal::read(message));
        }
        if let Ok(event) = routed.event() {
            events += 1;
            let sent_on = serde_json::from_str::<&RawValue>(event.body.get());
            assert!(sent_on.is_ok(), "{}", event.body.get());
            drop(event.note().cloned());
        }
        let name = serde_json::to_string(&routed.stream).unwrap();
        let otherwise = format!("{{ \"channel\":{name},\"message\":{message}}}");
        let again = route(otherwise.as_bytes()).unwrap();
        assert_eq!(
            (&again.stream, again.message()),
            (&routed.stream, Ok(message))
        );
    }
    assert!((20_000..80_000).contains(&messages), "{messages}");
    assert!((10_000..messages).contains(&events), "{events}");
}
