//! What files of access keys say, and what they open.

use std::time::Duration;

use super::*;
use crate::access::{AccessError, AccessKeys};
use crate::fixture;
use crate::time::Timestamp;

/// A digest that no key has.
const DIGEST: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s";

fn new() -> NewAccessKey {
    NewAccessKey {
        tenant: "acme".parse().unwrap(),
        scopes: "websockets-manager-api:query:*".parse().unwrap(),
        name: Some(r#"the "shop" \ ü"#.to_owned()),
        expires_at: Some("2130-01-31T00:00:00Z".parse().unwrap()),
    }
}

fn made() -> (String, String) {
    let (created, entry) = KeyFile::entry(&new());
    (created.secret, entry)
}

fn file(text: &str) -> KeyFile {
    text.parse().unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    text.parse::<KeyFile>().unwrap_err().0
}

/// Keys of `file` where Redis cannot be asked.
async fn alone(file: &KeyFile) -> AccessKeys {
    let (redis, line) = fixture::cuttable().await;
    line.abort();
    assert!(line.await.unwrap_err().is_cancelled());
    AccessKeys::new(redis, fixture::redis().1).with_file(file.clone())
}

#[test]
fn what_is_written_for_a_key_reads_back() {
    let (created, entry) = KeyFile::entry(&new());
    let listed = file(&entry).list();
    assert_eq!(listed.len(), 1);
    let (key, new) = (&listed[0], new());
    assert_eq!(
        (&key.id, &key.tenant, &*key.scopes),
        (&created.id, &new.tenant, &new.scopes)
    );
    assert_eq!(
        (&key.name, key.expires_at, key.created_at),
        (&new.name, new.expires_at, None)
    );
    assert!(!entry.contains(&created.secret[14..57]));
    let shown = format!("{:?}", file(&entry));
    assert_eq!(shown, "KeyFile(1 keys)");
}

#[test]
fn a_file_of_comments_has_no_keys_and_an_empty_one_is_a_mistake() {
    assert_eq!(file("# none yet").list(), []);
    assert_eq!(file("key = []").list(), []);
    for text in ["", " \n\n"] {
        assert!(mistakes(text)[0].starts_with("is empty"));
    }
}

#[test]
fn dates_stand_in_quotes_or_without() {
    let with = |expires: &str| {
        let text = format!(
            "[[key]]\nid = '0123456789'\ndigest = '{DIGEST}'\ntenant = 'acme'\nscopes = 'a:b'\nexpires = {expires}"
        );
        file(&text).list()[0].expires_at.unwrap()
    };
    let noon: Timestamp = "2030-01-31T12:00:00Z".parse().unwrap();
    assert_eq!(with("2030-01-31T12:00:00Z"), noon);
    assert_eq!(with("'2030-01-31T14:00:00+02:00'"), noon);
}

#[test]
fn all_mistakes_are_told_and_nothing_that_stands_there() {
    let (key, _) = made();
    let text = format!(
        "\
hush = 'hush'

[[key]]
id = '0123456789'
digest = '{key}'
tenant = 'Hush!'
scopes = 'hush'
expires = 'hush'

[[key]]
id = '0123456789'
digest = 'hush'
tenant = 7
hush = 'hush'
"
    );
    assert_eq!(
        mistakes(&text),
        [
            "line 1: the file has only tables [[key]], and nothing else",
            "key 1: digest: is a key itself; only its digest may stand here, and that key should be replaced, as it stands in a file",
            "key 1: tenant: is not the name of a tenant",
            "key 1: scopes: expected scopes with spaces between them, such as websockets-manager-api:query:*",
            "key 1: expires: expected a date and time, such as 2030-01-31T00:00:00Z",
            "line 14: a key has id, digest, tenant, scopes, name and expires, and nothing else",
            "key 2: digest: expected the SHA-256 of the secret in base64url (43 characters), as api key create --to writes it",
            "key 2: tenant: expected text in quotes",
            "key 2: scopes is missing",
            "key 2: its id is that of key 1",
        ]
    );
}

#[test]
fn a_key_in_any_place_of_its_own_file_is_told_and_not_repeated() {
    let (key, entry) = made();
    let value = |name: &str| {
        let (_, rest) = entry.split_once(&format!("{name} = \"")).unwrap();
        rest.split_once("\"\n").unwrap().0
    };
    for name in ["id", "digest", "tenant", "scopes", "name", "expires"] {
        let text = entry.replace(value(name), &format!(" {key}\\n"));
        let told = mistakes(&text);
        assert!(told[0].starts_with(&format!("key 1: {name}: is a key itself")));
        assert!(!told.concat().contains(&key[14..57]), "{name}");
    }
    for text in [
        key.clone(),
        format!("{entry}{key} = 1"),
        format!("[{key}]"),
        format!("{entry}name = {key}"),
        format!("[[key]]\nid = \"{key}"),
        format!("[[key]]\n\"{key}\" = 1\n\"{key}\" = 1"),
        format!("key = [{{ {key} = '\\{key}' }}]"),
    ] {
        let told = mistakes(&text).concat();
        assert!(!told.contains(&key[14..57]) && !told.is_empty(), "{told}");
    }
}

#[test]
fn hostile_files_are_refused_in_few_words() {
    let entries = (0..9_000).map(|n| {
        format!("[[key]]\nid='{n:010}'\ndigest='{DIGEST}'\ntenant='acme'\nscopes='a:b'\n")
    });
    let full: String = entries.collect();
    assert_eq!(file(&full).list().len(), 9_000);
    for text in [
        full.repeat(2),
        "[[key]]\n".repeat(100_000),
        format!("key = [{}]", "{},".repeat(300_000)),
        format!("key = [{}]", "1,".repeat(500_000)),
        "[".repeat(1 << 20),
        "a.".repeat(1 << 19),
        format!("key = {}", "[".repeat(1 << 19)),
        format!("[[key]]\nid = {}", "{a=".repeat(1 << 18)),
        "= 1\n".repeat(1 << 18),
        "a = 1\n".repeat(150_000),
        "\0".repeat(1 << 20),
        "\"".repeat(1 << 20),
    ] {
        let told = text.parse::<KeyFile>().unwrap_err().to_string();
        assert!(told.len() < 2_000, "{told}");
    }
}

#[test]
fn ten_thousand_broken_files_are_read_or_refused_and_never_repeated() {
    let (key, entry) = made();
    let text = format!("# hush\n{entry}\n[[key]]\ndigest = \"{key}\"\nhush = 'hush'\n");
    const MARKS: [char; 12] = [
        '[', ']', '{', '}', '"', '\'', '=', ',', '\n', '\\', '\0', 'ü',
    ];
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..10_000 {
        let mut broken: Vec<char> = text.chars().collect();
        for _ in 0..=random(4) {
            let at = random(broken.len());
            match random(8) {
                0 => broken.truncate(at + 1),
                1..4 => broken.insert(at, MARKS[random(MARKS.len())]),
                _ => broken[at] = MARKS[random(MARKS.len())],
            }
        }
        let broken: String = broken.into_iter().collect();
        if let Err(told) = broken.parse::<KeyFile>() {
            let told = told.to_string();
            let repeats = told.contains("hush") || told.contains(&key[20..50]);
            assert!(!repeats, "{told}\n{broken}");
        }
    }
}

#[tokio::test]
async fn keys_of_the_file_are_known_while_redis_is_away() {
    let (key, entry) = made();
    let keys = alone(&file(&entry)).await;
    let identity = keys.authenticate(&key).await.unwrap();
    assert_eq!(identity.tenant, new().tenant);
    assert_eq!(*identity.scopes, new().scopes);

    let grafted = Secret::generate(Prefix::AccessKey).with_id(&identity.key_id);
    let refused = keys.authenticate(&grafted.reveal()).await;
    assert!(matches!(refused, Err(AccessError::Unknown)));
    let (other, _) = made();
    let refused = keys.authenticate(&other).await;
    assert!(matches!(refused, Err(AccessError::Unavailable(_))));
}

#[tokio::test]
async fn a_key_of_the_file_ends_when_it_expires() {
    let past = Timestamp::now() - Duration::from_secs(1);
    let (created, entry) = KeyFile::entry(&NewAccessKey {
        expires_at: Some(past),
        ..new()
    });
    let keys = alone(&file(&entry)).await;
    let refused = keys.authenticate(&created.secret).await;
    assert!(matches!(refused, Err(AccessError::Expired)));
}

#[tokio::test]
async fn the_next_call_is_judged_by_what_the_file_says_then() {
    let ((one, first), (other, second)) = (made(), made());
    let given = file(&first);
    let (redis, names) = fixture::redis();
    let keys = AccessKeys::new(redis, names).with_file(given.clone());
    let unknown = async |key: &str| {
        let judged = keys.authenticate(key).await;
        matches!(judged, Err(AccessError::Unknown))
    };
    assert!(!unknown(&one).await);
    assert!(unknown(&other).await, "and Redis was asked, and remembered");
    given.replace(&file(&format!("{first}\n{second}")));
    assert!(!unknown(&one).await && !unknown(&other).await);
    given.replace(&file("# none"));
    assert!(unknown(&one).await && unknown(&other).await);
}

#[tokio::test]
async fn a_key_that_is_in_both_is_what_the_file_says() {
    let (redis, names) = fixture::redis();
    let in_redis = AccessKeys::new(redis.clone(), names.clone());
    let made = in_redis.create(&new()).await.unwrap();
    let digest = in_redis.store.find(&made.id).await.unwrap().unwrap().digest;
    let entry = format!(
        "[[key]]\nid = '{}'\ntenant = 'other'\nscopes = 'a:b'\ndigest = '{}'",
        made.id,
        URL_SAFE_NO_PAD.encode(digest)
    );
    let given = file(&entry);
    let keys = AccessKeys::new(redis, names).with_file(given.clone());
    let tenant = async || keys.authenticate(&made.secret).await.unwrap().tenant;
    assert_eq!(tenant().await.as_str(), "other");
    keys.disable(&made.id).await.unwrap();
    assert_eq!(tenant().await.as_str(), "other");
    given.replace(&file("# none"));
    let refused = keys.authenticate(&made.secret).await;
    assert!(matches!(refused, Err(AccessError::Disabled)));
}
