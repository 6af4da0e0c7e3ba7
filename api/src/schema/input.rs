//! What callers give as arguments, and what must hold of it.
//!
//! Each check names the argument at fault as the caller wrote it.

use std::net::IpAddr;
use std::sync::Arc;

use async_graphql::{Enum, ID, InputObject};
use broker::Timestamp;
use broker::message::rules::{self, Broken};
use broker::message::{Draft, MessageId};
use broker::messages::{GlobalFilter, MessagesFilter, Span};
use broker::quota::{Exceeded, Kind};
use broker::token::normal_origin;
use ipnet::IpNet;

use super::scalar::DateTime;
use crate::config::Limits;
use crate::failure::{Code, Failure};

/// Items on a page unless the caller asks for another number.
const DEFAULT_PAGE: usize = 50;
/// Most items on a page.
const MAX_PAGE: usize = 100;

/// A range of dates; both ends belong to it.
#[derive(InputObject)]
pub(super) struct DateTimeFilter {
    /// The start of the range: RFC 3339; without an offset it is read as UTC.
    from: Option<String>,
    /// The end of the range: RFC 3339; without an offset it is read as UTC.
    to: Option<String>,
}

/// Which global messages to list: those that match all that is given.
#[derive(Default, InputObject)]
#[graphql(name = "GlobalMessagesFilter")]
pub(super) struct GlobalMessagesFilterInput {
    /// Only messages pushed within this range.
    created_at: Option<DateTimeFilter>,
    /// Only messages that expire within this range.
    expires_at: Option<DateTimeFilter>,
    /// Only messages sent with this topic.
    topic: Option<String>,
}

/// Which messages to list: those that match all that is given.
#[derive(Default, InputObject)]
#[graphql(name = "MessagesFilter")]
pub(super) struct MessagesFilterInput {
    /// Only messages sent to this recipient.
    recipient: Option<String>,
    /// Only recipients' copies of this global message.
    global_message_id: Option<ID>,
    /// Only messages pushed within this range.
    created_at: Option<DateTimeFilter>,
    /// Only messages that expire within this range.
    expires_at: Option<DateTimeFilter>,
    /// Only messages sent with this topic.
    topic: Option<String>,
}

/// How safe a message is when its push answers.
#[derive(Clone, Copy, Debug, Default, Enum, PartialEq, Eq)]
pub enum Durability {
    /// Redis has stored it: it outlives our processes and that of Redis, but the
    /// last of it may go with the server.
    #[default]
    Stored,
    /// A replica has it too: it outlives the server that stored it, if a replica
    /// that has it takes over. If none says so in time, there is an error, and the
    /// message stays stored: repeat the call with the same `idempotencyKey`.
    Replicated,
}

/// A message to be pushed to some recipients.
#[derive(InputObject)]
pub(super) struct MessageInput {
    /// The recipients, at least one. Each is answered for separately.
    recipients: Vec<String>,
    /// The text of the message. Mandatory.
    message: Option<String>,
    /// Only connections registered with this topic get the message.
    topic: Option<String>,
    /// The message is not sent after this.
    expires_at: Option<DateTime>,
    /// The message is not sent before this: until then it is PENDING and can be
    /// cancelled. A time that has passed means at once.
    deliver_at: Option<DateTime>,
    /// What must be certain before the call answers.
    #[graphql(default)]
    durability: Durability,
    /// Makes it safe to repeat the call: for 24 hours the same key gives the
    /// same messages, and none is pushed again.
    idempotency_key: Option<String>,
}

/// A message to be pushed to all recipients.
#[derive(InputObject)]
pub(super) struct GlobalMessageInput {
    /// The text of the message. Mandatory.
    message: Option<String>,
    /// Only connections registered with this topic get the message.
    topic: Option<String>,
    /// The message is not sent after this.
    expires_at: Option<DateTime>,
    /// The message is not sent before this: until then it is PENDING and can be
    /// cancelled. A time that has passed means at once.
    deliver_at: Option<DateTime>,
    /// What must be certain before the call answers.
    #[graphql(default)]
    durability: Durability,
    /// Makes it safe to repeat the call: for 24 hours the same key gives the
    /// same message, and it is not pushed again.
    idempotency_key: Option<String>,
}

/// A recipient to be registered.
#[derive(InputObject)]
pub(super) struct RegisterRecipientInput {
    /// The name of the recipient, such as the user's identifier in the application.
    recipient: String,
    /// Only connections from this IP address (or network, `192.0.2.0/24`) are accepted.
    source_ip: Option<String>,
    /// Only connections from pages of this origin (`https://example.org`) are accepted.
    origin: Option<String>,
    /// Labels the recipient's connections: messages pushed with this topic reach
    /// them, as do messages without one.
    topic: Option<String>,
}

