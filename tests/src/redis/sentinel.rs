//! A master, two replicas and three sentinels that know each other from the start.

use std::net::SocketAddr;
use std::path::Path;

use super::Setup;
use super::locks::{Locks, Login};
use super::server::Server;
use crate::port::Port;

/// The name under which the sentinels know the master.
pub(super) const MASTER: &str = "carillon";
const SERVERS: usize = 3;
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// The servers, the master first, and the sentinels; none is started.
pub(super) fn servers(setup: &Setup, locks: &Locks, folder: &Path) -> (Vec<Server>, Vec<Server>) {
    let ports: [Port; SERVERS] = std::array::from_fn(|_| Port::claim());
    let addresses = ports.each_ref().map(Port::address);
    let server = |(index, port): (usize, Port)| {
        let mut lines = vec!["appendonly yes".to_owned()];
        if index > 0 {
            lines.push(format!("replicaof {}", spaced(addresses[0])));
        }
        let name = format!("redis-{index}");
        Server::at(port, &name, &lines, locks, folder)
    };
    let watching: [Port; SENTINELS] = std::array::from_fn(|_| Port::claim());
    let watchers = watching.each_ref().map(Port::address);
    let id = |of: SocketAddr| format!("{:040x}", of.port());
    let sentinel = |(index, port): (usize, Port)| {
        let own = port.address();
        let millis = setup.patience.as_millis();
        let mut lines = vec![
            format!("sentinel myid {}", id(own)),
            format!(
                "sentinel monitor {MASTER} {} {QUORUM}",
                spaced(addresses[0])
            ),
            format!("sentinel down-after-milliseconds {MASTER} {millis}"),
            // Whoever was not elected tries again after twice this.
            format!("sentinel failover-timeout {MASTER} {}", 2 * millis),
            format!("sentinel parallel-syncs {MASTER} {SERVERS}"),
        ];
        if let Some(Login { user, password }) = locks.peers_sign_in() {
            lines.push(format!("sentinel auth-user {MASTER} {user}"));
            lines.push(format!("sentinel auth-pass {MASTER} {password}"));
        }
        for &replica in &addresses[1..] {
            lines.push(format!(
                "sentinel known-replica {MASTER} {}",
                spaced(replica)
            ));
        }
        for &other in watchers.iter().filter(|&&other| other != own) {
            let (place, id) = (spaced(other), id(other));
            lines.push(format!("sentinel known-sentinel {MASTER} {place} {id}"));
        }
        Server::sentinel(port, &format!("sentinel-{index}"), &lines, locks, folder)
    };
    (
        ports.into_iter().enumerate().map(server).collect(),
        watching.into_iter().enumerate().map(sentinel).collect(),
    )
}

/// Whether all sentinels name one master and it is one.
pub(super) fn serves(servers: &[Server], sentinels: &[Server]) -> bool {
    let Some(master) = master(sentinels) else {
        return false;
    };
    let agreed = sentinels.iter().all(|each| named_by(each) == Some(master));
    let is_one = servers
        .iter()
        // It says what it is before it has read its file.
        .filter(|server| server.address() == master && server.answers())
        .filter_map(Server::replication)
        .any(|of| of.role == "master");
    agreed && is_one
}

/// Whom most sentinels name.
pub(super) fn master(sentinels: &[Server]) -> Option<SocketAddr> {
    let named: Vec<_> = sentinels.iter().filter_map(named_by).collect();
    let votes = |one: &SocketAddr| named.iter().filter(|other| *other == one).count();
    named.iter().copied().find(|one| votes(one) >= QUORUM)
}

fn named_by(sentinel: &Server) -> Option<SocketAddr> {
    let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
    let (host, port): (String, String) = sentinel.ask(&asked).ok()?;
    format!("{host}:{port}").parse().ok()
}

fn spaced(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}
