//! What clients say, and what they are answered.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;

#[test]
fn a_sign_of_life_is_answered_to_the_letter_of_its_number() {
    check(
        &mut anonymous(),
        r#"
> {"type":"ping","id":123}
    < {"type":"pong","ok":true,"reply_to":123}
> {"type":"ping","id":123456789012345678901234567890}
    < {"type":"pong","ok":true,"reply_to":123456789012345678901234567890}
> {"type":"ping","id":-1.50e3}
    < {"type":"pong","ok":true,"reply_to":-1.50e3}
> {"type":"ping","id":0,"ok":false,"reply_to":9}
    < {"type":"pong","ok":true,"reply_to":0}
> {"type":"ping","id":0}
    < {"type":"pong","ok":true,"reply_to":0}
"#,
    );
}

#[test]
fn without_a_number_there_is_no_answer_but_the_message_is_heard() {
    check(
        &mut anonymous(),
        r#"
> {"type":"ping"}
> {"type":"ping","id":"1"}
> {"type":"ping","id":[1]}
> {"type":"ping","id":{}}
> {"type":"ping","id":null}
> {"type":"no-such-type"}
> {"filter":{}}
> {"filter":{"match_policy":"include_any","clauses":[{"field":"/id","value":"x"}],"actions":{}}}
    want 1
"#,
    );
}

#[test]
fn a_socket_says_who_is_signed_in() {
    let ask = r#"
> {"type":"whoami","id":1}
    < {"type":"whoyouare","userid":"acct:ada@example.org","ok":true,"reply_to":1}
"#;
    check(&mut ada("", false), ask);
    let ask = ask.replace("\"acct:ada@example.org\"", "null");
    check(&mut anonymous(), &ask);
}

#[test]
fn what_a_message_calls_itself_counts_before_what_is_in_it() {
    check(
        &mut anonymous(),
        r#"
> {"type":"no-such-type","id":2}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"no-such-type\""},"ok":false,"reply_to":2}
> {"type":"zzz","filter":{"match_policy":"include_any","clauses":[],"actions":{}},"id":3}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"zzz\""},"ok":false,"reply_to":3}
> {"messageType":"ping","id":4}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: null"},"ok":false,"reply_to":4}
> {"type":5,"id":5}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: 5"},"ok":false,"reply_to":5}
> {"type":"PING","id":6}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"PING\""},"ok":false,"reply_to":6}
> {"type":"grün \"𝄞\"","id":7}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: \"gr\\u00fcn \\\"\\ud834\\udd1e\\\"\""},"ok":false,"reply_to":7}
> {"type":["ping"],"id":8}
    < {"type":"error","error":{"type":"invalid_type","description":"invalid message type: [\"ping\"]"},"ok":false,"reply_to":8}
> {"type":null,"messageType":"client_id","id":9}
    < {"type":"error","error":{"type":"invalid_data","description":"\"value\" is missing"},"ok":false,"reply_to":9}
> {"messageType":"client_id","filter":1,"id":10}
    < {"type":"error","error":{"type":"invalid_data","description":"failed to parse filter"},"ok":false,"reply_to":10}
> {"type":"client_id","id":11}
    < {"type":"error","error":{"type":"invalid_data","description":"\"value\" is missing"},"ok":false,"reply_to":11}
> {"type":"filter","id":12}
    < {"type":"error","error":{"type":"invalid_data","description":"\"filter\" is missing"},"ok":false,"reply_to":12}
> {"\ud800":"\ud800","type":"pong","t\u0079pe":"p\u0069ng","id":1,"id":13}
    < {"type":"pong","ok":true,"reply_to":13}
"#,
    );
}

#[test]
fn a_name_and_a_filter_are_taken_without_an_answer() {
    check(
        &mut anonymous(),
        r#"
> {"messageType":"client_id","value":"c0ffee00","id":1}
> {"type":"client_id","value":{"any":["JSON"]},"id":2}
> {"type":"client_id","value":null,"id":3}
> {"type":"filter","filter":{"match_policy":"include_any","clauses":[],"actions":null},"id":4}
    want 0
"#,
    );
}

#[test]
fn json_that_is_no_object_means_nothing() {
    check(
        &mut anonymous(),
        r#"
> []
> "x"
> 5
> null
>  {"type":"ping","id":1}
    < {"type":"pong","ok":true,"reply_to":1}
"#,
    );
}

#[test]
fn what_is_no_json_ends_the_socket() {
    for text in [
        "{\"a\": b}",
        "",
        "{",
        "{}x",
        "NaN",
        "{\"type\":\"ping\",\"id\":1,}",
    ] {
        let script = format!("> {text}\n    close BadMessage");
        check(&mut anonymous(), &script);
        check(&mut anonymous(), &script.replacen('>', ">>", 1));
    }
    check(&mut anonymous(), ">> \\xff\n    close BadMessage");
}

