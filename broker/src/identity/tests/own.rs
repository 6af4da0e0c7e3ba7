//! The life of our own tokens.

use std::time::Duration;

use futures_util::StreamExt;
use redis::cmd;

use super::{JO, World, site};
use crate::event::Event;
use crate::fixture;
use crate::identity::{AccessTokens, NewAccessToken, NotCreated};
use crate::people::{GroupDraft, GroupKind, Role, SIGNED_OUT, SignedOut, topic};
use crate::time::Timestamp;

impl World {
    fn tokens(&self) -> AccessTokens {
        AccessTokens::new(self.redis.clone(), self.keys.clone())
    }

    fn token(&self, expires_at: Option<Timestamp>) -> NewAccessToken {
        NewAccessToken {
            tenant: self.site.tenant.clone(),
            userid: JO.into(),
            name: Some("phone".to_owned()),
            expires_at,
        }
    }
}

#[tokio::test]
async fn a_token_names_its_user_with_their_groups() {
    let world = World::new();
    let draft = GroupDraft {
        id: Some("g".to_owned()),
        name: "G".to_owned(),
        kind: GroupKind::Private,
        pre_moderated: false,
        scopes: Vec::new(),
        enforce_scope: false,
        creator: JO.into(),
    };
    world
        .people
        .create_group(&world.site, &draft)
        .await
        .unwrap();
    let made = world.tokens().create(&world.token(None)).await.unwrap();
    assert!(made.token.starts_with("ct_"));
    assert_eq!(format!("{made:?}"), format!("Created({})", made.id));
    let authenticator = world.authenticator(&[]);
    let jo = authenticator.signed_in(&world.site, &made.token).await;
    let jo = jo.unwrap().unwrap();
    assert_eq!((&*jo.userid, &*jo.token), (JO, &*made.id));
    assert_eq!(jo.expires_at, None);
    assert_eq!(jo.memberships, [("g".into(), Role::Owner)].into());
    world.people.leave(&world.site, "g", JO).await.unwrap();
    let again = authenticator.again(&jo).await.unwrap().unwrap();
    assert!(again.memberships.is_empty());
}

#[tokio::test]
async fn only_a_digest_of_a_token_is_stored() {
    let world = World::new();
    let made = world.tokens().create(&world.token(None)).await.unwrap();
    let key = world.keys.access_token(&made.id);
    let stored: Vec<String> = world.redis.query(cmd("HVALS").arg(key)).await.unwrap();
    let secret = &made.token["ct_0123456789_".len()..][..43];
    assert!(!stored.is_empty());
    assert!(stored.iter().all(|value| !value.contains(secret)));
}

#[tokio::test]
async fn what_is_no_token_of_this_tenant_names_nobody() {
    let world = World::new();
    let made = world.tokens().create(&world.token(None)).await.unwrap();
    let other = world.tokens().create(&world.token(None)).await.unwrap();
    let grafted = format!("{}{}", &made.token[..14], &other.token[14..]);
    let authenticator = world.authenticator(&[]);
    let long = "x".repeat(100_000);
    for text in [
        "",
        "ct_",
        &made.id,
        &grafted,
        &made.token[1..],
        "a.b.c",
        &long,
    ] {
        let found = authenticator.signed_in(&world.site, text).await.unwrap();
        assert_eq!(found, None, "{text}");
    }
    let elsewhere = site("globex", "example.org");
    let found = authenticator.signed_in(&elsewhere, &made.token).await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn a_token_ends_when_it_expires() {
    let world = World::new();
    let tokens = world.tokens();
    let past = Timestamp::now() - Duration::from_secs(1);
    let expired = tokens.create(&world.token(Some(past))).await.unwrap();
    let ahead = Timestamp::now() + Duration::from_secs(3600);
    let valid = tokens.create(&world.token(Some(ahead))).await.unwrap();
    let authenticator = world.authenticator(&[]);
    let found = authenticator.signed_in(&world.site, &expired.token).await;
    assert_eq!(found.unwrap(), None);
    let found = authenticator.signed_in(&world.site, &valid.token).await;
    let jo = found.unwrap().unwrap();
    assert_eq!(jo.expires_at, Some(ahead));
    let key = world.keys.access_token(&valid.id);
    let left: i64 = world.redis.query(cmd("PTTL").arg(key)).await.unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    let listed = tokens.list(&world.site.tenant, JO).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|token| &*token.id).collect();
    assert_eq!(ids, [&*valid.id]);
    assert_eq!(listed[0].name.as_deref(), Some("phone"));
}

