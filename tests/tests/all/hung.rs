//! One primary of a Cluster hangs: everybody whose keys are elsewhere is served.

use std::time::{Duration, Instant};

use broker::topic::Topic;
use tests::Fleet;
use tests::fleet::TENANT;
use tests::redis::{Server, Setup, Topology};

#[tokio::test]
async fn recipients_on_other_servers_get_what_waits_while_one_hangs() {
    // Long enough that nobody is replaced meanwhile.
    let setup = Setup {
        patience: Duration::from_secs(60),
        ..Setup::of(Topology::Cluster)
    };
    let fleet = Fleet::of(1, 1).on(setup).start().await;
    let tenant = TENANT.parse().unwrap();
    let server_of = |topic: &Topic| {
        let key = fleet.keys().pending(topic);
        fleet.redis().master_of(&key).address()
    };
    let all = fleet.keys().active_globals(&tenant);
    let needed = fleet.redis().master_of(&all).address();
    let named = |n: i32| (format!("r{n}"), Topic::recipient(&tenant, &format!("r{n}")));
    let (sound, _) = (0..)
        .map(named)
        .find(|(_, topic)| server_of(topic) == needed)
        .unwrap();
    // Not the one that the gateway listens to: it would have to notice that first.
    let probes = fleet.keys().probe_channel(fleet.gateway(0).name());
    let is_heard = |server: &Server| {
        let asked = server.ask(&["PUBSUB", "NUMSUB", &probes]);
        let (_, listeners): (String, u32) = asked.unwrap();
        0 < listeners
    };
    let can_hang = |topic: &Topic| {
        let server = fleet.redis().master_of(&fleet.keys().pending(topic));
        server.address() != needed && !is_heard(server)
    };
    let found = (0..1000).map(named).find(|(_, topic)| can_hang(topic));
    let (stuck, topic) = found.expect("one of three primaries is neither");
    let hung = fleet.redis().master_of(&fleet.keys().pending(&topic));

    fleet.push(&sound, "before").await;
    let registrations = fleet.register(&stuck).await;
    let socket = fleet.upgrade(0, &registrations).acknowledging().open();
    let mut socket = socket.await.unwrap();
    let pushed = fleet.push(&stuck, "seen").await;
    assert_eq!(socket.json().await["message"], "seen");
    hung.process().freeze();
    // Marked as delivered it will not be: its server hangs.
    let id = pushed["id"].as_str().unwrap();
    socket.acknowledge(&[id]).await;
    // Sockets that wait for what that server has.
    let waiting: Vec<_> = (0..100)
        .map(|_| tokio::spawn(fleet.upgrade(0, &registrations).open()))
        .collect();

    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(6) {
        let each = Instant::now();
        let text = format!("message {rounds}");
        let mut tab = fleet.connect(&sound).await;
        let sent = fleet.push(&sound, &text).await;
        while tab.text().await != text {}
        fleet.settled(&sent["id"], "DELIVERED").await;
        slowest = slowest.max(each.elapsed());
        rounds += 1;
    }
    hung.process().thaw();
    assert!(slowest < Duration::from_secs(6), "{slowest:?} of {rounds}");
    fleet.settled(&pushed["id"], "DELIVERED").await;
    for opening in waiting {
        drop(opening.await.unwrap());
    }
}
