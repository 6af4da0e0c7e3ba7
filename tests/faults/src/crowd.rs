//! A fleet and all its clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::tests::misskey::HOST;
use ::tests::{Fleet, Process, within};
use broker::topology::Redis;
use redis::{Cmd, FromRedisValue};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{self, Client, Dialect, Kind};
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::manners::Manners;
use crate::marker::BELL;

/// Of ten clients, so many are of each kind.
const MIX: [(Kind, usize); 5] = [
    (Kind::Plain, 2),
    (Kind::Acknowledging, 3),
    (Kind::Page, 2),
    (Kind::User, 2),
    (Kind::Visitor, 1),
];
/// Clients made at a time.
const AT_ONCE: usize = 32;
/// Within this all sockets are open at first.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// A fleet, its clients, and what is written down about both.
pub(crate) struct Crowd {
    /// Who is served by whom.
    pub(crate) fleet: Fleet,
    /// What time it is.
    pub(crate) clock: Clock,
    /// What was accepted.
    pub(crate) ledger: Ledger,
    /// For commands to the fleet's Redis, as a producer gives them.
    pub(crate) commands: Redis,
    clients: Vec<Arc<Client>>,
    finish: watch::Sender<bool>,
    lives: Mutex<JoinSet<()>>,
}

impl Crowd {
    /// Opens `count` sockets on this fleet, of clients that come back with these manners.
    ///
    /// # Panics
    /// If one of them cannot be opened.
    pub(crate) async fn gather(fleet: Fleet, count: usize, manners: Manners) -> Arc<Self> {
        let (fleet, clients) = invite(fleet, count).await;
        let clients: Vec<_> = clients.into_iter().map(Arc::new).collect();
        let gateways: Arc<[SocketAddr]> = match fleet.haproxy() {
            Some(haproxy) => Arc::new([haproxy.sockets()]),
            None => fleet.gateways().iter().map(Process::address).collect(),
        };
        let clock = Clock::start();
        let (finish, finished) = watch::channel(false);
        let mut lives = JoinSet::new();
        for client in &clients {
            let (client, gateways) = (Arc::clone(client), Arc::clone(&gateways));
            lives.spawn(client.live(gateways, manners, clock, finished.clone()));
        }
        let crowd = Self {
            commands: fleet.commands(),
            fleet,
            clock,
            ledger: Ledger::default(),
            clients,
            finish,
            lives: Mutex::new(lives),
        };
        within(OPEN_WITHIN, "all sockets are open", async || {
            crowd.clients.iter().all(|client| client.is_open())
        })
        .await;
        Arc::new(crowd)
    }

    /// All clients, by number.
    pub(crate) fn clients(&self) -> &[Arc<Client>] {
        &self.clients
    }

    /// Those of one dialect.
    pub(crate) fn clients_of(&self, dialect: Dialect) -> Vec<Arc<Client>> {
        let of = |client: &&Arc<Client>| client.kind.dialect() == dialect;
        self.clients.iter().filter(of).cloned().collect()
    }

    /// What Redis answers.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let answer = self.commands.query(command).await;
        answer.expect("Redis is there")
    }

    /// Has all clients go.
    pub(crate) async fn disperse(&self) {
        self.finish.send_replace(true);
        let mut lives = std::mem::take(&mut *self.lives.lock().expect("nobody panics here"));
        while let Some(life) = lives.join_next().await {
            life.expect("a client does not panic");
        }
    }
}

/// Makes so many clients known to the fleet; none is connected.
///
/// # Panics
/// If the api refuses.
pub(crate) async fn invite(fleet: Fleet, count: usize) -> (Fleet, Vec<Client>) {
    fleet.secrets().keep(BELL);
    let fleet = Arc::new(fleet);
    let mut made = JoinSet::new();
    let mut clients = Vec::with_capacity(count);
    for (number, kind) in kinds().take(count).enumerate() {
        if AT_ONCE <= made.len() {
            let one: Option<Result<Client, _>> = made.join_next().await;
            clients.extend(one.map(|one| one.expect("the api is there")));
        }
        let fleet = Arc::clone(&fleet);
        made.spawn(async move { Client::new(kind, number, uri(&fleet, kind, number).await) });
    }
    clients.extend(made.join_all().await);
    clients.sort_by_key(|client| client.number);
    let fleet = Arc::into_inner(fleet).expect("whoever was made is done with it");
    (fleet, clients)
}

/// Who comes, for ever.
fn kinds() -> impl Iterator<Item = Kind> {
    let ten = MIX
        .iter()
        .flat_map(|&(kind, count)| (0..count).map(move |_| kind));
    ten.collect::<Vec<_>>().into_iter().cycle()
}

/// What a client asks a gateway for. Every second page is shown to somebody who is signed in.
async fn uri(fleet: &Fleet, kind: Kind, number: usize) -> String {
    let name = client::name(number);
    match kind {
        Kind::Plain | Kind::Acknowledging => fleet.register(&name).await.uri,
        Kind::Page if number.is_multiple_of(2) => {
            let token = fleet.sign_in(&name).await;
            format!("ws://localhost/ws?access_token={token}")
        }
        Kind::Page => "ws://localhost/ws".to_owned(),
        Kind::User => format!("ws://{HOST}/streaming?i={}", fleet.sign_in(&name).await),
        Kind::Visitor => format!("ws://{HOST}/streaming"),
    }
}
