//! The steps that send frames, and those that hold frames against what they expect.

use std::time::Duration;

use super::compare::{Match, difference};
use super::json::Json;
use super::step::Step;
use super::wire::{Outgoing, Seen, Wire};
use crate::until::PATIENCE;

/// The longest message that a gateway takes unless told otherwise, in bytes.
const LONGEST: usize = 64 << 10;

/// Plays a step that sends.
pub(super) async fn send(wire: &mut Wire, op: &str, step: &Step) -> Result<(), String> {
    match op {
        "send_json" => wire.say(&step.member("json")?.to_string()).await,
        "send_text" => wire.say(step.text("text")?).await,
        "send_json_range" => {
            for n in 1..=step.number("count")? {
                wire.say(&numbered(step.member("template")?, n).to_string())
                    .await;
            }
        }
        "send_oversize" => {
            let start = r#"{"type":"ping","id":1,"padding":""#;
            let padding = "x".repeat(LONGEST + 1 - start.len() - r#""}"#.len());
            wire.say(&format!("{start}{padding}\"}}")).await;
        }
        "send_nested_array" => {
            let depth =
                usize::try_from(step.number("depth")?).map_err(|error| error.to_string())?;
            wire.say(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)))
                .await;
        }
        "send_binary" => frame(wire, 2, step, &step.bytes()?).await?,
        "send_frame" => {
            let opcode = u8::try_from(step.number("opcode")?).map_err(|error| error.to_string())?;
            let reserved = u8::try_from(step.number("rsv").unwrap_or(0)).unwrap_or(0);
            frame(wire, opcode | reserved << 4, step, &step.bytes()?).await?;
        }
        "send_close" => {
            let code = step
                .number("code")
                .ok()
                .and_then(|code| u16::try_from(code).ok());
            let mut payload = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
            payload.extend(step.optional_text("reason").unwrap_or("").bytes());
            frame(wire, 8, step, &payload).await?;
        }
        op => return Err(format!("nobody here knows the op {op}")),
    }
    Ok(())
}

async fn frame(wire: &mut Wire, opcode: u8, step: &Step, payload: &[u8]) -> Result<(), String> {
    wire.send(&Outgoing {
        opcode,
        fin: step.flag("fin", true),
        masked: step.flag("masked", true),
        payload,
    })
    .await;
    Ok(())
}

/// Plays a step that waits for the server: so long for what must come. A step
/// says itself how long nothing must come, but not how fast the machine is.
pub(super) async fn expect(
    wire: &mut Wire,
    op: &str,
    step: &Step,
    patience: Duration,
) -> Result<(), String> {
    match op {
        "expect_json" => {
            let got = event(wire, patience).await?;
            let how = match step.optional_text("match") {
                Some("subset") => Match::Subset,
                _ => Match::Exact,
            };
            against(step.member("json")?, &got, how)
        }
        "expect_json_range" => {
            for n in 1..=step.number("count")? {
                let got = event(wire, patience).await?;
                against(&numbered(step.member("template")?, n), &got, Match::Exact)?;
            }
            Ok(())
        }
        "expect_text_contains" => {
            let part = step.text("text")?;
            match wire.data_within(patience).await {
                Some(Seen::Text(text)) if text.contains(part) => Ok(()),
                other => Err(format!(
                    "expected a text with {part}, got {}",
                    told(other.as_ref())
                )),
            }
        }
        "expect_none" => match wire.data_within(step.quiet()).await {
            None => Ok(()),
            // A close is no data; whoever minds it says so in the next step.
            Some(seen @ (Seen::Close(..) | Seen::Gone)) => {
                wire.hold(seen);
                Ok(())
            }
            seen => Err(format!("expected no frame, got {}", told(seen.as_ref()))),
        },
        "expect_close" => closed(wire, step, patience).await,
        "expect_pong" => {
            let payload = step.bytes()?;
            control(wire, patience, |opcode, got| opcode == 10 && got == payload).await
        }
        "expect_control_frame" => {
            let Json::Array(opcodes) = step.member("opcodes")? else {
                return Err("opcodes of the step is no array".to_owned());
            };
            control(wire, patience, |opcode, _| {
                opcodes.contains(&Json::from(u64::from(opcode)))
            })
            .await
        }
        op => Err(format!("nobody here knows the op {op}")),
    }
}

