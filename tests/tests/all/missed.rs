//! Clients of annotations that come back are sent what they missed.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tests::hypothesis::{page_filter, userid};
use tests::{Fleet, Heard, Socket, until};

use super::annotation_sockets::{Cluster, cluster};

const PAGE: &str = "https://e.org/page";

impl Cluster {
    /// A client that was here before, or may come again.
    async fn client(&self, gateway: usize, token: Option<&str>, name: &str) -> Socket {
        let mut socket = self.fleet.hypothesis_socket(gateway, token).await;
        // In the order of the real client.
        socket.say(&page_filter(&[PAGE]).to_string()).await;
        let named = json!({ "messageType": "client_id", "value": name });
        socket.say(&named.to_string()).await;
        socket
    }

    /// Annotates the page and returns the annotation's id.
    async fn remark(&self, group: &str) -> String {
        let made = self.annotate("ada", group, PAGE).await;
        made.notification.id.to_string()
    }

    /// How many clients came of which so much was known.
    async fn came(&self, gateway: usize, outcome: &str) -> f64 {
        let series = format!("carillon_gateway_resumes_total{{outcome=\"{outcome}\"}}");
        self.fleet.gateway(gateway).metric(&series).await
    }
}

/// The next annotation that a socket is told of.
async fn told(socket: &mut Socket) -> String {
    let event = socket.json().await;
    assert_eq!(event["options"]["action"], "create", "{event}");
    let id = event["payload"][0]["id"].as_str();
    id.expect("an annotation has an id").to_owned()
}

/// All that a socket is told of up to this one; nothing twice.
async fn told_until(socket: &mut Socket, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|id| id != last) {
        let id = told(socket).await;
        assert!(!all.contains(&id), "{id} came twice");
        all.push(id);
    }
    all
}

#[tokio::test]
async fn a_client_that_comes_back_anywhere_is_sent_what_it_missed() {
    for half_open in [false, true] {
        let cluster = cluster(Fleet::of(2, 0)).await;
        let mut before = cluster.client(0, None, "tab").await;
        until("it has come", async || {
            1.0 <= cluster.came(0, "first").await
        })
        .await;
        let first = cluster.remark("__world__").await;
        assert_eq!(told(&mut before).await, first);
        let gone = cluster.fleet.gateway(0);
        match half_open {
            true => gone.freeze(),
            false => gone.kill(),
        }
        let mut witness = cluster.client(1, None, "witness").await;
        until("the witness has come", async || {
            1.0 <= cluster.came(1, "first").await
        })
        .await;
        let missed = [
            cluster.remark("__world__").await,
            cluster.remark("__world__").await,
        ];
        // The nodes of a Cluster have carried them.
        for id in &missed {
            assert_eq!(told(&mut witness).await, *id);
        }

        // Under another name nothing is known of it.
        let mut other = cluster.client(1, None, "another tab").await;
        until("the other has come", async || {
            2.0 <= cluster.came(1, "first").await
        })
        .await;
        let mut back = cluster.client(1, None, "tab").await;
        until("it is back", async || 1.0 <= cluster.came(1, "whole").await).await;
        let now = cluster.remark("__world__").await;
        assert_eq!(told(&mut other).await, now);
        let mut all = told_until(&mut back, &now).await;
        // What it had got already may come again, as nobody knew that it had.
        all.retain(|id| *id != first);
        assert_eq!(all, [missed[0].clone(), missed[1].clone(), now]);
        if half_open {
            gone.thaw();
        }
    }
}

#[tokio::test]
async fn what_a_client_has_proved_to_have_is_not_sent_again_and_another_user_gets_nothing() {
    let cluster = cluster(
        Fleet::of(2, 0)
            .env("CARILLON_GATEWAY_HEARTBEAT", "2s")
            .env("CARILLON_GATEWAY_PROBE_INTERVAL", "500ms"),
    )
    .await;
    cluster.group("circle", "ada").await;
    let (ben, cyn) = (cluster.token("ben").await, cluster.token("cyn").await);
    let join = async |name: &str| {
        let (site, who) = (&cluster.site, userid(name));
        let role = broker::people::Role::Member;
        let joined = cluster.people.join(site, "circle", &who, role).await;
        joined.expect("the group exists");
    };
    join("ben").await;
    join("cyn").await;
    let mut before = cluster.client(0, Some(&ben.token), "tab").await;
    until("ben has come", async || {
        1.0 <= cluster.came(0, "first").await
    })
    .await;
    let early = cluster.remark("circle").await;
    assert_eq!(told(&mut before).await, early);
    // Rings are read from ten seconds before the point on.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(15) {
        let heard = before.heard_within(Duration::from_millis(500)).await;
        assert!(!matches!(heard, Some(Heard::Gone)), "it answers pings");
    }
    cluster.fleet.gateway(0).kill();
    let missed = cluster.remark("circle").await;
    let mut cyn = cluster.client(1, Some(&cyn.token), "tab").await;
    until("cyn has come", async || {
        1.0 <= cluster.came(1, "first").await
    })
    .await;
    let mut ben = cluster.client(1, Some(&ben.token), "tab").await;
    until("ben is back", async || {
        1.0 <= cluster.came(1, "whole").await
    })
    .await;
    let now = cluster.remark("circle").await;
    assert_eq!(told_until(&mut ben, &now).await, [missed, now.clone()]);
    assert_eq!(told(&mut cyn).await, now);
}

#[tokio::test]
async fn clients_that_come_back_together_have_the_ring_read_a_few_times() {
    const CLIENTS: usize = 400;
    let cluster = cluster(Fleet::of(2, 0)).await;
    let names: Vec<String> = (0..CLIENTS).map(|n| format!("tab {n}")).collect();
    let before = join_all(names.iter().map(|name| cluster.client(0, None, name))).await;
    until("all have come", async || {
        CLIENTS as f64 <= cluster.came(0, "first").await
    })
    .await;
    let reads = async || {
        let stats: Vec<String> = cluster.fleet.redis().each(&["INFO", "commandstats"]);
        let calls = stats.iter().flat_map(|stats| stats.lines());
        let calls = calls.filter_map(|line| line.strip_prefix("cmdstat_xrange:calls="));
        let calls = calls.map(|rest| rest.split(',').next().unwrap_or_default().parse::<u64>());
        calls.map(Result::unwrap_or_default).sum::<u64>()
    };
    drop(before);
    cluster.fleet.gateway(0).kill();
    let missed = cluster.remark("__world__").await;
    let began = reads().await;
    let mut back = join_all(names.iter().map(|name| cluster.client(1, None, name))).await;
    for socket in &mut back {
        assert_eq!(told(socket).await, missed);
    }
    let read = reads().await - began;
    assert!(read < CLIENTS as u64 / 2, "{read} readings");
    assert_eq!(CLIENTS as f64, cluster.came(1, "whole").await);
}