/// A push whose arguments hold.
pub(super) struct Push {
    /// The names given, each a recipient's or not one, in order.
    pub(super) recipients: Vec<Result<Arc<str>, Failure>>,
    /// What is pushed.
    pub(super) draft: Draft,
    /// The key that makes it safe to repeat.
    pub(super) idempotency_key: Option<String>,
    /// What must be certain before the answer.
    pub(super) durability: Durability,
}

/// A global push whose arguments hold.
pub(super) struct GlobalPush {
    /// What is pushed.
    pub(super) draft: Draft,
    /// The key that makes it safe to repeat.
    pub(super) idempotency_key: Option<String>,
    /// What must be certain before the answer.
    pub(super) durability: Durability,
}

/// A registration whose arguments hold.
pub(super) struct Registration {
    /// Who connects.
    pub(super) recipient: Arc<str>,
    /// The label of the connections.
    pub(super) label: Option<Arc<str>>,
    /// From pages of this origin only.
    pub(super) origin: Option<Arc<str>>,
    /// From these addresses only.
    pub(super) source: Option<IpNet>,
}

impl MessageInput {
    /// Checks all but whether there are too many recipients; `at` is the argument's name.
    pub(super) fn check(self, at: &str, limits: &Limits, now: Timestamp) -> Result<Push, Failure> {
        let recipients = format!("{at}.recipients");
        if self.recipients.is_empty() {
            return Err(Failure::bad(&recipients, "at least one must be named"));
        }
        let checked = |(n, name): (usize, &String)| check_name(&format!("{recipients}[{n}]"), name);
        Ok(Push {
            recipients: self.recipients.iter().enumerate().map(checked).collect(),
            draft: draft(
                at,
                (self.message, self.topic),
                (self.expires_at, self.deliver_at),
                limits,
                now,
            )?,
            idempotency_key: idempotency_key(at, self.idempotency_key)?,
            durability: self.durability,
        })
    }

    /// How many recipients are named.
    pub(super) fn len(&self) -> usize {
        self.recipients.len()
    }
}

