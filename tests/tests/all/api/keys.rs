//! Access keys at the command line.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tests::fleet::ALL_SCOPES;
use tests::process::Program;
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

/// A file of its own, gone at the end.
struct KeyFile(PathBuf);

impl KeyFile {
    /// None yet.
    fn new(name: &str) -> Self {
        let name = format!("carillon-keys-{name}-{}.toml", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("temporary folders have plain names")
    }

    fn read(&self) -> String {
        fs::read_to_string(&self.0).expect("it is there")
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("the temporary folder is writable");
    }

    /// `api key create --to` this file, in an environment without anything: whether it
    /// was made, what was printed and what was told.
    fn create(&self, name: &str) -> (bool, String, String) {
        let words = ["key", "create", "--tenant", "acme", "--scopes", ALL_SCOPES];
        let more = ["--name", name, "--to", self.path()];
        let output = Program::of("api", &[&words[..], &more].concat(), []).run(b"");
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        let success = output.status.success();
        (success, text(output.stdout), text(output.stderr))
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn a_key_is_added_to_a_file_and_nothing_else_in_it_changes() {
    let file = KeyFile::new("added");
    let (made, first, told) = file.create(r#"the "shop""#);
    assert!(made, "{told}");
    assert_eq!((first.len(), first.lines().count()), (65, 1), "only a key");
    assert!(told.contains(id(&first)), "{told}");
    let begun = format!("{}# The end, without a new line.", file.read());
    file.write(&begun);
    let (made, second, told) = file.create("till");
    assert!(made, "{told}");
    let text = file.read();
    assert!(text.starts_with(&begun));
    for key in [&first, &second] {
        assert_eq!(text.matches(&format!("id = \"{}\"", id(key))).count(), 1);
        assert!(!text.contains(&key[14..57]));
    }
}

#[test]
fn a_file_that_is_none_of_keys_is_left_as_it_is() {
    let file = KeyFile::new("left");
    let (_, key, _) = file.create("shop");
    let inline = format!("key = [{{ id = '{}' }}]\n", id(&key));
    for text in ["hush = 1\n", "[[key]]\nid = 'hush'\n", "key = []", &inline] {
        file.write(text);
        let (made, printed, told) = file.create("till");
        assert_eq!((made, &*printed), (false, ""));
        assert!(told.contains(": nothing was added: "), "{told}");
        assert!(!told.contains("hush"), "{told}");
        assert_eq!(file.read(), text);
    }
    let nowhere = KeyFile(PathBuf::from("/nowhere/keys.toml"));
    let (made, _, told) = nowhere.create("till");
    assert!(!made && told.contains("/nowhere/keys.toml: entity not found"));
}

#[tokio::test]
async fn a_key_of_the_file_is_listed_and_can_be_changed_there_alone() {
    let file = KeyFile::new("listed");
    let (_, key, _) = file.create("shop");
    let fleet = Fleet::of(0, 0)
        .env("CARILLON_API_ACCESS_KEYS_FILE", file.path())
        .start()
        .await;
    fleet.secrets().keep(key.trim());
    assert!(works(&fleet, key.trim()).await);

    let listed = fleet.api_key(&["list"]);
    let column = |key: &str, at: usize| {
        let line = listed.lines().find(|line| line.starts_with(id(key)));
        let words = line.expect("it is listed").split_whitespace();
        words.map(str::to_owned).nth(at)
    };
    assert_eq!(column(&key, 1).as_deref(), Some("file"));
    assert_eq!(
        column(&key, 4).as_deref(),
        Some("-"),
        "made nobody knows when"
    );
    assert_eq!(column(fleet.access_key(), 1).as_deref(), Some("redis"));

    for errand in ["disable", "rotate"] {
        let output = fleet.api_command(&["key", errand, id(&key)], b"");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        let place = format!("key {} stands in {}", id(&key), file.path());
        assert!(told.contains(&place), "{told}");
    }
    assert!(works(&fleet, key.trim()).await);

    file.write("[[key]]\nid = 'hush'");
    let output = fleet.api_command(&["key", "list"], b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("CARILLON_API_ACCESS_KEYS: key 1: id: expected"));
    assert!(!told.contains("hush"));
    let other = fleet.create_key("acme", ALL_SCOPES);
    let done = fleet.api_key(&["disable", id(&other)]);
    assert_eq!(done.trim(), format!("disabled {}", id(&other)));
}
