//! Tokens that only another system can read.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prometheus::Registry;
use serde_json::{Value, json};

use super::stub::Stub;
use super::{JO, World, site};
use crate::identity::{AuthSettings, Authenticator};
use crate::node::env::Env;
use crate::node::secrets::SecretFiles;
use crate::people::Role;
use crate::time::Timestamp;

const TOKEN: &str = "6879-opaque_token/with+signs=";

fn introspection(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("CARILLON_AUTH_CHAIN", "own,introspection"),
        ("CARILLON_AUTH_TENANT", "acme"),
        ("CARILLON_AUTH_INTROSPECTION_URL", url),
        ("CARILLON_AUTH_INTROSPECTION_CLIENT", "carillon"),
        ("CARILLON_AUTH_INTROSPECTION_SECRET", "p:w d"),
        ("CARILLON_AUTH_GROUPS_CLAIM", "groups"),
        ("CARILLON_AUTH_AUDIENCE", "notes"),
    ]
}

fn profile(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("CARILLON_AUTH_CHAIN", "own,profile"),
        ("CARILLON_AUTH_TENANT", "acme"),
        ("CARILLON_AUTH_PROFILE_URL", url),
    ]
}

fn active() -> Value {
    let exp = Timestamp::now().millis() / 1000 + 600;
    json!({ "active": true, "sub": "jo", "exp": exp, "groups": ["g1"] })
}

async fn is_undecided(authenticator: &Authenticator, world: &World, token: &str) -> bool {
    authenticator.signed_in(&world.site, token).await.is_err()
}

#[tokio::test]
async fn an_issuer_is_asked_with_our_credentials_and_says_whom_a_token_names() {
    let world = World::new();
    let stub = Stub::saying(&active()).await;
    let authenticator = world.authenticator(&introspection(&stub.url));
    let found = authenticator.signed_in(&world.site, TOKEN).await;
    let jo = found.unwrap().unwrap();
    assert_eq!(&*jo.userid, JO);
    assert_eq!(jo.memberships, [("g1".into(), Role::Member)].into());
    let left = jo.expires_at.unwrap().since(Timestamp::now()).as_secs();
    assert!((595..=600).contains(&left), "{left}");
    assert!(!TOKEN.contains(&*jo.token) && !jo.token.contains(TOKEN));

    let heard = stub.heard().remove(0);
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /asked HTTP/1.1\r\n"), "{head}");
    // carillon:p%3Aw+d
    assert!(
        head.contains("authorization: Basic Y2FyaWxsb246cCUzQXcrZA=="),
        "{head}"
    );
    assert_eq!(
        body,
        "token=6879-opaque_token%2Fwith%2Bsigns%3D&token_type_hint=access_token"
    );

    let elsewhere = site("globex", "example.org");
    let found = authenticator.signed_in(&elsewhere, TOKEN).await.unwrap();
    assert_eq!(found, None);
    world
        .people
        .delete_user(&world.site.tenant, JO)
        .await
        .unwrap();
    let found = authenticator.signed_in(&world.site, TOKEN).await.unwrap();
    assert_eq!(found, None, "deleted here");
    assert_eq!(stub.times(), 1);
}

