//! Secrets that stand in files and change while processes run.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::fleet::{ALL_SCOPES, TENANT, TOKEN_KEYS};
use tests::proxy::Lines;
use tests::redis::{Setup, Topology};
use tests::{Fleet, Process, until};

/// Another key of the same kind.
const NEW_KEY: &str = "newer:bmV3ZXItdGVzdHMtc2lnbi10b2tlbnMtd2l0aC10aGlz";

/// A file of its own, gone at the end.
struct SecretFile(PathBuf);

impl SecretFile {
    fn new(name: &str, content: &str) -> Self {
        let name = format!("carillon-rotation-{name}-{}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(content);
        file
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("temporary folders have plain names")
    }

    /// As whoever mounts it does: beside it, then in its place.
    fn write(&self, content: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{content}\n")).expect("the temporary folder is writable");
        fs::rename(new, &self.0).expect("a file can be replaced");
    }

    fn read(&self) -> String {
        fs::read_to_string(&self.0).expect("it is there")
    }

    /// Writes it, and waits until the processes have looked at it.
    async fn change(&self, secret: &str, outcome: &str, content: &str, processes: &[&Process]) {
        let series =
            format!("carillon_secret_reloads_total{{secret=\"{secret}\",outcome=\"{outcome}\"}}");
        let mut before = Vec::new();
        for process in processes {
            before.push(process.metric(&series).await);
        }
        self.write(content);
        for (process, before) in processes.iter().zip(before) {
            process.signal("HUP");
            until(&format!("{} has looked", process.name()), async || {
                before < process.metric(&series).await
            })
            .await;
        }
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[tokio::test]
async fn keys_of_tokens_are_rotated_without_a_restart() {
    let file = SecretFile::new("keys", TOKEN_KEYS);
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_TOKEN_KEYS", "")
        .env("CARILLON_TOKEN_KEYS_FILE", file.path())
        .start()
        .await;
    let both = [fleet.gateway(0), fleet.api()];
    let old = fleet.register("ada").await;
    let mut open = fleet.upgrade(0, &old).open().await.expect("it is valid");

    let keys = format!("{NEW_KEY},{TOKEN_KEYS}");
    file.change("token_keys", "ok", &keys, &both).await;
    let new = fleet.register("bob").await;
    fleet
        .upgrade(0, &new)
        .open()
        .await
        .expect("the new key counts");
    fleet
        .upgrade(0, &old)
        .open()
        .await
        .expect("so does the old");

    let bad = "newer:hush-hush-hush";
    file.change("token_keys", "bad", bad, &both).await;
    fleet
        .upgrade(0, &new)
        .open()
        .await
        .expect("nothing changed");
    for process in both {
        let output = process.output();
        assert!(output.contains("CARILLON_TOKEN_KEYS cannot be used"));
        assert!(!output.contains("hush-hush"));
    }

    file.change("token_keys", "ok", NEW_KEY, &both).await;
    let refused = fleet
        .upgrade(0, &old)
        .open()
        .await
        .err()
        .expect("it is gone");
    assert_eq!(refused.status(), 401);
    fleet
        .upgrade(0, &new)
        .open()
        .await
        .expect("it is still there");
    fleet.push("ada", "sockets that are open stay").await;
    assert_eq!(open.text().await, "sockets that are open stay");
}

#[tokio::test]
async fn a_password_of_redis_is_changed_without_a_restart() {
    let fleet = Fleet::of(1, 1)
        .on(Setup::of(Topology::Standalone))
        .start()
        .await;
    let redis = &fleet.redis().servers()[0];
    let user = |words: &[&str]| {
        let words = [&["ACL", "SETUSER", "changing"], words].concat();
        let done: String = redis.ask(&words).expect("users can be changed");
        assert_eq!(done, "OK");
    };
    user(&["on", ">first", "~*", "&*", "+@all"]);
    let url = |password: &str| format!("redis://changing:{password}@{}", redis.address());
    let file = SecretFile::new("redis", &url("first"));
    let (gateway, worker) = (fleet.gateway(0), fleet.worker(0));
    for process in [gateway, worker] {
        assert!(process.terminate().await.success());
        process.set("CARILLON_REDIS_URL", "");
        process.set("CARILLON_REDIS_URL_FILE", file.path());
        process.start().await;
    }
    let mut socket = fleet.connect("ada").await;

    let both = [gateway, worker];
    let elsewhere = "redis://changing:second@127.0.0.1:1";
    file.change("redis_url", "bad", elsewhere, &both).await;
    user(&[">second"]);
    file.change("redis_url", "ok", &url("second"), &both).await;
    user(&["<first"]);
    fleet.push("ada", "by connections of before").await;
    assert_eq!(socket.text().await, "by connections of before");

    let ended: usize = redis
        .ask(&["CLIENT", "KILL", "USER", "changing"])
        .expect("connections can be ended");
    assert!(2 <= ended, "link and commands, and the worker's: {ended}");
    let message = fleet.push("ada", "by new ones").await;
    assert_eq!(socket.text().await, "by new ones");
    fleet.settled(&message["id"], "DELIVERED").await;
    until("the worker is ready", async || {
        worker
            .ready()
            .await
            .is_some_and(|(status, _)| status == 200)
    })
    .await;
    let ours: String = redis.ask(&["CLIENT", "LIST"]).expect("they can be listed");
    assert!(ours.contains("user=changing"), "{ours}");
    for process in both {
        assert!(!process.output().contains("second"), "{}", process.name());
    }
}

/// Adds an access key to this file, as operators do.
fn key_in(fleet: &Fleet, file: &SecretFile) -> String {
    let words = ["create", "--tenant", TENANT, "--scopes", ALL_SCOPES];
    let printed = fleet.api_key(&[&words[..], &["--to", file.path()]].concat());
    let key = printed.trim().to_owned();
    fleet.secrets().keep(&key);
    key
}

/// Pushes to Ada with this key: the code of what is wrong, if anything.
async fn push_as(fleet: &Fleet, key: &str, text: &str) -> Value {
    let query = "mutation($input: MessageInput!) { pushMessage(input: $input) { item { id } } }";
    let input = json!({ "recipients": ["ada"], "message": text });
    let variables = json!({ "input": input });
    let answer = fleet.graphql_as(Some(key), query, variables).await;
    answer["errors"][0]["extensions"]["code"].clone()
}

#[tokio::test]
async fn access_keys_of_a_file_come_and_go_without_a_restart_and_without_redis() {
    let ours = SecretFile::new("ours", "# Who may push.");
    let mounted = SecretFile::new("access", "# Who may push.");
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_API_ACCESS_KEYS_FILE", mounted.path())
        .behind_proxy(&["api"])
        .start()
        .await;
    let api = fleet.api();
    let change = async |outcome, text: &str| {
        mounted
            .change("api_access_keys", outcome, text, &[api])
            .await;
    };
    let mut socket = fleet.connect("ada").await;

    let old = key_in(&fleet, &ours);
    assert_eq!(push_as(&fleet, &old, "early").await, "UNAUTHENTICATED");
    change("ok", &ours.read()).await;
    assert_eq!(push_as(&fleet, &old, "by the first").await, Value::Null);
    assert_eq!(socket.text().await, "by the first");

    let new = key_in(&fleet, &ours);
    let both = ours.read();
    let (_, digest) = both.rsplit_once("digest = \"").expect("it has one");
    let (digest, _) = digest.split_once('"').expect("it ends");
    change("bad", &both.replace(digest, &new)).await;
    let output = api.output();
    assert!(output.contains("CARILLON_API_ACCESS_KEYS cannot be used as it is now"));
    assert!(output.contains("key 2: digest: is a key itself"));
    assert!(!output.contains(digest));
    assert_eq!(push_as(&fleet, &old, "still there").await, Value::Null);
    assert_eq!(socket.text().await, "still there");

    change("ok", &both).await;
    assert_eq!(push_as(&fleet, &new, "by the second").await, Value::Null);
    assert_eq!(socket.text().await, "by the second");
    assert_eq!(push_as(&fleet, &old, "by the first").await, Value::Null);
    assert_eq!(socket.text().await, "by the first");

    let (_, last) = both.rsplit_once("[[key]]").expect("there are two");
    change("ok", &format!("[[key]]{last}")).await;
    assert_eq!(push_as(&fleet, &old, "late").await, "UNAUTHENTICATED");
    fleet.proxy().sever(Lines::All);
    let newest = key_in(&fleet, &ours);
    change("ok", &ours.read()).await;
    for key in [&new, &newest] {
        let answer = fleet.graphql_as(Some(key), "{ version }", json!({})).await;
        assert!(answer["errors"].is_null(), "{answer}");
    }
    fleet.proxy().heal();
    until("Redis is there again", async || {
        push_as(&fleet, &newest, "by the third").await.is_null()
    })
    .await;
    assert_eq!(socket.text().await, "by the third");
}
