//! A gateway in a control group that is too small for what comes: the kernel has
//! nothing to kill.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use redis::cmd;
use serde_json::json;
use tests::{Fleet, Socket, Upgrade, within};
use tokio::time::Instant;

use super::{MIB, USED, status};

/// What the group may have.
const LIMIT: usize = 192 * MIB;
/// Clients that read nothing, and what is sent to each of them: eight times the limit
/// together, and each less than it may have waiting.
const DEAF: usize = 100;
const EVENTS: usize = 512;
const SIZE: usize = 30 << 10;
/// Clients that read, and how often each is told something meanwhile.
const READERS: usize = 10;

/// A control group of our own; dropped, it is removed.
struct Group {
    folder: PathBuf,
}

impl Group {
    /// A new one below a folder of a controller of memory, of either version.
    fn below(folder: &str) -> Self {
        let folder = Path::new(folder).join(format!("carillon-{}", std::process::id()));
        fs::create_dir(&folder).expect("GROUP is a control group in which more can be made");
        let group = Self { folder };
        let limit = LIMIT.to_string();
        if group.folder.join("memory.max").exists() {
            group.write("memory.max", &limit);
            group.write("memory.swap.max", "0");
        } else {
            group.write("memory.limit_in_bytes", &limit);
        }
        group
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        fs::write(&path, text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    }

    /// How often the kernel has killed somebody in it.
    fn kills(&self) -> u64 {
        let read = |file| fs::read_to_string(self.folder.join(file));
        let events = read("memory.events").or_else(|_| read("memory.oom_control"));
        let events = events.expect("it counts kills");
        let line = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        line.expect("it counts kills").trim().parse().unwrap()
    }

    /// The most it has had, what can be given back included.
    fn peak(&self) -> usize {
        let read = |file| fs::read_to_string(self.folder.join(file));
        let peak = read("memory.peak").or_else(|_| read("memory.max_usage_in_bytes"));
        peak.expect("it knows its peak").trim().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Who was in it may take a moment to be gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A visitor's socket that is told of one note.
async fn captures(fleet: &Fleet, note: &str, receive_buffer: Option<u32>) -> Socket {
    let address = fleet.gateway(0).address();
    let mut upgrade = Upgrade::to_host("ws://social.example/streaming", address);
    if let Some(bytes) = receive_buffer {
        upgrade = upgrade.receive_buffer(bytes);
    }
    let mut socket = upgrade.open().await.expect("visitors may come");
    let capture = json!({ "type": "subNote", "body": { "id": note } });
    socket.say(&capture.to_string()).await;
    socket
}

/// Tells who captured the note something of so many bytes.
async fn tell(fleet: &Fleet, note: &str, bytes: usize) {
    let event = json!({ "v": 1, "type": "reacted", "body": {
        "id": note, "userId": "u1", "visibility": "public", "visibleUserIds": [],
        "body": { "reaction": "x".repeat(bytes), "userId": "u2" },
    } });
    let mut publish = cmd("PUBLISH");
    publish
        .arg(format!("carillon:c:acme:note:{note}"))
        .arg(event.to_string());
    fleet.commands().query::<u64>(&publish).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a control group below which it can make one: make memory"]
async fn a_gateway_that_is_sent_eight_times_what_it_may_have_is_not_killed() {
    let group = std::env::var("GROUP").expect("GROUP names a control group");
    let group = Group::below(&group);
    let fleet = Fleet::of(1, 0)
        .env("CARILLON_MISSKEY_HOSTS", "social.example=acme")
        .env("CARILLON_MEMORY_LIMIT", "auto")
        .env("CARILLON_GATEWAY_MAX_QUEUE", "16MiB")
        .env("CARILLON_GATEWAY_MAX_HELD", "4GiB")
        .env("CARILLON_GATEWAY_ACCEPT_RATE", "100000")
        .gateways_in(&group.folder)
        .start()
        .await;
    let gateway = fleet.gateway(0);
    assert_eq!(
        gateway.metric("carillon_memory_limit_bytes").await,
        LIMIT as f64
    );
    let mut deaf = Vec::new();
    for n in 0..DEAF {
        deaf.push(captures(&fleet, &format!("d{n}"), Some(8192)).await);
    }
    let mut readers = Vec::new();
    for n in 0..READERS {
        readers.push(captures(&fleet, &format!("r{n}"), None).await);
    }
    within(tests::until::PATIENCE, "all are listened to", async || {
        (DEAF + READERS) as f64 <= gateway.metric("carillon_gateway_topics").await
    })
    .await;

    let began = Instant::now();
    let (mut most, mut scarce) = (0.0_f64, 0);
    for n in 0..EVENTS {
        let to_deaf = (0..DEAF).map(|at| format!("d{at}"));
        let to_deaf: Vec<_> = to_deaf.collect();
        let (left, right) = to_deaf.split_at(DEAF / 2);
        for some in [left, right] {
            join_all(some.iter().map(|note| tell(&fleet, note, SIZE))).await;
        }
        for (at, reader) in readers.iter_mut().enumerate() {
            tell(&fleet, &format!("r{at}"), 10).await;
            assert!(reader.text().await.contains("xxxxxxxxxx"), "{n}");
        }
        most = most.max(gateway.metric(USED).await);
        scarce += u32::from(status(gateway).await == 503);
    }
    let closed = "carillon_gateway_closes_total{reason=\"overloaded\"}";
    let closed = gateway.metric(closed).await;
    println!(
        "limit {} MiB; {} MiB for {DEAF} clients that read nothing, in {:.0} s; used at most {:.0} MiB \
         (the group's peak {} MiB); closed {closed}; not ready at {scarce} of {EVENTS} looks; kills {}",
        LIMIT / MIB,
        DEAF * EVENTS * SIZE / MIB,
        began.elapsed().as_secs_f64(),
        most / MIB as f64,
        group.peak() / MIB,
        group.kills(),
    );
    assert_eq!(group.kills(), 0);
    assert!(gateway.is_running());
    assert!(1.0 <= closed, "so much cannot have been held");
    assert!(most < LIMIT as f64);
    // They have gone, and so has what they held.
    deaf.clear();
    within(tests::until::PATIENCE, "there is memory", async || {
        status(gateway).await == 200
    })
    .await;
    drop(fleet);
}
