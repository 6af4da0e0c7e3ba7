//! Messages for recipients that a producer adds to its stream: a push as over
//! GraphQL, by the same rules.

use std::sync::Arc;

use serde_json::Value;

use super::members::Members;
use super::{Invalid, MAX_REPORT, not_json};
use crate::annotation::schema;
use crate::message::Draft;
use crate::message::rules::{self, Broken, Rules};
use crate::time::Timestamp;

/// What the field `type` says of a push to some recipients.
pub const PUSH: &str = "push";
/// What it says of a push to all of them.
pub const PUSH_GLOBAL: &str = "push-global";

/// A push whose arguments hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// To whom; nothing for every recipient of the tenant.
    pub recipients: Option<Vec<Arc<str>>>,
    /// What is pushed.
    pub draft: Draft,
    /// What its producer calls it, if it has a name.
    pub id: Option<Arc<str>>,
}

impl Push {
    /// Reads one of `kind`, [`PUSH`] or [`PUSH_GLOBAL`], that was asked for `at`
    /// a time. It may expire before it is read: then it is late, not wrong.
    ///
    /// # Errors
    /// If it is not of the shape, or breaks a rule.
    pub fn read(json: &[u8], kind: &str, rules: &Rules, at: Timestamp) -> Result<Self, Invalid> {
        if MAX_REPORT < json.len() {
            return Err(Invalid::Size);
        }
        let value = schema::json::read(json).map_err(|why| not_json(&why))?;
        let Value::Object(map) = value else {
            return Err(Invalid::Json("an object"));
        };
        let push = Members::of(&map);
        let global = kind == PUSH_GLOBAL;
        let known: &[&str] = match global {
            true => &["id", "type", "message", "topic", "expiresAt", "deliverAt"],
            false => &[
                "id",
                "type",
                "recipients",
                "message",
                "topic",
                "expiresAt",
                "deliverAt",
            ],
        };
        push.only(known)?;
        if push.any_text("type")?.is_some_and(|within| within != kind) {
            return Err(push.bad("type", "what the entry's field type says"));
        }
        let id = push.any_text("id")?;
        if let Some(id) = id {
            rules::idempotency_key(id).map_err(|why| broken("id", why))?;
        }
        let recipients = match global {
            true => None,
            false => Some(recipients(&push, rules)?),
        };
        Ok(Self {
            recipients,
            draft: draft(&push, rules, at)?,
            id: id.map(Arc::from),
        })
    }
}

fn recipients(push: &Members<'_>, rules: &Rules) -> Result<Vec<Arc<str>>, Invalid> {
    let named = push.list("recipients")?;
    let named = named.ok_or_else(|| push.bad("recipients", "an array of names"))?;
    let whole = |why| broken("recipients", why);
    rules.recipients(named.len()).map_err(whole)?;
    let name = |(at, name): (usize, &Value)| {
        let place = format!("recipients.{at}");
        let name = name.as_str().ok_or_else(|| push.bad(&place, "a string"))?;
        rules::name(name).map_err(|why| broken(&place, why))
    };
    named.iter().enumerate().map(name).collect()
}

fn draft(push: &Members<'_>, rules: &Rules, at: Timestamp) -> Result<Draft, Invalid> {
    let text = push.any_text("message")?.map(str::to_owned);
    let text = rules.text(text).map_err(|why| broken("message", why))?;
    let label = push.any_text("topic")?.map(rules::name).transpose();
    let label = label.map_err(|why| broken("topic", why))?;
    let expiry = |text: &str| {
        let expires_at = text.parse::<Timestamp>()?;
        rules.expiry(expires_at, at)
    };
    let expires_at = push.any_text("expiresAt")?.map(expiry).transpose();
    let expires_at = expires_at.map_err(|why| broken("expiresAt", why))?;
    let delivery = |text: &str| {
        let deliver_at = text.parse::<Timestamp>()?;
        rules.delivery(deliver_at, expires_at, at)
    };
    let deliver_at = push.any_text("deliverAt")?.map(delivery).transpose();
    Ok(Draft {
        text,
        label,
        expires_at,
        deliver_at: deliver_at.map_err(|why| broken("deliverAt", why))?,
    })
}