/// Sends a ping under a new number and waits for its pong: all that was sent
/// before has been acted on.
pub(super) async fn barrier(wire: &mut Wire, number: u64) -> Result<(), String> {
    // Far from the small numbers that cases choose themselves.
    let id = 7_000_000 + number;
    wire.say(&format!(r#"{{"type":"ping","id":{id}}}"#)).await;
    let pong = format!(r#"{{"type":"pong","ok":true,"reply_to":{id}}}"#);
    let pong = Json::parse(&pong).expect("it was just written");
    against(&pong, &event(wire, PATIENCE).await?, Match::Exact)
}

/// The next data frame, which must be a text of JSON.
pub(super) async fn event(wire: &mut Wire, patience: Duration) -> Result<Json, String> {
    let seen = wire.data_within(patience).await;
    let json = match &seen {
        Some(Seen::Text(text)) => Json::parse(text).ok(),
        _ => None,
    };
    json.ok_or_else(|| {
        let got = told(seen.as_ref());
        format!("expected a text frame of JSON within {patience:?}, got {got}")
    })
}

fn against(expected: &Json, got: &Json, how: Match) -> Result<(), String> {
    match difference(expected, got, how) {
        None => Ok(()),
        Some(place) => Err(format!("{place}\nthe whole frame: {got}")),
    }
}

async fn closed(wire: &mut Wire, step: &Step, patience: Duration) -> Result<(), String> {
    let expected = &step.0;
    let seen = wire.data_within(patience).await;
    let Some(Seen::Close(code, reason)) = &seen else {
        return Err(format!(
            "expected a close frame, got {}",
            told(seen.as_ref())
        ));
    };
    let code = code.map_or(Json::Null, |code| Json::from(u64::from(code)));
    let among = |name: &str| match expected.get(name)? {
        Json::Array(codes) => Some(codes.contains(&code)),
        one => Some(*one == code),
    };
    let refused = among("code") == Some(false) || among("code_not_in") == Some(true);
    let wanted = expected.get("reason");
    let place = wanted.and_then(|wanted| difference(wanted, &reason.as_str().into(), Match::Exact));
    match (refused, place) {
        (false, None) => Ok(()),
        _ => Err(format!(
            "expected another close, got {}",
            told(seen.as_ref())
        )),
    }
}

/// Waits for a control frame; what else comes in the meantime stays to be seen.
async fn control(
    wire: &mut Wire,
    patience: Duration,
    fits: impl Fn(u8, &[u8]) -> bool,
) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut others = Vec::new();
    let found = loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        match wire.seen_within(left).await {
            Some(Seen::Control(opcode, payload)) if fits(opcode, &payload) => break true,
            Some(Seen::Control(..)) => {}
            Some(seen @ Seen::Gone) => {
                others.push(seen);
                break false;
            }
            Some(seen) => others.push(seen),
            None => break false,
        }
    };
    let got = others.iter().map(|seen| told(Some(seen)));
    let got = got.collect::<Vec<_>>().join("; ");
    others.into_iter().rev().for_each(|seen| wire.hold(seen));
    if found {
        Ok(())
    } else {
        Err(format!(
            "expected a control frame within {patience:?}, got none such; {got}"
        ))
    }
}

/// The template with `"$i"` replaced by the number.
fn numbered(template: &Json, number: u64) -> Json {
    let filled = template.map_texts(&mut |text| {
        Ok::<_, std::convert::Infallible>(match text {
            "$i" => Json::from(number),
            text => text.into(),
        })
    });
    match filled {
        Ok(json) => json,
    }
}

/// What was seen, for a person to read.
fn told(seen: Option<&Seen>) -> String {
    match seen {
        None => "nothing".to_owned(),
        Some(Seen::Text(text)) => format!("the text {text}"),
        Some(Seen::Binary(bytes)) => format!("a binary frame of {} bytes", bytes.len()),
        Some(Seen::Control(opcode, _)) => format!("a control frame with opcode {opcode}"),
        Some(Seen::Close(None, _)) => "a close without a code".to_owned(),
        Some(Seen::Close(Some(code), reason)) => format!("a close with {code} {reason:?}"),
        Some(Seen::Broken(how)) => how.to_string(),
        Some(Seen::Gone) => "the end of the connection".to_owned(),
    }
}
