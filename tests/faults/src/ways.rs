//! The ways by which events come in, and what each of them says.

use std::sync::Arc;

use ::tests::Fleet;
use ::tests::fleet::TENANT;
use broker::annotation;
use broker::message::MessageId;
use broker::topic::{Topic, TopicKind};
use broker::topology::Redis;
use redis::cmd;
use serde_json::{Value, json};

use crate::client::{self, Dialect, Kind};
use crate::marker;

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    /// A push over GraphQL, with an idempotency key.
    Api,
    /// The same, answered when a replica has it. Only where there are replicas.
    Replicated,
    /// A push as an entry of the ingest stream.
    PushStream,
    /// An annotation over HTTP.
    Report,
    /// An annotation in the ingest stream.
    AnnotationStream,
    /// An event of a user, a note or a game in the ingest stream.
    EventStream,
    /// The same by the function of Redis.
    Function,
    /// The same by a plain `PUBLISH`, which nobody keeps.
    Publish,
}

/// What came of an offer.
pub(crate) enum Answer {
    /// It is in; and the message that it became, if it is one.
    Accepted(Option<MessageId>),
    /// It is or is not: to be offered again.
    Unknown,
}

const PUSH: &str = "mutation($input: MessageInput!) {
    pushMessage(input: $input) { item { id } error { message code } } }";

const PUSH_MANY: &str = "mutation($input: [MessageInput!]!) {
    pushMessages(input: $input) { item { id } error { message code } } }";

impl Way {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Api,
        Self::Replicated,
        Self::PushStream,
        Self::Report,
        Self::AnnotationStream,
        Self::EventStream,
        Self::Function,
        Self::Publish,
    ];

    /// What it is called on the page.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Api => "push over GraphQL",
            Self::Replicated => "push, REPLICATED",
            Self::PushStream => "push by XADD",
            Self::Report => "annotations over HTTP",
            Self::AnnotationStream => "annotations by XADD",
            Self::EventStream => "events by XADD",
            Self::Function => "events by FCALL",
            Self::Publish => "events by PUBLISH",
        }
    }

    /// How many of a thousand events go by it, on a Redis with replicas or one
    /// without. `PUBLISH` comes on top.
    pub(crate) const fn share(self, replicas: bool) -> u32 {
        match self {
            Self::Api if replicas => 200,
            Self::Api => 300,
            Self::Replicated if replicas => 100,
            Self::Replicated => 0,
            Self::PushStream | Self::Report => 100,
            Self::AnnotationStream => 125,
            Self::EventStream => 225,
            Self::Function => 150,
            Self::Publish => 50,
        }
    }

    /// Whether what goes by it is promised to arrive, or its loss to be told.
    pub(crate) const fn is_promised(self) -> bool {
        !matches!(self, Self::Publish)
    }

    /// Whether what is offered again is known again, so that a backend may.
    pub(crate) const fn is_repeatable(self) -> bool {
        !matches!(self, Self::Function | Self::Publish)
    }

    /// Whose clients it reaches.
    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Api | Self::Replicated | Self::PushStream => Dialect::Push,
            Self::Report | Self::AnnotationStream => Dialect::Hypothesis,
            Self::EventStream | Self::Function | Self::Publish => Dialect::Misskey,
        }
    }

    /// The topic on which an event for this client is published.
    pub(crate) fn topic(self, number: u32, to: &client::Client) -> Topic {
        let tenant = TENANT.parse().expect("the tenant is valid");
        match self.dialect() {
            Dialect::Push => Topic::recipient(&tenant, &to.name()),
            Dialect::Hypothesis => annotation::topic(&tenant),
            Dialect::Misskey => {
                let game = format!("reversiGameStream:{}", to.name());
                match to.kind {
                    Kind::Visitor if is_of_note(number) => {
                        Topic::new(&tenant, TopicKind::Note, &to.name())
                    }
                    Kind::Visitor => Topic::new(&tenant, TopicKind::Channel, &game),
                    _ => Topic::new(&tenant, TopicKind::User, &to.name()),
                }
            }
        }
    }

    /// Offers an event to a client, once.
    pub(crate) async fn offer(
        self,
        fleet: &Fleet,
        commands: &Redis,
        number: u32,
        to: &client::Client,
    ) -> Answer {
        match self {
            Self::Api => push(fleet, message(number, to)).await,
            Self::Replicated => {
                let mut message = message(number, to);
                message["durability"] = "REPLICATED".into();
                push(fleet, message).await
            }
            Self::PushStream => {
                let (id, text) = (id(number), marker::write(number));
                let data = json!({ "id": id, "recipients": [to.name()], "message": text });
                add(fleet, commands, "type", "push", data.to_string()).await
            }
            Self::Report => report(fleet, number, to).await,
            Self::AnnotationStream => {
                let data = annotated(number, to).to_string();
                add(fleet, commands, "type", "annotation", data).await
            }
            Self::EventStream => {
                let (kind, body) = event(number, to);
                let topic = spoken(&self.topic(number, to));
                let data = json!({ "id": id(number), "type": kind, "body": body });
                add(fleet, commands, "topic", &topic, data.to_string()).await
            }
            Self::Function => {
                let topic = self.topic(number, to);
                let mut call = cmd("FCALL");
                call.arg("carillon_publish_v1").arg(1);
                call.arg(fleet.keys().ring(&topic));
                call.arg(fleet.keys().channel(&topic));
                call.arg(frame(number, to));
                accepted(commands.query::<String>(&call).await.is_ok())
            }
            Self::Publish => {
                let mut publish = cmd("PUBLISH");
                publish.arg(fleet.keys().channel(&self.topic(number, to)));
                publish.arg(frame(number, to));
                accepted(commands.query::<u64>(&publish).await.is_ok())
            }
        }
    }
}

