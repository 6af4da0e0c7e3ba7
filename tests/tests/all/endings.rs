//! How sockets end for the sake of the cluster, and what whoever is refused is told:
//! never all at once, and never to come back all at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use broker::node::env::Env;
use futures_util::future::join_all;
use gateway::admission::Denial;
use gateway::close::CloseReason;
use gateway::config::Config;
use tests::{Fleet, Heard, Socket, Upgrade, until, within};
use tokio::time::Instant;

/// The rows of the page's tables whose first cell is a name in code, by that name.
fn rows() -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let from = text.find("## Who is let in").expect("the chapter is there");
    let chapter = text[from..].split("\n## Memory").next().unwrap_or("");
    let mut rows = BTreeMap::new();
    for line in chapter.lines() {
        let cells = line.trim_matches('|').split('|');
        let cells: Vec<_> = cells.map(|cell| cell.trim().to_owned()).collect();
        if let [name, ..] = &cells[..]
            && name.starts_with('`')
        {
            let columns = cells.len();
            let name = format!("{columns} {}", name.trim_matches('`'));
            assert!(rows.insert(name.clone(), cells).is_none(), "{name} twice");
        }
    }
    rows
}

#[test]
fn the_page_tells_what_every_refused_client_is_told() {
    let mut rows = rows();
    for denial in Denial::EVERY {
        let row = rows.remove(&format!("6 {}", denial.outcome()));
        let row = row.unwrap_or_else(|| panic!("{denial:?} is not told of"));
        let status = denial.status().as_u16().to_string();
        let told: Vec<_> = row[1..4].iter().filter(|cell| *cell != "–").collect();
        assert!(
            !told.is_empty() && told.iter().all(|cell| **cell == status),
            "{row:?}"
        );
        let wait = denial.retry_after().map_or("–".to_owned(), |seconds| {
            assert!(
                seconds.start() + 4 <= *seconds.end(),
                "{denial:?}: who was refused together comes back together"
            );
            format!("{} to {}", seconds.start(), seconds.end())
        });
        assert_eq!(row[4], wait, "{denial:?}");
        let for_now = [429, 503].contains(&denial.status().as_u16());
        assert_eq!(for_now, denial.retry_after().is_some(), "{denial:?}");
    }
    rows.retain(|name, _| name.starts_with('6'));
    assert!(rows.is_empty(), "nobody is told {rows:?}");
}

#[test]
fn the_page_tells_every_way_in_which_sockets_end() {
    let mut rows = rows();
    for reason in CloseReason::EVERY {
        let row = rows.remove(&format!("5 {}", reason.label()));
        let row = row.unwrap_or_else(|| panic!("{reason:?} is not told of"));
        let code = match reason {
            CloseReason::ClientLeft(_) => "its own".to_owned(),
            CloseReason::Garbled(_) => "1002, 1007, 1009".to_owned(),
            reason => reason.code().map_or("none".to_owned(), |c| c.to_string()),
        };
        assert_eq!(row[1], code, "{reason:?}");
        assert_eq!(row[2].trim_matches('`'), reason.text(), "{reason:?}");
        // Clients take these as final, or as a fault of theirs.
        let final_codes = [1000, 1001, 1008];
        let retried = reason
            .code()
            .is_some_and(|code| !final_codes.contains(&code));
        match &*row[3] {
            "yes" => assert!(retried, "{reason:?}"),
            "no" => assert!(!retried, "{reason:?}"),
            _ => {}
        }
    }
    rows.retain(|name, _| name.starts_with('5'));
    assert!(rows.is_empty(), "no socket ends so: {rows:?}");
}

#[test]
fn by_default_a_single_gateway_takes_in_what_a_full_one_lets_go() {
    let config = Config::read(&mut Env::from_pairs::<&str, &str>([]));
    let parting = config.max_connections as f64 / config.drain_window.as_secs_f64();
    assert!(parting < f64::from(config.accept_rate), "{parting}");
}

/// A socket of each dialect at a gateway, in turn.
async fn of_each_dialect(fleet: &Fleet, gateway: usize, each: usize) -> Vec<Socket> {
    let address = fleet.gateway(gateway).address();
    let mut sockets = Vec::new();
    for n in 0..each {
        sockets.push(fleet.connect_at(gateway, &format!("r{n}")).await);
        sockets.push(fleet.hypothesis_socket(gateway, None).await);
        let misskey = Upgrade::to_host("ws://social.example/streaming", address);
        sockets.push(misskey.open().await.expect("visitors may come"));
    }
    sockets
}

