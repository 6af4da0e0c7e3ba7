//! Three primaries with a replica each, which know each other from the start.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use redis::Value;

use super::Setup;
use super::locks::{Locks, Login};
use super::server::Server;
use crate::port::Port;

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;

/// A node before it is started.
#[derive(Clone, Copy)]
struct Node {
    address: SocketAddr,
    /// Of the Cluster's own bus. Given, since ten thousand above the other is
    /// among the ports that the system gives to anybody.
    bus: SocketAddr,
}

impl Node {
    fn id(self) -> String {
        format!("{:040x}", self.address.port())
    }
}

/// The primaries, then their replicas in the same order; none is started.
pub(super) fn servers(setup: &Setup, locks: &Locks, folder: &Path) -> Vec<Server> {
    let ports: [_; NODES] = std::array::from_fn(|_| (Port::claim(), Port::claim()));
    let nodes = ports.each_ref().map(|(port, bus)| Node {
        address: port.address(),
        bus: bus.address(),
    });
    let start = |(index, (port, bus)): (usize, (Port, Port))| {
        let name = format!("redis-{index}");
        let lines = [
            "appendonly yes".to_owned(),
            "cluster-enabled yes".to_owned(),
            format!("cluster-port {}", bus.address().port()),
            format!("cluster-node-timeout {}", setup.patience.as_millis()),
            // Whoever is left takes over, and replicas stay with their shard.
            "cluster-replica-validity-factor 0".to_owned(),
            "cluster-allow-replica-migration no".to_owned(),
        ];
        let server = Server::at(port, &name, &lines, locks, folder).with_bus(bus);
        let map = folder.join(&name).join("nodes.conf");
        std::fs::write(map, map_of(&nodes, index)).expect("the fleet's folder is writable");
        server
    };
    ports.into_iter().enumerate().map(start).collect()
}

/// What the node with this number knows of all when it starts: meeting one by
/// one would take them seconds.
fn map_of(nodes: &[Node; NODES], own: usize) -> String {
    let mut map = String::new();
    for (index, node) in nodes.iter().enumerate() {
        let shard = index % PRIMARIES;
        let myself = if index == own { "myself," } else { "" };
        let (role, slots) = if index < PRIMARIES {
            let first = SLOTS * shard / PRIMARIES;
            let last = SLOTS * (shard + 1) / PRIMARIES - 1;
            ("master -".to_owned(), format!(" {first}-{last}"))
        } else {
            (format!("slave {}", nodes[shard].id()), String::new())
        };
        let (id, address, bus, epoch) = (node.id(), node.address, node.bus.port(), shard + 1);
        writeln!(
            map,
            "{id} {address}@{bus} {myself}{role} 0 0 {epoch} connected{slots}"
        )
        .expect("text can be written");
    }
    map + &format!("vars currentEpoch {PRIMARIES} lastVoteEpoch 0\n")
}

/// Whether all nodes think that the whole is well, and hear each other: a node
/// without links serves commands, and events published there reach nobody else.
pub(super) fn serves(servers: &[Server]) -> bool {
    servers.iter().all(|server| {
        let info = server.ask::<String>(&["CLUSTER", "INFO"]);
        let links = server.ask::<Vec<Value>>(&["CLUSTER", "LINKS"]);
        info.is_ok_and(|info| info.contains("cluster_state:ok"))
            && links.is_ok_and(|links| links.len() == 2 * (NODES - 1))
    })
}

/// The node that serves this slot, if all who answer agree.
pub(super) fn owner(servers: &[Server], slot: u16) -> Option<SocketAddr> {
    let mut named = servers.iter().filter_map(|server| owner_by(server, slot));
    let one = named.next()?;
    named.all(|other| other == one).then_some(one)
}

fn owner_by(server: &Server, slot: u16) -> Option<SocketAddr> {
    let ranges: Vec<Vec<Value>> = server.ask(&["CLUSTER", "SLOTS"]).ok()?;
    ranges.into_iter().find_map(|range| {
        let mut range = range.into_iter();
        let mut next = || range.next();
        let first: u16 = redis::from_redis_value(next()?).ok()?;
        let last: u16 = redis::from_redis_value(next()?).ok()?;
        let primary: Vec<Value> = redis::from_redis_value(next()?).ok()?;
        let mut primary = primary.into_iter();
        let host: String = redis::from_redis_value(primary.next()?).ok()?;
        let port: u16 = redis::from_redis_value(primary.next()?).ok()?;
        let address = format!("{host}:{port}").parse().ok()?;
        (first..=last).contains(&slot).then_some(address)
    })
}

/// Gives a slot to the next primary, as `redis-cli --cluster reshard` does, and
/// returns that one.
pub(super) fn move_slot<'a>(servers: &'a [Server], slot: u16, locks: &Locks) -> &'a Server {
    const KEYS_AT_ONCE: &str = "100";
    let primaries: Vec<&Server> = servers
        .iter()
        .filter(|server| server.replication().is_some_and(|of| of.role == "master"))
        .collect();
    let owner = owner(servers, slot).expect("somebody has the slot");
    let has_it = |server: &&&Server| server.address() == owner;
    let from = primaries.iter().find(has_it).expect("it is a primary");
    let to = primaries.iter().find(|each| !has_it(each));
    let to = to.expect("there are three primaries");
    let id = |server: &Server| -> String { told(server, &["CLUSTER", "MYID"]) };
    let (from_id, to_id, slot) = (id(from), id(to), slot.to_string());
    let set = ["CLUSTER", "SETSLOT", &slot];
    let () = told(to, &[&set[..], &["IMPORTING", &from_id]].concat());
    let () = told(from, &[&set[..], &["MIGRATING", &to_id]].concat());
    let (host, port) = (to.address().ip().to_string(), to.address().port());
    let (port, login) = (port.to_string(), locks.peers_sign_in());
    loop {
        let asked = ["CLUSTER", "GETKEYSINSLOT", &slot, KEYS_AT_ONCE];
        let keys: Vec<String> = told(from, &asked);
        if keys.is_empty() {
            break;
        }
        let mut migrate = vec!["MIGRATE", &host, &port, "", "0", "5000"];
        if let Some(Login { user, password }) = &login {
            migrate.extend(["AUTH2", user, password]);
        }
        migrate.push("KEYS");
        migrate.extend(keys.iter().map(String::as_str));
        let _: String = told(from, &migrate);
    }
    // The new owner first: a moment without any would be an error to clients.
    let others = primaries
        .iter()
        .filter(|each| each.address() != to.address());
    for each in [to].into_iter().chain(others) {
        let () = told(each, &[&set[..], &["NODE", &to_id]].concat());
    }
    to
}

fn told<T: redis::FromRedisValue>(server: &Server, words: &[&str]) -> T {
    server
        .ask(words)
        .unwrap_or_else(|error| panic!("{:?}: {error}", &words[..2]))
}

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or else of all of it.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag });
    let bit = |crc: u16, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
    let byte = |crc: u16, byte: u8| (0..8).fold(crc ^ (u16::from(byte) << 8), bit);
    hashed.bytes().fold(0, byte) % 16_384
}
