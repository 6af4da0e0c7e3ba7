//! Pushes that answer once a replica has the message, seen from outside.

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::redis::{PrivateRedis, Server, Setup, Topology};
use tests::{Fleet, until, until_some};

const PUSH: &str = "mutation($input: MessageInput!) { pushMessage(input: $input) {
    item { id status } error { code message } } }";

/// Replicas of the fleet's Redis: its own, or one that this test adds.
enum Replicas {
    Own,
    Added(Box<PrivateRedis>, PathBuf),
}

impl Replicas {
    async fn of(fleet: &Fleet) -> Self {
        if fleet.redis().topology() != Topology::Standalone {
            return Self::Own;
        }
        let folder = format!("carillon-replica-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("there is room for a folder");
        let added = PrivateRedis::of(&Setup::of(Topology::Standalone), &folder).await;
        let port = fleet.redis().address().port().to_string();
        let follow = ["REPLICAOF", "127.0.0.1", &port];
        let followed: Result<String, _> = added.servers()[0].ask(&follow);
        followed.expect("it follows");
        Self::Added(Box::new(added), folder)
    }

    fn servers<'a>(&'a self, fleet: &'a Fleet) -> Vec<&'a Server> {
        let all = match self {
            Self::Own => fleet.redis().servers(),
            Self::Added(added, _) => added.servers(),
        };
        let role = |server: &&Server| {
            let role: Vec<redis::Value> = server.ask(&["ROLE"]).expect("it answers");
            role[0] == redis::Value::BulkString(b"slave".to_vec())
        };
        all.iter().filter(role).collect()
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        if let Self::Added(added, folder) = self {
            added.thaw();
            added.kill();
            drop(std::fs::remove_dir_all(folder));
        }
    }
}

async fn push(fleet: &Fleet, key: &str) -> Value {
    let input = json!({
        "recipients": ["ann"], "message": key, "idempotencyKey": key, "durability": "REPLICATED",
    });
    fleet.data(PUSH, json!({ "input": input })).await["pushMessage"][0].take()
}

/// That a push answered that its message is stored and no replica has confirmed it.
fn assert_unconfirmed(pushed: &Value) {
    assert_eq!(pushed["error"]["code"], "UNAVAILABLE");
    let message = pushed["error"]["message"].as_str().expect("a sentence");
    assert!(message.contains("no replica has confirmed"), "{message}");
    assert!(pushed["item"]["id"].is_string());
}

#[tokio::test]
async fn a_push_answers_once_a_replica_has_it_and_otherwise_says_so() {
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_API_REPLICATION_TIMEOUT", "700ms")
        .start()
        .await;
    let mut socket = fleet.connect("ann").await;
    if fleet.redis().topology() == Topology::Standalone {
        let unfollowed = push(&fleet, "nobody follows").await;
        assert_unconfirmed(&unfollowed);
        // It is pushed all the same, once.
        assert_eq!(socket.text().await, "nobody follows");
        assert_unconfirmed(&push(&fleet, "nobody follows").await);
    }
    let replicas = Replicas::of(&fleet).await;
    let first = until_some("a replica has it", async || {
        let pushed = push(&fleet, "followed").await;
        pushed["error"].is_null().then_some(pushed)
    })
    .await;
    assert_eq!(socket.text().await, "followed");
    assert_eq!(
        push(&fleet, "followed").await["item"]["id"],
        first["item"]["id"]
    );

    let frozen = replicas.servers(&fleet);
    assert!(!frozen.is_empty());
    frozen.iter().for_each(|server| server.process().freeze());
    let stuck = push(&fleet, "stuck").await;
    assert_unconfirmed(&stuck);
    assert_eq!(socket.text().await, "stuck");
    let global = "mutation { pushGlobalMessage(input: { message: \"to all\", durability: REPLICATED }) { id } }";
    let refused = fleet.graphql(global, json!({})).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAVAILABLE");
    assert_eq!(socket.text().await, "to all");
    frozen.iter().for_each(|server| server.process().thaw());
    until("the same push is confirmed", async || {
        let pushed = push(&fleet, "stuck").await;
        assert_eq!(pushed["item"]["id"], stuck["item"]["id"]);
        pushed["error"].is_null()
    })
    .await;
    let confirmed = fleet.data(global, json!({})).await;
    assert!(confirmed["pushGlobalMessage"]["id"].is_string());
    assert_eq!(socket.text().await, "to all");

    let both = ["recipient", "global"].map(|kind| {
        format!(r#"carillon_api_messages_pushed_total{{kind="{kind}",durability="replicated"}}"#)
    });
    let [recipient, global] = &both;
    assert!(3.0 <= fleet.api().metric(recipient).await);
    assert_eq!(fleet.api().metric(global).await, 1.0 + 1.0);
    let unconfirmed = "carillon_api_messages_unreplicated_total";
    assert!(2.0 <= fleet.api().metric(unconfirmed).await);
}