/// What the event with this number is called.
pub(crate) fn id(number: u32) -> String {
    format!("event-{number}")
}

fn accepted(yes: bool) -> Answer {
    if yes {
        Answer::Accepted(None)
    } else {
        Answer::Unknown
    }
}

fn message(number: u32, to: &client::Client) -> Value {
    json!({
        "recipients": [to.name()],
        "message": marker::write(number),
        "idempotencyKey": id(number),
    })
}

/// Pushes to somebody who is never connected, under this key; the message, if it
/// is as safe as it was asked to be.
pub(crate) async fn push_away(fleet: &Fleet, key: &str, durability: &str) -> Option<MessageId> {
    let message = json!({
        "recipients": ["away"],
        "message": marker::BELL,
        "idempotencyKey": key,
        "durability": durability,
    });
    match push(fleet, message).await {
        Answer::Accepted(message) => message,
        Answer::Unknown => None,
    }
}

async fn push(fleet: &Fleet, message: Value) -> Answer {
    let body = json!({ "query": PUSH, "variables": { "input": message } });
    let answer = post(fleet, "/graphql", &body).await;
    let id = answer.and_then(|answer| {
        let outcome = &answer["data"]["pushMessage"][0];
        // One that no replica has confirmed comes with both.
        let is_error = !outcome["error"].is_null();
        if is_error {
            return None;
        }
        outcome["item"]["id"].as_str()?.parse().ok()
    });
    id.map_or(Answer::Unknown, |id| Answer::Accepted(Some(id)))
}

/// Pushes to several clients in one call; the messages, if all were accepted.
pub(crate) async fn push_many(
    fleet: &Fleet,
    numbers: &[u32],
    to: &[Arc<client::Client>],
) -> Option<Vec<MessageId>> {
    let each = numbers.iter().zip(to);
    let input: Vec<Value> = each.map(|(&number, to)| message(number, to)).collect();
    let body = json!({ "query": PUSH_MANY, "variables": { "input": input } });
    let answer = post(fleet, "/graphql", &body).await?;
    let outcomes = answer["data"]["pushMessages"].as_array()?;
    let id = |outcome: &Value| outcome[0]["item"]["id"].as_str()?.parse().ok();
    outcomes.iter().map(id).collect()
}

async fn report(fleet: &Fleet, number: u32, to: &client::Client) -> Answer {
    let answer = post(fleet, "/ingest/annotations", &annotated(number, to)).await;
    let outcome = answer
        .as_ref()
        .map(|answer| &answer["outcomes"][0]["outcome"]);
    accepted(outcome.is_some_and(|outcome| *outcome == "published" || *outcome == "repeated"))
}

/// The answer of the api, unless there is none.
async fn post(fleet: &Fleet, path: &str, body: &Value) -> Option<Value> {
    let headers = [
        ("content-type", "application/json"),
        ("x-api-key", fleet.access_key()),
    ];
    let body = body.to_string();
    let request = fleet
        .http()
        .request("POST", path, &headers, body.as_bytes());
    serde_json::from_slice(&request.await.ok()?.body).ok()
}

async fn add(fleet: &Fleet, commands: &Redis, field: &str, value: &str, data: String) -> Answer {
    let tenant = TENANT.parse().expect("the tenant is valid");
    let mut add = cmd("XADD");
    add.arg(fleet.keys().intake(&tenant)).arg("*");
    add.arg(field).arg(value).arg("data").arg(data);
    accepted(commands.query::<String>(&add).await.is_ok())
}

/// An annotation of the page that the client shows.
fn annotated(number: u32, to: &client::Client) -> Value {
    json!({
        "id": id(number),
        "action": "create",
        "shared": true,
        "annotation": {
            "id": format!("a{number}"),
            "user": "acct:ada@example.org",
            "uri": client::page(to.number),
            "group": "__world__",
            "text": marker::write(number),
        },
    })
}

/// Visitors are told of the note they watch and of their game in turns.
fn is_of_note(number: u32) -> bool {
    number.is_multiple_of(2)
}

/// A topic as producers name it: without the tenant.
fn spoken(topic: &Topic) -> String {
    let name = topic.as_str().split_once(':');
    name.map_or("", |(_, rest)| rest).to_owned()
}

/// An event for a client of a Misskey: its type and its body.
fn event(number: u32, to: &client::Client) -> (&'static str, Value) {
    let (name, text) = (to.name(), marker::write(number));
    match to.kind {
        Kind::Visitor if is_of_note(number) => (
            "reacted",
            json!({
                "id": name, "userId": "ada", "visibility": "public", "visibleUserIds": [],
                "body": { "reaction": text, "userId": "ben" },
            }),
        ),
        Kind::Visitor => ("log", json!({ "text": text })),
        _ => ("faults", json!({ "text": text })),
    }
}

/// The same as a producer publishes it.
fn frame(number: u32, to: &client::Client) -> String {
    let (kind, body) = event(number, to);
    json!({ "v": 1, "type": kind, "body": body }).to_string()
}