#[test]
fn a_hundred_thousand_brackets_end_the_socket_and_nothing_else() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let inner = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for text in [inner.clone(), format!("{{\"type\":{inner},\"id\":1}}")] {
            let script = format!("> {text}\n    close BadMessage");
            check(&mut anonymous(), &script);
        }
    }
    let brackets_in_text = format!(
        "> {{\"type\":\"ping\",\"id\":1,\"x\":\"\\\"{}\"}}",
        "[".repeat(1000)
    );
    let pong = "    < {\"type\":\"pong\",\"ok\":true,\"reply_to\":1}";
    check(&mut anonymous(), &format!("{brackets_in_text}\n{pong}"));
}

#[test]
fn a_binary_frame_is_heard_like_text() {
    check(
        &mut anonymous(),
        "
>> {\"type\":\"ping\",\"id\":7}
    < {\"type\":\"pong\",\"ok\":true,\"reply_to\":7}
>> \u{feff}{\"type\":\"ping\",\"id\":8}
    < {\"type\":\"pong\",\"ok\":true,\"reply_to\":8}
",
    );
}

#[test]
fn what_is_asked_before_all_topics_are_subscribed_waits_in_order() {
    check(
        &mut conversation(Some(signed_in("")), false),
        &format!(
            r#"
open
    + acme:channel:annotations
    + acme:user:{ADA}
> {{"type":"ping","id":1}}
subscribed annotations
> {EVERYTHING}
> {{"type":"ping","id":2}}
subscribed user
    ask identity
    < {{"type":"pong","ok":true,"reply_to":1}}
    want 1
    < {{"type":"pong","ok":true,"reply_to":2}}
> {{"type":"ping","id":3}}
    < {{"type":"pong","ok":true,"reply_to":3}}
"#
        ),
    );
}

#[test]
fn what_waits_is_bounded() {
    let mut many = conversation(None, false);
    many.tell("open");
    for _ in 0..256 {
        check(&mut many, "> {}");
    }
    check(&mut many, "> {}\n    close TooMuch");
    let mut long = conversation(None, false);
    long.tell("open");
    let text = "x".repeat(60 << 10);
    check(
        &mut long,
        &format!("> {text}\n> {text}\n> {text}\n    close TooMuch"),
    );
}

/// What real clients say, and pieces of it.
const SEEDS: [&str; 6] = [
    r#"{"type":"whoami","id":1}"#,
    r#"{"messageType":"client_id","value":"d88b5faf13d32de94fec0ecba72c0c83","id":-0.5E+2}"#,
    r#"{"type":"filter","id":3,"filter":{"match_policy":"include_any","clauses":[{"field":"/uri","value":["http://e.org/:v0:v1",null]}],"actions":{}}}"#,
    r#"{"type":"\ud800\"\\","id":123456789012345678901234567890,"x":[{},[[]],true,"\u00e9"]}"#,
    "{}[],:\"\\\u{0}\u{feff}\u{e9}\u{1f600}",
    "null",
];

#[test]
fn whatever_a_client_says_it_is_answered_once_or_not_at_all() {
    let mut random = SmallRng::seed_from_u64(7);
    let mut socket = anonymous();
    let (mut answered, mut ended) = (0, 0);
    for _ in 0..50_000 {
        let mut text: Vec<char> = SEEDS.choose(&mut random).unwrap().chars().collect();
        for _ in 0..random.random_range(0..4) {
            let other: Vec<char> = SEEDS.choose(&mut random).unwrap().chars().collect();
            let at = random.random_range(0..=text.len());
            let end = (at + random.random_range(0..8)).min(text.len());
            let from = random.random_range(0..other.len());
            let to = (from + random.random_range(0..8)).min(other.len());
            text.splice(at..end, other[from..to].iter().copied());
        }
        let text: String = text.into_iter().collect();
        let effects = socket.dialect.receive(&text, socket.now);
        let counted = effects.iter().filter(|e| matches!(e, Effect::Count(_)));
        assert_eq!(counted.count(), 1, "{text}");
        assert!(effects.len() <= 3, "{text}: {effects:?}");
        for effect in &effects {
            match effect {
                Effect::Send(outgoing) => {
                    // Numbers may be longer than any that we could read.
                    let answer = serde_json::from_str::<&RawValue>(text_of(&outgoing.frame));
                    assert!(answer.is_ok(), "{text}");
                    answered += 1;
                }
                Effect::Close(_) => {
                    let json = serde_json::from_str::<&RawValue>(&text);
                    assert!(json.is_err(), "{text}");
                    ended += 1;
                }
                _ => {}
            }
        }
    }
    assert!(1_000 < answered && 1_000 < ended, "{answered}, {ended}");
}