impl GlobalMessageInput {
    /// Checks all of it; `at` is the argument's name.
    pub(super) fn check(
        self,
        at: &str,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<GlobalPush, Failure> {
        Ok(GlobalPush {
            draft: draft(
                at,
                (self.message, self.topic),
                (self.expires_at, self.deliver_at),
                limits,
                now,
            )?,
            idempotency_key: idempotency_key(at, self.idempotency_key)?,
            durability: self.durability,
        })
    }
}

impl RegisterRecipientInput {
    /// Checks all of it; `at` is the argument's name.
    pub(super) fn check(self, at: &str) -> Result<Registration, Failure> {
        let origin = self.origin.map(|origin| {
            normal_origin(&origin).map(Arc::from).ok_or_else(|| {
                Failure::bad(
                    &format!("{at}.origin"),
                    "expected a scheme and a host, such as https://example.org",
                )
            })
        });
        let source = self.source_ip.map(|source| {
            network(&source).ok_or_else(|| {
                Failure::bad(
                    &format!("{at}.sourceIp"),
                    "expected an IP address or a network, such as 192.0.2.7 or 192.0.2.0/24",
                )
            })
        });
        Ok(Registration {
            recipient: check_name(&format!("{at}.recipient"), &self.recipient)?,
            label: label(&format!("{at}.topic"), self.topic)?,
            origin: origin.transpose()?,
            source: source.transpose()?,
        })
    }
}

impl MessagesFilterInput {
    /// Checks all of it.
    pub(super) fn check(self) -> Result<MessagesFilter, Failure> {
        let name = |name: String| check_name("filter.recipient", &name);
        let id = |id: ID| message_id("filter.globalMessageId", &id);
        Ok(MessagesFilter {
            recipient: self.recipient.map(name).transpose()?,
            global_id: self.global_message_id.map(id).transpose()?,
            created: span("filter.createdAt", self.created_at)?,
            expires: span("filter.expiresAt", self.expires_at)?,
            label: label("filter.topic", self.topic)?,
        })
    }
}

impl GlobalMessagesFilterInput {
    /// Checks all of it.
    pub(super) fn check(self) -> Result<GlobalFilter, Failure> {
        Ok(GlobalFilter {
            created: span("filter.createdAt", self.created_at)?,
            expires: span("filter.expiresAt", self.expires_at)?,
            label: label("filter.topic", self.topic)?,
        })
    }
}

/// How many items a page shall have.
pub(super) fn page(limit: Option<i32>) -> Result<usize, Failure> {
    match limit.map(usize::try_from) {
        None => Ok(DEFAULT_PAGE),
        Some(Ok(limit @ 1..=MAX_PAGE)) => Ok(limit),
        Some(_) => Err(Failure::bad(
            "limit",
            format!("expected a number from 1 to {MAX_PAGE}"),
        )),
    }
}

/// The message that `id` names, in an argument called `at`.
pub(super) fn message_id(at: &str, id: &ID) -> Result<MessageId, Failure> {
    id.parse().map_err(|error| Failure::bad(at, error))
}

/// A name as recipients and topics have it, in an argument called `at`.
pub(super) fn check_name(at: &str, name: &str) -> Result<Arc<str>, Failure> {
    rules::name(name).map_err(|broken| broken_at(at, &broken))
}

/// What is wrong with an argument called `at`.
fn broken_at(at: &str, broken: &Broken) -> Failure {
    let code = match broken.is_limit() {
        true => Code::Limited,
        false => Code::BadUserInput,
    };
    Failure::new(code, format!("{at}: {broken}"))
}

fn label(at: &str, topic: Option<String>) -> Result<Option<Arc<str>>, Failure> {
    topic.map(|topic| check_name(at, &topic)).transpose()
}

fn draft(
    at: &str,
    (message, topic): (Option<String>, Option<String>),
    (expires_at, deliver_at): (Option<DateTime>, Option<DateTime>),
    limits: &Limits,
    now: Timestamp,
) -> Result<Draft, Failure> {
    let text = limits.rules().text(message);
    let text = text.map_err(|broken| {
        let quota = limits
            .payload
            .filter(|_| matches!(broken, Broken::LongText(..)));
        broken_at(&format!("{at}.message"), &broken).of_quota(quota.map(|limit| Exceeded {
            kind: Kind::Payload,
            limit,
            retry_after: None,
        }))
    })?;
    let rules = limits.rules();
    let expiry = |at| rules.expiry(at, now);
    let expires_at = time(&format!("{at}.expiresAt"), expires_at.as_ref(), expiry)?;
    let delivery = |at| rules.delivery(at, expires_at, now);
    Ok(Draft {
        text,
        label: label(&format!("{at}.topic"), topic)?,
        expires_at,
        deliver_at: time(&format!("{at}.deliverAt"), deliver_at.as_ref(), delivery)?,
    })
}

/// A time in an argument called `at`, of which `check` says whether it will do.
fn time(
    at: &str,
    time: Option<&DateTime>,
    check: impl FnOnce(Timestamp) -> Result<Timestamp, Broken>,
) -> Result<Option<Timestamp>, Failure> {
    let Some(DateTime(time)) = time else {
        return Ok(None);
    };
    let time = time.as_ref().map_err(|error| Failure::bad(at, error))?;
    let checked = check(*time).map_err(|broken| broken_at(at, &broken))?;
    Ok(Some(checked))
}

fn idempotency_key(at: &str, key: Option<String>) -> Result<Option<String>, Failure> {
    if let Some(key) = &key {
        rules::idempotency_key(key)
            .map_err(|broken| broken_at(&format!("{at}.idempotencyKey"), &broken))?;
    }
    Ok(key)
}

fn span(at: &str, filter: Option<DateTimeFilter>) -> Result<Span, Failure> {
    let Some(filter) = filter else {
        return Ok(Span::default());
    };
    let read =
        |end: &str, text: Option<String>| {
            text.map(|text| text.parse()).transpose().map_err(
                |error: broker::time::BadTimestamp| Failure::bad(&format!("{at}.{end}"), error),
            )
        };
    Ok(Span {
        from: read("from", filter.from)?,
        to: read("to", filter.to)?,
    })
}

/// An address or a network. An IPv4 address written as IPv6 is the IPv4 address.
fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => text.parse::<IpNet>().ok().map(|net| net.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn limits() -> Limits {
        let mut env = broker::node::env::Env::from_pairs::<&str, &str>([]);
        crate::config::Config::read(&mut env).limits
    }

    fn push() -> MessageInput {
        MessageInput {
            recipients: vec!["ann".to_owned()],
            message: Some("hello".to_owned()),
            topic: None,
            expires_at: None,
            deliver_at: None,
            durability: Durability::Stored,
            idempotency_key: None,
        }
    }

    fn refusal(input: MessageInput) -> String {
        match input.check("input", &limits(), NOW) {
            Ok(_) => panic!("should have been refused"),
            Err(failure) => format!("{} {failure}", failure.code.as_str()),
        }
    }

    #[test]
    fn a_refusal_names_the_argument() {
        let cases = [
            (
                MessageInput {
                    message: None,
                    ..push()
                },
                "BAD_USER_INPUT input.message:",
            ),
            (
                MessageInput {
                    message: Some(String::new()),
                    ..push()
                },
                "BAD_USER_INPUT input.message:",
            ),
            (
                MessageInput {
                    message: Some("x".repeat(65_537)),
                    ..push()
                },
                "LIMITED input.message:",
            ),
            (
                MessageInput {
                    recipients: vec![],
                    ..push()
                },
                "BAD_USER_INPUT input.recipients:",
            ),
            (
                MessageInput {
                    topic: Some("a\nb".to_owned()),
                    ..push()
                },
                "BAD_USER_INPUT input.topic:",
            ),
            (
                MessageInput {
                    idempotency_key: Some("k".repeat(129)),
                    ..push()
                },
                "BAD_USER_INPUT input.idempotencyKey:",
            ),
            (
                MessageInput {
                    expires_at: Some(DateTime("soon".parse())),
                    ..push()
                },
                "BAD_USER_INPUT input.expiresAt:",
            ),
        ];
        for (input, expected) in cases {
            let refusal = refusal(input);
            assert!(refusal.starts_with(expected), "{refusal}");
        }
    }

    #[test]
    fn a_bad_name_fails_alone() {
        let recipients = ["ann", "", "b\u{7f}b", &"x".repeat(257), "cid"];
        let input = MessageInput {
            recipients: recipients.map(str::to_owned).to_vec(),
            ..push()
        };
        let push = input.check("input", &limits(), NOW).unwrap();
        let fine: Vec<_> = push.recipients.iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, false, false, true]);
        let failure = push.recipients[2].as_ref().unwrap_err();
        assert!(
            failure.message.starts_with("input.recipients[2]:"),
            "{failure}"
        );
    }

    #[test]
    fn a_message_expires_in_the_future_but_within_retention() {
        let expires = |at: Timestamp| MessageInput {
            expires_at: Some(at.into()),
            ..push()
        };
        let moment = Duration::from_millis(1);
        for at in [NOW, NOW - DAY, NOW + 30 * DAY + moment] {
            assert!(refusal(expires(at)).contains("input.expiresAt:"));
        }
        for at in [NOW + moment, NOW + 30 * DAY] {
            let push = expires(at).check("input", &limits(), NOW).unwrap();
            assert_eq!(push.draft.expires_at, Some(at));
        }
    }

    #[test]
    fn a_message_is_scheduled_before_its_expiry_and_the_end_of_its_retention() {
        let delivers = |at: Timestamp, expires_at: Option<Timestamp>| MessageInput {
            deliver_at: Some(at.into()),
            expires_at: expires_at.map(DateTime::from),
            ..push()
        };
        let moment = Duration::from_millis(1);
        for (at, expires_at) in [
            (NOW + 30 * DAY, None),
            (NOW + DAY, Some(NOW + DAY)),
            (NOW + DAY + moment, Some(NOW + DAY)),
        ] {
            assert!(refusal(delivers(at, expires_at)).contains("input.deliverAt:"));
        }
        let soon = DateTime("soon".parse());
        let unreadable = MessageInput {
            deliver_at: Some(soon),
            ..push()
        };
        assert!(refusal(unreadable).contains("input.deliverAt:"));
        for (at, expires_at) in [
            (NOW + 30 * DAY - moment, None),
            (NOW + DAY - moment, Some(NOW + DAY)),
            (NOW - DAY, None),
        ] {
            let push = delivers(at, expires_at).check("input", &limits(), NOW);
            assert_eq!(push.unwrap().draft.deliver_at, Some(at));
        }
    }

    #[test]
    fn pages_have_one_to_a_hundred_items() {
        assert_eq!(page(None), Ok(50));
        assert_eq!((page(Some(1)), page(Some(100))), (Ok(1), Ok(100)));
        for limit in [0, -1, 101] {
            assert!(page(Some(limit)).is_err(), "{limit}");
        }
    }

    #[test]
    fn a_source_is_an_address_or_a_network() {
        let net = |text: &str| network(text).map(|net| net.to_string());
        assert_eq!(net("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(net("192.0.2.7/24").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(net("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(net("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
        for text in ["", "example.org", "192.0.2", "192.0.2.7/33"] {
            assert_eq!(network(text), None, "{text}");
        }
    }

    #[test]
    fn a_filter_says_which_end_of_which_range_is_wrong() {
        let filter = MessagesFilterInput {
            expires_at: Some(DateTimeFilter {
                from: None,
                to: Some("later".to_owned()),
            }),
            ..MessagesFilterInput::default()
        };
        let failure = filter.check().unwrap_err();
        assert!(
            failure.message.starts_with("filter.expiresAt.to:"),
            "{failure}"
        );
    }
}
