//! What the other tests stand on.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use tests::until;

/// Set in the copy of this test program that is killed.
const VICTIM: &str = "FLEET_VICTIM";

#[tokio::test]
async fn a_killed_test_leaves_no_process_behind() {
    let folder = std::env::temp_dir().join(format!("carillon-victim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    if std::env::var_os(VICTIM).is_some() {
        let redis = tests::redis::PrivateRedis::start(&folder).await;
        println!("\nredis {}", redis.servers()[0].process().pid());
        std::future::pending::<()>().await;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["a_killed_test_leaves_no_process_behind", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("redis ").map(str::to_owned))
        .unwrap();
    assert!(runs(&pid));
    victim.kill().unwrap();
    victim.wait().unwrap();
    until("the victim's Redis is gone", async || !runs(&pid)).await;
    drop(std::fs::remove_dir_all(&folder));
}

fn runs(pid: &str) -> bool {
    let probe = Command::new("kill")
        .args(["-0", pid])
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success())
}