#[tokio::test]
async fn a_revoked_token_is_told_to_the_sockets_it_opened() {
    let world = World::new();
    let (tokens, tenant) = (world.tokens(), &world.site.tenant);
    let made = tokens.create(&world.token(None)).await.unwrap();
    let kept = tokens.create(&world.token(None)).await.unwrap();
    let authenticator = world.authenticator(&[]);
    let jo = authenticator.signed_in(&world.site, &made.token).await;
    let jo = jo.unwrap().unwrap();
    let client = redis::Client::open(format!("redis://{}", fixture::address())).unwrap();
    let mut told = client.get_async_pubsub().await.unwrap();
    let channel = world.keys.channel(&topic(tenant, JO));
    told.subscribe(channel).await.unwrap();

    let globex = "globex".parse().unwrap();
    assert_eq!(tokens.revoke(&globex, &made.id).await.unwrap(), None);
    let revoked = tokens.revoke(tenant, &made.id).await.unwrap();
    assert_eq!(&*revoked.unwrap().id, made.id);
    let heard = told.on_message().next().await.unwrap();
    let event = Event::parse(heard.get_payload_bytes()).unwrap();
    assert_eq!(&*event.kind, SIGNED_OUT);
    let word: SignedOut = serde_json::from_str(event.body.get()).unwrap();
    assert_eq!(word.token.as_deref(), Some(&*made.id));
    assert_eq!(tokens.revoke(tenant, &made.id).await.unwrap(), None);

    assert_eq!(authenticator.again(&jo).await.unwrap(), None);
    let found = authenticator.signed_in(&world.site, &made.token).await;
    assert_eq!(found.unwrap(), None);
    let found = authenticator.signed_in(&world.site, &kept.token).await;
    assert!(found.unwrap().is_some());
    assert_eq!(tokens.list(tenant, JO).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deleted_user_has_no_tokens_and_gets_none() {
    let world = World::new();
    let (tokens, tenant) = (world.tokens(), &world.site.tenant);
    let made = tokens.create(&world.token(None)).await.unwrap();
    let authenticator = world.authenticator(&[]);
    let jo = authenticator.signed_in(&world.site, &made.token).await;
    let jo = jo.unwrap().unwrap();
    world.people.delete_user(tenant, JO).await.unwrap();
    let found = authenticator.signed_in(&world.site, &made.token).await;
    assert_eq!(found.unwrap(), None);
    assert_eq!(authenticator.again(&jo).await.unwrap(), None);
    assert!(tokens.list(tenant, JO).await.unwrap().is_empty());
    let key = world.keys.access_token(&made.id);
    let there: bool = world.redis.query(cmd("EXISTS").arg(key)).await.unwrap();
    assert!(!there);
    let refused = tokens.create(&world.token(None)).await;
    assert!(matches!(refused, Err(NotCreated::Deleted)));
}

#[tokio::test]
async fn while_redis_is_gone_nobody_is_taken_for_nobody() {
    let mut world = World::new();
    let made = world.tokens().create(&world.token(None)).await.unwrap();
    let (redis, line) = fixture::cuttable().await;
    world.redis = redis;
    let authenticator = world.authenticator(&[]);
    let jo = authenticator.signed_in(&world.site, &made.token).await;
    let jo = jo.unwrap().unwrap();
    line.abort();
    assert!(line.await.unwrap_err().is_cancelled());
    let found = authenticator.signed_in(&world.site, &made.token).await;
    assert!(found.is_err());
    assert!(authenticator.again(&jo).await.is_err());
}
