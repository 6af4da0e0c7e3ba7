//! Access keys at the command line.

use std::time::Duration;

use serde_json::json;
use tests::fleet::ALL_SCOPES;
use tests::{Fleet, within};

use super::{api, code};

/// How long a change of a key may take to hold everywhere: half as long as a key
/// is remembered of which nobody hears.
const SOON: Duration = Duration::from_secs(15);

/// The id in a key, which is no secret.
fn id(key: &str) -> &str {
    key.split('_').nth(1).expect("a key has an id")
}

async fn works(fleet: &Fleet, key: &str) -> bool {
    let answer = fleet.graphql_as(Some(key), "{ version }", json!({})).await;
    if answer.get("errors").is_none() {
        return true;
    }
    assert_eq!(code(&answer), "UNAUTHENTICATED");
    false
}

#[tokio::test]
async fn a_disabled_key_opens_nothing_within_a_moment() {
    let fleet = api().await;
    let key = fleet.create_key("acme", ALL_SCOPES);
    assert!(works(&fleet, &key).await);
    fleet.api_key(&["disable", id(&key)]);
    within(SOON, "the key is refused", async || {
        !works(&fleet, &key).await
    })
    .await;
    assert!(works(&fleet, fleet.access_key()).await);
    let listed = fleet.api_key(&["list"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with(id(&key)))
        .unwrap();
    assert!(line.contains("disabled"), "{line}");
    assert!(!listed.contains(&key));
}

#[tokio::test]
async fn a_rotated_key_overlaps_with_the_one_that_follows() {
    let fleet = api().await;
    let old = fleet.create_key("acme", ALL_SCOPES);
    assert!(works(&fleet, &old).await);
    let rotate = |overlap: &str| {
        let new = fleet.api_key(&["rotate", id(&old), "--overlap", overlap]);
        let new = new.trim().to_owned();
        fleet.secrets().keep(&new);
        new
    };
    let new = rotate("1h");
    assert!(works(&fleet, &new).await);
    assert!(works(&fleet, &old).await);
    let newer = rotate("0s");
    within(SOON, "the old key is refused", async || {
        !works(&fleet, &old).await
    })
    .await;
    assert!(works(&fleet, &newer).await);
}

#[tokio::test]
async fn an_expired_key_opens_nothing() {
    let fleet = api().await;
    let key = fleet.api_key(&[
        "create",
        "--tenant",
        "acme",
        "--scopes",
        ALL_SCOPES,
        "--expires",
        "2s",
        "--name",
        "brief",
    ]);
    let key = key.trim().to_owned();
    fleet.secrets().keep(&key);
    assert!(works(&fleet, &key).await);
    within(SOON * 2, "the key expires", async || {
        !works(&fleet, &key).await
    })
    .await;
    let listed = fleet.api_key(&["list"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with(id(&key)))
        .unwrap();
    assert!(line.contains("expired") && line.contains("brief"), "{line}");
}

#[tokio::test]
async fn only_a_digest_of_a_key_is_stored() {
    let fleet = api().await;
    let key = fleet.create_key("acme", ALL_SCOPES);
    // The form is ck_<id 10>_<secret 43>_<checksum 6>; a secret may hold underscores.
    let secret = &key[14..57];
    let place = fleet.keys().access_key(id(&key));
    let stored: Vec<String> = fleet.redis().ask(&place, &["HGETALL", &place]).unwrap();
    let stored = stored.join(" ");
    assert!(stored.contains("acme"), "{stored}");
    assert!(!stored.contains(secret));
}
