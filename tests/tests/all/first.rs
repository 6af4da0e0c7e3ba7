//! The first minutes of a new user.

use serde_json::json;
use tests::{Fleet, Upgrade, until};

#[tokio::test]
async fn a_pushed_message_arrives_and_is_delivered() {
    let fleet = Fleet::start().await;
    let mut socket = fleet.connect("ada").await;
    let message = fleet.push("ada", "The quick brown fox").await;
    assert_eq!(socket.text().await, "The quick brown fox");
    let settled = fleet.settled(&message["id"], "DELIVERED").await;
    assert!(settled["deliveredAt"].is_string());
    assert_eq!(settled["cancelledAt"], json!(null));
}

#[tokio::test]
async fn a_message_waits_for_its_recipient() {
    let fleet = Fleet::start().await;
    let message = fleet.push("ada", "pushed while away").await;
    assert_eq!(message["status"], "PENDING");
    let mut socket = fleet.connect("ada").await;
    assert_eq!(socket.text().await, "pushed while away");
    fleet.settled(&message["id"], "DELIVERED").await;
}

#[tokio::test]
async fn an_acknowledged_message_is_delivered_and_an_unacknowledged_one_repeats() {
    let fleet = Fleet::of(2, 1).start().await;
    let ada = fleet.register("ada").await;
    let json_socket = async |gateway| {
        let upgrade: Upgrade = fleet.upgrade(gateway, &ada).acknowledging();
        upgrade.open().await.expect("the token opens sockets")
    };
    let mut socket = json_socket(0).await;
    let message = fleet.push("ada", "are you there?").await;
    let frame = socket.json().await;
    assert_eq!(frame["id"], message["id"]);
    assert_eq!(frame["message"], "are you there?");
    assert_eq!(fleet.message(&message["id"]).await["status"], "PENDING");
    socket.close().await;

    let mut socket = json_socket(1).await;
    assert_eq!(socket.json().await["id"], message["id"]);
    let id = message["id"].as_str().unwrap();
    socket.acknowledge(&[id]).await;
    fleet.settled(&message["id"], "DELIVERED").await;
}

#[tokio::test]
async fn a_process_that_is_asked_to_end_says_so_first_and_ends_well() {
    let fleet = Fleet::start().await;
    let mut socket = fleet.connect("ada").await;
    for process in [fleet.gateway(0), fleet.api(), fleet.worker(0)] {
        process.signal("TERM");
        until("it is not ready, or gone", async || {
            match process.ready().await {
                Some((status, _)) => status == 503,
                None => true,
            }
        })
        .await;
        assert!(
            process.ended().await.success(),
            "{} ended badly",
            process.name()
        );
    }
    assert_eq!(socket.close_code().await, 1012);
}

#[tokio::test]
async fn processes_whose_log_nobody_takes_go_on_and_end_well() {
    let fleet = Fleet::start().await;
    for process in [fleet.gateway(0), fleet.api(), fleet.worker(0)] {
        assert!(process.terminate().await.success());
        process.spawn_unheard();
        until(&format!("{} is ready", process.name()), async || {
            assert!(process.is_running(), "{} ended", process.name());
            process
                .ready()
                .await
                .is_some_and(|(status, _)| status == 200)
        })
        .await;
    }
    let mut socket = fleet.connect("ada").await;
    fleet.push("ada", "still here").await;
    assert_eq!(socket.text().await, "still here");
    for process in [fleet.gateway(0), fleet.api(), fleet.worker(0)] {
        assert!(
            process.terminate().await.success(),
            "{} ended badly",
            process.name()
        );
    }
}
