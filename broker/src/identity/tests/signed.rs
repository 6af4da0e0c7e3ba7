//! Tokens that a provider signed, and the keys it publishes.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::stub::Stub;
use super::{World, site};
use crate::identity::jwt::Jwt;
use crate::identity::{AuthSettings, Authenticator};
use crate::node::env::Env;
use crate::people::Role;
use crate::time::Timestamp;

/// One way of signing, with a key for these tests.
#[derive(Clone, Copy)]
struct Signer {
    algorithm: Algorithm,
    id: &'static str,
}

const RSA: Signer = Signer {
    algorithm: Algorithm::RS256,
    id: "rsa-1",
};
const EC: Signer = Signer {
    algorithm: Algorithm::ES256,
    id: "ec-1",
};
const ED: Signer = Signer {
    algorithm: Algorithm::EdDSA,
    id: "ed-1",
};

impl Signer {
    fn key(self) -> EncodingKey {
        match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_der(include_bytes!("rsa.der")),
            Algorithm::ES256 => EncodingKey::from_ec_der(include_bytes!("ec.der")),
            _ => EncodingKey::from_ed_der(include_bytes!("ed.der")),
        }
    }

    /// The public half.
    fn published(self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key(), self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk
    }

    fn header(self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        header
    }

    fn signs(self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key()).unwrap()
    }
}

fn key_set(signers: &[Signer]) -> Value {
    let keys: Vec<_> = signers.iter().map(|signer| signer.published()).collect();
    json!({ "keys": keys })
}

fn in_seconds(seconds: i64) -> i64 {
    Timestamp::now().millis() / 1000 + seconds
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example/",
        "aud": "notes",
        "sub": "jo",
        "exp": in_seconds(600),
        "groups": ["g1"],
    })
}