const MISSKEY: (&str, &str) = ("CARILLON_MISSKEY_HOSTS", "social.example=social");

#[tokio::test]
async fn a_drain_closes_sockets_of_all_dialects_evenly_and_in_no_order() {
    let window = Duration::from_secs(6);
    let fleet = Fleet::of(1, 0).env("CARILLON_DRAIN_WINDOW", "6s");
    let fleet = fleet.env(MISSKEY.0, MISSKEY.1).start().await;
    let sockets = of_each_dialect(&fleet, 0, 30).await;
    let count = sockets.len();
    fleet.gateway(0).signal("TERM");
    let ends = sockets.into_iter().map(|mut socket| async move {
        let code = socket.close_code().await;
        (code, Instant::now())
    });
    let ends = join_all(ends).await;
    assert!(ends.iter().all(|(code, _)| *code == 1012), "{ends:?}");
    let first = ends.iter().map(|(_, at)| *at).min().unwrap();
    let late = |at: Instant| at.duration_since(first).as_secs_f64() / window.as_secs_f64();
    for dialect in 0..3 {
        let of_it = ends.iter().skip(dialect).step_by(3);
        let times: Vec<_> = of_it.map(|(_, at)| late(*at)).collect();
        // Thirty at random moments of the window: that all of a dialect are within
        // half of it is as likely as heads thirty times in a row.
        let early = times.iter().filter(|late| **late < 0.5).count();
        assert!((1..30).contains(&early), "{dialect}: {times:?}");
    }
    for tenth in 0..10 {
        let from = f64::from(tenth) / 10.0;
        let here = ends
            .iter()
            .filter(|(_, at)| (from..from + 0.1).contains(&late(*at)));
        let here = here.count();
        assert!(
            here <= count / 3,
            "{here} of {count} within a tenth of the window"
        );
    }
}

#[tokio::test]
async fn sockets_spread_to_a_gateway_that_was_added_within_a_few_ages() {
    let age = Duration::from_secs(4);
    let fleet = Fleet::of(2, 0).env("CARILLON_GATEWAY_MAX_AGE", "4s");
    let fleet = fleet.env(MISSKEY.0, MISSKEY.1).start().await;
    // It is there, and nobody is sent to it yet.
    let added = fleet.gateway(1);
    let began = Instant::now();
    let mut sockets = of_each_dialect(&fleet, 0, 20).await;
    let all_are_open = Instant::now();
    let mut ends = Vec::new();
    for socket in &mut sockets {
        ends.push(async move {
            let end = socket.end().await;
            assert_eq!(
                end,
                Heard::Closed(1012, "connection is old, reconnect".into())
            );
            Instant::now()
        });
    }
    let ends = join_all(ends).await;
    let soonest = ends.iter().min().unwrap();
    let latest = ends.iter().max().unwrap();
    let (young, old) = (*soonest - began, *latest - all_are_open);
    assert!(age.mul_f64(0.3) < young, "{young:?}");
    assert!(old < age.mul_f64(1.5), "{old:?}");
    assert!(age / 5 < *latest - *soonest, "they did not go together");

    let address = |n: usize| fleet.gateway(n).address();
    let registration = fleet.register("mover").await;
    let clients = (0..60).map(|n| {
        let registration = &registration;
        let fleet = &fleet;
        async move {
            // As behind a load balancer: the first time there is one gateway only.
            let mut gateway = 0;
            loop {
                let upgrade = match n % 2 {
                    0 => fleet.upgrade(gateway, registration),
                    _ => Upgrade::to_host("ws://social.example/streaming", address(gateway)),
                };
                let mut socket = upgrade.open().await.expect("there is room");
                socket.end().await;
                gateway = (gateway + n / 2 + 1) % 2;
            }
        }
    });
    let spread = within(Duration::from_secs(40), "sockets are on both", async || {
        let here = added.metric("carillon_gateway_connections").await;
        let there = fleet
            .gateway(0)
            .metric("carillon_gateway_connections")
            .await;
        15.0 <= here && 15.0 <= there
    });
    tokio::select! {
        () = spread => {}
        _ = join_all(clients) => unreachable!("they come back for ever"),
    }
    until("closes are counted as what they are", async || {
        let series = "carillon_gateway_closes_total{reason=\"aged\"}";
        20.0 <= fleet.gateway(0).metric(series).await
    })
    .await;
}
