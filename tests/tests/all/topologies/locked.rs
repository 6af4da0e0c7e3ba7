//! Servers that speak only over TLS, ask for certificates, and let in nobody but
//! the users of `docs/operations.md`.

use broker::topic::{Topic, TopicKind};
use broker::topology::Redis;
use futures_util::future::join_all;
use redis::cmd;
use serde_json::json;
use tests::Fleet;
use tests::redis::{Setup, Tls, Topology, users};

/// What an application, a recipient and an annotator do in a day.
async fn does_all_it_should(topology: Topology, tls: Tls) {
    let setup = Setup::of(topology).locked(users(), tls);
    let fleet = Fleet::of(1, 1).on(setup).start().await;
    let mut socket = fleet.connect("ann").await;
    let pushed = fleet.push("ann", "it is live").await;
    assert_eq!(socket.text().await, "it is live");
    fleet.settled(&pushed["id"], "DELIVERED").await;
    fleet.push_global("to everybody").await;
    assert_eq!(socket.text().await, "to everybody");
    let soon = broker::Timestamp::now() + std::time::Duration::from_secs(3);
    let input = json!({
        "recipients": ["absent"], "message": "too late", "expiresAt": soon.to_string(),
    });
    let expiring = fleet.push_with(input).await[0]["item"]["id"].clone();
    fleet.settled(&expiring, "CANCELLED").await;
    let tenant = tests::fleet::TENANT.parse().unwrap();
    let news = Topic::new(&tenant, TopicKind::Channel, "news");
    // As a producer may who is allowed to write there.
    let spoil = cmd("XADD")
        .arg(fleet.keys().ring(&news))
        .arg(&["*", "what", "is no event"])
        .clone();
    fleet.commands().query::<String>(&spoil).await.unwrap();
    let add = cmd("XADD")
        .arg(fleet.keys().intake(&tenant))
        .arg(&["*", "topic", "channel:news", "data", r#"{"type":"any"}"#])
        .clone();
    fleet.commands().query::<String>(&add).await.unwrap();
    tests::until("the worker has read it", async || {
        let length = cmd("XLEN").arg(fleet.keys().intake(&tenant)).clone();
        fleet.commands().query::<u64>(&length).await.unwrap() == 0
    })
    .await;
    for server in fleet.redis().servers() {
        let info = ["INFO", "errorstats", "commandstats"];
        let info: String = server.ask(&info).unwrap();
        let counted = |fields: &[&str]| -> u64 {
            let values = info.split([':', ',', '\r']);
            let pairs = values.filter_map(|value| value.split_once('='));
            let these = pairs.filter(|(name, _)| fields.contains(name));
            these.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
        };
        let errors = counted(&["count"]);
        let of_commands = counted(&["rejected_calls", "failed_calls"]);
        assert_eq!(
            errors, of_commands,
            "it was asked for what it does not have"
        );
    }
}

#[tokio::test]
async fn one_server_may_be_locked() {
    does_all_it_should(Topology::Standalone, Tls::On).await;
}

#[tokio::test]
async fn sentinels_and_their_servers_may_be_locked() {
    does_all_it_should(Topology::Sentinel, Tls::Mutual).await;
}

#[tokio::test]
async fn a_cluster_may_be_locked() {
    does_all_it_should(Topology::Cluster, Tls::Mutual).await;
}

#[tokio::test]
async fn what_was_accepted_is_there_when_a_locked_server_is_started_again() {
    let setup = Setup::of(Topology::Standalone).locked(users(), Tls::Off);
    let fleet = Fleet::of(1, 0).on(setup).start().await;
    let pushed = fleet.push("ann", "before the restart").await;
    fleet.redis().kill();
    fleet.redis().restart().await;
    let mut socket = fleet.connect("ann").await;
    assert_eq!(socket.text().await, "before the restart");
    fleet.settled(&pushed["id"], "DELIVERED").await;
}

#[tokio::test]
async fn users_of_processes_are_refused_what_is_not_theirs() {
    let setup = Setup::of(Topology::Standalone).locked(users(), Tls::Off);
    let folder = std::env::temp_dir().join(format!("carillon-locked-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let redis = tests::redis::PrivateRedis::of(&setup, &folder).await;
    let as_user = |name: &str| {
        let url = redis.url_for(name, |address| address);
        Redis::open(&url.parse().unwrap()).unwrap()
    };
    let nobody = format!("redis://{}", redis.address());
    let nobody = Redis::open(&nobody.parse().unwrap()).unwrap();
    assert!(nobody.ping().await.is_err());
    let everybody = [
        "FLUSHALL",
        "KEYS carillon:*",
        "SCAN 0",
        "CONFIG GET *",
        "ACL LIST",
        "CLIENT LIST",
        "MONITOR",
        "DEBUG SLEEP 0",
        "SHUTDOWN",
        "REPLICAOF NO ONE",
        "FUNCTION FLUSH",
        "FUNCTION DELETE carillon_v1",
        "CLUSTER RESET",
        "GET another",
        "SET another 1",
        "PUBLISH another 1",
        "HSET carillon-key:x a b",
    ];
    let not_gateways = [
        "HGETALL carillon:key:x",
        "HSET carillon:key:x a b",
        "SMEMBERS carillon:keys",
        "HSET carillon:{0}:token:x a b",
        "HSET carillon:{0}:user:acme:x a b",
        "HSET carillon:tenant:acme sockets 1",
        "XADD carillon:{in}:acme * a b",
        "XRANGE carillon:{in}:acme - +",
        "HGETALL carillon:{0}:an:acme:x",
        "FUNCTION LIST",
        "DEL carillon:{0}:log:acme",
    ];
    let not_workers = [
        "HGETALL carillon:key:x",
        "HGETALL carillon:{0}:token:x",
        "HGETALL carillon:{0}:user:acme:x",
        "HGETALL carillon:{0}:an:acme:x",
        "HSET carillon:tenant:acme sockets 1",
        "FUNCTION LIST",
        "SUBSCRIBE carillon:ctl",
        "DEL carillon:{0}:log:acme",
    ];
    let not_apis = [
        "XREADGROUP GROUP g c STREAMS carillon:{in}:acme >",
        "XTRIM carillon:{0}:log:acme MAXLEN 0",
    ];
    for (role, own) in [
        ("gateway", &not_gateways[..]),
        ("worker", &not_workers[..]),
        ("api", &not_apis[..]),
    ] {
        let user = as_user(role);
        user.ping().await.unwrap();
        let tries = everybody.iter().chain(own).map(async |line| {
            let mut words = line.split(' ');
            let mut command = cmd(words.next().expect("it names a command"));
            for word in words {
                command.arg(word);
            }
            (line, user.query::<redis::Value>(&command).await)
        });
        for (line, answer) in join_all(tries).await {
            let refused = answer.expect_err(line).to_string();
            assert!(refused.contains("NoPerm"), "{role}: {line}: {refused}");
        }
    }
    drop(redis);
    std::fs::remove_dir_all(folder).unwrap();
}