/// The claims with one of them other.
fn but(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn variables(url: &str) -> [(&str, &str); 7] {
    [
        ("CARILLON_AUTH_CHAIN", "own,jwt"),
        ("CARILLON_AUTH_TENANT", "acme"),
        ("CARILLON_AUTH_JWKS_URL", url),
        ("CARILLON_AUTH_JWKS_REFRESH", "10m"),
        ("CARILLON_AUTH_ISSUER", "https://id.example/"),
        ("CARILLON_AUTH_AUDIENCE", "notes"),
        ("CARILLON_AUTH_GROUPS_CLAIM", "groups"),
    ]
}

/// Checks tokens by the keys published there, at times the test chooses.
fn jwt(url: &str) -> Jwt {
    let settings = AuthSettings::read(&mut Env::from_pairs(variables(url)));
    Jwt::new(&settings.jwt.unwrap(), settings.claims)
}

async fn userid(authenticator: &Authenticator, world: &World, token: &str) -> Option<String> {
    let found = authenticator.signed_in(&world.site, token).await.unwrap();
    found.map(|found| found.userid.to_string())
}

#[tokio::test]
async fn what_any_allowed_key_signed_is_believed() {
    let world = World::new();
    let stub = Stub::saying(&key_set(&[RSA, EC, ED])).await;
    let authenticator = world.authenticator(&variables(&stub.url));
    for signer in [RSA, EC, ED] {
        let token = signer.signs(&claims());
        let found = authenticator.signed_in(&world.site, &token).await;
        let jo = found.unwrap().unwrap();
        assert_eq!(&*jo.userid, "acct:jo@example.org");
        assert_eq!(jo.memberships, [("g1".into(), Role::Member)].into());
        assert!(jo.token.starts_with("jwt:"), "{}", jo.token);
        let left = jo.expires_at.unwrap().since(Timestamp::now());
        assert!((600..=630).contains(&left.as_secs()), "{left:?}");
        let again = authenticator.again(&jo).await.unwrap();
        assert_eq!(again, Some(jo));
    }
    assert_eq!(stub.times(), 1);
    let full = ED.signs(&but("sub", "acct:jo@lms.example"));
    let found = userid(&authenticator, &world, &full).await;
    assert_eq!(found.as_deref(), Some("acct:jo@lms.example"));
    let elsewhere = site("globex", "example.org");
    let found = authenticator.signed_in(&elsewhere, &full).await;
    assert_eq!(found.unwrap(), None, "the provider vouches for one tenant");
}

#[tokio::test]
async fn what_the_provider_did_not_mean_for_us_now_is_not_believed() {
    let world = World::new();
    let stub = Stub::saying(&key_set(&[ED])).await;
    let authenticator = world.authenticator(&variables(&stub.url));
    let mut refused = vec![
        but("exp", in_seconds(-40)),
        but("exp", "tomorrow"),
        but("nbf", in_seconds(40)),
        but("aud", "billing"),
        but("aud", json!(["billing", "mail"])),
        but("iss", "https://other.example/"),
        but("sub", 5),
        but("sub", "jo smith"),
    ];
    for missing in ["exp", "aud", "iss", "sub"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        refused.push(claims);
    }
    for claims in refused {
        let token = ED.signs(&claims);
        assert_eq!(
            userid(&authenticator, &world, &token).await,
            None,
            "{claims}"
        );
    }
    for believed in [
        but("exp", in_seconds(-20)),
        but("nbf", in_seconds(20)),
        but("aud", json!(["mail", "notes"])),
    ] {
        let token = ED.signs(&believed);
        assert!(
            userid(&authenticator, &world, &token).await.is_some(),
            "{believed}"
        );
    }
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_checked() {
    let world = World::new();
    let stub = Stub::saying(&key_set(&[RSA, ED])).await;
    let authenticator = world.authenticator(&variables(&stub.url));
    let body = URL_SAFE_NO_PAD.encode(claims().to_string());
    let unsigned =
        |header: &Value| format!("{}.{body}.", URL_SAFE_NO_PAD.encode(header.to_string()));
    // The public key as a shared secret: the oldest trick.
    let AlgorithmParameters::RSA(public) = RSA.published().algorithm else {
        panic!("it is one of RSA");
    };
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = Some(RSA.id.to_owned());
    let modulus = URL_SAFE_NO_PAD.decode(public.n).unwrap();
    let shared = encode(&hmac, &claims(), &EncodingKey::from_secret(&modulus)).unwrap();
    let mut mixed = ED.header();
    mixed.kid = Some(RSA.id.to_owned());
    let mut critical = ED.header();
    critical.crit = Some(vec!["b64".to_owned()]);
    let mut anonymous = ED.header();
    anonymous.kid = None;
    let own = encode(&Header::new(Algorithm::RS256), &claims(), &RSA.key()).unwrap();
    let sign = |header: &Header| encode(header, &claims(), &ED.key()).unwrap();
    let fine = ED.signs(&claims());
    let (signed, signature) = fine.rsplit_once('.').unwrap();
    let other = ED.signs(&but("sub", "ann"));
    let grafted = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    for token in [
        unsigned(&json!({ "alg": "none", "kid": ED.id })),
        unsigned(&json!({ "alg": "none" })),
        unsigned(&json!({ "alg": "EdDSA", "kid": ED.id })),
        unsigned(&json!({})),
        shared,
        sign(&mixed),
        sign(&critical),
        sign(&anonymous),
        own,
        grafted,
        format!("{signed}."),
    ] {
        assert_eq!(
            userid(&authenticator, &world, &token).await,
            None,
            "{token}"
        );
    }
    assert!(userid(&authenticator, &world, &fine).await.is_some());
}

#[tokio::test]
async fn only_the_algorithms_of_the_settings_are_taken_whatever_is_published() {
    let world = World::new();
    let mut keys = key_set(&[RSA, ED]);
    let all = keys["keys"].as_array_mut().unwrap();
    all.push(json!({ "kty": "oct", "kid": "oct-1", "k": "c2VjcmV0" }));
    all.push(json!({ "kty": "new", "kid": "new-1" }));
    let mut sealing = serde_json::to_value(EC.published()).unwrap();
    sealing["use"] = json!("enc");
    all.push(sealing);
    let stub = Stub::saying(&keys).await;
    let mut variables = variables(&stub.url).to_vec();
    variables.push(("CARILLON_AUTH_JWT_ALGORITHMS", "ES256,EdDSA"));
    let authenticator = world.authenticator(&variables);
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("oct-1".to_owned());
    let shared = encode(&header, &claims(), &EncodingKey::from_secret(b"secret")).unwrap();
    for token in [RSA.signs(&claims()), EC.signs(&claims()), shared] {
        assert_eq!(userid(&authenticator, &world, &token).await, None);
    }
    let token = ED.signs(&claims());
    assert!(userid(&authenticator, &world, &token).await.is_some());
}

#[tokio::test]
async fn a_new_key_is_found_and_an_unknown_one_looked_for_once_a_minute() {
    let stub = Stub::saying(&key_set(&[RSA])).await;
    let jwt = jwt(&stub.url);
    let (old, new) = (RSA.signs(&claims()), EC.signs(&claims()));
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert!(jwt.ask(&old, start).await.unwrap().is_some());
    assert!(jwt.ask(&new, after(1)).await.unwrap().is_none());
    assert!(jwt.ask(&new, after(59)).await.unwrap().is_none());
    assert_eq!(stub.times(), 1);

    stub.says(200, &key_set(&[RSA, EC]));
    assert!(jwt.ask(&new, after(60)).await.unwrap().is_some());
    assert_eq!(stub.times(), 2);
    assert!(jwt.ask(&old, after(61)).await.unwrap().is_some());
    assert!(
        jwt.ask(&ED.signs(&claims()), after(62))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(stub.times(), 2);

    stub.says(200, &key_set(&[EC]));
    assert!(jwt.ask(&old, after(659)).await.unwrap().is_some());
    assert!(jwt.ask(&old, after(660)).await.unwrap().is_none());
    assert_eq!(stub.times(), 3);
}

#[tokio::test]
async fn the_last_good_keys_stay_in_use_until_others_can_be_read() {
    let stub = Stub::saying(&key_set(&[RSA])).await;
    let jwt = jwt(&stub.url);
    let (old, new) = (RSA.signs(&claims()), EC.signs(&claims()));
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert!(jwt.ask(&old, start).await.unwrap().is_some());
    for (at, says) in [(600, "no JSON"), (610, "{}"), (620, "[]")] {
        stub.says(200, says);
        assert!(jwt.ask(&old, after(at)).await.unwrap().is_some(), "{says}");
        // Whether that key is the provider's, nobody can tell.
        assert!(jwt.ask(&new, after(at + 1)).await.is_err(), "{says}");
    }
    assert_eq!(stub.times(), 4);
    stub.says(302, &key_set(&[EC]));
    assert!(jwt.ask(&new, after(630)).await.is_err());
    stub.says(200, &key_set(&[EC]));
    assert!(jwt.ask(&new, after(634)).await.is_err());
    assert!(jwt.ask(&new, after(635)).await.unwrap().is_some());
    assert_eq!(stub.times(), 6);
}

#[tokio::test]
async fn many_who_wait_for_keys_make_one_request() {
    let stub = Stub::saying(&key_set(&[ED])).await;
    let jwt = jwt(&stub.url);
    let now = Instant::now();
    let tokens: Vec<_> = (0..100)
        .map(|n| ED.signs(&but("sub", format!("user{n}"))))
        .collect();
    let asked = tokens.iter().map(|token| jwt.ask(token, now));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_some()));
    assert_eq!(stub.times(), 1);
}

#[tokio::test]
async fn without_any_keys_nobody_is_taken_for_nobody() {
    let world = World::new();
    let stub = Stub::saying(&key_set(&[ED])).await;
    let authenticator = world.authenticator(&variables(&stub.url));
    stub.goes_down().await;
    let token = ED.signs(&claims());
    let error = authenticator
        .signed_in(&world.site, &token)
        .await
        .unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(
        !told.contains("eyJ") && !told.contains("127.0.0.1"),
        "{told}"
    );
}
