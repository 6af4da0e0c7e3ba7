//! What the store of annotations does, on a real Redis. Each test has names of
//! its own; what is told is read from the channel that gateways listen to.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::*;
use crate::annotation::{Change, schema, topic};
use crate::event::Event;
use crate::fixture;
use crate::people::{GroupDraft, GroupKind, GroupPatch, People, Role, UserPatch};

mod documents;
mod life;
mod moderation;
mod permission;
mod search;
mod threads;

const ALICE: &str = "acct:alice@example.org";
const BOB: &str = "acct:bob@example.org";
const MOD: &str = "acct:mod@example.org";
const MALLORY: &str = "acct:mallory@example.org";

/// A store, its people, and what is told.
struct World {
    annotations: Annotations,
    people: People,
    site: Site,
    told: redis::aio::PubSub,
}

impl World {
    async fn new() -> Self {
        let (redis, keys) = fixture::redis();
        let site = Site {
            tenant: "acme".parse().unwrap(),
            authority: "example.org".into(),
        };
        let client = redis::Client::open(format!("redis://{}", fixture::address())).unwrap();
        let mut told = client.get_async_pubsub().await.unwrap();
        told.subscribe(keys.channel(&topic(&site.tenant)))
            .await
            .unwrap();
        let links = Links::new("https://notes.example/", Some("https://go.example"));
        Self {
            annotations: Annotations::new(redis.clone(), keys.clone(), links),
            people: People::new(redis, keys),
            site,
            told,
        }
    }

    /// A group of Mod's, with these members.
    async fn group(&self, id: &str, kind: GroupKind, pre_moderated: bool, members: &[&str]) {
        let draft = GroupDraft {
            id: Some(id.to_owned()),
            name: format!("Group {id}"),
            kind,
            pre_moderated,
            scopes: Vec::new(),
            enforce_scope: false,
            creator: MOD.into(),
        };
        self.people.create_group(&self.site, &draft).await.unwrap();
        for member in members {
            let joined = self.people.join(&self.site, id, member, Role::Member).await;
            assert!(joined.unwrap());
        }
    }

    /// A user as an access token shows them.
    async fn user(&self, userid: &str) -> SignedIn {
        let tenant = &self.site.tenant;
        SignedIn {
            tenant: tenant.clone(),
            userid: userid.into(),
            memberships: self.people.memberships(tenant, userid).await.unwrap(),
            vouched: Arc::default(),
            token: "t".into(),
            expires_at: None,
        }
    }

    async fn try_create(&self, userid: &str, said: &Value) -> Result<Stored, Refused> {
        let draft = schema::draft(said.to_string().as_bytes()).unwrap();
        let by = self.user(userid).await;
        self.annotations.create(&self.site, draft, &by, None).await
    }

    async fn create(&self, userid: &str, said: &Value) -> Stored {
        self.try_create(userid, said).await.unwrap()
    }

    async fn try_update(&self, userid: &str, id: &str, said: &Value) -> Result<Stored, Refused> {
        let patch = schema::patch(said.to_string().as_bytes()).unwrap();
        let by = self.user(userid).await;
        self.annotations
            .update(&self.site, id, patch, &by, None)
            .await
    }

    async fn update(&self, userid: &str, id: &str, said: &Value) -> Stored {
        self.try_update(userid, id, said).await.unwrap()
    }

    async fn read(&self, id: &str) -> Option<Stored> {
        self.annotations.annotation(&self.site, id).await.unwrap()
    }

    /// The annotation as somebody sees it.
    async fn seen(&self, userid: Option<&str>, id: &str) -> Option<Value> {
        let by = match userid {
            Some(userid) => Some(self.user(userid).await),
            None => None,
        };
        let stored = self.read(id).await?;
        let class = stored.class_for(by.as_ref())?;
        let flagged =
            userid.is_some_and(|u| stored.notification.flaggers.iter().any(|f| **f == *u));
        let view = stored.notification.view(class, flagged);
        Some(serde_json::from_str(&view).unwrap())
    }

    /// The next that everybody is told.
    async fn next(&mut self) -> Notification {
        let frame = self.told.on_message().next().await.unwrap();
        let event = Event::parse(frame.get_payload_bytes()).unwrap();
        assert_eq!(&*event.kind, crate::annotation::ANNOTATION);
        assert!(event.entry.is_some(), "told by a script");
        assert!(event.published_at.is_some());
        serde_json::from_str(event.body.get()).unwrap()
    }

    async fn now(&self) -> i64 {
        self.annotations.redis.time().await.unwrap().millis()
    }
}

fn id(stored: &Stored) -> &str {
    &stored.notification.id
}

/// The reader's form.
fn form(stored: &Stored) -> Value {
    serde_json::from_str(stored.notification.annotation.get()).unwrap()
}

/// The scope keys of an event, in order.
fn scope(notification: &Notification) -> Vec<&str> {
    let mut keys: Vec<_> = notification.scope_keys.iter().map(|key| &**key).collect();
    keys.sort_unstable();
    keys
}

/// Shared with everybody.
fn public(uri: &str) -> Value {
    json!({"uri": uri, "permissions": {"read": ["group:__world__"]}})
}

/// Shared with a group.
fn shared(uri: &str, group: &str) -> Value {
    let read = format!("group:{group}");
    json!({"uri": uri, "group": group, "permissions": {"read": [read]}})
}

/// The same with further members.
fn with(mut said: Value, more: Value) -> Value {
    let (Value::Object(said_members), Value::Object(more)) = (&mut said, more) else {
        panic!("objects")
    };
    said_members.extend(more);
    said
}

/// The sentence that a client is told.
fn reason<T: std::fmt::Debug>(result: Result<T, Refused>) -> String {
    result.unwrap_err().to_string()
}

const NOT_FOUND: &str = "Either the resource you requested doesn't exist, or you are not currently authorized to see it.";