#[tokio::test]
async fn our_secret_may_change_while_the_issuer_is_asked() {
    let world = World::new();
    let stub = Stub::saying(&active()).await;
    let name = format!("carillon-introspection-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, "p:w d\n").unwrap();
    let mut variables = introspection(&stub.url);
    variables.retain(|(name, _)| *name != "CARILLON_AUTH_INTROSPECTION_SECRET");
    let path = file.to_str().unwrap();
    variables.push(("CARILLON_AUTH_INTROSPECTION_SECRET_FILE", path));
    let mut env = Env::from_pairs(variables);
    let settings = AuthSettings::read(&mut env);
    let mut secrets = SecretFiles::new(&Registry::new()).unwrap();
    settings.watch(&mut secrets, &env.files());
    env.finish().unwrap();
    let authenticator = Authenticator::new(world.redis.clone(), world.keys.clone(), &settings);
    for (content, proof, token) in [
        ("p:w d", "Y2FyaWxsb246cCUzQXcrZA==", "first"),
        ("", "Y2FyaWxsb246cCUzQXcrZA==", "second"),
        ("other", "Y2FyaWxsb246b3RoZXI=", "third"),
    ] {
        std::fs::write(&file, content).unwrap();
        secrets.look();
        let found = authenticator.signed_in(&world.site, token).await.unwrap();
        assert!(found.is_some(), "{token}");
        let heard = stub.heard().pop().unwrap();
        let header = format!("authorization: Basic {proof}\r\n");
        assert!(heard.contains(&header), "{token}: {heard}");
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_active_or_for_others_names_nobody() {
    let world = World::new();
    let stub = Stub::saying(&json!({})).await;
    let authenticator = world.authenticator(&introspection(&stub.url));
    let past = Timestamp::now().millis() / 1000 - 1;
    for (n, says) in [
        json!({ "active": false }),
        json!({ "active": false, "sub": "jo" }),
        json!({ "active": true }),
        json!({ "active": true, "sub": "" }),
        json!({ "active": true, "sub": "jo", "exp": past }),
        json!({ "active": true, "sub": "jo", "aud": "billing" }),
        json!({ "active": true, "sub": "jo", "aud": ["billing"] }),
    ]
    .into_iter()
    .enumerate()
    {
        stub.says(200, &says);
        let token = format!("token-{n}");
        let found = authenticator.signed_in(&world.site, &token).await.unwrap();
        assert_eq!(found, None, "{says}");
    }
    stub.says(
        200,
        &json!({ "active": true, "sub": "jo", "aud": ["mail", "notes"] }),
    );
    let found = authenticator.signed_in(&world.site, "fine").await.unwrap();
    assert_eq!(found.unwrap().expires_at, None);
}

#[tokio::test]
async fn an_answer_that_is_none_decides_nothing() {
    let world = World::new();
    let stub = Stub::saying(&json!({})).await;
    let long = json!({ "active": false, "x": "x".repeat(70_000) }).to_string();
    for (status, says) in [
        (200, "{}"),
        (200, "no JSON"),
        (200, r#"{"active":"yes"}"#),
        (200, r#"{"active":true,"sub":"jo","exp":"soon"}"#),
        (200, &long),
        (302, r#"{"active":true,"sub":"jo"}"#),
        (401, r#"{"active":true,"sub":"jo"}"#),
        (429, r#"{"active":true,"sub":"jo"}"#),
        (500, r#"{"active":true,"sub":"jo"}"#),
    ] {
        stub.says(status, says);
        let fresh = world.authenticator(&introspection(&stub.url));
        assert!(is_undecided(&fresh, &world, TOKEN).await, "{status} {says}");
    }
    assert_eq!(stub.times(), 9, "redirects are not followed");
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_make_one_request() {
    let world = World::new();
    let stub = Stub::saying(&active()).await;
    let authenticator = world.authenticator(&introspection(&stub.url));
    let asked = (0..100).map(|_| authenticator.signed_in(&world.site, TOKEN));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_some()));
    let twins = (0..100).map(|_| authenticator.signed_in(&world.site, "unknown"));
    stub.says(200, &json!({ "active": false }));
    let answers = futures_util::future::join_all(twins).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_none()));
    assert_eq!(stub.times(), 2);
}

#[tokio::test]
async fn while_the_issuer_is_down_what_it_said_holds_and_all_else_is_undecided() {
    let world = World::new();
    let stub = Stub::saying(&active()).await;
    let authenticator = world.authenticator(&introspection(&stub.url));
    assert!(
        authenticator
            .signed_in(&world.site, TOKEN)
            .await
            .unwrap()
            .is_some()
    );
    stub.goes_down().await;
    assert!(
        authenticator
            .signed_in(&world.site, TOKEN)
            .await
            .unwrap()
            .is_some()
    );
    assert!(is_undecided(&authenticator, &world, "another").await);
    let error = authenticator.signed_in(&world.site, "another").await;
    let told = format!("{0} {0:?}", error.unwrap_err());
    assert!(
        !told.contains("another") && !told.contains("127.0.0.1"),
        "{told}"
    );
}

#[tokio::test]
async fn a_slow_issuer_is_waited_for_a_second_and_then_given_a_rest() {
    let world = World::new();
    let stub = Stub::saying(&active()).await;
    let authenticator = world.authenticator(&introspection(&stub.url));
    stub.holds();
    let start = Instant::now();
    let tokens: Vec<_> = (0..10).map(|n| format!("token-{n}")).collect();
    let asked = tokens
        .iter()
        .map(|token| is_undecided(&authenticator, &world, token));
    let undecided = futures_util::future::join_all(asked).await;
    assert!(undecided.into_iter().all(|undecided| undecided));
    let waited = start.elapsed();
    assert!(Duration::from_millis(900) < waited, "{waited:?}");
    assert!(waited < Duration::from_secs(8), "{waited:?}");

    stub.releases();
    let times = stub.times();
    assert!(is_undecided(&authenticator, &world, "one more").await);
    assert_eq!(stub.times(), times, "it is left alone");
}

#[tokio::test]
async fn many_made_up_tokens_wait_in_vain_but_do_not_make_the_issuer_rest() {
    let world = World::new();
    let stub = Stub::saying(&active()).await;
    let authenticator = world.authenticator(&introspection(&stub.url));
    stub.holds();
    let tokens: Vec<_> = (0..100).map(|n| format!("token-{n}")).collect();
    let asked = tokens.iter();
    let asked = asked.map(|token| authenticator.signed_in(&world.site, token));
    let mut answers: FuturesUnordered<_> = asked.collect();
    for _ in 32..100 {
        assert!(answers.next().await.unwrap().is_err());
    }
    assert_eq!(stub.times(), 32);
    stub.releases();
    while let Some(answer) = answers.next().await {
        assert!(answer.unwrap().is_some());
    }
    let found = authenticator.signed_in(&world.site, TOKEN).await;
    assert!(found.unwrap().is_some());
}

#[tokio::test]
async fn a_hypothesis_server_says_whom_a_token_names_by_the_profile() {
    let world = World::new();
    let says = json!({
        "authority": "example.org",
        "userid": JO,
        "groups": [
            { "id": "__world__", "name": "Public", "public": true },
            { "id": "aB3dE5gH", "name": "Mine", "public": false },
        ],
        "features": {},
        "preferences": {},
        "user_info": { "display_name": null },
    });
    let stub = Stub::saying(&says).await;
    let authenticator = world.authenticator(&profile(&stub.url));
    let found = authenticator.signed_in(&world.site, TOKEN).await;
    let jo = found.unwrap().unwrap();
    assert_eq!((&*jo.userid, jo.expires_at), (JO, None));
    assert_eq!(jo.memberships, [("aB3dE5gH".into(), Role::Member)].into());
    let heard = stub.heard().remove(0);
    assert!(heard.starts_with("GET /asked HTTP/1.1\r\n"), "{heard}");
    assert!(
        heard.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
        "{heard}"
    );

    for (token, status, says) in [
        ("a", 200, r#"{"userid":null,"groups":[{"id":"__world__"}]}"#),
        ("b", 401, "{}"),
        ("c", 403, "{}"),
    ] {
        stub.says(status, says);
        let found = authenticator.signed_in(&world.site, token).await;
        assert_eq!(found.unwrap(), None, "{status} {says}");
    }
    for (token, status, says) in [("d", 404, "{}"), ("e", 200, "<html>"), ("f", 503, "{}")] {
        stub.says(status, says);
        assert!(
            is_undecided(&authenticator, &world, token).await,
            "{status} {says}"
        );
    }
    let times = stub.times();
    for token in ["line\nbreak", "ct_made_up"] {
        let found = authenticator.signed_in(&world.site, token).await;
        assert_eq!(found.unwrap(), None);
    }
    assert_eq!(stub.times(), times, "these are not its tokens");
}

#[tokio::test]
async fn a_role_here_counts_beside_what_a_provider_says() {
    let world = World::new();
    let says = json!({ "userid": JO, "groups": [{ "id": "g" }, { "id": "h" }] });
    let stub = Stub::saying(&says).await;
    let authenticator = world.authenticator(&profile(&stub.url));
    let draft = crate::people::GroupDraft {
        id: Some("g".to_owned()),
        name: "G".to_owned(),
        kind: crate::people::GroupKind::Private,
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
    let found = authenticator.signed_in(&world.site, TOKEN).await;
    let jo = found.unwrap().unwrap();
    let expected = [("g".into(), Role::Owner), ("h".into(), Role::Member)];
    assert_eq!(jo.memberships, expected.into());
    world
        .people
        .delete_group(&world.site.tenant, "g")
        .await
        .unwrap();
    let again = authenticator.again(&jo).await.unwrap().unwrap();
    assert_eq!(
        again.memberships["g"],
        Role::Member,
        "the provider says so still"
    );
}