fn broken(path: &str, why: Broken) -> Invalid {
    Invalid::Rule {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn read(kind: &str, json: &str) -> Result<Push, String> {
        let rules = Rules {
            text: 10,
            recipients: 2,
            retention: Duration::from_secs(30 * 86_400),
        };
        Push::read(json.as_bytes(), kind, &rules, AT).map_err(|why| why.to_string())
    }

    #[test]
    fn a_push_is_what_it_is_over_graphql() {
        let json = r#"{"id":"e1","type":"push","recipients":["ada","ben"],"message":"Hi \ud83d\ude00",
            "topic":"news","expiresAt":"2026-09-22T00:00:00","deliverAt":"2026-09-21T23:59:59Z"}"#;
        let push = read(PUSH, json).unwrap();
        assert_eq!(push.recipients, Some(vec!["ada".into(), "ben".into()]));
        assert_eq!(
            (push.id.as_deref(), &*push.draft.text),
            (Some("e1"), "Hi 😀")
        );
        assert_eq!(push.draft.label.as_deref(), Some("news"));
        let expires_at = push.draft.expires_at.unwrap().to_string();
        assert_eq!(expires_at, "2026-09-22T00:00:00Z");
        assert_eq!(
            push.draft.deliver_at,
            push.draft.expires_at.map(|at| at - Duration::from_secs(1))
        );
        let all = read(PUSH_GLOBAL, r#"{"message":"Hi","id":null}"#).unwrap();
        assert_eq!((all.recipients, all.id), (None, None));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_never_repeated() {
        let to = |rest: &str| format!(r#"{{"recipients":["ada"],{rest}}}"#);
        let expiring = |at: &str| to(&format!(r#""message":"x","expiresAt":"{at}""#));
        for (json, why) in [
            ("[]".to_owned(), "expected an object"),
            ("{".to_owned(), "expected JSON in UTF-8"),
            (
                r#"{"message":"x"}"#.to_owned(),
                "recipients: expected an array of names",
            ),
            (
                r#"{"recipients":[],"message":"x"}"#.to_owned(),
                "recipients: at least one must be named",
            ),
            (
                r#"{"recipients":["a","b","c"],"message":"x"}"#.to_owned(),
                "recipients: has 3 recipients; at most 2 are allowed in one call",
            ),
            (
                r#"{"recipients":["a",7],"message":"x"}"#.to_owned(),
                "recipients.1: expected a string",
            ),
            (
                r#"{"recipients":["a","hu\nsh"],"message":"x"}"#.to_owned(),
                "recipients.1: must not have control characters",
            ),
            (
                to(r#""topic":"x""#),
                "message: the text of the message is mandatory",
            ),
            (
                to(r#""message":"hush hush hush""#),
                "message: has 14 bytes; at most 10 are allowed",
            ),
            (
                to(r#""message":"x","topic":"""#),
                "topic: must not be empty",
            ),
            (
                to(r#""message":"x","id":"""#),
                "id: expected 1 to 128 bytes without control characters",
            ),
            (
                to(r#""message":"x","hush":1"#),
                "event: expected no other members than id, type, recipients, message, topic, expiresAt, deliverAt",
            ),
            (
                to(r#""message":"x","type":"push-global""#),
                "type: expected what the entry's field type says",
            ),
            (
                expiring("hush"),
                "expiresAt: not a date and time: expected RFC 3339, such as 2023-07-18T15:00:00Z",
            ),
            (
                expiring("2020-01-01T00:00:00Z"),
                "expiresAt: lies in the past",
            ),
            (
                to(r#""message":"x","deliverAt":"2027-01-01T00:00:00Z""#),
                "deliverAt: must lie less than 30 days ahead",
            ),
            (
                expiring("2027-01-01T00:00:00Z"),
                "expiresAt: may lie at most 30 days ahead",
            ),
        ] {
            assert_eq!(read(PUSH, &json).unwrap_err(), why, "{json}");
        }
        let named = read(PUSH_GLOBAL, &to(r#""message":"x""#)).unwrap_err();
        assert_eq!(
            named,
            "event: expected no other members than id, type, message, topic, expiresAt, deliverAt"
        );
    }
}
